# SPDX-License-Identifier: Apache-2.0
"""Rate control; see rate_control.pxd."""

from libc.math cimport INFINITY, ceil, floor, pow, sqrt
from libc.stdint cimport INT64_MIN

from sfu.engine.bwe.trendline cimport USAGE_OVERUSING, USAGE_UNDERUSING

# aimd_rate_control.cc of branch-heads/7204
cdef enum:
    REDUCE_MIN_US = 10_000              # between two decreases: RTT within these
    REDUCE_MAX_US = 200_000

cdef double FRAMES_PER_SECOND = 30.0
cdef double PACKET_BYTES = 1200.0
cdef double DETECTOR_DELAY_US = 100_000.0
cdef double ADDITIVE_MIN_BPS = 4000.0
cdef double FAR_BELOW = 0.5             # a throughput below this share of the rate: reduce at once

cdef enum:                              # own
    SETTLE_US = 50_000                  # after a decrease: what is sent from then on shows its effect
    CHECK_US = 200_000                  # until then a drain's effect must show
    DRAINED_MAX_US = 35_000
    DRAIN_MAX_US = 2_500_000            # a drain takes no longer
    LAG_US = 500_000
    UNPROVOKED_US = 5_000_000
    FLAT_WAIT_US = 600_000
    FLAT_US = 10_000                    # a queue that moves less while it should drain is none
    ALONE_US = 700_000                  # nobody to compete with, if more sent does not bring more through
    EMPTY_US = 1_000_000                # nobody else is there when the queue is empty for so long
    YIELD_MAX_US = 2_000_000            # a queue that has not fallen by then does not

cdef double UNDRAINED = 0.8             # a queue that still has this share of its length has not drained
cdef double DRAINED_PACKETS = 1.0
cdef double HARDER = 0.125              # each time deeper, before a queue is held for another flow's
cdef double RAISED = 1.05               # a rate above resume_bps × this
cdef double DISOBEDIENT = 1.3          # more than this multiple of the rate is sent: the queue tells nothing of others
cdef double OVERLOADED = 0.95           # less than this share of the rate passes: it is our own overload

# link_capacity_estimator.cc: weight of a sample, bounds of the normalised variance, width of the known range
cdef double OVERUSE_WEIGHT = 0.05
cdef double DEVIATION_MIN = 0.4
cdef double DEVIATION_MAX = 2.5
cdef double DEVIATIONS = 3.0


cdef double link_capacity_upper_bps(const LinkCapacity *c) noexcept nogil:
    if c.estimate_kbps < 0:
        return INFINITY
    return 1000.0 * (c.estimate_kbps + DEVIATIONS * sqrt(c.deviation * c.estimate_kbps))


cdef double link_capacity_lower_bps(const LinkCapacity *c) noexcept nogil:
    if c.estimate_kbps < 0:
        return 0.0
    return 1000.0 * max(0.0, c.estimate_kbps - DEVIATIONS * sqrt(c.deviation * c.estimate_kbps))


cdef void link_capacity_overuse(LinkCapacity *c, double throughput_bps) noexcept nogil:
    cdef double sample = floor(throughput_bps / 1000.0), error
    if c.estimate_kbps < 0:
        c.estimate_kbps = sample
    else:
        c.estimate_kbps = (1.0 - OVERUSE_WEIGHT) * c.estimate_kbps + OVERUSE_WEIGHT * sample
    error = c.estimate_kbps - sample
    c.deviation = ((1.0 - OVERUSE_WEIGHT) * c.deviation
                   + OVERUSE_WEIGHT * error * error / max(c.estimate_kbps, 1.0))
    c.deviation = min(max(c.deviation, DEVIATION_MIN), DEVIATION_MAX)


cdef void rate_control_init(RateControl *r, const RateControlParameters *p, double start_bps,
                            double min_bps) noexcept nogil:
    r.state = RATE_HOLD
    r.rate_bps = max(start_bps, min_bps)
    r.throughput_bps = r.rate_bps
    r.rtt_us = p.rtt_default_us
    r.min_bps = min_bps
    r.changed_us = INT64_MIN
    r.decreased_us = INT64_MIN
    r.resume_bps = 0.0
    r.before_bps = 0.0
    r.drain_us = 0
    r.drains = 0
    r.severity = 0
    r.visible = False
    r.yielding = False
    r.empty_since_us = INT64_MIN
    r.capacity_outgrown = False
    r.delay_shifted = False
    r.capacity.estimate_kbps = -1.0
    r.capacity.deviation = DEVIATION_MIN


