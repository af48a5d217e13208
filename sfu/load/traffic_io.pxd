# SPDX-License-Identifier: Apache-2.0
"""The packets of a load client: what its thread does with one peer's socket. No GIL, no allocation."""

from libc.stdint cimport int64_t, uint32_t

from sfu.load.traffic cimport Peer, TrafficState


# Buffers and message headers, for one thread. NULL without memory.
cdef void *scratch_open(bint gro) noexcept nogil
cdef void scratch_close(void *scratch) noexcept nogil
# Whether the socket takes part; sets what the kernel shall tell with each packet.
cdef bint socket_prepare(int fd, bint gro) noexcept nogil

# Reads what waits. `number` is the peer's.
cdef void peer_receive(TrafficState *t, Peer *p, uint32_t number) noexcept nogil
# Sends each frame that is due, and notes when the next one is.
cdef void peer_send(TrafficState *t, Peer *p, int64_t now_us) noexcept nogil
# Feedback, reports, requests for retransmission. `wall_us` is the clock of arrivals.
cdef void peer_care(TrafficState *t, Peer *p, int64_t now_us, int64_t wall_us) noexcept nogil
