# SPDX-License-Identifier: Apache-2.0
"""History of one source: its last packets in plaintext, shared by all receivers.

A ring of descriptions indexed by 64-bit extended sequence number over a byte arena in which packets lie one after the
other. Both are overwritten oldest first; nothing is allocated after `history_open`.
"""
from libc.stdint cimport int8_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    FRAME_START = 1           # first packet of a frame
    FRAME_KEY = 2             # with FRAME_START: of a keyframe
    FRAME_LAYER_SYNC = 4      # VP8 Y bit: depends on temporal layer 0 only
    PACKET_PADDING = 8        # no payload at all
    HAS_AUDIO_LEVEL = 16
    HAS_ORIENTATION = 32
    PACKET_RECOVERED = 64     # came by retransmission

cdef struct Packet:
    int64_t sequence          # extended, unique within one source generation
    uint64_t position         # absolute position in the arena
    int64_t arrival_us
    uint32_t timestamp
    uint16_t size             # whole packet, header and padding included
    uint16_t payload_offset
    uint16_t payload_size     # without padding
    uint8_t payload_type
    uint8_t codec
    uint8_t marker
    uint8_t flags
    uint8_t temporal
    uint8_t spatial
    uint8_t audio_level       # RFC 6464 octet
    uint8_t orientation       # 3GPP CVO octet
    uint8_t descriptor_size   # VP8 payload descriptor, bytes
    uint8_t has_picture_id
    uint16_t picture_id
    uint8_t has_tl0
    uint8_t tl0_picture_index

cdef struct History:
    Packet *packets
    uint8_t *arena
    uint32_t packet_mask
    uint32_t arena_size       # power of two
    uint64_t head             # absolute position of the next byte
    int64_t newest            # highest sequence stored, -1 = empty

cdef int history_open(History *history, uint32_t packets, uint32_t arena_bytes) noexcept nogil
cdef void history_close(History *history) noexcept nogil
cdef void history_clear(History *history) noexcept nogil
cdef bint history_accepts(const History *history, int64_t sequence) noexcept nogil
cdef Packet *history_add(History *history, int64_t sequence, const uint8_t *data, uint16_t size) noexcept nogil
cdef Packet *history_get(const History *history, int64_t sequence) noexcept nogil
cdef const uint8_t *history_data(const History *history, const Packet *packet) noexcept nogil
