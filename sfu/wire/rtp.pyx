# SPDX-License-Identifier: Apache-2.0
"""RTP fixed header, and `RtpPacket`: the same for Python callers (client, load bots, tests)."""

from dataclasses import dataclass, field

from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from sfu.wire.buffers cimport copy_exact
from sfu.wire.bytes cimport read_u16, read_u32, write_u16, write_u32
from sfu.wire.extensions cimport (
    EXT_COUNT, ExtensionElement, ExtensionMap, Extensions, ExtensionWriter, extensions_add, extensions_begin,
    extensions_finish, extensions_next, extensions_parse,
)

from sfu.wire.extensions import HeaderExtension


cdef int rtp_parse(const uint8_t *data, uint32_t size, RtpHeader *header) noexcept nogil:
    cdef uint32_t offset, block_size

    if size < RTP_FIXED_HEADER_SIZE or (data[0] >> 6) != 2:
        return -1
    header.csrc_count = data[0] & 0x0F
    header.marker = (data[1] & 0x80) != 0
    header.payload_type = data[1] & 0x7F
    header.sequence_number = read_u16(data + 2)
    header.timestamp = read_u32(data + 4)
    header.ssrc = read_u32(data + 8)

    offset = RTP_FIXED_HEADER_SIZE + 4 * <uint32_t>header.csrc_count
    header.extension_profile = 0
    header.extension_offset = 0
    header.extension_size = 0
    if data[0] & 0x10:
        if offset + 4 > size:
            return -1
        block_size = 4 * <uint32_t>read_u16(data + offset + 2)
        if offset + 4 + block_size > size:
            return -1
        header.extension_profile = read_u16(data + offset)
        header.extension_offset = offset + 4
        header.extension_size = block_size
        offset += 4 + block_size
    elif offset > size:
        return -1

    header.padding_size = 0
    if data[0] & 0x20:
        # Zero is malformed: the count includes itself.
        if offset == size or data[size - 1] == 0 or data[size - 1] > size - offset:
            return -1
        header.padding_size = data[size - 1]
    header.header_size = offset
    header.payload_size = size - offset - header.padding_size
    return 0


cdef bint is_rtcp(const uint8_t *data, uint32_t size) noexcept nogil:
    return size >= 2 and 192 <= data[1] <= 223


@dataclass(slots=True)
class RtpPacket:
    """One packet. `extensions` maps header extension ids to values; the form (one- or two-byte) follows from them."""

    payload_type: int = 0
    marker: bool = False
    sequence_number: int = 0
    timestamp: int = 0
    ssrc: int = 0
    csrcs: tuple = ()
    extensions: dict = field(default_factory=dict)
    payload: bytes = b""
    padding_size: int = 0

    @classmethod
    def parse(cls, data):
        """The packet in `data`; ValueError where it is malformed."""
        return _parse(cls, data)

    def serialize(self):
        """The packet's bytes; ValueError where a field or an extension does not fit the wire format."""
        return _serialize(self)


def looks_like_rtcp(bytes data not None):
    """Whether a datagram of RTP and RTCP on one port is RTCP."""
    return bool(is_rtcp(<const uint8_t *>data, <uint32_t>len(data)))


def parse_extensions(bytes data not None, dict ids not None):
    """The header extensions of an RTP packet that `ids` {id: kind} knows, by kind; ValueError where it is malformed."""
    cdef RtpHeader header
    cdef ExtensionMap map
    cdef Extensions found
    cdef int kind
    cdef uint8_t *copy
    memset(&map, 0, sizeof(map))
    for id, value in ids.items():
        map.kind[<uint8_t>id] = value
    copy = copy_exact(data)
    try:
        if rtp_parse(copy, <uint32_t>len(data), &header) != 0:
            raise ValueError("malformed RTP packet")
        if extensions_parse(copy, &header, &map, &found) != 0:
            raise ValueError("malformed RTP header extension")
        values = {}
        for kind in range(1, EXT_COUNT):
            if found.data[kind] != NULL:
                values[HeaderExtension(kind)] = bytes(found.data[kind][:found.size[kind]])
        return values
    finally:
        free(copy)


