# SPDX-License-Identifier: Apache-2.0
"""AV1 payloads, AV1 RTP specification §4; OBU and sequence headers, AV1 bitstream specification §5.3 and §5.5."""

from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free
from libc.string cimport memset

from sfu.wire.bits cimport BitReader, bits_begin, read_bits
from sfu.wire.buffers cimport copy_exact
from sfu.wire.payloads import Av1


cdef enum:
    # Aggregation header
    STARTS_WITH_FRAGMENT = 0x80
    ENDS_WITH_FRAGMENT = 0x40
    NEW_SEQUENCE = 0x08

    # OBU header
    OBU_FORBIDDEN = 0x80
    OBU_HAS_EXTENSION = 0x04
    OBU_HAS_SIZE = 0x02
    OBU_SEQUENCE_HEADER = 1

    LEB128_SIZE_MAX = 8             # AV1 §4.10.5
    ELEMENTS_MAX = 255              # an empty element takes one byte: no payload that is meant has as many
    UVLC_ZEROS_MAX = 32


cdef inline int _leb128(const uint8_t *data, uint32_t size, uint32_t *at, uint32_t *value) noexcept nogil:
    """0, or -1 where it is cut off or above 2^32 - 1."""
    cdef uint32_t i
    cdef uint8_t byte
    value[0] = 0
    for i in range(LEB128_SIZE_MAX):
        if at[0] >= size:
            return -1
        byte = data[at[0]]
        at[0] += 1
        if (i == 4 and byte & 0x70) or (i > 4 and byte & 0x7F):
            return -1
        if i <= 4:
            value[0] |= <uint32_t>(byte & 0x7F) << (7 * i)
        if not byte & 0x80:
            return 0
    return -1


cdef void _skip_bits(BitReader *r, uint32_t n) noexcept nogil:
    while n > 32:
        read_bits(r, 32)
        n -= 32
    read_bits(r, n)


cdef void _skip_uvlc(BitReader *r) noexcept nogil:
    cdef uint32_t zeros = 0
    while not r.failed and read_bits(r, 1) == 0:
        zeros += 1
    if zeros < UVLC_ZEROS_MAX:
        read_bits(r, zeros)


cdef uint32_t _skip_timing(BitReader *r, bint *has_decoder_model) noexcept nogil:
    """timing_info() and decoder_model_info(); returns the length of a buffer delay."""
    cdef uint32_t delay_size = 0
    _skip_bits(r, 64)                               # num_units_in_display_tick, time_scale
    if read_bits(r, 1):                             # equal_picture_interval
        _skip_uvlc(r)
    has_decoder_model[0] = read_bits(r, 1)
    if has_decoder_model[0]:
        delay_size = read_bits(r, 5) + 1
        _skip_bits(r, 32 + 5 + 5)
    return delay_size


cdef void _skip_operating_points(BitReader *r) noexcept nogil:
    """From timing_info_present_flag up to the last operating point."""
    cdef bint has_decoder_model = False
    cdef bint has_display_delay
    cdef uint32_t delay_size = 0
    cdef uint32_t count
    if read_bits(r, 1):
        delay_size = _skip_timing(r, &has_decoder_model)
    has_display_delay = read_bits(r, 1)
    count = read_bits(r, 5) + 1
    for _ in range(count):
        read_bits(r, 12)                            # operating_point_idc
        if read_bits(r, 5) > 7:                     # seq_level_idx
            read_bits(r, 1)                         # seq_tier
        if has_decoder_model and read_bits(r, 1):
            _skip_bits(r, 2 * delay_size + 1)       # operating_parameters_info()
        if has_display_delay and read_bits(r, 1):
            read_bits(r, 4)                         # initial_display_delay_minus_1


