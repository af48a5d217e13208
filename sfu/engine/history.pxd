# SPDX-License-Identifier: Apache-2.0
"""History of one source: its last packets in plaintext, shared by all receivers.

A ring of descriptions indexed by 64-bit extended sequence number over a byte arena in which packets lie one after the
other. Both are overwritten oldest first; nothing is allocated after `history_open`.
"""
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from sfu.wire.dependency_descriptor cimport DescriptorLayout

cdef enum:
    FRAME_START = 1           # first packet of a frame (with spatial layers: of one layer's frame)
    FRAME_KEY = 2             # with FRAME_START: a decoder can begin here
    FRAME_LAYER_SYNC = 4      # VP8 Y bit: depends on temporal layer 0 only
    PACKET_PADDING = 8        # no payload at all
    HAS_AUDIO_LEVEL = 16
    HAS_ORIENTATION = 32
    FRAME_END = 128           # last packet of a spatial layer's frame; without spatial layers the RTP marker says it
    FRAME_SWITCH_UP = 256     # VP9 U bit: nothing later in higher temporal layers needs what lies before
    CLOSES_PICTURE_ID = 1024  # picture ids of dropped frames are closed up (VP8); else references count by them (VP9)
    PACKET_LATE = 2048        # came so long after its successors that nothing can begin with it
    DEPENDENCY_UNKNOWN = 4096 # its dependency descriptor is of a structure that is not here yet
    PACKET_OVERTAKEN = 8192   # came after its successors

cdef enum:
    SWITCH_REACH = 64         # packets: what a stream's beginning may be late by
    SWITCH_DELAY = 5          # 1/s: and in time. More would show the receiver what it has seen, in a burst

cdef struct Packet:
    int64_t sequence          # extended, unique within one source generation
    uint64_t position         # absolute position in the arena
    int64_t arrival_us
    uint32_t kernel_wait_us   # before that
    uint32_t timestamp
    uint16_t size             # whole packet, header and padding included
    uint16_t payload_offset
    uint16_t payload_size     # without padding
    uint8_t payload_type
    uint8_t codec
    uint8_t marker
    uint16_t flags
    uint64_t frame            # names the packet's frame within its source; higher ones are newer (frame_newer)
    uint8_t temporal
    uint8_t spatial
    uint8_t audio_level       # RFC 6464 octet
    uint8_t orientation       # 3GPP CVO octet
    uint8_t has_picture_id
    uint16_t picture_id
    uint8_t has_tl0
    uint8_t tl0_picture_index
    uint8_t has_dependency    # a dependency descriptor that the source understood
    uint16_t frame_number     # of it
    uint16_t dependency_at    # where it lies in the packet, and its size in bytes
    uint8_t dependency_size
    DescriptorLayout dependency_layout

cdef inline uint64_t frame_name(uint32_t timestamp, uint16_t number) noexcept nogil:
    """`number` tells the frames of one timestamp apart: spatial layer, or frame number of the dependency descriptor."""
    return (<uint64_t>timestamp << 16) | number

cdef inline uint64_t no_frame_name(uint32_t timestamp) noexcept nogil:
    """Of padding where frames are numbered: 0 is a frame's number, too."""
    return (<uint64_t>1 << 48) | frame_name(timestamp, 0)

cdef inline bint frame_newer(uint64_t frame, uint64_t than) noexcept nogil:
    """Whether `frame` comes after `than`, both halves modulo their size."""
    if (frame >> 16) != (than >> 16):
        return <int32_t><uint32_t>((frame >> 16) - (than >> 16)) > 0
    return <int16_t><uint16_t>(frame - than) > 0

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
cdef uint64_t history_head_after(const History *history, uint32_t size) noexcept nogil
cdef Packet *history_add(History *history, int64_t sequence, const uint8_t *data, uint16_t size) noexcept nogil
cdef Packet *history_get(const History *history, int64_t sequence) noexcept nogil
cdef const uint8_t *history_data(const History *history, const Packet *packet) noexcept nogil
