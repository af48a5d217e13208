# SPDX-License-Identifier: Apache-2.0
"""VP8 payload descriptor, RFC 7741 §4.2."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free
from libc.string cimport memset

from sfu.wire.buffers cimport copy_exact
from sfu.wire.bytes cimport read_u16, write_u16
from sfu.wire.descriptors import Vp8


cdef enum:
    # First byte
    EXTENDED = 0x80
    NON_REFERENCE = 0x20
    START_OF_PARTITION = 0x10
    PARTITION_MASK = 0x07
    # Second byte
    HAS_PICTURE_ID = 0x80
    HAS_TL0 = 0x40
    HAS_TEMPORAL = 0x20
    HAS_KEY_INDEX = 0x10

    LONG_PICTURE_ID = 0x8000
    LAYER_SYNC = 0x20
    KEY_INDEX_MASK = 0x1F
    # Payload header of a key frame: 3-byte frame tag, start code, then width and height, 14 bits each, little endian
    KEYFRAME_HEADER_SIZE = 10
    DIMENSION_MASK = 0x3FFF


cdef inline int _extension(const uint8_t *payload, uint32_t size, Vp8Descriptor *out) noexcept nogil:
    """The optional part of the descriptor; returns the offset after it, or -1."""
    cdef uint32_t at = 2
    cdef uint8_t flags

    if size < 2:
        return -1
    flags = payload[1]
    if flags & HAS_PICTURE_ID:
        if at >= size:
            return -1
        out.has_picture_id = True
        out.picture_id = payload[at]
        if payload[at] & 0x80:
            if at + 2 > size:
                return -1
            out.long_picture_id = True
            out.picture_id = read_u16(payload + at) & 0x7FFF
            at += 1
        at += 1
    if flags & HAS_TL0:
        if at >= size:
            return -1
        out.has_tl0 = True
        out.tl0_picture_index = payload[at]
        at += 1
    if flags & (HAS_TEMPORAL | HAS_KEY_INDEX):
        if at >= size:
            return -1
        if flags & HAS_TEMPORAL:
            out.has_temporal = True
            out.temporal = payload[at] >> 6
            out.layer_sync = (payload[at] & LAYER_SYNC) != 0
        if flags & HAS_KEY_INDEX:
            out.has_key_index = True
            out.key_index = payload[at] & KEY_INDEX_MASK
        at += 1
    return <int>at


cdef int vp8_parse(const uint8_t *payload, uint32_t size, Vp8Descriptor *out) noexcept nogil:
    cdef int at = 1
    cdef const uint8_t *header

    memset(out, 0, sizeof(Vp8Descriptor))
    if size < 2:
        return -1
    out.non_reference = (payload[0] & NON_REFERENCE) != 0
    out.start_of_partition = (payload[0] & START_OF_PARTITION) != 0
    out.partition = payload[0] & PARTITION_MASK
    out.start_of_frame = out.start_of_partition and out.partition == 0
    if payload[0] & EXTENDED:
        at = _extension(payload, size, out)
    if at < 0 or <uint32_t>at >= size:
        return -1
    out.size = <uint8_t>at

    header = payload + at
    out.keyframe = out.start_of_frame and (header[0] & 0x01) == 0
    if out.keyframe and size - <uint32_t>at >= KEYFRAME_HEADER_SIZE:
        if header[3] == 0x9D and header[4] == 0x01 and header[5] == 0x2A:
            out.width = (header[6] | (<uint16_t>header[7] << 8)) & DIMENSION_MASK
            out.height = (header[8] | (<uint16_t>header[9] << 8)) & DIMENSION_MASK
    return 0


cdef uint32_t vp8_write(uint8_t *out, const Vp8Descriptor *d, uint16_t picture_id, uint8_t tl0) noexcept nogil:
    cdef uint32_t at = 2
    cdef uint8_t flags = 0

    out[0] = d.partition & PARTITION_MASK
    if d.start_of_partition:
        out[0] |= START_OF_PARTITION
    if d.non_reference:
        out[0] |= NON_REFERENCE
    if d.has_picture_id:
        flags |= HAS_PICTURE_ID
        write_u16(out + at, picture_id | LONG_PICTURE_ID)
        at += 2
    if d.has_tl0:
        flags |= HAS_TL0
        out[at] = tl0
        at += 1
    if d.has_temporal or d.has_key_index:
        out[at] = 0
        if d.has_temporal:
            flags |= HAS_TEMPORAL
            out[at] |= <uint8_t>((d.temporal << 6) | (LAYER_SYNC if d.layer_sync else 0))
        if d.has_key_index:
            flags |= HAS_KEY_INDEX
            out[at] |= d.key_index & KEY_INDEX_MASK
        at += 1
    if flags == 0:
        return 1
    out[0] |= EXTENDED
    out[1] = flags
    return at


def parse_descriptor(bytes data not None):
    """The descriptor at the start of an RTP payload; ValueError where it is malformed."""
    cdef Vp8Descriptor d
    cdef uint8_t *copy = copy_exact(data)
    try:
        if vp8_parse(copy, <uint32_t>len(data), &d) != 0:
            raise ValueError("malformed VP8 payload descriptor")
    finally:
        free(copy)
    return Vp8(
        size=d.size,
        start_of_frame=bool(d.start_of_frame),
        keyframe=bool(d.keyframe),
        start_of_partition=bool(d.start_of_partition),
        partition=d.partition,
        non_reference=bool(d.non_reference),
        picture_id=d.picture_id if d.has_picture_id else None,
        long_picture_id=bool(d.long_picture_id),
        tl0_picture_index=d.tl0_picture_index if d.has_tl0 else None,
        temporal=d.temporal if d.has_temporal else None,
        layer_sync=bool(d.layer_sync),
        key_index=d.key_index if d.has_key_index else None,
        width=d.width,
        height=d.height,
    )


def write_descriptor(descriptor):
    """The bytes of a `Vp8` (size, frame start and picture size are not written: they follow from the rest)."""
    cdef Vp8Descriptor d
    cdef uint8_t out[VP8_DESCRIPTOR_SIZE_MAX]
    memset(&d, 0, sizeof(d))
    d.start_of_partition = descriptor.start_of_partition
    d.partition = descriptor.partition
    d.non_reference = descriptor.non_reference
    d.has_picture_id = descriptor.picture_id is not None
    d.has_tl0 = descriptor.tl0_picture_index is not None
    d.has_temporal = descriptor.temporal is not None
    d.temporal = descriptor.temporal or 0
    d.layer_sync = descriptor.layer_sync
    d.has_key_index = descriptor.key_index is not None
    d.key_index = descriptor.key_index or 0
    return bytes(out[:vp8_write(out, &d, descriptor.picture_id or 0, descriptor.tl0_picture_index or 0)])
