# SPDX-License-Identifier: Apache-2.0
"""VP9 payload descriptor (RFC 9628 §4.2).

Picture ids may only be moved by one offset per source, never closed up where a picture was dropped: references are
differences of picture ids (P_DIFF), and in non-flexible mode the id names the place in the picture group.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t


cdef enum:
    VP9_SPATIAL_LAYERS_MAX = 8
    VP9_REFERENCES_MAX = 3


cdef struct Vp9Structure:           # the scalability structure (V)
    uint8_t spatial_layers          # N_S + 1
    bint has_resolutions            # Y; width and height are 0 without it
    uint16_t width[VP9_SPATIAL_LAYERS_MAX]
    uint16_t height[VP9_SPATIAL_LAYERS_MAX]
    bint has_group                  # G
    uint8_t group_size              # N_G; vp9_group_next() walks it
    uint16_t group_offset           # of the picture group's first picture within the payload


cdef struct Vp9GroupPicture:
    uint8_t temporal
    bint switching_up
    uint8_t p_diff_count
    uint8_t p_diffs[VP9_REFERENCES_MAX]


cdef struct Vp9Descriptor:
    uint16_t size                   # of the descriptor; the VP9 payload follows it
    bint start_of_frame             # B: of one spatial layer's frame; a picture is all frames with one RTP timestamp
    bint end_of_frame               # E
    bint inter_picture_predicted    # P
    bint keyframe                   # start of the lowest spatial layer's frame with P = 0: the picture resets the decoder
    bint flexible                   # F
    bint not_reference_for_upper_spatial    # Z
    bint has_picture_id             # I
    bint long_picture_id            # 15 bits, else 7
    uint16_t picture_id
    bint has_layers                 # L; without it the next four are 0
    uint8_t temporal                # TID, 0..7
    bint switching_up               # U: later pictures of higher temporal layers need nothing above TID from before this
    uint8_t spatial                 # SID, 0..7
    bint inter_layer                # D: predicted from the layer below, same picture
    bint has_tl0                    # L and not F
    uint8_t tl0_picture_index
    uint8_t p_diff_count            # flexible mode with P = 1: 1..3, else 0
    uint8_t p_diffs[VP9_REFERENCES_MAX]
    bint has_structure              # V; `structure` is all 0 without it
    Vp9Structure structure


# 0, or -1 where it is malformed; so is a descriptor without payload.
cdef int vp9_parse(const uint8_t *payload, uint32_t size, Vp9Descriptor *out) noexcept nogil

# The picture group's pictures, from a payload that vp9_parse took: 1 = *out is the next one, 0 = end. *index and
# *offset start at 0.
cdef int vp9_group_next(
    const uint8_t *payload, const Vp9Structure *s, uint32_t *index, uint32_t *offset, Vp9GroupPicture *out,
) noexcept nogil


# Bytes that vp9_write() writes: d.size, or one more where a picture id grows from 7 to 15 bits.
cdef inline uint32_t vp9_written_size(const Vp9Descriptor *d) noexcept nogil:
    return <uint32_t>d.size + (1 if d.has_picture_id and not d.long_picture_id else 0)


# Copies the descriptor of `payload` (that d was parsed from) with this picture id (15-bit form; where d has one) and
# TL0PICIDX (where d has one); all other bits stay. `out` may be `payload` itself, to rewrite in place, where the sizes
# are equal. Returns vp9_written_size(d).
cdef uint32_t vp9_write(
    uint8_t *out, const uint8_t *payload, const Vp9Descriptor *d, uint16_t picture_id, uint8_t tl0,
) noexcept nogil
