# SPDX-License-Identifier: Apache-2.0
"""H.264 payloads, RFC 6184; the sequence parameter set, ITU-T H.264 §7.3.2.1.1."""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free
from libc.string cimport memset

from sfu.wire.buffers cimport copy_exact
from sfu.wire.bytes cimport read_u16
from sfu.wire.descriptors import H264


cdef enum:
    NAL_TYPE_MASK = 0x1F
    NAL_SLICE = 1
    NAL_PARTITION_A = 2
    NAL_IDR = 5
    NAL_SEI = 6
    NAL_SPS = 7
    NAL_ACCESS_UNIT_DELIMITER = 9
    NAL_SINGLE_LAST = 23
    NAL_STAP_A = 24
    NAL_FU_A = 28
    FU_START = 0x80

    # Limits of what is believed (ITU-T H.264 table A-1, level 6.2: 139264 macroblocks, no side above sqrt(8 * that))
    SIDE_MACROBLOCKS_MAX = 1055
    REFERENCE_FRAMES_MAX = 16
    POC_CYCLE_MAX = 255
    GOLOMB_PREFIX_MAX = 31


cdef struct BitReader:
    const uint8_t *at
    const uint8_t *end
    uint32_t zeros                  # zero bytes just before `at`: 00 00 03 hides an emulation prevention byte
    uint8_t current
    uint8_t left                    # unread bits of `current`
    bint failed                     # ran out, or met a value beyond its limit; reads then give 0


cdef uint32_t _bit(BitReader *r) noexcept nogil:
    if r.left == 0:
        if r.zeros >= 2 and r.at < r.end and r.at[0] == 3:
            r.at += 1
            r.zeros = 0
        if r.at >= r.end:
            r.failed = True
            return 0
        r.current = r.at[0]
        r.zeros = r.zeros + 1 if r.current == 0 else 0
        r.at += 1
        r.left = 8
    r.left -= 1
    return (r.current >> r.left) & 1


cdef uint32_t _bits(BitReader *r, uint32_t n) noexcept nogil:
    cdef uint32_t value = 0
    for _ in range(n):
        value = (value << 1) | _bit(r)
    return value


cdef uint32_t _golomb(BitReader *r) noexcept nogil:
    """ue(v). At most 2^32 - 2, which 31 leading zeros reach."""
    cdef uint32_t prefix = 0
    while _bit(r) == 0:
        prefix += 1
        if r.failed or prefix > GOLOMB_PREFIX_MAX:
            r.failed = True
            return 0
    return ((<uint32_t>1 << prefix) - 1) + _bits(r, prefix)


cdef uint32_t _limited(BitReader *r, uint32_t limit) noexcept nogil:
    """ue(v) that may not be above limit."""
    cdef uint32_t value = _golomb(r)
    if value > limit:
        r.failed = True
        return 0
    return value


cdef int32_t _signed_golomb(BitReader *r) noexcept nogil:
    cdef uint32_t code = _golomb(r)
    return <int32_t>((code >> 1) + (code & 1)) if code & 1 else -<int32_t>(code >> 1)


cdef void _skip_scaling_list(BitReader *r, uint32_t size) noexcept nogil:
    cdef uint32_t last = 8
    cdef uint32_t next = 8
    for _ in range(size):
        if next != 0:
            next = (last + <uint32_t>_signed_golomb(r)) & 0xFF
        if next != 0:
            last = next
        if r.failed:
            return


cdef uint32_t _chroma_format(BitReader *r) noexcept nogil:
    """The part that only the high profiles have; returns ChromaArrayType."""
    cdef uint32_t chroma_format = _limited(r, 3)
    cdef bint separate_planes = False
    cdef uint32_t i
    if chroma_format == 3:
        separate_planes = _bit(r)
    _limited(r, 6)                                  # bit_depth_luma_minus8
    _limited(r, 6)                                  # bit_depth_chroma_minus8
    _bit(r)                                         # qpprime_y_zero_transform_bypass_flag
    if _bit(r):                                     # seq_scaling_matrix_present_flag
        for i in range(12 if chroma_format == 3 else 8):
            if _bit(r):
                _skip_scaling_list(r, 16 if i < 6 else 64)
    return 0 if separate_planes else chroma_format


cdef void _skip_picture_order(BitReader *r) noexcept nogil:
    cdef uint32_t kind = _limited(r, 2)             # pic_order_cnt_type
    cdef uint32_t i, n
    if kind == 0:
        _limited(r, 12)                             # log2_max_pic_order_cnt_lsb_minus4
    elif kind == 1:
        _bit(r)                                     # delta_pic_order_always_zero_flag
        _golomb(r)                                  # offset_for_non_ref_pic
        _golomb(r)                                  # offset_for_top_to_bottom_field
        n = _limited(r, POC_CYCLE_MAX)
        for i in range(n):
            if r.failed:
                return
            _golomb(r)                              # offset_for_ref_frame[i]


cdef bint _has_chroma_format(uint8_t profile) noexcept nogil:
    return profile in (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)


