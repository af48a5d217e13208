# SPDX-License-Identifier: Apache-2.0
"""Puts the parts together; see estimator.pxd. The order follows libwebrtc's goog_cc_network_control.cc (7204)."""

from libc.math cimport INFINITY, isfinite
from libc.stdint cimport INT64_MAX, INT64_MIN
from libc.stdlib cimport free

from sfu.engine.bwe.alr cimport alr_init, alr_sent, alr_set_rate
from sfu.engine.bwe.arrivals cimport (
    delay_add, delay_init, receiver_clock_init, receiver_clock_shift_us, sort_by_arrival,
)
from sfu.engine.bwe.fallback cimport (
    fallback_cap_bps, fallback_init, fallback_meter, fallback_rate_bps, fallback_remb, fallback_report,
)
from sfu.engine.bwe.history cimport (
    HISTORY_PACKETS, PACKET_FLYING, PACKET_LOST, PACKET_RECEIVED, PACKET_UNSENT, SentPacket, history_extend,
    history_init, history_next, history_packet, history_received, history_remember, history_sent, history_was_passed,
)
from sfu.engine.bwe.loss cimport (
    LOSS_DECREASING, LOSS_DELAY_BASED, loss_init, loss_is_over, loss_packet, loss_rate_bps, loss_ready, loss_recovered,
    loss_set_acknowledged, loss_set_bounds, loss_shown, loss_tolerate, loss_update,
)
from sfu.engine.bwe.loss_probe cimport (
    VERDICT_CAPACITY, VERDICT_INHERENT, VERDICT_NONE, loss_probe_begin, loss_probe_due, loss_probe_init, loss_probe_judge,
    loss_probe_packet,
)
from sfu.engine.bwe.parameters cimport parameters_default
from sfu.engine.bwe.probe_result cimport (
    probe_results_expect, probe_results_init, probe_results_packet, probe_results_take,
)
from sfu.engine.bwe.probes cimport (
    LIMIT_DELAY, LIMIT_DELAY_INCREASED, LIMIT_LOSS, LIMIT_LOSS_INCREASING, LIMIT_TIMEOUT, LimitCause, probes_extra,
    probes_init, probes_outgrown, probes_process, probes_recovered, probes_request, probes_set_estimate,
    probes_set_limited, probes_set_max, probes_set_wanted, probes_start, probes_take,
)
from sfu.engine.bwe.rate_control cimport (
    RATE_COMPETE, RATE_DRAIN, RateInput, rate_control_init, rate_control_may_reduce, rate_control_rest, rate_control_set,
    rate_control_take_outgrown, rate_control_take_shifted, rate_control_update,
)
from sfu.engine.bwe.throughput cimport (
    throughput_bps, throughput_busy_bps, throughput_init, throughput_packet, throughput_trim,
)
from sfu.engine.bwe.trendline cimport (
    USAGE_NORMAL, USAGE_OVERUSING, USAGE_UNDERUSING, Usage, inter_arrival_init, inter_arrival_packet, trendline_init,
    trendline_update,
)
from sfu.engine.memory cimport own_lines_unset

cdef enum:
    TICK_US = 50_000
    FEEDBACK_MAX = HISTORY_PACKETS
    STREAM_TIMEOUT_US = 2_000_000   # delay_based_bwe.cc: groups before and after are not compared
    PACKET_MAX_US = 12_000
    IDLE_QUEUE_US = 30_000          # losses beside a longer queue are its own
    LATEST_PACKETS = 5              # of a feedback: the shortest of their delays is the present one
    SILENCE_US = 1_000_000          # longer than queues last
    LOSS_SILENCE_US = 3_000_000     # losses may be the link's own: a picture that they pause does not return at once
    RTT_REPORT_US = 10_000_000      # how long a receiver report's RTT goes before our own

# goog_cc_network_control.cc: a probe's result does not lower the rate further than to this share of what arrives
cdef double PROBE_FLOOR = 0.85
cdef double LINK_LOSS = 0.04        # share of packets
cdef double RTT_WEIGHT = 0.125      # RFC 6298
cdef double PACKET_BITS = 9600.0    # 1,200 bytes


