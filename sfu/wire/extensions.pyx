# SPDX-License-Identifier: Apache-2.0
"""RTP header extensions, RFC 8285."""

from enum import IntEnum

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from sfu.wire.bytes cimport write_u16
from sfu.wire.rtp cimport EXTENSION_PROFILE_ONE_BYTE, EXTENSION_PROFILE_TWO_BYTE, RtpHeader


cdef enum:
    BLOCK_HEADER_SIZE = 4
    TWO_BYTE_PROFILE_MASK = 0xFFF0
    ONE_BYTE_STOP_ID = 15


class HeaderExtension(IntEnum):
    """ExtensionKind for Python callers."""

    MID = EXT_MID
    RID = EXT_RID
    REPAIRED_RID = EXT_REPAIRED_RID
    AUDIO_LEVEL = EXT_AUDIO_LEVEL
    TRANSPORT_CC = EXT_TRANSPORT_CC
    ABS_SEND_TIME = EXT_ABS_SEND_TIME
    DEPENDENCY_DESCRIPTOR = EXT_DEPENDENCY_DESCRIPTOR
    VIDEO_ORIENTATION = EXT_VIDEO_ORIENTATION
    PLAYOUT_DELAY = EXT_PLAYOUT_DELAY
    VIDEO_CONTENT_TYPE = EXT_VIDEO_CONTENT_TYPE
    COLOR_SPACE = EXT_COLOR_SPACE
    ABS_CAPTURE_TIME = EXT_ABS_CAPTURE_TIME
    VIDEO_LAYERS_ALLOCATION = EXT_VIDEO_LAYERS_ALLOCATION


EXTENSION_URIS = {
    "urn:ietf:params:rtp-hdrext:sdes:mid": HeaderExtension.MID,
    "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id": HeaderExtension.RID,
    "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id": HeaderExtension.REPAIRED_RID,
    "urn:ietf:params:rtp-hdrext:ssrc-audio-level": HeaderExtension.AUDIO_LEVEL,
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01": HeaderExtension.TRANSPORT_CC,
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time": HeaderExtension.ABS_SEND_TIME,
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension":
        HeaderExtension.DEPENDENCY_DESCRIPTOR,
    "urn:3gpp:video-orientation": HeaderExtension.VIDEO_ORIENTATION,
    "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay": HeaderExtension.PLAYOUT_DELAY,
    "http://www.webrtc.org/experiments/rtp-hdrext/video-content-type": HeaderExtension.VIDEO_CONTENT_TYPE,
    "http://www.webrtc.org/experiments/rtp-hdrext/color-space": HeaderExtension.COLOR_SPACE,
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time": HeaderExtension.ABS_CAPTURE_TIME,
    "http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00": HeaderExtension.VIDEO_LAYERS_ALLOCATION,
}


cdef int extensions_next(
    const uint8_t *packet, const RtpHeader *h, uint32_t *offset, ExtensionElement *out,
) noexcept nogil:
    cdef const uint8_t *block = packet + h.extension_offset
    cdef uint32_t at = offset[0]
    cdef uint32_t end = h.extension_size
    cdef bint one_byte = h.extension_profile == EXTENSION_PROFILE_ONE_BYTE

    if not one_byte and (h.extension_profile & TWO_BYTE_PROFILE_MASK) != EXTENSION_PROFILE_TWO_BYTE:
        return 0
    while at < end and block[at] == 0:              # padding, one byte each in both forms
        at += 1
    if at >= end:
        offset[0] = end
        return 0

    if one_byte:
        out.id = block[at] >> 4
        out.size = (block[at] & 0x0F) + 1
        at += 1
        # Both end the block (RFC 8285 §4.2): id 15 by definition, id 0 with a length as an error.
        if out.id == ONE_BYTE_STOP_ID or out.id == 0:
            offset[0] = end
            return 0
    else:
        if at + 2 > end:
            return -1
        out.id = block[at]
        out.size = block[at + 1]
        at += 2
    if at + out.size > end:
        return -1
    out.data = block + at
    offset[0] = at + out.size
    return 1


cdef int extensions_parse(
    const uint8_t *packet, const RtpHeader *h, const ExtensionMap *m, Extensions *out,
) noexcept nogil:
    cdef ExtensionElement element
    cdef uint32_t offset = 0
    cdef uint8_t kind
    cdef int more

    memset(out, 0, sizeof(Extensions))
    while True:
        more = extensions_next(packet, h, &offset, &element)
        if more <= 0:
            return more
        kind = m.kind[element.id]
        if EXT_NONE < kind < EXT_COUNT:
            out.data[kind] = element.data
            out.size[kind] = element.size


cdef void extensions_begin(ExtensionWriter *w, uint8_t *at, uint8_t *end, bint two_byte) noexcept nogil:
    w.start = at
    w.end = end
    w.two_byte = two_byte
    w.at = at + BLOCK_HEADER_SIZE if end - at >= BLOCK_HEADER_SIZE else at


cdef void extensions_add(ExtensionWriter *w, uint8_t id, const uint8_t *data, uint8_t size) noexcept nogil:
    cdef Py_ssize_t used = w.at - w.start
    cdef Py_ssize_t needed = <Py_ssize_t>size + (2 if w.two_byte else 1)

    # Padding to 32 bits has to find room as well.
    if used < BLOCK_HEADER_SIZE or ((used + needed + 3) & ~<Py_ssize_t>3) > w.end - w.start:
        return
    if w.two_byte:
        if id == 0:
            return
        w.at[0] = id
        w.at[1] = size
        w.at += 2
    else:
        if id == 0 or id >= ONE_BYTE_STOP_ID or size == 0 or size > 16:
            return
        w.at[0] = <uint8_t>((id << 4) | (size - 1))
        w.at += 1
    if size:
        memcpy(w.at, data, size)
        w.at += size


cdef uint32_t extensions_finish(ExtensionWriter *w) noexcept nogil:
    if w.at - w.start <= BLOCK_HEADER_SIZE:
        return 0
    while (w.at - w.start) & 3:
        w.at[0] = 0
        w.at += 1
    write_u16(w.start, EXTENSION_PROFILE_TWO_BYTE if w.two_byte else EXTENSION_PROFILE_ONE_BYTE)
    write_u16(w.start + 2, <uint16_t>((w.at - w.start - BLOCK_HEADER_SIZE) >> 2))
    return <uint32_t>(w.at - w.start)


def write_block(dict extensions not None, uint32_t capacity, bint two_byte):
    """The extension block {id: value} in at most `capacity` bytes; what does not fit is left out."""
    cdef ExtensionWriter writer
    cdef bytes value
    cdef uint8_t *out = <uint8_t *>malloc(capacity)
    if out == NULL and capacity:
        raise MemoryError
    try:
        extensions_begin(&writer, out, out + capacity, two_byte)
        for id, value in extensions.items():
            extensions_add(&writer, id, <const uint8_t *>value, len(value))
        return bytes(out[:extensions_finish(&writer)])
    finally:
        free(out)
