# SPDX-License-Identifier: Apache-2.0
"""Congestion control of one receiving transport: its bandwidth estimator, its pacer, its probes.

The pacer is the tail of the fan-out queue: with room on the link every packet goes straight into the egress batch; near
the estimate video waits here and leaves at the pacing rate, or is dropped after a while. Audio and retransmissions never
wait; of these there may be so many as half of the link carries.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t
from sfu.engine.tables cimport Congestion, RouterState, Transport

cdef enum SendClass:
    SEND_AT_ONCE = 0
    SEND_PACED_MEDIA = 1      # counted in media_forwarded; taken back should it never leave
    SEND_PACED_FILLER = 2

cdef Congestion *congestion_open(int64_t now_us) noexcept nogil
cdef void congestion_close(Congestion *c) noexcept nogil
cdef bint congestion_send(RouterState *s, Transport *t, uint8_t *packet, uint32_t size, SendClass sending) noexcept nogil
cdef bint congestion_may_resend(Congestion *c, uint32_t size, int64_t now_us) noexcept nogil
cdef bint congestion_link_loses(const Congestion *c) noexcept nogil
cdef void congestion_feedback(RouterState *s, Transport *t, const uint8_t *packet, uint32_t size, int64_t now_us) noexcept nogil
# Whether something waits, probes, or was sent since then.
cdef bint congestion_busy(const Congestion *c, int64_t since_us) noexcept nogil
cdef int64_t congestion_tick(RouterState *s, Transport *t, int64_t now_us) noexcept nogil
