# SPDX-License-Identifier: Apache-2.0
"""RTP header extensions, RFC 8285: read without copying, written in place."""

from libc.stdint cimport uint8_t, uint32_t

from sfu.wire.rtp cimport RtpHeader


cdef enum:
    EXT_COUNT_MAX = 16              # size of the arrays below; EXT_COUNT is never above it


cdef enum ExtensionKind:
    EXT_NONE = 0
    EXT_MID
    EXT_RID
    EXT_REPAIRED_RID
    EXT_AUDIO_LEVEL
    EXT_TRANSPORT_CC
    EXT_ABS_SEND_TIME
    EXT_DEPENDENCY_DESCRIPTOR
    EXT_VIDEO_ORIENTATION
    EXT_PLAYOUT_DELAY
    EXT_VIDEO_CONTENT_TYPE
    EXT_COLOR_SPACE
    EXT_ABS_CAPTURE_TIME
    EXT_VIDEO_LAYERS_ALLOCATION
    EXT_RELAY_EPOCH                 # between our own workers only (docs/relay.md); no SDP names it
    EXT_COUNT


cdef struct ExtensionMap:
    uint8_t kind[256]               # negotiated header extension id → ExtensionKind


cdef struct Extensions:             # indexed by ExtensionKind
    const uint8_t *data[EXT_COUNT_MAX]      # into the packet; NULL = absent
    uint8_t size[EXT_COUNT_MAX]


cdef struct ExtensionElement:
    uint8_t id
    uint8_t size
    const uint8_t *data


# 0, or -1 where an element runs past the block: then *out holds the elements before it. Unknown ids are skipped; of two
# with one kind the last counts.
cdef int extensions_parse(
    const uint8_t *packet, const RtpHeader *h, const ExtensionMap *m, Extensions *out,
) noexcept nogil

# Walks all elements: 1 = *out is the next one, 0 = end, -1 = malformed. *offset starts at 0.
cdef int extensions_next(
    const uint8_t *packet, const RtpHeader *h, uint32_t *offset, ExtensionElement *out,
) noexcept nogil


cdef struct ExtensionWriter:
    uint8_t *start
    uint8_t *at
    uint8_t *end
    bint two_byte


# `at` is the byte after the fixed header and the CSRCs, `end` the first byte that may not be written.
cdef void extensions_begin(ExtensionWriter *w, uint8_t *at, uint8_t *end, bint two_byte) noexcept nogil
# What does not fit the form (one-byte: ids 1–14, 1–16 bytes) or the room is left out silently.
cdef void extensions_add(ExtensionWriter *w, uint8_t id, const uint8_t *data, uint8_t size) noexcept nogil
# Bytes written with the 4-byte block header; 0 = nothing was added. The caller sets the X bit.
cdef uint32_t extensions_finish(ExtensionWriter *w) noexcept nogil
