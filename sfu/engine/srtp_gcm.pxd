# SPDX-License-Identifier: Apache-2.0
"""SRTP and SRTCP with AEAD_AES_128_GCM and AEAD_AES_256_GCM (RFC 7714), one direction of one transport.

Index estimate, replay windows and key derivation are libsrtp's (RFC 3711 §3.3, §4.3 with a key derivation rate of 0).
Outbound, an index that was used is refused: the same (SSRC, ROC, sequence number) over other bytes gives GCM's
authentication key away.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from sfu.engine.aes_gcm cimport GcmKey

cdef enum:
    RTP_WINDOW = 1024           # packets; RTX and reordering stay well within
    RTCP_WINDOW = 128
    GCM_SALT = 12               # bytes
    MAX_OUTBOUND_SSRCS = 16384  # of one transport's life: what was used is never forgotten


cdef struct GcmStream:          # of one SSRC
    uint32_t ssrc
    uint32_t rtcp_highest       # newest SRTCP index
    uint64_t highest            # newest RTP index (ROC and sequence number), 0 before the first packet
    uint64_t heard              # value of `packets` when the SSRC was last heard
    uint64_t window[16]         # which of the last RTP_WINDOW indices were seen, by index modulo RTP_WINDOW
    uint64_t rtcp_window[2]


cdef struct GcmSession:
    GcmKey *rtp_key
    uint8_t rtp_salt[12]
    uint32_t last               # position of the last packet's stream
    GcmStream *streams
    uint16_t *places            # hash table: position in `streams` plus 1, 0 = empty; twice as long as `streams`
    uint32_t count
    uint32_t capacity           # a power of two
    uint32_t limit              # 0 = grow as needed; else the oldest gives way
    uint64_t packets
    GcmKey *rtcp_key
    uint8_t rtcp_salt[12]
    bint outbound


# `limit`: SSRCs that an inbound session knows at most; the one heard longest ago gives way. NULL without memory.
cdef GcmSession *gcm_session_open(const uint8_t *key, uint32_t key_size, const uint8_t *salt, bint outbound,
                                  uint32_t limit) noexcept nogil
cdef void gcm_session_close(GcmSession *g) noexcept nogil   # NULL is allowed

# Room for one more outbound SSRC, so that its first packet allocates nothing. 0, or -1 without memory.
cdef int gcm_session_reserve(GcmSession *g, uint32_t ssrc) noexcept nogil

# As those of srtp.pxd, with its SrtpStatus.
cdef int gcm_protect(GcmSession *g, uint8_t *packet, uint32_t *size) noexcept nogil
cdef int gcm_unprotect(GcmSession *g, uint8_t *packet, uint32_t *size) noexcept nogil
cdef int gcm_protect_rtcp(GcmSession *g, uint8_t *packet, uint32_t *size) noexcept nogil
cdef int gcm_unprotect_rtcp(GcmSession *g, uint8_t *packet, uint32_t *size) noexcept nogil
