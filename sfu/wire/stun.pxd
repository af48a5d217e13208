# SPDX-License-Identifier: Apache-2.0
"""STUN binding messages as ICE uses them (RFC 8489, RFC 8445): what an ICE-lite server reads and answers."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t


cdef enum:
    STUN_BINDING_REQUEST = 0x0001
    STUN_BINDING_INDICATION = 0x0011
    STUN_BINDING_SUCCESS = 0x0101
    STUN_BINDING_ERROR = 0x0111
    STUN_HEADER_SIZE = 20
    STUN_TRANSACTION_ID_SIZE = 12
    STUN_SIZE_MAX = 1500            # larger ones are malformed to us: a check is about 100 bytes


# 0 = ok; writes 20 bytes to out.
ctypedef int (*HmacSha1)(
    const uint8_t *key, uint32_t key_size, const uint8_t *data, uint32_t size, uint8_t *out
) noexcept nogil


cdef struct StunMessage:            # pointers go into the datagram
    uint16_t type
    const uint8_t *transaction_id   # 12 bytes
    const uint8_t *username         # NULL = absent
    uint16_t username_size
    bint use_candidate
    bint controlling                # ICE-CONTROLLING was there
    bint controlled                 # ICE-CONTROLLED was there: a role conflict for an ICE-lite server
    uint64_t tie_breaker            # of either
    uint32_t priority               # 0 = absent
    uint32_t integrity_offset       # of the MESSAGE-INTEGRITY attribute; 0 = none
    bint has_fingerprint            # a wrong one is malformed


# RFC 7983 first byte, magic cookie
cdef bint stun_is_message(const uint8_t *data, uint32_t size) noexcept nogil
cdef int stun_parse(const uint8_t *data, uint32_t size, StunMessage *out) noexcept nogil    # 0/-1
# Constant time; leaves data unchanged. False where there is no MESSAGE-INTEGRITY.
cdef bint stun_verify(
    const uint8_t *data, const StunMessage *m, const uint8_t *key, uint32_t key_size, HmacSha1 hmac,
) noexcept nogil
# Bytes written, 0 = no room or hmac failed. ip16: an IPv4 address is v4-mapped. port in host order.
cdef uint32_t stun_write_success(
    uint8_t *out, uint32_t capacity, const uint8_t *transaction_id, const uint8_t *ip16, uint16_t port,
    const uint8_t *key, uint32_t key_size, HmacSha1 hmac,
) noexcept nogil
# code 300–699; key NULL = without MESSAGE-INTEGRITY.
cdef uint32_t stun_write_error(
    uint8_t *out, uint32_t capacity, const uint8_t *transaction_id, uint16_t code,
    const uint8_t *key, uint32_t key_size, HmacSha1 hmac,
) noexcept nogil
