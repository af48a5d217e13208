# SPDX-License-Identifier: Apache-2.0
"""The packet store; see `history.pxd`."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset


cdef int history_open(History *history, uint32_t packets, uint32_t arena_bytes) noexcept nogil:
    """Allocate for `packets` and `arena_bytes` (both powers of two). 0, or -1 without memory."""
    history.packets = <Packet *>calloc(packets, sizeof(Packet))
    history.arena = <uint8_t *>malloc(arena_bytes)
    history.packet_mask = packets - 1
    history.arena_size = arena_bytes
    if history.packets == NULL or history.arena == NULL:
        history_close(history)
        return -1
    history_clear(history)
    return 0


cdef void history_close(History *history) noexcept nogil:
    free(history.packets)
    free(history.arena)
    history.packets = NULL
    history.arena = NULL


cdef void history_clear(History *history) noexcept nogil:
    cdef uint32_t i
    history.head = 0
    history.newest = -1
    for i in range(history.packet_mask + 1):
        history.packets[i].sequence = -1


cdef bint history_accepts(const History *history, int64_t sequence) noexcept nogil:
    """Whether `sequence` is neither a duplicate nor older than the ring reaches."""
    if history.newest < 0 or sequence > history.newest:
        return True
    if history.newest - sequence > <int64_t>history.packet_mask:
        return False
    return history.packets[sequence & history.packet_mask].sequence != sequence


cdef uint64_t history_head_after(const History *history, uint32_t size) noexcept nogil:
    """Where `head` will stand once a packet of `size` bytes is stored: what lies an arena before it is gone then."""
    cdef uint32_t at = <uint32_t>(history.head & (history.arena_size - 1))
    if at + size > history.arena_size:
        return history.head + history.arena_size - at + size
    return history.head + size


cdef Packet *history_add(History *history, int64_t sequence, const uint8_t *data, uint16_t size) noexcept nogil:
    """Store a packet that `history_accepts`; its description is zeroed but for sequence, position and size."""
    cdef uint32_t at = <uint32_t>(history.head & (history.arena_size - 1))
    cdef Packet *packet
    if at + size > history.arena_size:
        history.head += history.arena_size - at
        at = 0
    packet = &history.packets[sequence & history.packet_mask]
    memset(packet, 0, sizeof(Packet))
    packet.sequence = sequence
    packet.position = history.head
    packet.size = size
    memcpy(history.arena + at, data, size)
    history.head += size
    if sequence > history.newest:
        history.newest = sequence
    return packet


cdef Packet *history_get(const History *history, int64_t sequence) noexcept nogil:
    """The packet's description while its bytes are still there, else NULL."""
    cdef Packet *packet = &history.packets[sequence & history.packet_mask]
    if packet.sequence != sequence or sequence < 0:
        return NULL
    if history.head - packet.position > history.arena_size:
        return NULL
    return packet


cdef const uint8_t *history_data(const History *history, const Packet *packet) noexcept nogil:
    return history.arena + (packet.position & (history.arena_size - 1))
