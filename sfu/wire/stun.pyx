# SPDX-License-Identifier: Apache-2.0
"""STUN binding messages, RFC 8489; ICE's attributes, RFC 8445 §16.1."""

import hmac as python_hmac
import ipaddress

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset, strlen

from sfu.wire.buffers cimport copy_exact
from sfu.wire.bytes cimport read_u16, read_u32, read_u64, write_u16, write_u32
from sfu.wire.stun_messages import Message


cdef enum:
    MAGIC_COOKIE = 0x2112A442
    ATTRIBUTE_HEADER_SIZE = 4
    ATTRIBUTE_USERNAME = 0x0006
    ATTRIBUTE_MESSAGE_INTEGRITY = 0x0008
    ATTRIBUTE_ERROR_CODE = 0x0009
    ATTRIBUTE_XOR_MAPPED_ADDRESS = 0x0020
    ATTRIBUTE_PRIORITY = 0x0024
    ATTRIBUTE_USE_CANDIDATE = 0x0025
    ATTRIBUTE_FINGERPRINT = 0x8028
    ATTRIBUTE_ICE_CONTROLLED = 0x8029
    ATTRIBUTE_ICE_CONTROLLING = 0x802A
    INTEGRITY_SIZE = 20             # SHA-1
    FAMILY_IPV4 = 1
    FAMILY_IPV6 = 2
    FINGERPRINT_XOR = 0x5354554E    # RFC 8489 §14.7
    CRC32_POLYNOMIAL = 0xEDB88320


cdef uint32_t CRC32_TABLE[256]


cdef void _fill_crc32_table() noexcept nogil:
    cdef uint32_t i, j, value
    for i in range(256):
        value = i
        for j in range(8):
            value = (value >> 1) ^ (<uint32_t>CRC32_POLYNOMIAL if value & 1 else 0)
        CRC32_TABLE[i] = value


_fill_crc32_table()


cdef uint32_t _fingerprint(const uint8_t *data, uint32_t size) noexcept nogil:
    cdef uint32_t crc = 0xFFFFFFFF
    cdef uint32_t i
    for i in range(size):
        crc = (crc >> 8) ^ CRC32_TABLE[(crc ^ data[i]) & 0xFF]
    return ~crc ^ <uint32_t>FINGERPRINT_XOR


cdef bint stun_is_message(const uint8_t *data, uint32_t size) noexcept nogil:
    return size >= STUN_HEADER_SIZE and data[0] < 4 and read_u32(data + 4) == MAGIC_COOKIE


cdef int stun_parse(const uint8_t *data, uint32_t size, StunMessage *out) noexcept nogil:
    cdef uint32_t at = STUN_HEADER_SIZE
    cdef uint32_t padded

    memset(out, 0, sizeof(StunMessage))
    if not stun_is_message(data, size) or size > STUN_SIZE_MAX:
        return -1
    if size & 3 or read_u16(data + 2) != size - STUN_HEADER_SIZE:
        return -1
    out.type = read_u16(data)
    out.transaction_id = data + 8
    while at < size:
        # size and at are multiples of 4, so the attribute's header is there.
        padded = (<uint32_t>read_u16(data + at + 2) + 3) & ~<uint32_t>3
        if padded > size - at - ATTRIBUTE_HEADER_SIZE:
            return -1
        if _read_attribute(data, size, at, out) != 0:
            return -1
        at += ATTRIBUTE_HEADER_SIZE + padded
    return 0


cdef int _read_attribute(const uint8_t *data, uint32_t size, uint32_t at, StunMessage *out) noexcept nogil:
    """Takes what ICE wants from the attribute at `at`, which lies within the message; -1 where it is malformed."""
    cdef uint16_t kind = read_u16(data + at)
    cdef uint16_t length = read_u16(data + at + 2)
    cdef const uint8_t *value = data + at + ATTRIBUTE_HEADER_SIZE

    if kind == ATTRIBUTE_FINGERPRINT:
        # It is the last attribute, and covers all before it (RFC 8489 §14.7).
        if length != 4 or at + ATTRIBUTE_HEADER_SIZE + 4 != size or read_u32(value) != _fingerprint(data, at):
            return -1
        out.has_fingerprint = True
    elif out.integrity_offset:
        pass                                        # not protected, hence ignored (RFC 8489 §14.5)
    elif kind == ATTRIBUTE_MESSAGE_INTEGRITY:
        if length != INTEGRITY_SIZE:
            return -1
        out.integrity_offset = at
    elif kind == ATTRIBUTE_USERNAME:
        if out.username == NULL:
            out.username = value
            out.username_size = length
    elif kind == ATTRIBUTE_PRIORITY:
        if length != 4:
            return -1
        out.priority = read_u32(value)
    elif kind == ATTRIBUTE_USE_CANDIDATE:
        out.use_candidate = True
    elif kind == ATTRIBUTE_ICE_CONTROLLING or kind == ATTRIBUTE_ICE_CONTROLLED:
        if length != 8:
            return -1
        out.controlling = out.controlling or kind == ATTRIBUTE_ICE_CONTROLLING
        out.controlled = out.controlled or kind == ATTRIBUTE_ICE_CONTROLLED
        out.tie_breaker = read_u64(value)
    return 0


