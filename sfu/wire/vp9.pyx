# SPDX-License-Identifier: Apache-2.0
"""VP9 payload descriptor, RFC 9628 §4.2."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

from sfu.wire.buffers cimport copy_exact
from sfu.wire.bytes cimport read_u16, write_u16
from sfu.wire.payloads import Vp9, Vp9Picture, Vp9Scalability


cdef enum:
    # First byte
    HAS_PICTURE_ID = 0x80
    INTER_PICTURE_PREDICTED = 0x40
    HAS_LAYERS = 0x20
    FLEXIBLE = 0x10
    START_OF_FRAME = 0x08
    END_OF_FRAME = 0x04
    HAS_STRUCTURE = 0x02
    NOT_REFERENCE = 0x01

    LONG_PICTURE_ID = 0x8000
    # Layer indices
    SWITCHING_UP = 0x10
    INTER_LAYER = 0x01
    # References
    MORE_REFERENCES = 0x01
    # Scalability structure
    HAS_RESOLUTIONS = 0x10
    HAS_GROUP = 0x08


cdef inline int _references(const uint8_t *payload, uint32_t size, uint32_t at, Vp9Descriptor *out) noexcept nogil:
    """P_DIFFs of flexible mode; returns the offset after them, or -1."""
    cdef uint8_t byte
    while True:
        if at >= size or out.p_diff_count == VP9_REFERENCES_MAX:
            return -1
        byte = payload[at]
        at += 1
        out.p_diffs[out.p_diff_count] = byte >> 1
        out.p_diff_count += 1
        if not byte & MORE_REFERENCES:
            return <int>at


cdef int _structure(const uint8_t *payload, uint32_t size, uint32_t at, Vp9Structure *out) noexcept nogil:
    """The scalability structure; returns the offset after it, or -1."""
    cdef uint8_t flags
    cdef uint32_t i

    if at >= size:
        return -1
    flags = payload[at]
    at += 1
    out.spatial_layers = (flags >> 5) + 1
    if flags & HAS_RESOLUTIONS:
        out.has_resolutions = True
        if <uint32_t>4 * out.spatial_layers > size - at:
            return -1
        for i in range(out.spatial_layers):
            out.width[i] = read_u16(payload + at)
            out.height[i] = read_u16(payload + at + 2)
            at += 4
    if flags & HAS_GROUP:
        if at >= size:
            return -1
        out.has_group = True
        out.group_size = payload[at]
        at += 1
        out.group_offset = <uint16_t>at
        for i in range(out.group_size):
            if at >= size:
                return -1
            at += 1 + ((payload[at] >> 2) & 3)
        if at > size:
            return -1
    return <int>at


cdef int vp9_parse(const uint8_t *payload, uint32_t size, Vp9Descriptor *out) noexcept nogil:
    cdef uint8_t flags
    cdef int at = 1

    memset(out, 0, sizeof(Vp9Descriptor))
    if size < 2:
        return -1
    flags = payload[0]
    out.start_of_frame = (flags & START_OF_FRAME) != 0
    out.end_of_frame = (flags & END_OF_FRAME) != 0
    out.inter_picture_predicted = (flags & INTER_PICTURE_PREDICTED) != 0
    out.flexible = (flags & FLEXIBLE) != 0
    out.not_reference_for_upper_spatial = (flags & NOT_REFERENCE) != 0
    if flags & HAS_PICTURE_ID:
        out.has_picture_id = True
        out.picture_id = payload[1]
        at = 2
        if payload[1] & 0x80:
            if size < 3:
                return -1
            out.long_picture_id = True
            out.picture_id = read_u16(payload + 1) & 0x7FFF
            at = 3
    if flags & HAS_LAYERS:
        if <uint32_t>at + (1 if out.flexible else 2) > size:
            return -1
        out.has_layers = True
        out.temporal = payload[at] >> 5
        out.switching_up = (payload[at] & SWITCHING_UP) != 0
        out.spatial = (payload[at] >> 1) & 7
        out.inter_layer = (payload[at] & INTER_LAYER) != 0
        at += 1
        if not out.flexible:
            out.has_tl0 = True
            out.tl0_picture_index = payload[at]
            at += 1
    if out.flexible and out.inter_picture_predicted:
        at = _references(payload, size, <uint32_t>at, out)
        if at < 0:
            return -1
    if flags & HAS_STRUCTURE:
        out.has_structure = True
        at = _structure(payload, size, <uint32_t>at, &out.structure)
        if at < 0:
            return -1
    if <uint32_t>at >= size:
        return -1
    out.size = <uint16_t>at
    out.keyframe = out.start_of_frame and not out.inter_picture_predicted and out.spatial == 0
    return 0


cdef int vp9_group_next(
    const uint8_t *payload, const Vp9Structure *s, uint32_t *index, uint32_t *offset, Vp9GroupPicture *out,
) noexcept nogil:
    cdef const uint8_t *picture
    cdef uint32_t i
    if index[0] >= s.group_size:
        return 0
    picture = payload + s.group_offset + offset[0]
    out.temporal = picture[0] >> 5
    out.switching_up = (picture[0] & SWITCHING_UP) != 0
    out.p_diff_count = (picture[0] >> 2) & 3
    for i in range(out.p_diff_count):
        out.p_diffs[i] = picture[1 + i]
    index[0] += 1
    offset[0] += 1 + out.p_diff_count
    return 1


cdef uint32_t vp9_write(
    uint8_t *out, const uint8_t *payload, const Vp9Descriptor *d, uint16_t picture_id, uint8_t tl0,
) noexcept nogil:
    cdef uint32_t read_at = 1
    cdef uint32_t write_at = 1

    out[0] = payload[0]
    if d.has_picture_id:
        read_at = 3 if d.long_picture_id else 2
        write_u16(out + 1, (picture_id & 0x7FFF) | LONG_PICTURE_ID)
        write_at = 3
    if out != payload:
        memcpy(out + write_at, payload + read_at, d.size - read_at)
    if d.has_tl0:
        out[write_at + 1] = tl0
    return write_at + d.size - read_at


cdef _scalability(const uint8_t *payload, const Vp9Structure *s):
    cdef Vp9GroupPicture picture
    cdef uint32_t index = 0
    cdef uint32_t offset = 0
    group = []
    while vp9_group_next(payload, s, &index, &offset, &picture):
        group.append(
            Vp9Picture(
                temporal=picture.temporal,
                switching_up=bool(picture.switching_up),
                p_diffs=tuple(picture.p_diffs[:picture.p_diff_count]),
            )
        )
    return Vp9Scalability(
        spatial_layers=s.spatial_layers,
        resolutions=tuple([(s.width[i], s.height[i]) for i in range(s.spatial_layers)]) if s.has_resolutions else None,
        group=tuple(group) if s.has_group else None,
    )


def parse_descriptor(bytes data not None):
    """The descriptor at the start of an RTP payload; ValueError where it is malformed."""
    cdef Vp9Descriptor d
    cdef uint8_t *copy = copy_exact(data)
    try:
        if vp9_parse(copy, <uint32_t>len(data), &d) != 0:
            raise ValueError("malformed VP9 payload descriptor")
        return Vp9(
            size=d.size,
            start_of_frame=bool(d.start_of_frame),
            end_of_frame=bool(d.end_of_frame),
            inter_picture_predicted=bool(d.inter_picture_predicted),
            keyframe=bool(d.keyframe),
            flexible=bool(d.flexible),
            not_reference_for_upper_spatial=bool(d.not_reference_for_upper_spatial),
            picture_id=d.picture_id if d.has_picture_id else None,
            long_picture_id=bool(d.long_picture_id),
            temporal=d.temporal if d.has_layers else None,
            spatial=d.spatial if d.has_layers else None,
            switching_up=bool(d.switching_up),
            inter_layer=bool(d.inter_layer),
            tl0_picture_index=d.tl0_picture_index if d.has_tl0 else None,
            p_diffs=tuple(d.p_diffs[:d.p_diff_count]),
            scalability=_scalability(copy, &d.structure) if d.has_structure else None,
        )
    finally:
        free(copy)


def rewrite_descriptor(bytes data not None, int picture_id, int tl0_picture_index):
    """The descriptor alone, with another picture id and TL0PICIDX where it has them; ValueError where it is malformed."""
    cdef Vp9Descriptor d
    cdef uint8_t *out = NULL
    cdef uint8_t *copy = copy_exact(data)
    try:
        if vp9_parse(copy, <uint32_t>len(data), &d) != 0:
            raise ValueError("malformed VP9 payload descriptor")
        # Exactly as large as promised, so that AddressSanitizer sees any byte too many; in place where that is allowed.
        if vp9_written_size(&d) == d.size:
            return bytes(copy[:vp9_write(copy, copy, &d, <uint16_t>picture_id, <uint8_t>tl0_picture_index)])
        out = copy_exact(bytes(vp9_written_size(&d)))
        return bytes(out[:vp9_write(out, copy, &d, <uint16_t>picture_id, <uint8_t>tl0_picture_index)])
    finally:
        free(out)
        free(copy)