cdef Estimator *estimator_open() noexcept nogil:
    cdef Estimator *e = <Estimator *>own_lines_unset(sizeof(Estimator))
    cdef EstimatorParameters parameters
    if e != NULL:
        parameters_default(&parameters)
        estimator_init(e, &parameters, 0)
    return e


cdef void estimator_close(Estimator *e) noexcept nogil:
    free(e)


cdef uint32_t estimator_size() noexcept nogil:
    return sizeof(Estimator)


cdef void estimator_init(Estimator *e, const EstimatorParameters *parameters, int64_t now_us) noexcept nogil:
    e.p = parameters[0]
    history_init(&e.history)
    throughput_init(&e.throughput)
    inter_arrival_init(&e.inter_arrival)
    trendline_init(&e.trendline, &e.p.trendline)
    rate_control_init(&e.rate, &e.p.rate, e.p.start_bps, e.p.min_bps)
    loss_init(&e.loss, &e.p.loss, e.p.min_bps, e.p.max_bps)
    loss_probe_init(&e.loss_probe)
    alr_init(&e.alr)
    alr_set_rate(&e.alr, &e.p.alr, e.p.start_bps)
    probes_init(&e.probes, &e.p.probe, e.p.start_bps, e.p.max_bps)
    probe_results_init(&e.results)
    fallback_init(&e.fallback, e.p.start_bps)
    receiver_clock_init(&e.clock)
    delay_init(&e.delay)
    e.now_us = now_us
    e.ticked_us = now_us
    e.sent_us = INT64_MIN
    e.heard_us = INT64_MIN
    e.feedback = False
    e.timeout_us = INT64_MIN
    e.rtt_us = 0.0
    e.rtt_reported_us = INT64_MIN
    e.target_bps = e.p.start_bps
    e.delay_target_bps = e.p.start_bps
    e.basis = BASIS_START
    e.warning_until_us = INT64_MIN
    e.congested_until_us = INT64_MIN
    e.probed_bps = 0.0


# --- sending

cdef uint16_t estimator_next_sequence(Estimator *e) noexcept nogil:
    return history_next(&e.history)


cdef void estimator_sent(Estimator *e, uint16_t sequence, uint32_t size, int64_t now_us,
                         int32_t probe_cluster) noexcept nogil:
    cdef uint32_t carried = size + e.p.overhead_bytes
    history_sent(&e.history, sequence, carried, now_us, probe_cluster)
    e.fallback.sent_bytes += carried
    if probe_cluster < 0:
        # A probe is not the application's wish.
        alr_sent(&e.alr, carried, now_us)
    if e.heard_us == INT64_MIN:
        e.heard_us = now_us
    e.sent_us = now_us


# --- feedback

cdef void name_lost(Estimator *e, SentPacket *packet, uint16_t observation) noexcept nogil:
    packet.state = PACKET_LOST
    packet.observation = observation
    if packet.cluster >= 0:
        loss_probe_packet(&e.loss_probe, packet.cluster, packet.size, INT64_MIN)
    loss_packet(&e.loss, packet.sent_us, packet.size, False)


cdef bint settle_overtaken(Estimator *e, uint16_t observation) noexcept nogil:
    """Those that have been passed since are lost; True: there are such."""
    cdef SendHistory *h = &e.history
    cdef SentPacket *packet
    cdef uint32_t i, kept = 0
    cdef bint lost = False
    for i in range(h.overtaken_count):
        packet = history_packet(h, h.overtaken[i])
        if h.next - h.overtaken[i] > HISTORY_PACKETS or packet.state == PACKET_RECEIVED or packet.state == PACKET_LOST:
            continue
        if packet.state == PACKET_FLYING and history_was_passed(h, h.overtaken[i]):
            name_lost(e, packet, observation)
            lost = True
            continue
        h.overtaken[kept] = h.overtaken[i]
        kept += 1
    h.overtaken_count = kept
    return lost