cdef double rate_control_additive_bps(const RateControl *r) noexcept nogil:
    """One packet of the mean size per response time."""
    cdef double frame = r.rate_bps / 8.0 / FRAMES_PER_SECOND
    cdef double packet = frame / max(ceil(frame / PACKET_BYTES), 1.0)
    return max(packet * 8e6 / (2.0 * (r.rtt_us + DETECTOR_DELAY_US)), ADDITIVE_MIN_BPS)


cdef bint rate_control_may_reduce(const RateControl *r, double throughput_bps, int64_t now_us) noexcept nogil:
    cdef double interval_us = min(max(r.rtt_us, <double>REDUCE_MIN_US), <double>REDUCE_MAX_US)
    if r.changed_us == INT64_MIN or now_us - r.changed_us >= interval_us:
        return True
    return throughput_bps < FAR_BELOW * r.rate_bps


cdef bint rate_control_take_outgrown(RateControl *r) noexcept nogil:
    cdef bint outgrown = r.capacity_outgrown
    r.capacity_outgrown = False
    return outgrown


cdef bint rate_control_take_shifted(RateControl *r) noexcept nogil:
    cdef bint shifted = r.delay_shifted
    r.delay_shifted = False
    return shifted


cdef void set_rate(RateControl *r, double rate_bps, int64_t now_us) noexcept nogil:
    r.changed_us = now_us
    if rate_bps < r.rate_bps:
        r.decreased_us = now_us
    r.rate_bps = max(rate_bps, r.min_bps)


cdef void rate_control_set(RateControl *r, double rate_bps, int64_t now_us) noexcept nogil:
    if r.state == RATE_DRAIN:
        rate_control_rest(r)
    set_rate(r, rate_bps, now_us)


cdef void rate_control_rest(RateControl *r) noexcept nogil:
    r.state = RATE_HOLD
    r.severity = 0


cdef double throughput_limit_bps(const RateControl *r, const RateControlParameters *p) noexcept nogil:
    """What the receiver has not shown to arrive is not taken for granted."""
    return p.throughput_factor * r.throughput_bps + p.throughput_margin_bps


cdef void increase(RateControl *r, const RateControlParameters *p, int64_t now_us) noexcept nogil:
    cdef double step_bps, elapsed = 0.0, limit_bps = throughput_limit_bps(r, p)
    if r.throughput_bps > link_capacity_upper_bps(&r.capacity):
        r.capacity.estimate_kbps = -1.0
        r.capacity_outgrown = True
    if r.changed_us != INT64_MIN:
        elapsed = (now_us - r.changed_us) / 1e6
    if r.rate_bps < limit_bps:
        if r.capacity.estimate_kbps >= 0:
            step_bps = rate_control_additive_bps(r) * elapsed
        else:
            step_bps = p.increase_per_second
            if r.changed_us != INT64_MIN:
                step_bps = pow(step_bps, min(elapsed, 1.0))
            step_bps = max(r.rate_bps * (step_bps - 1.0), p.increase_min_bps)
        r.rate_bps = max(min(r.rate_bps + step_bps, limit_bps), r.min_bps)
    r.changed_us = now_us


cdef void note_overuse(RateControl *r, double throughput_bps) noexcept nogil:
    if throughput_bps < link_capacity_lower_bps(&r.capacity):
        r.capacity.estimate_kbps = -1.0
    link_capacity_overuse(&r.capacity, throughput_bps)


cdef void decrease(RateControl *r, const RateControlParameters *p, int64_t now_us) noexcept nogil:
    """libwebrtc's: to a share of what arrives."""
    cdef double rate_bps = p.backoff * r.throughput_bps
    if rate_bps > p.backoff_margin_bps:
        rate_bps -= p.backoff_margin_bps
    if rate_bps > r.rate_bps and r.capacity.estimate_kbps >= 0:
        rate_bps = p.backoff * r.capacity.estimate_kbps * 1000.0
    note_overuse(r, r.throughput_bps)
    set_rate(r, min(rate_bps, r.rate_bps), now_us)
    # Nothing is added until the queue has drained.
    r.state = RATE_HOLD