cdef void _read_sps(const uint8_t *nal, uint32_t size, H264Payload *out) noexcept nogil:
    """Takes width and height from the SPS, or leaves them as they are where it is cut off or beyond any level."""
    cdef BitReader r
    cdef uint8_t profile
    cdef uint32_t chroma = 1
    cdef uint32_t width, height, left, right, top, bottom, unit_x, unit_y
    cdef bint frames_only

    memset(&r, 0, sizeof(r))
    r.at = nal + 1
    r.end = nal + size
    profile = <uint8_t>_bits(&r, 8)
    _bits(&r, 16)                                   # constraint flags, level
    _limited(&r, 31)                                # seq_parameter_set_id
    if _has_chroma_format(profile):
        chroma = _chroma_format(&r)
    _limited(&r, 12)                                # log2_max_frame_num_minus4
    _skip_picture_order(&r)
    _limited(&r, REFERENCE_FRAMES_MAX)              # max_num_ref_frames
    _bit(&r)                                        # gaps_in_frame_num_value_allowed_flag
    width = 16 * (_limited(&r, SIDE_MACROBLOCKS_MAX - 1) + 1)
    height = 16 * (_limited(&r, SIDE_MACROBLOCKS_MAX - 1) + 1)
    frames_only = _bit(&r)
    if not frames_only:
        height *= 2
        _bit(&r)                                    # mb_adaptive_frame_field_flag
    _bit(&r)                                        # direct_8x8_inference_flag
    if _bit(&r):                                    # frame_cropping_flag, in units of chroma samples (table 6-1)
        unit_x = 2 if chroma == 1 or chroma == 2 else 1
        unit_y = (2 if chroma == 1 else 1) * (1 if frames_only else 2)
        left = unit_x * _limited(&r, width)
        right = unit_x * _limited(&r, width)
        top = unit_y * _limited(&r, height)
        bottom = unit_y * _limited(&r, height)
        if left + right >= width or top + bottom >= height:
            return
        width -= left + right
        height -= top + bottom
    if r.failed or height > 16 * SIDE_MACROBLOCKS_MAX:
        return
    out.width = <uint16_t>width
    out.height = <uint16_t>height


cdef void _read_nal(uint8_t kind, const uint8_t *nal, uint32_t size, bint first, H264Payload *out) noexcept nogil:
    """The start of a NAL unit; nal[0] is its header (or the FU header), the body follows."""
    if kind == NAL_SPS:
        out.has_sps = True
        _read_sps(nal, size, out)
    elif kind == NAL_IDR:
        out.has_idr = True
    if first:
        if NAL_SEI <= kind <= NAL_ACCESS_UNIT_DELIMITER:
            out.start_of_frame_hint = True
        elif kind == NAL_SLICE or kind == NAL_PARTITION_A or kind == NAL_IDR:
            # first_mb_in_slice is ue(v): zero is a single 1 bit.
            out.start_of_frame_hint = size > 1 and (nal[1] & 0x80) != 0


cdef int _read_aggregate(const uint8_t *payload, uint32_t size, H264Payload *out) noexcept nogil:
    cdef uint32_t at = 1
    cdef uint32_t nal_size
    if at >= size:
        return -1
    while at < size:
        if at + 2 > size:
            return -1
        nal_size = read_u16(payload + at)
        at += 2
        if nal_size == 0 or nal_size > size - at:
            return -1
        _read_nal(payload[at] & NAL_TYPE_MASK, payload + at, nal_size, at == 3, out)
        at += nal_size
    return 0


cdef int h264_parse(const uint8_t *payload, uint32_t size, H264Payload *out) noexcept nogil:
    cdef uint8_t kind
    cdef int status = 0

    memset(out, 0, sizeof(H264Payload))
    if size == 0:
        return -1
    kind = payload[0] & NAL_TYPE_MASK
    if 1 <= kind <= NAL_SINGLE_LAST:
        _read_nal(kind, payload, size, True, out)
    elif kind == NAL_STAP_A:
        status = _read_aggregate(payload, size, out)
    elif kind == NAL_FU_A:
        if size < 2:
            return -1
        if payload[1] & FU_START:
            _read_nal(payload[1] & NAL_TYPE_MASK, payload + 1, size - 1, True, out)
    else:
        return -1
    out.keyframe = out.has_sps or out.has_idr
    return status


def parse_payload(bytes data not None):
    """What an RTP payload of H.264 says; ValueError where it is malformed."""
    cdef H264Payload p
    cdef uint8_t *copy = copy_exact(data)
    try:
        if h264_parse(copy, <uint32_t>len(data), &p) != 0:
            raise ValueError("malformed H.264 payload")
    finally:
        free(copy)
    return H264(
        keyframe=bool(p.keyframe),
        has_sps=bool(p.has_sps),
        has_idr=bool(p.has_idr),
        start_of_frame_hint=bool(p.start_of_frame_hint),
        width=p.width,
        height=p.height,
    )