cdef object _parse(cls, bytes data):
    cdef RtpHeader header
    cdef ExtensionElement element
    cdef uint32_t offset = 0
    cdef uint32_t i
    cdef int more
    cdef uint8_t *copy = copy_exact(data)
    try:
        if rtp_parse(copy, <uint32_t>len(data), &header) != 0:
            raise ValueError("malformed RTP packet")
        extensions = {}
        while True:
            more = extensions_next(copy, &header, &offset, &element)
            if more < 0:
                raise ValueError("malformed RTP header extension")
            if more == 0:
                break
            extensions[element.id] = bytes(element.data[:element.size])
        csrcs = [read_u32(copy + RTP_FIXED_HEADER_SIZE + 4 * i) for i in range(header.csrc_count)]
        return cls(
            payload_type=header.payload_type,
            marker=bool(header.marker),
            sequence_number=header.sequence_number,
            timestamp=header.timestamp,
            ssrc=header.ssrc,
            csrcs=tuple(csrcs),
            extensions=extensions,
            payload=bytes(copy[header.header_size:header.header_size + header.payload_size]),
            padding_size=header.padding_size,
        )
    finally:
        free(copy)


cdef void _check(packet) except *:
    limits = (
        ("payload_type", 7), ("sequence_number", 16), ("timestamp", 32), ("ssrc", 32), ("padding_size", 8),
    )
    for name, bits in limits:
        if not 0 <= getattr(packet, name) < 1 << bits:
            raise ValueError(f"{name} does not fit in {bits} bits")
    if len(packet.csrcs) > RTP_CSRC_COUNT_MAX or any([not 0 <= csrc < 1 << 32 for csrc in packet.csrcs]):
        raise ValueError("more than 15 CSRCs, or one beyond 32 bits")
    for id, value in packet.extensions.items():
        if not 1 <= id <= 255 or len(value) > 255:
            raise ValueError(f"header extension {id} does not fit: ids 1-255, at most 255 bytes")


cdef uint32_t _write_extensions(uint8_t *at, uint8_t *end, dict extensions) except? 0:
    cdef ExtensionWriter writer
    cdef bytes value
    cdef bint two_byte = False
    for id, value in extensions.items():
        # Id 15 ends a one-byte block (RFC 8285 §4.2), and an empty value has no one-byte form.
        two_byte = two_byte or id > 14 or not 1 <= len(value) <= 16
    extensions_begin(&writer, at, end, two_byte)
    for id, value in extensions.items():
        extensions_add(&writer, id, <const uint8_t *>value, <uint8_t>len(value))
    return extensions_finish(&writer)


cdef bytes _serialize(packet):
    cdef bytes payload = packet.payload
    cdef dict extensions = packet.extensions
    cdef uint32_t csrc_count, extension_size
    cdef uint32_t padding = packet.padding_size
    cdef size_t room
    cdef uint8_t *out
    cdef uint8_t *at
    _check(packet)
    csrc_count = <uint32_t>len(packet.csrcs)
    room = RTP_FIXED_HEADER_SIZE + 4 * csrc_count + 8 + len(payload) + padding
    room += sum([2 + len(value) for value in extensions.values()])
    out = <uint8_t *>malloc(room)
    if out == NULL:
        raise MemoryError
    try:
        out[0] = <uint8_t>(0x80 | (0x20 if padding else 0) | csrc_count)
        out[1] = <uint8_t>((0x80 if packet.marker else 0) | <int>packet.payload_type)
        write_u16(out + 2, packet.sequence_number)
        write_u32(out + 4, packet.timestamp)
        write_u32(out + 8, packet.ssrc)
        at = out + RTP_FIXED_HEADER_SIZE
        for csrc in packet.csrcs:
            write_u32(at, csrc)
            at += 4
        extension_size = _write_extensions(at, out + room, extensions)
        if extension_size:
            out[0] |= 0x10
            at += extension_size
        memcpy(at, <const uint8_t *>payload, len(payload))
        at += len(payload)
        if padding:
            memset(at, 0, padding)
            at += padding
            (at - 1)[0] = <uint8_t>padding
        return bytes(out[:at - out])
    finally:
        free(out)
