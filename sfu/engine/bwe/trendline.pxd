# SPDX-License-Identifier: Apache-2.0
"""Is the delay growing? Packets sent within 5 ms are one group; the changes from group to group are summed, smoothed,
fitted.

libwebrtc inter_arrival_delta and trendline_estimator (branch-heads/7204).
"""

from libc.stdint cimport int64_t, uint32_t

from sfu.engine.bwe.parameters cimport TrendlineParameters


cdef enum Usage:
    USAGE_NORMAL = 0
    USAGE_UNDERUSING = 1        # a queue is draining
    USAGE_OVERUSING = 2         # a queue is growing


cdef struct PacketGroup:
    bint filled
    int64_t first_sent_us
    int64_t sent_us             # of the last packet sent
    int64_t first_arrival_us
    int64_t arrival_us          # of the packet that was reported last
    int64_t system_us           # when it was reported


cdef struct InterArrival:
    PacketGroup current
    PacketGroup previous
    uint32_t reordered          # groups in a row that arrived before their predecessor


cdef struct Trendline:
    double arrival_ms[40]       # ring
    double delay_ms[40]
    uint32_t at
    uint32_t filled
    uint32_t deltas
    bint started
    int64_t first_arrival_us
    double accumulated_ms
    double jitter_ms            # mean size of a group's change of delay
    double smoothed_ms
    double trend
    double modified_ms
    double threshold_ms
    bint updated
    double updated_ms
    double overusing_ms         # time above the threshold, -1 = below
    uint32_t overuses           # samples above it
    Usage usage


cdef void inter_arrival_init(InterArrival *a) noexcept nogil
# True: a group is complete; its distances to the group before are in the last two arguments.
cdef bint inter_arrival_packet(InterArrival *a, int64_t sent_us, int64_t arrival_us, int64_t system_us,
                               int64_t *sent_delta_us, int64_t *arrival_delta_us) noexcept nogil

cdef void trendline_init(Trendline *t, const TrendlineParameters *p) noexcept nogil
cdef void trendline_update(Trendline *t, const TrendlineParameters *p, double sent_delta_ms, double arrival_delta_ms,
                           int64_t arrival_us) noexcept nogil