cdef bint provoked(const RateControl *r, const RateControlParameters *p, const RateInput *heard) noexcept nogil:
    """A queue that grows may be our own doing: the rate was raised since the last one drained, or that is long ago, or
    there is not much of a queue."""
    return (r.rate_bps > RAISED * r.resume_bps or heard.now_us - r.drain_us > UNPROVOKED_US
            or heard.queue_us < 2 * p.drained_us)


cdef double drain_bps(const RateControl *r, const RateControlParameters *p, const RateInput *heard) noexcept nogil:
    """Where the queue empties within drain_us; harder after drains that did not help."""
    cdef double factor = min(1.0 - heard.queue_us / p.drain_us, p.backoff_gentle - HARDER * r.severity)
    return r.resume_bps / p.backoff_gentle * max(factor, p.backoff_hard)


cdef void begin_drain(RateControl *r, const RateControlParameters *p, const RateInput *heard) noexcept nogil:
    """What passed a busy bottleneck is its capacity, however much was sent; without any queue the overuse is noise."""
    cdef double capacity_bps = r.rate_bps
    if heard.busy_bps >= 0:
        capacity_bps = min(r.rate_bps, heard.busy_bps)
    if provoked(r, p, heard):
        r.drains = 0
    if r.drains >= p.drains_max and capacity_bps < p.drains_shrinking * r.first_drain_bps:
        begin_compete(r, heard.now_us)
        return
    if r.state != RATE_DRAIN:
        r.before_bps = r.rate_bps
    note_overuse(r, capacity_bps)
    r.resume_bps = p.backoff_gentle * capacity_bps
    set_rate(r, drain_bps(r, p, heard), heard.now_us)
    if r.drains == 0:
        r.first_drain_bps = capacity_bps
    r.drains += 1
    r.drain_us = heard.now_us
    r.state = RATE_DRAIN
    r.visible = False


cdef void end_drain(RateControl *r, int64_t now_us) noexcept nogil:
    set_rate(r, max(r.rate_bps, r.resume_bps), now_us)
    r.state = RATE_HOLD
    r.severity = 0


cdef void begin_compete(RateControl *r, int64_t now_us) noexcept nogil:
    set_rate(r, max(r.rate_bps, r.resume_bps), now_us)
    r.state = RATE_COMPETE
    r.yielding = False
    r.drains = 0
    r.severity = 0
    r.alone_since_us = now_us
    r.competing_us = now_us
    r.lagged_bps = r.rate_bps
    r.lagging_bps = r.rate_bps
    r.lagged_us = now_us


cdef int64_t drained_us(const RateControl *r, const RateControlParameters *p) noexcept nogil:
    """A queue this short counts as none; at low rates a packet alone makes one."""
    cdef int64_t packets_us = <int64_t>(DRAINED_PACKETS * PACKET_BYTES * 8e6 / r.resume_bps) if r.resume_bps > 0 else 0
    return min(max(p.drained_us, packets_us), <int64_t>DRAINED_MAX_US)


cdef void see_queue(RateControl *r, const RateInput *heard) noexcept nogil:
    r.visible_us = heard.now_us
    r.visible_queue_us = heard.queue_us
    r.queue_low_us = heard.queue_us
    r.queue_high_us = heard.queue_us
    r.lossy = False


