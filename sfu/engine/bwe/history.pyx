# SPDX-License-Identifier: Apache-2.0
"""Send history; see history.pxd."""

cdef enum:
    CLUSTER_MASK = 0x7FFF


cdef void history_init(SendHistory *h) noexcept nogil:
    cdef uint32_t i
    for i in range(<uint32_t>HISTORY_PACKETS):
        h.packets[i].state = PACKET_UNSENT
    # Extended numbers start at one cycle, so that "behind the next one" is never negative.
    h.next = 1 << 16
    h.acknowledged = -1


cdef uint16_t history_next(SendHistory *h) noexcept nogil:
    cdef uint16_t sequence = <uint16_t>(h.next & 0xFFFF)
    history_packet(h, h.next).state = PACKET_UNSENT
    h.next += 1
    return sequence


cdef int64_t history_extend(const SendHistory *h, uint16_t sequence) noexcept nogil:
    cdef int64_t behind = (h.next - sequence) & 0xFFFF
    if behind == 0 or behind > HISTORY_PACKETS:
        return -1
    return h.next - behind


cdef void history_sent(SendHistory *h, uint16_t sequence, uint32_t size, int64_t now_us,
                       int32_t cluster) noexcept nogil:
    cdef int64_t extended = history_extend(h, sequence)
    cdef SentPacket *packet
    if extended < 0:
        return
    packet = history_packet(h, extended)
    packet.sent_us = now_us
    packet.size = <uint16_t>min(size, <uint32_t>0xFFFF)
    packet.cluster = -1 if cluster < 0 else <int16_t>(cluster & CLUSTER_MASK)
    packet.state = PACKET_FLYING
