# SPDX-License-Identifier: Apache-2.0
"""Are the losses the link's own, or those of a bottleneck that queues next to nothing (a policer)?

Own: where much is lost though nothing queues, a short probe at twice the rate tells. Losses that stay the same share
are tolerated for a while; losses that grow with the rate name the capacity.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t

from sfu.engine.bwe.parameters cimport LossProbeParameters


cdef enum LossVerdict:
    VERDICT_NONE = 0            # not known, or no longer valid
    VERDICT_INHERENT = 1        # the same share is lost at any rate
    VERDICT_CAPACITY = 2        # what exceeds capacity_bps is lost


cdef struct LossProbe:
    LossVerdict verdict
    double inherent             # VERDICT_INHERENT: the share
    double capacity_bps         # VERDICT_CAPACITY
    int64_t judged_us           # INT64_MIN = never, both
    int64_t begun_us
    int64_t lossy_since_us      # INT64_MIN = few are lost
    int32_t cluster             # of the probe under way, -1 = none
    int32_t last_cluster        # of the latest probe, -1 = none
    double average              # loss before it
    uint32_t received
    uint32_t lost
    uint32_t bytes
    int64_t first_arrival_us
    int64_t last_arrival_us


cdef void loss_probe_init(LossProbe *l) noexcept nogil
# True: a probe should be sent; loss_probe_begin follows with its cluster.
cdef bint loss_probe_due(LossProbe *l, const LossProbeParameters *p, double average_loss, double rate_bps,
                         bint idle_queue, int64_t now_us) noexcept nogil
cdef void loss_probe_begin(LossProbe *l, int32_t cluster, double average_loss, int64_t now_us) noexcept nogil
# INT64_MIN = lost.
cdef void loss_probe_packet(LossProbe *l, int32_t cluster, uint32_t size, int64_t arrival_us) noexcept nogil
# True: there is a new verdict.
cdef bint loss_probe_judge(LossProbe *l, const LossProbeParameters *p, int64_t now_us) noexcept nogil
