# SPDX-License-Identifier: Apache-2.0
"""RTP fixed header, RFC 3550 §5.1: parsed in place, offsets count from the first byte of the packet."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t


cdef enum:
    RTP_FIXED_HEADER_SIZE = 12
    RTP_CSRC_COUNT_MAX = 15
    EXTENSION_PROFILE_ONE_BYTE = 0xBEDE     # RFC 8285 §4.2
    EXTENSION_PROFILE_TWO_BYTE = 0x1000     # RFC 8285 §4.3; the low four bits are free ("appbits")


cdef struct RtpHeader:
    uint8_t payload_type
    bint marker
    uint16_t sequence_number
    uint32_t timestamp
    uint32_t ssrc
    uint8_t csrc_count              # the CSRCs stand at RTP_FIXED_HEADER_SIZE
    uint32_t header_size            # fixed part + CSRCs + extension block; the payload starts here
    uint16_t extension_profile      # 0 = no extension block
    uint32_t extension_offset       # first byte after the 4-byte extension block header
    uint32_t extension_size
    uint32_t payload_size           # without padding
    uint8_t padding_size


# 0, or -1 where the packet is malformed (then *header is undefined). Wants plaintext: the padding's size is in the last
# byte.
cdef int rtp_parse(const uint8_t *data, uint32_t size, RtpHeader *header) noexcept nogil

# By the first byte, among what else comes to the port (STUN, DTLS): RFC 7983 §7.
cdef inline bint is_rtp_or_rtcp(uint8_t first) noexcept nogil:
    return 128 <= first < 192

# RTP and RTCP on one port, RFC 5761 §4: told apart by the second byte.
cdef bint is_rtcp(const uint8_t *data, uint32_t size) noexcept nogil
