# SPDX-License-Identifier: Apache-2.0
"""Rate control; see rate_control.pxd."""

from libc.math cimport INFINITY, ceil, floor, pow, sqrt
from libc.stdint cimport INT64_MIN

from sfu.engine.bwe.trendline cimport USAGE_NORMAL, USAGE_OVERUSING, USAGE_UNDERUSING

# aimd_rate_control.cc of branch-heads/7204
cdef enum:
    REDUCE_MIN_US = 10_000              # between two decreases: RTT within these
    REDUCE_MAX_US = 200_000

cdef double FRAMES_PER_SECOND = 30.0
cdef double PACKET_BYTES = 1200.0
cdef double DETECTOR_DELAY_US = 100_000.0
cdef double ADDITIVE_MIN_BPS = 4000.0
cdef double FAR_BELOW = 0.5             # a throughput below this share of the rate: reduce at once

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
    r.valid = True
    r.changed_us = INT64_MIN
    r.decreased_us = INT64_MIN
    r.rtt_us = p.rtt_default_us
    r.min_bps = min_bps
    r.capacity_outgrown = False
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
    return r.valid and throughput_bps < FAR_BELOW * r.rate_bps


cdef bint rate_control_take_outgrown(RateControl *r) noexcept nogil:
    cdef bint outgrown = r.capacity_outgrown
    r.capacity_outgrown = False
    return outgrown


cdef void rate_control_set(RateControl *r, double rate_bps, int64_t now_us) noexcept nogil:
    cdef double before = r.rate_bps
    r.valid = True
    r.rate_bps = max(rate_bps, r.min_bps)
    r.changed_us = now_us
    if r.rate_bps < before:
        r.decreased_us = now_us


cdef void increase(RateControl *r, const RateControlParameters *p, int64_t now_us) noexcept nogil:
    cdef double limit_bps, step_bps, elapsed = 0.0
    if r.throughput_bps > link_capacity_upper_bps(&r.capacity):
        r.capacity.estimate_kbps = -1.0
        r.capacity_outgrown = True
    # What the receiver has not shown to arrive is not taken for granted.
    limit_bps = p.throughput_factor * r.throughput_bps + p.throughput_margin_bps
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


cdef double backoff_factor(const RateControlParameters *p, int64_t queue_us) noexcept nogil:
    """Share of the throughput at which the queue drains in time."""
    if p.drain_us <= 0:
        return p.backoff
    return min(max(1.0 - queue_us / p.drain_us, p.backoff_hard), p.backoff_gentle)


cdef void decrease(RateControl *r, const RateControlParameters *p, int64_t queue_us, int64_t now_us) noexcept nogil:
    cdef double factor = backoff_factor(p, queue_us)
    cdef double rate_bps = factor * r.throughput_bps
    if rate_bps > p.backoff_margin_bps:
        rate_bps -= p.backoff_margin_bps
    if rate_bps > r.rate_bps and r.capacity.estimate_kbps >= 0:
        rate_bps = factor * r.capacity.estimate_kbps * 1000.0
    if r.throughput_bps < link_capacity_lower_bps(&r.capacity):
        r.capacity.estimate_kbps = -1.0
    link_capacity_overuse(&r.capacity, r.throughput_bps)
    r.valid = True
    r.rate_bps = max(min(rate_bps, r.rate_bps), r.min_bps)
    # Nothing is added until the queue has drained.
    r.state = RATE_HOLD
    r.changed_us = now_us
    r.decreased_us = now_us


cdef void rate_control_update(RateControl *r, const RateControlParameters *p, Usage usage, double throughput_bps,
                              int64_t queue_us, int64_t now_us) noexcept nogil:
    if throughput_bps >= 0:
        r.throughput_bps = throughput_bps
    if usage == USAGE_OVERUSING:
        decrease(r, p, queue_us, now_us)
        return
    if usage == USAGE_UNDERUSING:
        r.state = RATE_HOLD
    elif r.state == RATE_HOLD:
        r.changed_us = now_us
        r.state = RATE_INCREASE
    if r.state == RATE_INCREASE:
        increase(r, p, now_us)
