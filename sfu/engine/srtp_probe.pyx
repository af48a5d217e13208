# SPDX-License-Identifier: Apache-2.0
"""Times SRTP by itself, without Python between the packets; for the benchmark, the server never imports it."""
import time

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memset
from sfu.engine.srtp cimport SRTP_MAX_GROWTH, SRTP_OK, Srtp, srtp_close, srtp_open, srtp_protect
from sfu.wire.bytes cimport write_u16

cdef enum:
    LONGEST = 1400             # bytes


cdef int protect_all(Srtp *srtp, uint8_t *plain, uint8_t *packet, uint32_t size, int count) noexcept nogil:
    """How many were refused."""
    cdef uint32_t length
    cdef int i, refused = 0
    for i in range(count):
        write_u16(plain + 2, <unsigned short>i)
        memcpy(packet, plain, size)
        length = size
        refused += srtp_protect(srtp, packet, &length) != SRTP_OK
    return refused


def protect_ns(int profile, const uint8_t[::1] key_salt not None, uint32_t size, int count):
    """Nanoseconds of CPU to copy and protect one packet of `size` bytes, the mean of `count`."""
    cdef uint8_t packet[LONGEST + SRTP_MAX_GROWTH]
    cdef uint8_t plain[LONGEST]
    cdef Srtp *srtp
    cdef int refused
    if not 12 <= size <= LONGEST:
        raise ValueError(f"a packet of {size} bytes: choose 12 to {LONGEST}")
    srtp = srtp_open(profile, &key_salt[0], <uint32_t>key_salt.shape[0], True)
    if srtp == NULL:
        raise ValueError(f"SRTP profile {profile} does not take keys of {key_salt.shape[0]} bytes")
    memset(plain, 1, size)
    plain[0] = 0x80
    began = time.thread_time_ns()
    refused = protect_all(srtp, plain, packet, size, count)
    spent = time.thread_time_ns() - began
    srtp_close(srtp)
    if refused:
        raise RuntimeError(f"{refused} packets were refused")
    return spent / count