cdef bint stun_verify(
    const uint8_t *data, const StunMessage *m, const uint8_t *key, uint32_t key_size, HmacSha1 hmac,
) noexcept nogil:
    cdef uint8_t covered[STUN_SIZE_MAX]
    cdef uint8_t digest[INTEGRITY_SIZE]
    cdef const uint8_t *claimed = data + m.integrity_offset + ATTRIBUTE_HEADER_SIZE
    cdef uint8_t difference = 0
    cdef uint32_t i

    if m.integrity_offset < STUN_HEADER_SIZE or m.integrity_offset > STUN_SIZE_MAX:
        return False
    # The digest is over the message up to the attribute, with a length that ends behind the attribute.
    memcpy(covered, data, m.integrity_offset)
    write_u16(
        covered + 2, <uint16_t>(m.integrity_offset - STUN_HEADER_SIZE + ATTRIBUTE_HEADER_SIZE + INTEGRITY_SIZE)
    )
    if hmac(key, key_size, covered, m.integrity_offset, digest) != 0:
        return False
    for i in range(INTEGRITY_SIZE):
        difference |= digest[i] ^ claimed[i]
    return difference == 0


cdef inline void _write_attribute(uint8_t *at, uint16_t kind, uint16_t size) noexcept nogil:
    write_u16(at, kind)
    write_u16(at + 2, size)


cdef void _write_header(uint8_t *out, uint16_t kind, const uint8_t *transaction_id) noexcept nogil:
    write_u16(out, kind)
    write_u32(out + 4, MAGIC_COOKIE)
    memcpy(out + 8, transaction_id, STUN_TRANSACTION_ID_SIZE)


cdef uint32_t _finish(
    uint8_t *out, uint32_t capacity, uint32_t size, const uint8_t *key, uint32_t key_size, HmacSha1 hmac,
) noexcept nogil:
    """Adds MESSAGE-INTEGRITY (with a key) and FINGERPRINT; each covers a length that ends behind itself."""
    cdef uint32_t attributes_size = ATTRIBUTE_HEADER_SIZE + 4
    if key != NULL:
        attributes_size += ATTRIBUTE_HEADER_SIZE + INTEGRITY_SIZE
    if size + attributes_size > capacity:
        return 0
    if key != NULL:
        write_u16(out + 2, <uint16_t>(size - STUN_HEADER_SIZE + ATTRIBUTE_HEADER_SIZE + INTEGRITY_SIZE))
        _write_attribute(out + size, ATTRIBUTE_MESSAGE_INTEGRITY, INTEGRITY_SIZE)
        if hmac(key, key_size, out, size, out + size + ATTRIBUTE_HEADER_SIZE) != 0:
            return 0
        size += ATTRIBUTE_HEADER_SIZE + INTEGRITY_SIZE
    write_u16(out + 2, <uint16_t>(size - STUN_HEADER_SIZE + ATTRIBUTE_HEADER_SIZE + 4))
    _write_attribute(out + size, ATTRIBUTE_FINGERPRINT, 4)
    write_u32(out + size + ATTRIBUTE_HEADER_SIZE, _fingerprint(out, size))
    return size + ATTRIBUTE_HEADER_SIZE + 4


cdef inline bint _is_v4_mapped(const uint8_t *ip16) noexcept nogil:
    return (read_u64(ip16) == 0) and read_u32(ip16 + 8) == 0xFFFF


cdef uint32_t stun_write_success(
    uint8_t *out, uint32_t capacity, const uint8_t *transaction_id, const uint8_t *ip16, uint16_t port,
    const uint8_t *key, uint32_t key_size, HmacSha1 hmac,
) noexcept nogil:
    cdef bint is_ipv4 = _is_v4_mapped(ip16)
    cdef uint32_t ip_size = 4 if is_ipv4 else 16
    cdef uint32_t size = STUN_HEADER_SIZE + ATTRIBUTE_HEADER_SIZE + 4 + ip_size
    cdef uint8_t *value = out + STUN_HEADER_SIZE + ATTRIBUTE_HEADER_SIZE
    cdef uint32_t i

    if size > capacity:
        return 0
    _write_header(out, STUN_BINDING_SUCCESS, transaction_id)
    _write_attribute(out + STUN_HEADER_SIZE, ATTRIBUTE_XOR_MAPPED_ADDRESS, <uint16_t>(4 + ip_size))
    value[0] = 0
    value[1] = FAMILY_IPV4 if is_ipv4 else FAMILY_IPV6
    write_u16(value + 2, port ^ <uint16_t>(MAGIC_COOKIE >> 16))
    # The mask is the cookie and then the transaction id, as they stand in the header.
    for i in range(ip_size):
        value[4 + i] = ip16[16 - ip_size + i] ^ out[4 + i]
    return _finish(out, capacity, size, key, key_size, hmac)