cdef void drain(RateControl *r, const RateControlParameters *p, const RateInput *heard) noexcept nogil:
    if not r.visible:
        # What is still on its way makes the queue longer: the cut follows it.
        r.rate_bps = max(min(r.rate_bps, drain_bps(r, p, heard)), r.min_bps)
        if heard.newest_sent_us < r.decreased_us + SETTLE_US:
            return
        r.visible = True
        see_queue(r, heard)
    r.queue_low_us = min(r.queue_low_us, heard.queue_us)
    r.queue_high_us = max(r.queue_high_us, heard.queue_us)
    r.lossy = r.lossy or heard.lost
    if heard.queue_us <= drained_us(r, p):
        end_drain(r, heard.now_us)
    elif heard.queue_us < UNDRAINED * r.visible_queue_us and heard.now_us - r.drain_us < DRAIN_MAX_US:
        see_queue(r, heard)
    elif heard.sent_bps > DISOBEDIENT * max(r.rate_bps, r.resume_bps):
        # No wonder.
        see_queue(r, heard)
    elif heard.now_us - r.visible_us < CHECK_US:
        return
    elif r.queue_high_us - r.queue_low_us < FLAT_US and not r.lossy:
        # Neither full nor falling nor rising: no queue at all, but a longer way.
        if heard.now_us - r.visible_us > FLAT_WAIT_US:
            r.delay_shifted = True
            r.resume_bps = p.backoff_gentle * r.before_bps
            end_drain(r, heard.now_us)
    elif 0 <= heard.busy_bps < OVERLOADED * r.rate_bps:
        begin_drain(r, p, heard)
    elif heard.now_us - r.visible_us > p.drain_wait_us or heard.now_us - r.drain_us > DRAIN_MAX_US:
        # What we send passes, and yet the queue stays.
        if r.severity < p.severity_max:
            r.severity += 1
            begin_drain(r, p, heard)
        else:
            begin_compete(r, heard.now_us)


cdef void watch_empty(RateControl *r, const RateControlParameters *p, const RateInput *heard) noexcept nogil:
    if heard.queue_us > p.drained_us:
        r.empty_since_us = INT64_MIN
    elif r.empty_since_us == INT64_MIN:
        r.empty_since_us = heard.now_us
    elif heard.now_us - r.empty_since_us > EMPTY_US:
        r.drains = 0
        if r.state == RATE_COMPETE:
            r.state = RATE_HOLD


cdef void compete(RateControl *r, const RateControlParameters *p, const RateInput *heard) noexcept nogil:
    cdef double elapsed = (heard.now_us - r.changed_us) / 1e6, step_bps
    if heard.now_us - r.competing_us > p.compete_test_us:
        # Once in a while: does a deep cut empty the queue after all?
        r.severity = p.severity_max
        begin_drain(r, p, heard)
        return
    if heard.now_us - r.lagged_us > LAG_US:
        r.lagged_bps = r.lagging_bps
        r.lagging_bps = r.rate_bps
        r.lagged_us = heard.now_us
    r.queue_low_us = min(r.queue_low_us, heard.queue_us)
    if r.yielding:
        r.changed_us = heard.now_us
        if heard.newest_sent_us < r.decreased_us + SETTLE_US:
            r.queue_low_us = heard.queue_us
        elif (heard.queue_us > r.queue_low_us + p.drained_us
                or heard.now_us - r.decreased_us > YIELD_MAX_US):
            r.yielding = False
        return
    if not 0 <= heard.busy_bps < p.compete_alone * min(r.lagged_bps, r.rate_bps):
        r.alone_since_us = heard.now_us
    elif heard.now_us - r.alone_since_us > ALONE_US:
        begin_drain(r, p, heard)
        return
    if heard.lost or heard.queue_us > p.compete_queue_us:
        set_rate(r, p.compete_backoff * r.rate_bps, heard.now_us)
        r.yielding = True
        return
    # As that flow: so many packets per RTT more each RTT.
    step_bps = min(p.compete_packets * PACKET_BYTES * 8e12 / (r.rtt_us * r.rtt_us),
                   (p.compete_increase - 1.0) * r.rate_bps) * min(elapsed, 1.0)
    set_rate(r, max(r.rate_bps, min(r.rate_bps + step_bps, throughput_limit_bps(r, p))), heard.now_us)


cdef void rate_control_update(RateControl *r, const RateControlParameters *p, const RateInput *heard) noexcept nogil:
    if heard.throughput_bps >= 0:
        r.throughput_bps = heard.throughput_bps
    watch_empty(r, p, heard)
    if r.state == RATE_DRAIN:
        drain(r, p, heard)
    elif r.state == RATE_COMPETE:
        compete(r, p, heard)
    elif heard.usage == USAGE_OVERUSING:
        if not rate_control_may_reduce(r, r.throughput_bps, heard.now_us):
            return
        if p.drain_us > 0:
            begin_drain(r, p, heard)
        else:
            decrease(r, p, heard.now_us)
    elif heard.usage == USAGE_UNDERUSING:
        r.state = RATE_HOLD
    else:
        if r.state == RATE_HOLD:
            r.changed_us = heard.now_us
            r.state = RATE_INCREASE
        increase(r, p, heard.now_us)
