# SPDX-License-Identifier: Apache-2.0
"""The defaults, each with its source; "libwebrtc" is branch-heads/7204 unless another is named.

What differs from libwebrtc, and why, stands in docs/congestion.md.
"""


cdef void trendline_default(TrendlineParameters *p) noexcept nogil:
    # libwebrtc trendline_estimator.{h,cc}
    p.window = 20
    p.settled_samples = 60
    p.smoothing = 0.9
    p.gain = 4.0
    p.threshold_ms = 12.5
    p.threshold_min_ms = 6.0
    p.threshold_max_ms = 600.0
    p.threshold_rise = 0.0087
    p.threshold_fall = 0.039
    p.spike_ms = 15.0
    p.overuse_ms = 10.0


cdef void rate_default(RateControlParameters *p) noexcept nogil:
    # libwebrtc aimd_rate_control.cc
    p.backoff = 0.85
    p.backoff_margin_bps = 5_000.0
    p.increase_per_second = 1.08
    p.increase_min_bps = 1_000.0
    p.throughput_factor = 1.5
    p.throughput_margin_bps = 10_000.0
    p.rtt_default_us = 200_000.0
    # own
    p.drain_us = 500_000.0
    p.backoff_gentle = 0.97
    p.backoff_hard = 0.5
    p.drained_us = 15_000
    p.drain_wait_us = 1_000_000
    p.compete_queue_us = 400_000
    p.compete_packets = 1.0
    p.compete_increase = 1.5
    p.drains_max = 4
    p.drains_shrinking = 0.6
    p.severity_max = 2
    p.compete_test_us = 30_000_000
    p.compete_alone = 0.85
    p.compete_loss = 0.1
    p.compete_backoff = 0.85


cdef void throughput_default(ThroughputParameters *p) noexcept nogil:
    # libwebrtc acknowledged_bitrate_estimator_interface.h
    p.required_packets = 10
    p.window_packets = 20
    p.window_packets_max = 500
    p.window_min_us = 1_000_000
    p.window_max_us = 5_000_000
    # own
    p.recent_us = 500_000
    p.busy_us = 15_000
    p.busy_packets = 5
    p.busy_delay_us = 5_000


cdef void loss_default(LossParameters *p) noexcept nogil:
    # libwebrtc loss_based_bwe_v2.cc
    p.observations = 15
    p.observations_min = 3
    p.observation_us = 250_000
    p.increase_window_us = 300_000
    p.padding_us = 0                    # libwebrtc: 2 s. No standing padding here
    p.hold_us = 300_000
    p.hold_max_us = 60_000_000
    p.candidate_up = 1.02
    p.candidate_same = 1.0
    p.candidate_down = 0.95
    p.rampup_factor = 1.5
    p.rampup_factor_hold = 1.2
    p.rampup_hold_threshold = 1.3
    p.bandwidth_bias = 0.0002
    p.bandwidth_log_bias = 0.02
    p.loss_threshold = 0.2
    p.preference_smoothing = 0.002
    p.inherent_min = 1e-3
    p.inherent_start = 0.01
    p.inherent_offset = 0.05
    p.inherent_balance_bps = 100_000.0
    p.newton_step = 0.75
    p.newton_iterations = 1
    p.sending_rate_smoothing = 0.0
    p.instant_weight = 0.9
    p.instant_balance_bps = 100_000.0
    p.instant_offset = 0.05
    p.temporal_weight = 0.9
    p.acknowledged_candidate = 1.0
    p.increase_factor = 1.3
    p.hold_factor = 2.0
    p.lower_bound_factor = 1.0
    p.median_rate_factor = 2.0
    p.acknowledged_in_alr = False
    p.upper_bound_in_alr = False
    p.rise_above_average_loss = False
    p.by_packets = False


cdef void probe_default(ProbeParameters *p) noexcept nogil:
    # libwebrtc probe_controller.{h,cc}
    p.first_scale = 3.0
    p.second_scale = 6.0
    p.further_scale = 2.0
    p.further_threshold = 0.7
    p.alr_scale = 2.0
    p.drop_threshold = 0.66
    p.drop_fraction = 0.85
    p.loss_limited_scale = 1.5
    p.wanted_scale = 2.0
    p.duration_us = 15_000
    p.packets = 5
    p.result_wait_us = 1_000_000
    p.alr_interval_us = 5_000_000
    p.alr_ended_us = 3_000_000
    p.drop_us = 5_000_000
    # own
    p.duration_max_us = 100_000
    p.duration_jitter = 6.0
    p.start_interval_us = 1_000_000
    p.start_us = 5_000_000
    p.alr_interval_max_us = 20_000_000
    p.upward_scale = 2.0
    p.upward_interval_us = 5_000_000
    p.upward_interval_max_us = 20_000_000
    p.target_margin = 1.1
    p.request_interval_us = 1_000_000


cdef void loss_probe_default(LossProbeParameters *p) noexcept nogil:
    p.loss = 0.04
    p.patience_us = 2_000_000
    p.rate_min_bps = 200_000.0
    p.interval_us = 20_000_000
    p.scale = 2.0
    p.packets = 16
    p.share_factor = 1.5
    p.share_margin = 0.12
    p.valid_us = 30_000_000
    p.inherent_factor = 1.5


cdef void fallback_default(FallbackParameters *p) noexcept nogil:
    # libwebrtc send_side_bandwidth_estimation.cc, the part for loss reports
    p.loss_low = 0.02
    p.loss_high = 0.1
    p.increase_per_second = 1.08
    p.increase_bps = 1_000.0
    p.decrease_us = 300_000
    p.report_us = 6_000_000
    # own
    p.sent_factor = 1.5
    p.sent_margin_bps = 10_000.0
    p.remb_us = 15_000_000


cdef void parameters_default(EstimatorParameters *p) noexcept nogil:
    p.start_bps = 300_000.0             # libwebrtc's kDefaultStartBitrateBps
    p.min_bps = 30_000.0                # an audio stream's; libwebrtc 5,000
    p.max_bps = 20_000_000.0            # what the send history covers for a second
    p.pacing_factor = 1.1               # libwebrtc video/config: kStrictPacingMultiplier
    p.overhead_bytes = 28               # IPv4 and UDP
    # libwebrtc send_side_bandwidth_estimation.cc, RttBasedBackoff
    p.timeout_us = 3_000_000
    p.timeout_interval_us = 1_000_000
    p.timeout_fraction = 0.8
    p.timeout_floor_bps = 5_000.0
    # own
    p.warning_us = 500_000
    p.congested_us = 500_000
    p.warning_queue_us = 60_000
    trendline_default(&p.trendline)
    rate_default(&p.rate)
    throughput_default(&p.throughput)
    loss_default(&p.loss)
    loss_probe_default(&p.loss_probe)
    # libwebrtc alr_experiment.cc, kDefaultProbingScreenshareBweSettings, in force by default
    p.alr.usage = 0.8
    p.alr.start_level = 0.4
    p.alr.stop_level = -0.6
    probe_default(&p.probe)
    fallback_default(&p.fallback)