cdef void _read_sequence_header(const uint8_t *body, uint32_t size, Av1Payload *out) noexcept nogil:
    """Takes width and height, or leaves them as they are where the header is cut off."""
    cdef BitReader r
    cdef uint32_t width_bits, height_bits, width, height
    bits_begin(&r, body, size)
    read_bits(&r, 4)                                # seq_profile, still_picture
    if read_bits(&r, 1):                            # reduced_still_picture_header
        read_bits(&r, 5)
    else:
        _skip_operating_points(&r)
    width_bits = read_bits(&r, 4) + 1
    height_bits = read_bits(&r, 4) + 1
    width = read_bits(&r, width_bits) + 1
    height = read_bits(&r, height_bits) + 1
    if not r.failed:
        out.width = width
        out.height = height


cdef int _read_obu(const uint8_t *obu, uint32_t size, bint cut, Av1Payload *out) noexcept nogil:
    """The start of an OBU; `cut` where it goes on in another packet. 0, or -1 where it is malformed."""
    cdef uint32_t at = 1
    cdef uint32_t body_size
    cdef uint8_t header = obu[0]

    if header & OBU_FORBIDDEN:
        return -1
    if header & OBU_HAS_EXTENSION:
        if size < 2:
            return 0 if cut else -1
        out.has_layers = True
        out.temporal = obu[1] >> 5
        out.spatial = (obu[1] >> 3) & 3
        at = 2
    body_size = size - at
    if header & OBU_HAS_SIZE:
        if _leb128(obu, size, &at, &body_size) != 0:
            return 0 if cut else -1
        if body_size > size - at:
            if not cut:
                return -1
            body_size = size - at
    if (header >> 3) & 0x0F == OBU_SEQUENCE_HEADER:
        out.has_sequence_header = True
        _read_sequence_header(obu + at, body_size, out)
    return 0


cdef int av1_aggregation_header(const uint8_t *payload, uint32_t size, Av1Payload *out) noexcept nogil:
    memset(out, 0, sizeof(Av1Payload))
    if size < 2:
        return -1
    out.starts_with_fragment = (payload[0] & STARTS_WITH_FRAGMENT) != 0
    out.ends_with_fragment = (payload[0] & ENDS_WITH_FRAGMENT) != 0
    out.new_sequence = (payload[0] & NEW_SEQUENCE) != 0
    return -1 if out.new_sequence and out.starts_with_fragment else 0


cdef int av1_parse(const uint8_t *payload, uint32_t size, Av1Payload *out) noexcept nogil:
    cdef uint32_t at = 1
    cdef uint32_t announced, element_size
    cdef bint last, cut

    if av1_aggregation_header(payload, size, out) != 0:
        return -1
    announced = (payload[0] >> 4) & 3               # W; 0 = each element has its length
    while at < size:
        if announced != 0 and <uint32_t>out.elements + 1 == announced:
            element_size = size - at
        elif _leb128(payload, size, &at, &element_size) != 0 or element_size > size - at:
            return -1
        if out.elements == ELEMENTS_MAX:
            return -1
        out.elements += 1
        last = at + element_size == size
        cut = last and out.ends_with_fragment
        if element_size > 0 and not (out.elements == 1 and out.starts_with_fragment):
            if _read_obu(payload + at, element_size, cut, out) != 0:
                return -1
        at += element_size
    return -1 if announced != 0 and out.elements != announced else 0


def parse_payload(bytes data not None):
    """What an RTP payload of AV1 says; ValueError where it is malformed."""
    cdef Av1Payload p
    cdef uint8_t *copy = copy_exact(data)
    try:
        if av1_parse(copy, <uint32_t>len(data), &p) != 0:
            raise ValueError("malformed AV1 payload")
    finally:
        free(copy)
    return Av1(
        starts_with_fragment=bool(p.starts_with_fragment),
        ends_with_fragment=bool(p.ends_with_fragment),
        new_sequence=bool(p.new_sequence),
        elements=p.elements,
        has_sequence_header=bool(p.has_sequence_header),
        temporal=p.temporal if p.has_layers else None,
        spatial=p.spatial if p.has_layers else None,
        width=p.width,
        height=p.height,
    )