cdef uint32_t take_packets(Estimator *e, const TransportCcHeader *header, const int64_t *arrival_us, uint32_t count,
                           uint16_t *received, bint *lost) noexcept nogil:
    """Books what is lost and what was received; returns how many of these there are for the first time."""
    cdef uint32_t i, n = 0
    cdef int64_t extended
    cdef SentPacket *packet
    cdef uint16_t observation = <uint16_t>(e.loss.count & 0xFFFF)
    for i in range(count):
        extended = history_extend(&e.history, <uint16_t>(header.base_sequence + i))
        if extended >= 0 and arrival_us[i] != INT64_MIN and history_packet(&e.history, extended).state != PACKET_UNSENT:
            history_received(&e.history, extended)
    for i in range(count):
        extended = history_extend(&e.history, <uint16_t>(header.base_sequence + i))
        if extended < 0:
            continue
        packet = history_packet(&e.history, extended)
        e.history.acknowledged = max(e.history.acknowledged, extended)
        if arrival_us[i] == INT64_MIN:
            if packet.state == PACKET_UNSENT:
                history_remember(&e.history, extended)
            elif packet.state == PACKET_FLYING and (
                    history_was_passed(&e.history, extended) or not history_remember(&e.history, extended)):
                name_lost(e, packet, observation)
                lost[0] = True
            continue
        if packet.state != PACKET_FLYING and packet.state != PACKET_LOST:
            continue
        if packet.state == PACKET_LOST and packet.observation == observation:
            loss_recovered(&e.loss, packet.size)
        else:
            loss_packet(&e.loss, packet.sent_us, packet.size, True)
        packet.state = PACKET_RECEIVED
        received[n] = <uint16_t>i
        n += 1
    if e.history.overtaken_count and settle_overtaken(e, observation):
        lost[0] = True
    return n


cdef inline SentPacket *named(Estimator *e, const TransportCcHeader *header, uint16_t i) noexcept nogil:
    return history_packet(&e.history, history_extend(&e.history, <uint16_t>(header.base_sequence + i)))


cdef void measure_rtt(Estimator *e, double sample_us, int64_t now_us) noexcept nogil:
    if sample_us <= 0 or (e.rtt_reported_us != INT64_MIN and now_us - e.rtt_reported_us < RTT_REPORT_US):
        return
    e.rtt_us = sample_us if e.rtt_us == 0 else (1.0 - RTT_WEIGHT) * e.rtt_us + RTT_WEIGHT * sample_us
    e.rate.rtt_us = e.rtt_us


cdef bint follow_delays(Estimator *e, const TransportCcHeader *header, const int64_t *arrival_us, int64_t shift_us,
                        const uint16_t *order, uint32_t n, int64_t now_us) noexcept nogil:
    """Every received packet in order of arrival; True: an underuse has ended."""
    cdef uint32_t k
    cdef int64_t at_us, newest_us = arrival_us[order[n - 1]] + shift_us
    cdef int64_t sent_delta_us = 0, arrival_delta_us = 0, rtt_us = INT64_MAX, delay_us = INT64_MAX
    cdef bint recovered = False
    cdef Usage before
    cdef SentPacket *packet
    for k in range(n):
        packet = named(e, header, order[k])
        at_us = arrival_us[order[k]] + shift_us
        rtt_us = min(rtt_us, now_us - packet.sent_us - (newest_us - at_us))
        if k + LATEST_PACKETS >= n:
            delay_us = min(delay_us, at_us - packet.sent_us)
        throughput_packet(&e.throughput, packet.sent_us, at_us, packet.size)
        if packet.cluster >= 0:
            loss_probe_packet(&e.loss_probe, packet.cluster, packet.size, at_us)
            probe_results_packet(&e.results, packet.cluster, packet.size, packet.sent_us, at_us)
        if not inter_arrival_packet(&e.inter_arrival, packet.sent_us, at_us, now_us, &sent_delta_us,
                                    &arrival_delta_us):
            continue
        before = e.trendline.usage
        trendline_update(&e.trendline, &e.p.trendline, sent_delta_us / 1000.0, arrival_delta_us / 1000.0, at_us)
        recovered = recovered or (before == USAGE_UNDERUSING and e.trendline.usage == USAGE_NORMAL)
    throughput_trim(&e.throughput, &e.p.throughput)
    measure_rtt(e, rtt_us, now_us)
    delay_add(&e.delay, delay_us, now_us)
    return recovered


