# SPDX-License-Identifier: Apache-2.0
"""Redundant audio (RFC 2198): where the blocks of a RED payload lie."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t


cdef enum:
    RED_BLOCKS_MAX = 32             # as libwebrtc takes; browsers send up to 9 redundant ones


cdef struct RedBlock:
    uint8_t payload_type
    uint16_t timestamp_offset       # the block's RTP timestamp is the packet's minus this; 0..16383
    uint16_t size
    uint32_t offset                 # within the RED payload


cdef struct RedPayload:
    uint8_t redundant_count
    RedBlock redundant[RED_BLOCKS_MAX]      # oldest first, as a rule
    uint8_t payload_type            # of the primary block
    uint32_t offset                 # of the primary block
    uint32_t size                   # of the primary block; 0 is possible


# 0, or -1 where it is malformed or has more blocks than fit.
cdef int red_parse(const uint8_t *payload, uint32_t size, RedPayload *out) noexcept nogil

# Only the primary block's place, in one pass over the headers. 0, or -1 as red_parse.
cdef int red_primary(
    const uint8_t *payload, uint32_t size, uint8_t *payload_type, uint32_t *offset, uint32_t *primary_size,
) noexcept nogil

# Moves the primary block to the payload's start and returns its size, or -1 as red_parse (then nothing has changed).
cdef int red_strip(uint8_t *payload, uint32_t size, uint8_t *payload_type) noexcept nogil
