# SPDX-License-Identifier: Apache-2.0
"""What was sent, by transport-wide sequence number, until the receiver has reported it."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t


cdef enum:
    OVERTAKEN_PACKETS = 256     # as many as a pacer holds
    HISTORY_PACKETS = 2048      # a power of two. 32 KiB; 1 s of 20 Mbit/s in packets of 1,200 bytes


cdef enum PacketState:
    PACKET_UNSENT = 0           # numbered, not sent (yet)
    PACKET_FLYING = 1
    PACKET_LOST = 2             # reported as not received; may still be reported as received
    PACKET_RECEIVED = 3


cdef struct SentPacket:
    int64_t sent_us
    uint16_t size               # with overhead
    int16_t cluster             # probe cluster modulo 2^15, -1 = none
    uint8_t state               # PacketState
    uint16_t observation        # low bits of the loss observation in which it was named lost


cdef struct SendHistory:
    SentPacket packets[2048]    # ring by extended sequence number
    int64_t next                # extended sequence number of the next packet
    int64_t acknowledged        # highest that feedback has named, -1 = none
    int64_t newest_sent_us      # latest time at which a received packet was sent
    int64_t newest              # and the highest number among those
    int64_t overtaken[256]      # named as not received by feedback that only knew of packets sent before them
    uint32_t overtaken_count


cdef void history_init(SendHistory *h) noexcept nogil
cdef uint16_t history_next(SendHistory *h) noexcept nogil
cdef void history_sent(SendHistory *h, uint16_t sequence, uint32_t size, int64_t now_us, int32_t cluster) noexcept nogil
# Extended number of what the receiver names; -1 = older than the ring, or never numbered.
cdef void history_received(SendHistory *h, int64_t extended) noexcept nogil
# Whether something that was sent later has been received: then it is lost, else it is not yet known. Numbers are given
# before a pacer's queue, and others (audio, retransmissions) overtake there.
cdef bint history_was_passed(SendHistory *h, int64_t extended) noexcept nogil
cdef bint history_remember(SendHistory *h, int64_t extended) noexcept nogil     # among `overtaken`; False = no place
cdef int64_t history_extend(const SendHistory *h, uint16_t sequence) noexcept nogil


cdef inline SentPacket *history_packet(SendHistory *h, int64_t extended) noexcept nogil:
    return &h.packets[extended & (HISTORY_PACKETS - 1)]
