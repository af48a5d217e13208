# SPDX-License-Identifier: Apache-2.0
"""When to probe, and at which rate: libwebrtc probe_controller (branch-heads/7204), with probes outside the
application-limited region and on the allocator's request; docs/congestion.md has the differences."""

from libc.stdint cimport int32_t, int64_t, uint32_t

from sfu.engine.bwe.parameters cimport ProbeParameters


cdef enum:
    PLANS_MAX = 4


cdef enum ProbeState:
    PROBE_INIT = 0              # nothing probed yet
    PROBE_WAITING = 1           # for a result that may lead to a further probe
    PROBE_COMPLETE = 2


cdef enum LimitCause:           # what keeps the estimate down
    LIMIT_DELAY = 0             # or nothing
    LIMIT_DELAY_INCREASED = 1   # the detector sees a queue grow or drain
    LIMIT_LOSS = 2
    LIMIT_LOSS_INCREASING = 3
    LIMIT_TIMEOUT = 4


cdef struct ProbePlan:          # send at rate_bps, padded where media does not suffice, until both minima are reached
    int32_t cluster             # to be given to estimator_sent with each packet meanwhile; ≥ 0
    int64_t rate_bps            # of what IP carries, like all rates here
    uint32_t min_packets
    uint32_t min_bytes          # of estimator_sent's sizes plus overhead_bytes each


cdef struct ProbeController:
    ProbeState state
    LimitCause cause
    double further_bps          # an estimate above this, while waiting, leads to a further probe
    double goal_bps             # and it does not go beyond this
    double estimate_bps
    double max_bps
    double wanted_bps           # 0 = unknown
    double jitter_us
    double before_drop_bps
    double before_probe_bps     # estimate when the last probe began
    int64_t started_us
    int64_t initiated_us        # INT64_MIN = never, and so on
    int64_t dropped_us
    int64_t drop_probed_us
    int64_t limited_since_us    # application limited
    int64_t limited_until_us
    int64_t alr_interval_us
    int64_t upward_interval_us
    int64_t judged_us           # the probe begun then was found fruitful or not
    ProbePlan plans[4]
    uint32_t first
    uint32_t count
    int32_t next_cluster


cdef void probes_init(ProbeController *c, const ProbeParameters *p, double start_bps, double max_bps) noexcept nogil
cdef void probes_start(ProbeController *c, const ProbeParameters *p, int64_t now_us) noexcept nogil
cdef void probes_set_estimate(ProbeController *c, const ProbeParameters *p, double bps, LimitCause cause,
                              int64_t now_us) noexcept nogil
cdef void probes_set_limited(ProbeController *c, bint limited, int64_t since_us, int64_t now_us) noexcept nogil
cdef void probes_set_max(ProbeController *c, const ProbeParameters *p, double max_bps, int64_t now_us) noexcept nogil
cdef void probes_set_wanted(ProbeController *c, const ProbeParameters *p, double wanted_bps) noexcept nogil
# The queue has drained after an overuse; the throughput has outgrown the known capacity.
cdef void probes_recovered(ProbeController *c, const ProbeParameters *p, int64_t now_us) noexcept nogil
cdef void probes_outgrown(ProbeController *c, const ProbeParameters *p, int64_t now_us) noexcept nogil
cdef bint probes_request(ProbeController *c, const ProbeParameters *p, double target_bps,
                         int64_t now_us) noexcept nogil
# A probe whose result nobody waits for; its cluster, -1 = not now.
cdef int32_t probes_extra(ProbeController *c, const ProbeParameters *p, double rate_bps, uint32_t packets,
                          int64_t now_us) noexcept nogil
cdef void probes_process(ProbeController *c, const ProbeParameters *p, int64_t now_us) noexcept nogil
cdef bint probes_take(ProbeController *c, ProbePlan *out) noexcept nogil
