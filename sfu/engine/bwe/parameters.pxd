# SPDX-License-Identifier: Apache-2.0
"""What the bandwidth estimator can be told; parameters_default sets, and names the source of, every value."""

from libc.stdint cimport int64_t, uint32_t


cdef enum:
    TRENDLINE_WINDOW_MAX = 40       # samples; bound of trendline.window
    LOSS_OBSERVATIONS_MAX = 15      # bound of loss.observations
    THROUGHPUT_WINDOW_MAX = 512     # packets; bound of throughput.window_packets_max


cdef struct TrendlineParameters:
    uint32_t window                 # samples
    uint32_t settled_samples        # the trend's weight grows with the samples up to this many
    double smoothing
    double gain
    double threshold_ms             # at the start
    double threshold_min_ms
    double threshold_max_ms
    double threshold_rise           # per ms
    double threshold_fall
    double spike_ms                 # what lies further above the threshold does not move it
    double overuse_ms               # how long above the threshold makes an overuse


cdef struct RateControlParameters:
    double backoff                  # new rate as share of the acknowledged one
    double backoff_margin_bps       # below that
    double increase_per_second      # factor, while the capacity is unknown
    double increase_min_bps         # a single step
    double throughput_factor        # the rate stays below acknowledged × this + margin
    double throughput_margin_bps
    double rtt_default_us
    double drain_us                 # time to drain the queue in, after an overuse; 0 = always `backoff`
    double backoff_gentle           # with drain_us: the least and
    double backoff_hard             # the most that is backed off
    int64_t drained_us              # a queue this short counts as none
    int64_t drain_wait_us           # a queue that has not drained by then is another flow's
    int64_t compete_queue_us        # which is not followed beyond this
    double compete_packets          # more per RTT, each RTT, but not beyond
    double compete_increase         # this factor per second
    double drains_shrinking         # drains that find less than this share of what the first one found,
    uint32_t severity_max           # ever harder drains, or
    uint32_t drains_max             # drains in a row until the queue is held for another flow's
    double compete_backoff          # at a loss
    int64_t compete_test_us         # so often it is tested whether the queue is another's at all
    double compete_alone            # less than this share of what is sent passes: nobody else is there
    double compete_loss             # average losses below this are left to the back-off


cdef struct ThroughputParameters:
    uint32_t required_packets
    uint32_t window_packets
    uint32_t window_packets_max
    int64_t window_min_us
    int64_t window_max_us
    int64_t recent_us               # window of the busy throughput
    int64_t busy_us                 # it needs so much time of queueing,
    uint32_t busy_packets           # and so many packets
    int64_t busy_delay_us           # delay above the shortest that counts as queueing


cdef struct LossParameters:
    uint32_t observations           # window
    uint32_t observations_min       # before the estimate counts
    int64_t observation_us          # at least
    int64_t increase_window_us
    int64_t padding_us              # 0 = no padding is asked for
    int64_t hold_us
    int64_t hold_max_us
    double candidate_up
    double candidate_same
    double candidate_down
    double rampup_factor
    double rampup_factor_hold
    double rampup_hold_threshold
    double bandwidth_bias
    double bandwidth_log_bias
    double loss_threshold           # below it high rates are preferred
    double preference_smoothing
    double inherent_min
    double inherent_start
    double inherent_offset
    double inherent_balance_bps
    double newton_step
    uint32_t newton_iterations
    double sending_rate_smoothing
    double instant_weight
    double instant_balance_bps
    double instant_offset
    double temporal_weight
    double acknowledged_candidate   # factor
    double increase_factor
    double hold_factor
    double lower_bound_factor       # of the acknowledged rate
    double median_rate_factor
    bint acknowledged_in_alr        # use it as a candidate while application limited
    bint upper_bound_in_alr         # use the instant upper bound as a candidate then
    bint rise_above_average_loss    # also when the average loss exceeds the inherent one
    bint by_packets                 # losses by packets instead of bytes


cdef struct AlrParameters:
    double usage                    # share of the estimate that counts as limited by the network
    double start_level              # of the budget
    double stop_level


cdef struct ProbeParameters:
    double first_scale              # of the start rate
    double second_scale
    double further_scale            # of the result
    double further_threshold        # share of the probed rate that a result must reach
    double alr_scale
    double drop_threshold           # an estimate that falls below this share has dropped
    double drop_fraction            # of the rate before, to be probed afterwards
    double loss_limited_scale
    double wanted_scale             # periodic probes stay below wanted × this
    double upward_scale             # outside ALR
    double target_margin            # of an allocator's target
    int64_t duration_us
    int64_t duration_max_us         # it grows up to this
    double duration_jitter          # with the jitter, times this
    int64_t result_wait_us
    int64_t start_interval_us       # during start_us after the first probe, 0 = as later
    int64_t start_us
    int64_t alr_interval_us
    int64_t alr_interval_max_us     # it doubles up to this while probes bring nothing
    int64_t alr_ended_us
    int64_t drop_us
    int64_t upward_interval_us      # outside ALR, 0 = never; it doubles as well
    int64_t upward_interval_max_us
    int64_t request_interval_us
    uint32_t packets


cdef struct LossProbeParameters:    # own; packets = 0: none
    double loss                     # from this share on,
    int64_t patience_us             # for so long, with an empty queue,
    double rate_min_bps             # where it would not take long,
    int64_t interval_us             # so often,
    double scale                    # at this multiple of the rate,
    uint32_t packets                # with so many
    double share_factor             # losses up to average × this + margin are not the rate's
    double share_margin
    int64_t valid_us                # for so long
    double inherent_factor          # of the average, is tolerated then


cdef struct FallbackParameters:     # without transport-wide feedback
    double loss_low
    double loss_high
    double increase_per_second
    double increase_bps
    double sent_factor              # the rate stays below sent × this + margin
    double sent_margin_bps
    int64_t decrease_us             # between two decreases, plus RTT
    int64_t remb_us                 # how long a REMB counts
    int64_t report_us               # how long a loss report counts


cdef struct EstimatorParameters:
    double start_bps
    double min_bps
    double max_bps
    double pacing_factor
    uint32_t overhead_bytes         # IP and UDP headers of a packet
    int64_t timeout_us              # sending without any feedback: back off by
    int64_t timeout_interval_us     # each interval
    double timeout_fraction
    double timeout_floor_bps
    int64_t warning_us              # how long CONGESTION_WARNING outlasts its cause
    int64_t congested_us
    int64_t warning_queue_us        # a standing queue of this length is a warning
    TrendlineParameters trendline
    RateControlParameters rate
    ThroughputParameters throughput
    LossParameters loss
    LossProbeParameters loss_probe
    AlrParameters alr
    ProbeParameters probe
    FallbackParameters fallback


cdef void parameters_default(EstimatorParameters *p) noexcept nogil
