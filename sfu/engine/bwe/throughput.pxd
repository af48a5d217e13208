# SPDX-License-Identifier: Apache-2.0
"""What arrives per second, from the packets reported as received: libwebrtc robust_throughput_estimator
(branch-heads/7204), and of the packets that had to queue."""

from libc.stdint cimport int64_t, uint16_t, uint32_t

from sfu.engine.bwe.parameters cimport ThroughputParameters


cdef struct ReceivedPacket:
    int64_t sent_us
    int64_t arrival_us
    uint32_t size


cdef struct Throughput:
    ReceivedPacket packets[512]     # ring, ascending by arrival
    uint32_t first
    uint32_t count
    int64_t discarded_us            # when the newest packet that left the window was sent
    # Over the window, complete after throughput_trim. Kept as packets come and go, while they come in the order in which
    # they were sent; else summed anew.
    bint summed
    uint32_t bytes
    int64_t largest_gap_us          # between arrivals, and the second largest
    int64_t second_gap_us
    uint32_t sent                   # of the packets sent after what has left the window: count and bytes,
    uint32_t sent_bytes
    int64_t first_sent_us           # the first one's time, the last one's, and its size
    int64_t last_sent_us
    uint32_t last_sent_size
    # None of the last recent_us took longer on its way than the longer of these two: of now, and of the time before.
    int64_t longest_us
    int64_t longest_before_us
    int64_t longest_since_us        # by arrival


cdef void throughput_init(Throughput *t) noexcept nogil
cdef void throughput_packet(Throughput *t, int64_t sent_us, int64_t arrival_us, uint32_t size) noexcept nogil
cdef void throughput_trim(Throughput *t, const ThroughputParameters *p) noexcept nogil      # after a feedback's packets
cdef double throughput_bps(const Throughput *t, const ThroughputParameters *p) noexcept nogil       # -1 = unknown
# What the bottleneck let through while it was busy: of the packets of the last recent_us that were delayed by more than
# queued_delay_us, sizes over distances of arrival. Tells the capacity also where little is sent; -1 = unknown.
cdef double throughput_busy_bps(const Throughput *t, const ThroughputParameters *p,
                                int64_t queued_delay_us) noexcept nogil