cdef int64_t queued_us(const Estimator *e) noexcept nogil:
    """A delay beyond this is one of queueing: not of a packet's own length, nor, after a drop, of the time before it."""
    cdef int64_t packet_us = min(<int64_t>(PACKET_BITS * 1e6 / e.rate.rate_bps), <int64_t>PACKET_MAX_US)
    return max(max(e.p.throughput.busy_delay_us, packet_us), e.delay.queue_us // 4)


cdef void doubt_capacity(Estimator *e, double probe_bps) noexcept nogil:
    """What passes without a loss disproves the capacity that former losses seemed to name."""
    if e.loss_probe.verdict == VERDICT_CAPACITY and probe_bps > e.loss_probe.capacity_bps and loss_is_over(&e.loss):
        e.loss_probe.verdict = VERDICT_NONE
        loss_tolerate(&e.loss, 0.0, 0.0, INFINITY)


cdef void follow_rate(Estimator *e, double throughput, int64_t newest_sent_us, bint lost,
                      int64_t now_us) noexcept nogil:
    """The delay-based rate after a feedback."""
    cdef double probe_bps = probe_results_take(&e.results)
    cdef RateInput heard
    if probe_bps >= 0:
        e.probed_bps = probe_bps
        if e.results.measured_id == e.loss_probe.last_cluster:
            # It was sent to see losses: they spoil the measure, which is therefore believed only where it is higher.
            probe_bps = max(probe_bps, e.delay_target_bps)
        if throughput >= 0:
            probe_bps = max(probe_bps, min(e.delay_target_bps, PROBE_FLOOR * throughput))
    if e.trendline.usage == USAGE_OVERUSING and throughput < 0:
        if rate_control_may_reduce(&e.rate, e.rate.rate_bps / 2 - 1, now_us):
            rate_control_set(&e.rate, e.rate.rate_bps / 2, now_us)
    elif e.trendline.usage != USAGE_OVERUSING and probe_bps >= 0:
        rate_control_set(&e.rate, probe_bps, now_us)
        if e.alr.started_us != INT64_MIN:
            doubt_capacity(e, probe_bps)
            loss_shown(&e.loss, probe_bps, e.rate.rate_bps)
    else:
        heard.usage = e.trendline.usage
        heard.throughput_bps = throughput
        heard.busy_bps = throughput_busy_bps(&e.throughput, &e.p.throughput, e.delay.empty_us + queued_us(e))
        heard.queue_us = e.delay.queue_us
        heard.sent_bps = e.fallback.sent_bps
        heard.newest_sent_us = newest_sent_us
        heard.lost = lost
        heard.now_us = now_us
        rate_control_update(&e.rate, &e.p.rate, &heard)
    if rate_control_take_shifted(&e.rate):
        e.delay.known = False
    e.delay_target_bps = e.rate.rate_bps


cdef LimitCause limit_cause(const Estimator *e, int64_t now_us) noexcept nogil:
    if e.trendline.usage != USAGE_NORMAL or e.rate.state == RATE_DRAIN or e.rate.state == RATE_COMPETE:
        return LIMIT_DELAY_INCREASED
    if unheard(e):
        return LIMIT_TIMEOUT
    if e.basis != BASIS_LOSS or (e.alr.started_us != INT64_MIN and loss_is_over(&e.loss)):
        return LIMIT_DELAY
    return LIMIT_LOSS if e.loss.state == LOSS_DECREASING else LIMIT_LOSS_INCREASING


cdef bint loss_limits(const Estimator *e) noexcept nogil:
    if e.rate.state == RATE_COMPETE and e.loss.average_loss < e.p.rate.compete_loss:
        return False
    return loss_ready(&e.loss) and e.loss.state != LOSS_DELAY_BASED


cdef void set_target(Estimator *e, int64_t now_us) noexcept nogil:
    """The estimate from its parts, and what depends on it."""
    cdef double rate_bps, before_bps = e.target_bps, cap_bps
    if e.feedback:
        rate_bps = e.rate.rate_bps
        e.basis = BASIS_TIMEOUT if unheard(e) else BASIS_DELAY
        # In its delay-based state the loss-based part only repeats what the delay-based one was at its last turn.
        if loss_limits(e) and loss_rate_bps(&e.loss) < rate_bps:
            rate_bps = loss_rate_bps(&e.loss)
            e.basis = BASIS_LOSS
        cap_bps = fallback_cap_bps(&e.fallback, &e.p.fallback, now_us)
        if cap_bps < rate_bps:
            rate_bps = cap_bps
            e.basis = BASIS_REMB
    else:
        rate_bps = fallback_rate_bps(&e.fallback, &e.p.fallback, now_us)
        if isfinite(fallback_cap_bps(&e.fallback, &e.p.fallback, now_us)):
            e.basis = BASIS_REMB
        elif e.fallback.reported_us != INT64_MIN:
            e.basis = BASIS_REPORTS
    e.target_bps = min(max(rate_bps, e.p.min_bps), e.p.max_bps)
    alr_set_rate(&e.alr, &e.p.alr, e.target_bps)
    probes_set_limited(&e.probes, e.alr.started_us != INT64_MIN, e.alr.started_us, now_us)
    e.probes.jitter_us = 1000.0 * e.trendline.jitter_ms
    probes_set_estimate(&e.probes, &e.p.probe, e.target_bps, limit_cause(e, now_us), now_us)
    judge_congestion(e, before_bps, now_us)


cdef void judge_congestion(Estimator *e, double before_bps, int64_t now_us) noexcept nogil:
    cdef bint overusing = e.trendline.usage == USAGE_OVERUSING
    cdef bint losing = e.basis == BASIS_LOSS and e.loss.state == LOSS_DECREASING
    e.now_us = max(e.now_us, now_us)
    if overusing or e.basis == BASIS_TIMEOUT or (losing and e.target_bps < before_bps):
        e.congested_until_us = now_us + e.p.congested_us
    if (losing or e.trendline.usage != USAGE_NORMAL or e.trendline.modified_ms > e.trendline.threshold_ms
            or e.delay.queue_us > e.p.warning_queue_us or now_us < e.congested_until_us):
        e.warning_until_us = now_us + e.p.warning_us


cdef void estimator_feedback(Estimator *e, const TransportCcHeader *header, const int64_t *arrival_us, uint32_t count,
                             int64_t now_us) noexcept nogil:
    cdef uint16_t order[FEEDBACK_MAX]
    cdef uint32_t n
    cdef int64_t shift_us
    cdef bint recovered = False, lost = False
    cdef double throughput
    cdef int64_t newest_sent_us
    shift_us = receiver_clock_shift_us(&e.clock, header.reference_time)
    n = take_packets(e, header, arrival_us, min(count, <uint32_t>FEEDBACK_MAX), order, &lost)
    if n:
        if e.heard_us == INT64_MIN or now_us - e.heard_us > STREAM_TIMEOUT_US:
            inter_arrival_init(&e.inter_arrival)
        e.feedback = True
        e.heard_us = now_us
        sort_by_arrival(order, n, arrival_us)
        recovered = follow_delays(e, header, arrival_us, shift_us, order, n, now_us)
        throughput = throughput_bps(&e.throughput, &e.p.throughput)
        if throughput >= 0:
            loss_set_acknowledged(&e.loss, throughput)
        newest_sent_us = named(e, header, order[n - 1]).sent_us
        follow_rate(e, throughput, newest_sent_us, lost, now_us)
    if not e.feedback:
        return
    loss_update(&e.loss, e.rate.rate_bps, e.alr.started_us != INT64_MIN)
    set_target(e, now_us)
    if recovered:
        probes_recovered(&e.probes, &e.p.probe, now_us)
    if rate_control_take_outgrown(&e.rate):
        probes_outgrown(&e.probes, &e.p.probe, now_us)


cdef void estimator_remb(Estimator *e, int64_t bitrate_bps, int64_t now_us) noexcept nogil:
    fallback_remb(&e.fallback, bitrate_bps, now_us)
    set_target(e, now_us)


cdef void estimator_report(Estimator *e, double fraction_lost, int64_t rtt_us, int64_t now_us) noexcept nogil:
    if rtt_us > 0:
        e.rtt_us = rtt_us
        e.rate.rtt_us = rtt_us
        e.rtt_reported_us = now_us
    fallback_report(&e.fallback, &e.p.fallback, fraction_lost, e.rtt_us, e.p.min_bps, now_us)
    set_target(e, now_us)


# --- time

cdef bint unheard(const Estimator *e) noexcept nogil:
    """Feedback has come before, and does not come any more though packets are sent."""
    return e.feedback and e.sent_us - e.heard_us > e.p.timeout_us


cdef void back_off_unheard(Estimator *e, int64_t now_us) noexcept nogil:
    cdef double rate_bps = min(e.target_bps, e.rate.rate_bps)
    if rate_bps <= e.p.timeout_floor_bps or (
            e.timeout_us != INT64_MIN and now_us - e.timeout_us < e.p.timeout_interval_us):
        return
    e.timeout_us = now_us
    rate_control_set(&e.rate, max(e.p.timeout_fraction * rate_bps, e.p.timeout_floor_bps), now_us)


cdef void probe_losses(Estimator *e, int64_t now_us) noexcept nogil:
    cdef int32_t cluster
    cdef double inherent
    if loss_probe_judge(&e.loss_probe, &e.p.loss_probe, now_us):
        inherent = e.loss_probe.inherent if e.loss_probe.verdict == VERDICT_INHERENT else 0.0
        loss_tolerate(&e.loss, inherent, e.p.loss_probe.inherent_factor * inherent,
                      e.loss_probe.capacity_bps if e.loss_probe.verdict == VERDICT_CAPACITY else INFINITY)
    if loss_probe_due(&e.loss_probe, &e.p.loss_probe, e.loss.average_loss, e.target_bps,
                      e.trendline.usage == USAGE_NORMAL and e.delay.queue_us <= IDLE_QUEUE_US, now_us):
        cluster = probes_extra(&e.probes, &e.p.probe, e.p.loss_probe.scale * e.target_bps, e.p.loss_probe.packets,
                               now_us)
        if cluster >= 0:
            loss_probe_begin(&e.loss_probe, cluster, e.loss.average_loss, now_us)


cdef void forget_when_silent(Estimator *e, int64_t now_us) noexcept nogil:
    """Nothing flows, so that no queue of ours is left: what was last heard of one must not keep probes away for good."""
    cdef int64_t silent_us = now_us - max(e.sent_us, e.heard_us)
    if not e.feedback or silent_us < SILENCE_US:
        return
    inter_arrival_init(&e.inter_arrival)
    trendline_init(&e.trendline, &e.p.trendline)
    rate_control_rest(&e.rate)
    e.delay.queue_us = 0
    if silent_us >= LOSS_SILENCE_US:
        loss_init(&e.loss, &e.p.loss, e.p.min_bps, e.p.max_bps)
    # Packets whose feedback never came are not waited for any longer.
    e.heard_us = max(e.sent_us, e.heard_us)


cdef void estimator_tick(Estimator *e, int64_t now_us) noexcept nogil:
    e.ticked_us = now_us
    fallback_meter(&e.fallback, now_us)
    forget_when_silent(e, now_us)
    if unheard(e):
        back_off_unheard(e, now_us)
    set_target(e, now_us)
    if e.feedback:
        probes_process(&e.probes, &e.p.probe, now_us)
        probe_losses(e, now_us)


cdef int64_t estimator_next_us(const Estimator *e) noexcept nogil:
    return e.ticked_us + TICK_US


# --- results

cdef int64_t estimator_rate_bps(const Estimator *e) noexcept nogil:
    return <int64_t>e.target_bps


cdef bint estimator_link_loses(const Estimator *e) noexcept nogil:
    return (e.feedback and e.loss.average_loss >= LINK_LOSS and e.trendline.usage == USAGE_NORMAL
            and e.delay.queue_us <= IDLE_QUEUE_US)


cdef int64_t estimator_pacing_bps(const Estimator *e) noexcept nogil:
    return <int64_t>(e.target_bps * e.p.pacing_factor)


cdef int64_t estimator_rtt_us(const Estimator *e) noexcept nogil:
    return <int64_t>e.rtt_us


cdef uint8_t estimator_basis(const Estimator *e) noexcept nogil:
    return e.basis


cdef CongestionState estimator_state(const Estimator *e) noexcept nogil:
    if e.now_us < e.congested_until_us:
        return CONGESTION_CONGESTED
    return CONGESTION_WARNING if e.now_us < e.warning_until_us else CONGESTION_NORMAL


cdef void estimator_snapshot(const Estimator *e, EstimatorSnapshot *out) noexcept nogil:
    cdef double throughput = throughput_bps(&e.throughput, &e.p.throughput)
    cdef double cap_bps = fallback_cap_bps(&e.fallback, &e.p.fallback, e.now_us)
    out.rate_bps = estimator_rate_bps(e)
    out.pacing_bps = estimator_pacing_bps(e)
    out.delay_rate_bps = <int64_t>e.rate.rate_bps if e.feedback else 0
    out.loss_rate_bps = 0 if e.loss.state == LOSS_DELAY_BASED else <int64_t>loss_rate_bps(&e.loss)
    out.acknowledged_bps = <int64_t>max(throughput, 0.0)
    out.remb_bps = <int64_t>cap_bps if isfinite(cap_bps) else 0
    out.rtt_us = <int64_t>e.rtt_us
    out.queue_us = e.delay.queue_us
    out.trend_ms = e.trendline.modified_ms
    out.threshold_ms = e.trendline.threshold_ms
    out.loss = e.loss.average_loss if e.feedback else e.fallback.loss
    out.inherent_loss = e.loss.best.inherent_loss
    out.state = estimator_state(e)
    out.basis = e.basis
    out.rate_state = e.rate.state
    out.application_limited = e.alr.started_us != INT64_MIN
    out.probes = <uint32_t>e.probes.next_cluster
    out.probe_results = e.results.measured
    out.probe_bps = <int64_t>e.probed_bps


# --- probing

cdef bint estimator_probe(Estimator *e, int64_t now_us, ProbePlan *out) noexcept nogil:
    if e.sent_us == INT64_MIN:
        return False
    # The first probes wait for the first packet, and for somebody who can send them.
    probes_start(&e.probes, &e.p.probe, now_us)
    if not probes_take(&e.probes, out):
        return False
    probe_results_expect(&e.results, out.cluster, out.min_packets, out.min_bytes)
    return True


cdef bint estimator_has_probe(const Estimator *e) noexcept nogil:
    return e.probes.count > 0


cdef bint estimator_request_probe(Estimator *e, int64_t target_bps, int64_t now_us) noexcept nogil:
    return e.feedback and probes_request(&e.probes, &e.p.probe, target_bps, now_us)


cdef void estimator_set_wanted(Estimator *e, int64_t wanted_bps, int64_t now_us) noexcept nogil:
    probes_set_wanted(&e.probes, &e.p.probe, wanted_bps)


cdef void estimator_set_bounds(Estimator *e, int64_t min_bps, int64_t max_bps, int64_t now_us) noexcept nogil:
    e.p.min_bps = min_bps
    e.p.max_bps = max(max_bps, min_bps)
    e.rate.min_bps = min_bps
    loss_set_bounds(&e.loss, min_bps, e.p.max_bps)
    probes_set_max(&e.probes, &e.p.probe, e.p.max_bps, now_us)
    set_target(e, now_us)