cdef const char *_reason(uint16_t code) noexcept nogil:
    if code == 400:
        return "Bad Request"
    if code == 401:
        return "Unauthorized"
    if code == 420:
        return "Unknown Attribute"
    if code == 487:
        return "Role Conflict"
    if code == 500:
        return "Server Error"
    return ""


cdef uint32_t stun_write_error(
    uint8_t *out, uint32_t capacity, const uint8_t *transaction_id, uint16_t code,
    const uint8_t *key, uint32_t key_size, HmacSha1 hmac,
) noexcept nogil:
    cdef const char *reason = _reason(code)
    cdef uint32_t reason_size = <uint32_t>strlen(reason)
    cdef uint32_t padded = (reason_size + 3) & ~<uint32_t>3
    cdef uint32_t size = STUN_HEADER_SIZE + ATTRIBUTE_HEADER_SIZE + 4 + padded
    cdef uint8_t *value = out + STUN_HEADER_SIZE + ATTRIBUTE_HEADER_SIZE

    if size > capacity or not 300 <= code <= 699:
        return 0
    _write_header(out, STUN_BINDING_ERROR, transaction_id)
    _write_attribute(out + STUN_HEADER_SIZE, ATTRIBUTE_ERROR_CODE, <uint16_t>(4 + reason_size))
    write_u16(value, 0)
    value[2] = <uint8_t>(code // 100)
    value[3] = <uint8_t>(code % 100)
    memset(value + 4, 0, padded)
    memcpy(value + 4, reason, reason_size)
    return _finish(out, capacity, size, key, key_size, hmac)


# Python callers; the engine brings an HMAC of its own.

cdef int _hmac_of_python(
    const uint8_t *key, uint32_t key_size, const uint8_t *data, uint32_t size, uint8_t *out,
) noexcept with gil:
    cdef bytes digest
    try:
        digest = python_hmac.digest(key[:key_size], data[:size], "sha1")
    except Exception:
        return -1
    memcpy(out, <const uint8_t *>digest, INTEGRITY_SIZE)
    return 0


def is_message(bytes data not None):
    """Whether this looks like STUN and not like DTLS or RTP."""
    return bool(stun_is_message(<const uint8_t *>data, <uint32_t>len(data)))


def parse_message(bytes data not None):
    """What ICE wants of a message; ValueError where it is malformed, also by a wrong FINGERPRINT."""
    cdef StunMessage m
    cdef uint8_t *copy = copy_exact(data)
    try:
        if stun_parse(copy, <uint32_t>len(data), &m) != 0:
            raise ValueError("malformed STUN message")
        return Message(
            type=m.type,
            transaction_id=bytes(m.transaction_id[:STUN_TRANSACTION_ID_SIZE]),
            username=bytes(m.username[:m.username_size]) if m.username != NULL else None,
            use_candidate=bool(m.use_candidate),
            controlling=bool(m.controlling),
            controlled=bool(m.controlled),
            tie_breaker=m.tie_breaker,
            priority=m.priority,
            has_integrity=m.integrity_offset != 0,
            has_fingerprint=bool(m.has_fingerprint),
        )
    finally:
        free(copy)


def verify(bytes data not None, bytes key not None):
    """Whether MESSAGE-INTEGRITY is there and made with this key; ValueError where the message is malformed."""
    cdef StunMessage m
    cdef uint8_t *copy = copy_exact(data)
    try:
        if stun_parse(copy, <uint32_t>len(data), &m) != 0:
            raise ValueError("malformed STUN message")
        return bool(stun_verify(copy, &m, <const uint8_t *>key, <uint32_t>len(key), _hmac_of_python))
    finally:
        free(copy)


def write_success(bytes transaction_id not None, str host not None, uint16_t port, bytes key not None):
    """The answer to a binding request that came from (host, port)."""
    cdef uint8_t out[STUN_SIZE_MAX]
    cdef bytes ip16
    cdef uint32_t size
    if len(transaction_id) != STUN_TRANSACTION_ID_SIZE:
        raise ValueError("a transaction id has 12 bytes")
    ip = ipaddress.ip_address(host)
    ip16 = ip.packed if ip.version == 6 else bytes(10) + b"\xff\xff" + ip.packed
    size = stun_write_success(
        out, sizeof(out), transaction_id, ip16, port, key, <uint32_t>len(key), _hmac_of_python
    )
    return bytes(out[:size])


def write_error(bytes transaction_id not None, uint16_t code, bytes key):
    """An error response; with key None without MESSAGE-INTEGRITY. ValueError unless code is in 300–699."""
    cdef uint8_t out[STUN_SIZE_MAX]
    cdef const uint8_t *key_data = NULL
    cdef uint32_t size
    if len(transaction_id) != STUN_TRANSACTION_ID_SIZE:
        raise ValueError("a transaction id has 12 bytes")
    if key is not None:
        key_data = key
    size = stun_write_error(
        out, sizeof(out), transaction_id, code, key_data, <uint32_t>(len(key) if key is not None else 0),
        _hmac_of_python,
    )
    if size == 0:
        raise ValueError("an error code is 300-699")
    return bytes(out[:size])
