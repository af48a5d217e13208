# SPDX-License-Identifier: Apache-2.0
"""What arrives per second, from the packets reported as received: libwebrtc robust_throughput_estimator
(branch-heads/7204), and a fast variant over the newest packets."""

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


cdef void throughput_init(Throughput *t) noexcept nogil
cdef void throughput_packet(Throughput *t, int64_t sent_us, int64_t arrival_us, uint32_t size) noexcept nogil
cdef void throughput_trim(Throughput *t, const ThroughputParameters *p) noexcept nogil      # after a feedback's packets
cdef double throughput_bps(const Throughput *t, const ThroughputParameters *p) noexcept nogil       # -1 = unknown
# Of the packets that arrived within the last recent_us: what the bottleneck lets through now, if its queue is filled.
cdef double throughput_recent_bps(const Throughput *t, const ThroughputParameters *p) noexcept nogil
