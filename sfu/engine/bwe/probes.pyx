# SPDX-License-Identifier: Apache-2.0
"""Probe controller; see probes.pxd."""

from libc.math cimport INFINITY
from libc.stdint cimport INT64_MIN

cdef enum:
    CLUSTER_MASK = 0x7FFF           # ids as the send history keeps them

# probe_controller.cc: a probe is expected to show a little less than its rate
cdef double UNCERTAINTY = 0.05
# An estimate that has grown by less than this since the probe: it was fruitless, and the next one waits twice as long.
cdef double FRUITFUL = 1.1
# Probes that would not add at least this are left out.
cdef double WORTHWHILE = 1.05


cdef void probes_init(ProbeController *c, const ProbeParameters *p, double start_bps, double max_bps) noexcept nogil:
    c.state = PROBE_INIT
    c.cause = LIMIT_DELAY
    c.further_bps = INFINITY
    c.goal_bps = INFINITY
    c.estimate_bps = start_bps
    c.max_bps = max_bps
    c.wanted_bps = 0.0
    c.jitter_us = 0.0
    c.before_drop_bps = 0.0
    c.started_us = INT64_MIN
    c.before_probe_bps = start_bps
    c.initiated_us = INT64_MIN
    c.dropped_us = INT64_MIN
    c.drop_probed_us = INT64_MIN
    c.limited_since_us = INT64_MIN
    c.limited_until_us = INT64_MIN
    c.judged_us = INT64_MIN
    reset_intervals(c, p)
    c.first = 0
    c.count = 0
    c.next_cluster = 0


cdef void reset_intervals(ProbeController *c, const ProbeParameters *p) noexcept nogil:
    c.alr_interval_us = p.alr_interval_us
    c.upward_interval_us = p.upward_interval_us


cdef inline bint since(int64_t then_us, int64_t now_us, int64_t interval_us) noexcept nogil:
    """At least that long ago; never is long ago."""
    return then_us == INT64_MIN or now_us - then_us >= interval_us


cdef bint add_plan(ProbeController *c, const ProbeParameters *p, double rate_bps) noexcept nogil:
    cdef ProbePlan *plan
    if c.count == PLANS_MAX:
        return False
    plan = &c.plans[(c.first + c.count) % PLANS_MAX]
    plan.cluster = c.next_cluster
    plan.rate_bps = <int64_t>rate_bps
    plan.min_packets = p.packets
    # Jitter must not make up the whole of what is measured.
    plan.min_bytes = <uint32_t>(rate_bps * min(max(<double>p.duration_us, p.duration_jitter * c.jitter_us),
                                               <double>p.duration_max_us) / 8e6)
    c.next_cluster = (c.next_cluster + 1) & CLUSTER_MASK
    c.count += 1
    return True


cdef bint probes_take(ProbeController *c, ProbePlan *out) noexcept nogil:
    if c.count == 0:
        return False
    out[0] = c.plans[c.first]
    c.first = (c.first + 1) % PLANS_MAX
    c.count -= 1
    return True


cdef bint initiate(ProbeController *c, const ProbeParameters *p, double first_bps, double second_bps, bint further,
                   double limit_bps, int64_t now_us) noexcept nogil:
    """Plans one or two (second_bps > 0) probes; `further`: a good result leads to more."""
    cdef double last_bps
    limit_bps = min(limit_bps, c.max_bps)
    if c.cause == LIMIT_LOSS_INCREASING:
        limit_bps = min(limit_bps, p.loss_limited_scale * c.estimate_bps)
    elif c.cause != LIMIT_DELAY:
        return False
    c.goal_bps = limit_bps
    last_bps = first_bps
    if last_bps >= limit_bps:
        last_bps = limit_bps
        further = False
    add_plan(c, p, last_bps)
    if second_bps > last_bps and further:
        last_bps = second_bps
        if last_bps >= limit_bps:
            last_bps = limit_bps
            further = False
        add_plan(c, p, last_bps)
    c.initiated_us = now_us
    c.further_bps = p.further_threshold * last_bps if further else INFINITY
    c.state = PROBE_WAITING if further else PROBE_COMPLETE
    return True


cdef double wanted_limit(const ProbeController *c, const ProbeParameters *p) noexcept nogil:
    return p.wanted_scale * c.wanted_bps if c.wanted_bps > 0 else INFINITY


cdef void probes_start(ProbeController *c, const ProbeParameters *p, int64_t now_us) noexcept nogil:
    # With a wish below the estimate the probes would show less than is believed already: they wait for a higher one.
    if c.state == PROBE_INIT and min(wanted_limit(c, p), c.max_bps) >= WORTHWHILE * c.estimate_bps:
        c.before_probe_bps = c.estimate_bps
        c.started_us = now_us
        initiate(c, p, p.first_scale * c.estimate_bps, p.second_scale * c.estimate_bps, True, wanted_limit(c, p),
                 now_us)


cdef void probes_set_estimate(ProbeController *c, const ProbeParameters *p, double bps, LimitCause cause,
                              int64_t now_us) noexcept nogil:
    c.cause = cause
    if bps < p.drop_threshold * c.estimate_bps:
        c.dropped_us = now_us
        c.before_drop_bps = c.estimate_bps
        reset_intervals(c, p)
    c.estimate_bps = bps
    if c.state == PROBE_WAITING and bps > c.further_bps:
        initiate(c, p, p.further_scale * bps, 0.0, True, c.goal_bps, now_us)


