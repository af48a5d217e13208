# SPDX-License-Identifier: Apache-2.0
"""Bits in a byte buffer, high to low, as the AV1 specifications count them (f(n), ns(n))."""

from libc.stdint cimport uint8_t, uint32_t


cdef struct BitReader:
    const uint8_t *data
    uint32_t at                     # next bit
    uint32_t end                    # bits in all
    bint failed                     # ran out, or met a value that is not allowed; reads then give 0


cdef inline void bits_begin(BitReader *r, const uint8_t *data, uint32_t size) noexcept nogil:
    r.data = data
    r.at = 0
    r.end = 8 * size
    r.failed = False


cdef inline void bits_fail(BitReader *r) noexcept nogil:
    r.failed = True
    r.at = r.end


cdef inline uint32_t read_bits(BitReader *r, uint32_t n) noexcept nogil:
    """f(n), n ≤ 32."""
    cdef uint32_t value = 0
    cdef uint32_t room, taken
    if n > r.end - r.at:
        bits_fail(r)
        return 0
    while n > 0:
        room = 8 - (r.at & 7)
        taken = n if n < room else room
        value = (value << taken) | ((r.data[r.at >> 3] >> (room - taken)) & ((<uint32_t>1 << taken) - 1))
        r.at += taken
        n -= taken
    return value


cdef inline uint32_t read_non_symmetric(BitReader *r, uint32_t n) noexcept nogil:
    """ns(n): one of n values, the lower ones in one bit less; 1 ≤ n < 2^31."""
    cdef uint32_t width = 0
    cdef uint32_t rest = n
    cdef uint32_t short_codes, value
    while rest:
        rest >>= 1
        width += 1
    short_codes = (<uint32_t>1 << width) - n
    value = read_bits(r, width - 1)
    if value < short_codes:
        return value
    return (value << 1) - short_codes + read_bits(r, 1)


cdef inline void put_bits(uint8_t *out, uint32_t at, uint32_t value, uint32_t n) noexcept nogil:
    """Writes the n ≤ 32 low bits of value at bit `at` and leaves the others as they are."""
    cdef uint32_t room, taken, shift, mask
    while n > 0:
        room = 8 - (at & 7)
        taken = n if n < room else room
        shift = room - taken
        mask = ((<uint32_t>1 << taken) - 1) << shift
        n -= taken
        out[at >> 3] = <uint8_t>((out[at >> 3] & ~mask) | (((value >> n) << shift) & mask))
        at += taken
