# SPDX-License-Identifier: Apache-2.0
"""SRTP and HMAC-SHA1 from the libsrtp and OpenSSL that the pylibsrtp wheel carries.

AES-GCM is put together here on OpenSSL's cipher (srtp_gcm.pxd); AES-CM with HMAC-SHA1 is libsrtp's.

A session belongs to one thread at a time; different sessions may be used, opened and closed in different threads at once.
An outbound session protects each (SSRC, index) once; a second time is SRTP_REPLAYED, and the packet must not be sent.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from sfu.engine.srtp_gcm cimport GcmSession


cdef enum SrtpStatus:
    SRTP_OK = 0
    SRTP_BAD_AUTH = 1
    SRTP_REPLAYED = 2           # index seen before, or older than the window
    SRTP_FAILED = 3             # malformed, or an error inside libsrtp


cdef enum SrtpProfile:          # DTLS-SRTP protection profiles: RFC 5764 §4.1.2, RFC 7714 §14.2
    PROFILE_AES128_CM_SHA1_80 = 1
    PROFILE_AEAD_AES_128_GCM = 7
    PROFILE_AEAD_AES_256_GCM = 8


cdef enum:
    SRTP_MAX_KEY_SALT = 44      # bytes; AEAD_AES_256_GCM: 32 of key, 12 of salt
    SRTP_MAX_GROWTH = 64        # bytes of room that must lie behind a packet to be protected
    SRTP_MAX_INBOUND_SSRCS = 128


cdef struct InboundSsrcs:       # those that libsrtp keeps a stream for
    # An authentic but hostile peer could make it keep one for each of 2^32 SSRCs. It knows at most
    # SRTP_MAX_INBOUND_SSRCS of them; a further one takes the place of the one that was heard longest ago.
    uint32_t count
    uint32_t last               # position of the last packet's SSRC
    uint32_t ssrcs[128]
    uint64_t heard[128]         # value of `packets` when the SSRC was last heard
    uint64_t packets


cdef struct Srtp:
    GcmSession *gcm             # AES-GCM, else NULL
    void *session               # AES-CM: srtp_t
    InboundSsrcs *inbound       # AES-CM, inbound
    bint outbound


# NULL: unknown profile, `size` not that of the profile, or no memory. Takes a copy of the key.
cdef Srtp *srtp_open(int profile, const uint8_t *key_salt, uint32_t size, bint outbound) noexcept nogil
cdef void srtp_close(Srtp *srtp) noexcept nogil             # NULL is allowed
# Before the first packet of an outbound SSRC, so that it allocates nothing. 0, or -1 without memory.
cdef int srtp_reserve(Srtp *srtp, uint32_t ssrc) noexcept nogil

# In place; *size becomes the new size. After anything but SRTP_OK the content of the packet is undefined.
cdef int srtp_protect(Srtp *srtp, uint8_t *packet, uint32_t *size) noexcept nogil
cdef int srtp_unprotect(Srtp *srtp, uint8_t *packet, uint32_t *size) noexcept nogil
cdef int srtcp_protect(Srtp *srtp, uint8_t *packet, uint32_t *size) noexcept nogil
cdef int srtcp_unprotect(Srtp *srtp, uint8_t *packet, uint32_t *size) noexcept nogil

# The HmacSha1 of sfu/wire/stun.pxd: 0 is success, `out` takes 20 bytes.
cdef int hmac_sha1(const uint8_t *key, uint32_t key_size, const uint8_t *data, uint32_t size,
                   uint8_t *out) noexcept nogil
