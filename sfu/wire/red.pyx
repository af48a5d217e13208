# SPDX-License-Identifier: Apache-2.0
"""Redundant audio, RFC 2198 §3."""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free
from libc.string cimport memmove

from sfu.wire.buffers cimport copy_exact
from sfu.wire.bytes cimport read_u24
from sfu.wire.payloads import Red
from sfu.wire.payloads import RedBlock as Block


cdef enum:
    MORE_BLOCKS = 0x80
    PAYLOAD_TYPE_MASK = 0x7F
    REDUNDANT_HEADER_SIZE = 4
    PRIMARY_HEADER_SIZE = 1
    LENGTH_BITS = 10
    LENGTH_MASK = 0x3FF


cdef int red_parse(const uint8_t *payload, uint32_t size, RedPayload *out) noexcept nogil:
    cdef uint32_t at = 0
    cdef uint32_t fields, i
    cdef RedBlock *block

    out.redundant_count = 0
    while True:
        if at >= size:
            return -1
        if not payload[at] & MORE_BLOCKS:
            break
        if size - at < REDUNDANT_HEADER_SIZE or out.redundant_count == RED_BLOCKS_MAX:
            return -1
        fields = read_u24(payload + at + 1)
        block = &out.redundant[out.redundant_count]
        block.payload_type = payload[at] & PAYLOAD_TYPE_MASK
        block.timestamp_offset = <uint16_t>(fields >> LENGTH_BITS)
        block.size = <uint16_t>(fields & LENGTH_MASK)
        out.redundant_count += 1
        at += REDUNDANT_HEADER_SIZE
    out.payload_type = payload[at]
    at += PRIMARY_HEADER_SIZE
    for i in range(out.redundant_count):
        block = &out.redundant[i]
        if block.size > size - at:
            return -1
        block.offset = at
        at += block.size
    out.offset = at
    out.size = size - at
    return 0


cdef int red_primary(
    const uint8_t *payload, uint32_t size, uint8_t *payload_type, uint32_t *offset, uint32_t *primary_size,
) noexcept nogil:
    cdef uint32_t at = 0
    cdef uint32_t redundant_size = 0
    cdef uint32_t blocks = 0

    while True:
        if at >= size:
            return -1
        if not payload[at] & MORE_BLOCKS:
            break
        if size - at < REDUNDANT_HEADER_SIZE or blocks == RED_BLOCKS_MAX:
            return -1
        redundant_size += read_u24(payload + at + 1) & LENGTH_MASK
        blocks += 1
        at += REDUNDANT_HEADER_SIZE
    payload_type[0] = payload[at]
    at += PRIMARY_HEADER_SIZE
    if redundant_size > size - at:
        return -1
    offset[0] = at + redundant_size
    primary_size[0] = size - offset[0]
    return 0


cdef int red_strip(uint8_t *payload, uint32_t size, uint8_t *payload_type) noexcept nogil:
    cdef uint32_t offset = 0
    cdef uint32_t primary_size = 0
    if red_primary(payload, size, payload_type, &offset, &primary_size) != 0:
        return -1
    memmove(payload, payload + offset, primary_size)
    return <int32_t>primary_size


def parse_payload(bytes data not None):
    """The blocks of a RED payload; ValueError where it is malformed."""
    cdef RedPayload p
    cdef uint8_t *copy = copy_exact(data)
    try:
        if red_parse(copy, <uint32_t>len(data), &p) != 0:
            raise ValueError("malformed RED payload")
    finally:
        free(copy)
    blocks = []
    for i in range(p.redundant_count):
        block = p.redundant[i]
        blocks.append(Block(block.payload_type, block.timestamp_offset, data[block.offset:block.offset + block.size]))
    return Red(tuple(blocks), Block(p.payload_type, 0, data[p.offset:p.offset + p.size]))


def strip_to_primary(bytes data not None):
    """(payload type, primary block); ValueError where it is malformed."""
    cdef uint8_t payload_type = 0
    cdef int size
    cdef uint8_t *copy = copy_exact(data)
    try:
        size = red_strip(copy, <uint32_t>len(data), &payload_type)
        if size < 0:
            raise ValueError("malformed RED payload")
        return payload_type, bytes(copy[:size])
    finally:
        free(copy)
