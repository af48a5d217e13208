# SPDX-License-Identifier: Apache-2.0
"""VP8 payload descriptor (RFC 7741 §4.2) and the size in a key frame's header (RFC 6386 §9.1)."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t


cdef enum:
    VP8_DESCRIPTOR_SIZE_MAX = 6


cdef struct Vp8Descriptor:
    uint8_t size                    # of the descriptor; the VP8 payload follows it
    bint start_of_frame             # S == 1 and PID == 0
    bint keyframe                   # start_of_frame, and the payload header's P bit is 0
    bint start_of_partition         # S
    uint8_t partition               # PID
    bint non_reference              # N
    bint has_picture_id
    bint long_picture_id            # 15 bits, else 7
    uint16_t picture_id
    bint has_tl0
    uint8_t tl0_picture_index
    bint has_temporal
    uint8_t temporal                # 0 where absent
    bint layer_sync                 # Y
    bint has_key_index
    uint8_t key_index
    uint16_t width                  # of a keyframe's first packet, else 0
    uint16_t height


# 0, or -1 where it is malformed; so is a descriptor without payload.
cdef int vp8_parse(const uint8_t *payload, uint32_t size, Vp8Descriptor *out) noexcept nogil
# Writes d's fields with this picture id (15-bit form; where d has one) and TL0PICIDX (where d has one).
# Returns the bytes written, at most VP8_DESCRIPTOR_SIZE_MAX.
cdef uint32_t vp8_write(uint8_t *out, const Vp8Descriptor *d, uint16_t picture_id, uint8_t tl0) noexcept nogil