cdef void probes_set_limited(ProbeController *c, bint limited, int64_t since_us, int64_t now_us) noexcept nogil:
    if not limited and c.limited_since_us != INT64_MIN:
        c.limited_until_us = now_us
    c.limited_since_us = since_us if limited else INT64_MIN


cdef void probes_set_max(ProbeController *c, const ProbeParameters *p, double max_bps, int64_t now_us) noexcept nogil:
    cdef bint raised = max_bps > c.max_bps
    c.max_bps = max_bps
    if raised and c.state == PROBE_COMPLETE and c.estimate_bps < max_bps:
        reset_intervals(c, p)


cdef void probes_set_wanted(ProbeController *c, const ProbeParameters *p, double wanted_bps) noexcept nogil:
    if wanted_bps > c.wanted_bps * FRUITFUL:
        reset_intervals(c, p)
    c.wanted_bps = wanted_bps


cdef bint application_limited(const ProbeController *c, const ProbeParameters *p, int64_t now_us) noexcept nogil:
    """Now, or a moment ago."""
    if c.limited_since_us != INT64_MIN:
        return True
    return c.limited_until_us != INT64_MIN and now_us - c.limited_until_us < p.alr_ended_us


cdef void probes_recovered(ProbeController *c, const ProbeParameters *p, int64_t now_us) noexcept nogil:
    """If the drop was none of the link's capacity, the old rate is regained at once."""
    cdef double rate_bps = p.drop_fraction * c.before_drop_bps
    if (c.state != PROBE_COMPLETE or not application_limited(c, p, now_us)
            or (1.0 - UNCERTAINTY) * rate_bps <= c.estimate_bps
            or c.dropped_us == INT64_MIN or now_us - c.dropped_us >= p.drop_us
            or not since(c.drop_probed_us, now_us, p.alr_interval_us)):
        return
    c.drop_probed_us = now_us
    c.before_probe_bps = c.estimate_bps
    initiate(c, p, rate_bps, 0.0, False, INFINITY, now_us)


cdef void probes_outgrown(ProbeController *c, const ProbeParameters *p, int64_t now_us) noexcept nogil:
    reset_intervals(c, p)
    if c.state == PROBE_COMPLETE and p.upward_interval_us > 0 and since(c.initiated_us, now_us, p.result_wait_us):
        c.before_probe_bps = c.estimate_bps
        initiate(c, p, p.upward_scale * c.estimate_bps, 0.0, True, wanted_limit(c, p), now_us)


cdef bint probes_request(ProbeController *c, const ProbeParameters *p, double target_bps,
                         int64_t now_us) noexcept nogil:
    cdef double goal_bps = p.target_margin * target_bps
    if (c.state != PROBE_COMPLETE or target_bps <= c.estimate_bps
            or not since(c.initiated_us, now_us, p.request_interval_us)):
        return False
    c.before_probe_bps = c.estimate_bps
    return initiate(c, p, min(goal_bps, p.alr_scale * c.estimate_bps), 0.0, True, goal_bps, now_us)


cdef int32_t probes_extra(ProbeController *c, const ProbeParameters *p, double rate_bps, uint32_t packets,
                          int64_t now_us) noexcept nogil:
    cdef int32_t cluster = c.next_cluster
    if c.state != PROBE_COMPLETE or c.count or not since(c.initiated_us, now_us, p.result_wait_us):
        return -1
    add_plan(c, p, min(rate_bps, c.max_bps))
    c.plans[c.first].min_packets = packets
    c.initiated_us = now_us
    c.judged_us = now_us
    return cluster


cdef void judge(ProbeController *c, const ProbeParameters *p) noexcept nogil:
    """After a probe's time is over: was it of use?"""
    if c.judged_us == c.initiated_us:
        return
    c.judged_us = c.initiated_us
    if c.estimate_bps > FRUITFUL * c.before_probe_bps:
        reset_intervals(c, p)
    else:
        c.alr_interval_us = min(2 * c.alr_interval_us, p.alr_interval_max_us)
        c.upward_interval_us = min(2 * c.upward_interval_us, p.upward_interval_max_us)


cdef void probes_process(ProbeController *c, const ProbeParameters *p, int64_t now_us) noexcept nogil:
    cdef double scale
    cdef int64_t since_us
    if c.state == PROBE_INIT or not since(c.initiated_us, now_us, p.result_wait_us):
        return
    if c.state == PROBE_WAITING:
        c.state = PROBE_COMPLETE
        c.further_bps = INFINITY
    judge(c, p)
    if c.limited_since_us != INT64_MIN:
        scale = p.alr_scale
        since_us = max(c.limited_since_us, c.initiated_us) + c.alr_interval_us
    else:
        scale = p.upward_scale
        since_us = c.initiated_us + c.upward_interval_us
        if p.upward_interval_us == 0:
            return
    if p.start_interval_us > 0 and now_us - c.started_us < p.start_us:
        since_us = c.initiated_us + p.start_interval_us
    if now_us < since_us or min(wanted_limit(c, p), c.max_bps) < WORTHWHILE * c.estimate_bps:
        return
    c.before_probe_bps = c.estimate_bps
    initiate(c, p, scale * c.estimate_bps, 0.0, True, wanted_limit(c, p), now_us)
