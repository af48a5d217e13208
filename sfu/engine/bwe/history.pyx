# SPDX-License-Identifier: Apache-2.0
"""Send history; see history.pxd."""

from libc.stdint cimport INT64_MIN

cdef enum:
    CLUSTER_MASK = 0x7FFF


cdef void history_init(SendHistory *h) noexcept nogil:
    cdef uint32_t i
    for i in range(<uint32_t>HISTORY_PACKETS):
        h.packets[i].state = PACKET_UNSENT
    # Extended numbers start at one cycle, so that "behind the next one" is never negative.
    h.next = 1 << 16
    h.acknowledged = -1
    h.newest_sent_us = INT64_MIN
    h.newest = -1
    h.overtaken_count = 0


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


cdef void history_received(SendHistory *h, int64_t extended) noexcept nogil:
    cdef int64_t sent_us = history_packet(h, extended).sent_us
    if sent_us > h.newest_sent_us or (sent_us == h.newest_sent_us and extended > h.newest):
        h.newest_sent_us = sent_us
        h.newest = extended


cdef bint history_was_passed(SendHistory *h, int64_t extended) noexcept nogil:
    cdef int64_t sent_us = history_packet(h, extended).sent_us
    return sent_us < h.newest_sent_us or (sent_us == h.newest_sent_us and extended < h.newest)


cdef bint history_remember(SendHistory *h, int64_t extended) noexcept nogil:
    cdef uint32_t i
    for i in range(h.overtaken_count):
        if h.overtaken[i] == extended:
            return True
    if h.overtaken_count == OVERTAKEN_PACKETS:
        return False
    h.overtaken[h.overtaken_count] = extended
    h.overtaken_count += 1
    return True
