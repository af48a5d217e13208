# SPDX-License-Identifier: Apache-2.0
"""SRTP and HMAC-SHA1 by the functions of the shared library inside the pylibsrtp wheel.

Nothing is linked: addresses are looked up once at import, after versions and the layout of srtp_policy_t were compared
with what this module was written for. The wheel's own Session is not used: it needs the GIL and costs five times more.
"""

import ctypes
from importlib import metadata

# Imported for its side effect too: pylibsrtp runs srtp_init, which must run exactly once.
from pylibsrtp import _binding

from libc.stddef cimport size_t
from libc.stdint cimport UINT64_MAX, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from sfu.engine.aes_gcm cimport aes_gcm_bind
from sfu.engine.srtp_gcm cimport (
    GCM_SALT, gcm_protect, gcm_protect_rtcp, gcm_session_close, gcm_session_open, gcm_session_reserve, gcm_unprotect,
    gcm_unprotect_rtcp,
)
from sfu.engine.memory cimport own_lines
from sfu.wire.bytes cimport read_u32


cdef extern from "<arpa/inet.h>" nogil:
    uint32_t htonl(uint32_t value)

# srtp_err_status_t and srtp_ssrc_type_t of libsrtp 2.7's srtp.h
cdef enum:
    LIBSRTP_OK = 0
    LIBSRTP_AUTH_FAIL = 7
    LIBSRTP_REPLAY_FAIL = 9
    LIBSRTP_REPLAY_OLD = 10
    ANY_INBOUND = 2
    ANY_OUTBOUND = 3

cdef enum:
    REPLAY_WINDOW = 1024        # packets; RTX and reordering stay well within
    RTP_SSRC_OFFSET = 8         # bytes, RFC 3550 §5.1
    RTCP_SSRC_OFFSET = 4        # §6.4.1
    RTP_HEADER_SIZE = 12
    RTCP_HEADER_SIZE = 8

WANTED_LIBSRTP = (2, 7)
WANTED_OPENSSL_MAJOR = 3

cdef struct SrtpPolicy:         # srtp_policy_t of libsrtp 2.7
    int ssrc_type
    unsigned int ssrc_value
    unsigned char rtp[24]
    unsigned char rtcp[24]
    unsigned char *key
    void *keys
    unsigned long num_master_keys
    void *deprecated_ekt
    unsigned long window_size
    int allow_repeat_tx
    int *enc_xtn_hdr
    int enc_xtn_hdr_count
    void *next

ctypedef int (*CreateFunction)(void **session, const SrtpPolicy *policy) noexcept nogil
ctypedef int (*DeallocateFunction)(void *session) noexcept nogil
ctypedef int (*PacketFunction)(void *session, void *packet, int *size) noexcept nogil
ctypedef int (*ProfileFunction)(void *policy, int profile) noexcept nogil
ctypedef int (*RemoveStreamFunction)(void *session, unsigned int ssrc) noexcept nogil
ctypedef const void *(*DigestFunction)() noexcept nogil
ctypedef unsigned char *(*HmacFunction)(const void *digest, const void *key, int key_size, const unsigned char *data,
                                        size_t size, unsigned char *out, unsigned int *out_size) noexcept nogil

cdef CreateFunction libsrtp_create
cdef DeallocateFunction libsrtp_dealloc
cdef PacketFunction libsrtp_protect
cdef PacketFunction libsrtp_unprotect
cdef PacketFunction libsrtp_protect_rtcp
cdef PacketFunction libsrtp_unprotect_rtcp
cdef ProfileFunction libsrtp_set_rtp_profile
cdef ProfileFunction libsrtp_set_rtcp_profile
cdef RemoveStreamFunction libsrtp_remove_stream
cdef HmacFunction openssl_hmac
cdef const void *openssl_sha1

# Names as OpenSSL (and so DTLS) gives them
PROFILES = {
    "SRTP_AES128_CM_SHA1_80": <int>PROFILE_AES128_CM_SHA1_80,
    "SRTP_AEAD_AES_128_GCM": <int>PROFILE_AEAD_AES_128_GCM,
    "SRTP_AEAD_AES_256_GCM": <int>PROFILE_AEAD_AES_256_GCM,
}


cdef uint32_t profile_key_salt_size(int profile) noexcept nogil:
    if profile == PROFILE_AES128_CM_SHA1_80:
        return 16 + 14
    if profile == PROFILE_AEAD_AES_128_GCM:
        return 16 + 12
    if profile == PROFILE_AEAD_AES_256_GCM:
        return 32 + 12
    return 0


cdef Srtp *srtp_open(int profile, const uint8_t *key_salt, uint32_t size, bint outbound) noexcept nogil:
    cdef Srtp *srtp
    cdef uint32_t limit = 0 if outbound else SRTP_MAX_INBOUND_SSRCS
    cdef int failed
    if size == 0 or size != profile_key_salt_size(profile):
        return NULL
    srtp = <Srtp *>own_lines(sizeof(Srtp))
    if srtp == NULL:
        return NULL
    srtp.outbound = outbound
    if profile == PROFILE_AES128_CM_SHA1_80:
        failed = open_libsrtp(srtp, profile, key_salt, size)
    else:
        srtp.gcm = gcm_session_open(key_salt, size - GCM_SALT, key_salt + size - GCM_SALT, outbound, limit)
        failed = srtp.gcm == NULL
    if failed:
        srtp_close(srtp)
        return NULL
    return srtp


cdef int open_libsrtp(Srtp *srtp, int profile, const uint8_t *key_salt, uint32_t size) noexcept nogil:
    """0, or -1."""
    cdef SrtpPolicy policy
    cdef uint8_t key[SRTP_MAX_KEY_SALT]
    cdef int status
    memset(&policy, 0, sizeof(policy))
    if not srtp.outbound:
        srtp.inbound = <InboundSsrcs *>calloc(1, sizeof(InboundSsrcs))
        if srtp.inbound == NULL:
            return -1
    if libsrtp_set_rtp_profile(policy.rtp, profile) != LIBSRTP_OK:
        return -1
    if libsrtp_set_rtcp_profile(policy.rtcp, profile) != LIBSRTP_OK:
        return -1
    memcpy(key, key_salt, size)
    policy.key = key
    policy.ssrc_type = ANY_OUTBOUND if srtp.outbound else ANY_INBOUND
    policy.window_size = REPLAY_WINDOW
    # An index is protected once: libsrtp refuses the second time.
    policy.allow_repeat_tx = 0
    status = libsrtp_create(&srtp.session, &policy)
    wipe(key, sizeof(key))
    return 0 if status == LIBSRTP_OK else -1


cdef void wipe(uint8_t *secret, size_t size) noexcept nogil:
    cdef volatile uint8_t *at = secret
    cdef size_t i
    for i in range(size):
        at[i] = 0


cdef void srtp_close(Srtp *srtp) noexcept nogil:
    if srtp != NULL:
        gcm_session_close(srtp.gcm)
        if srtp.session != NULL:
            libsrtp_dealloc(srtp.session)
        free(srtp.inbound)
        free(srtp)


cdef int srtp_reserve(Srtp *srtp, uint32_t ssrc) noexcept nogil:
    return gcm_session_reserve(srtp.gcm, ssrc) if srtp.gcm != NULL else 0


cdef inline int to_status(int libsrtp_status) noexcept nogil:
    if libsrtp_status == LIBSRTP_OK:
        return SRTP_OK
    if libsrtp_status == LIBSRTP_AUTH_FAIL:
        return SRTP_BAD_AUTH
    if libsrtp_status == LIBSRTP_REPLAY_FAIL or libsrtp_status == LIBSRTP_REPLAY_OLD:
        return SRTP_REPLAYED
    return SRTP_FAILED


cdef inline int run(PacketFunction function, Srtp *srtp, uint8_t *packet, uint32_t *size) noexcept nogil:
    cdef int length = <int>size[0]
    cdef int status = to_status(function(srtp.session, packet, &length))
    size[0] = <uint32_t>length
    return status


cdef void note_ssrc(Srtp *srtp, uint32_t ssrc) noexcept nogil:
    """Bounds the streams that libsrtp keeps; called after a packet proved authentic."""
    cdef InboundSsrcs *known = srtp.inbound
    cdef uint32_t i, oldest = 0
    cdef uint64_t heard = UINT64_MAX
    known.packets += 1
    if known.count == 0 or known.ssrcs[known.last] != ssrc:
        for i in range(known.count):
            if known.ssrcs[i] == ssrc:
                break
            if known.heard[i] < heard:
                heard = known.heard[i]
                oldest = i
        else:
            i = known.count
            if i < SRTP_MAX_INBOUND_SSRCS:
                known.count += 1
            else:
                i = oldest
                libsrtp_remove_stream(srtp.session, htonl(known.ssrcs[i]))     # network order, alone in its API
            known.ssrcs[i] = ssrc
        known.last = i
    known.heard[known.last] = known.packets


cdef int srtp_protect(Srtp *srtp, uint8_t *packet, uint32_t *size) noexcept nogil:
    if srtp.gcm != NULL:
        return gcm_protect(srtp.gcm, packet, size)
    if size[0] < RTP_HEADER_SIZE:
        return SRTP_FAILED
    return run(libsrtp_protect, srtp, packet, size)


cdef int srtcp_protect(Srtp *srtp, uint8_t *packet, uint32_t *size) noexcept nogil:
    if srtp.gcm != NULL:
        return gcm_protect_rtcp(srtp.gcm, packet, size)
    if size[0] < RTCP_HEADER_SIZE:
        return SRTP_FAILED
    return run(libsrtp_protect_rtcp, srtp, packet, size)


cdef int srtp_unprotect(Srtp *srtp, uint8_t *packet, uint32_t *size) noexcept nogil:
    cdef int status
    if srtp.gcm != NULL:
        return gcm_unprotect(srtp.gcm, packet, size)
    if size[0] < RTP_HEADER_SIZE:
        return SRTP_FAILED
    status = run(libsrtp_unprotect, srtp, packet, size)
    if status == SRTP_OK:
        note_ssrc(srtp, read_u32(packet + RTP_SSRC_OFFSET))
    return status


cdef int srtcp_unprotect(Srtp *srtp, uint8_t *packet, uint32_t *size) noexcept nogil:
    cdef int status
    if srtp.gcm != NULL:
        return gcm_unprotect_rtcp(srtp.gcm, packet, size)
    if size[0] < RTCP_HEADER_SIZE:
        return SRTP_FAILED
    status = run(libsrtp_unprotect_rtcp, srtp, packet, size)
    if status == SRTP_OK:
        note_ssrc(srtp, read_u32(packet + RTCP_SSRC_OFFSET))
    return status


cdef int hmac_sha1(const uint8_t *key, uint32_t key_size, const uint8_t *data, uint32_t size,
                   uint8_t *out) noexcept nogil:
    cdef unsigned int out_size = 20
    if openssl_hmac(openssl_sha1, key, <int>key_size, data, size, out, &out_size) == NULL:
        return -1
    return 0


# --- at import ---

def check_versions(library):
    """Function signatures and srtp_policy_t are those of one libsrtp; a hash's name is not enough to call it."""
    library.srtp_get_version_string.restype = ctypes.c_char_p
    library.OpenSSL_version.restype = ctypes.c_char_p
    libsrtp = library.srtp_get_version_string().decode()
    openssl = library.OpenSSL_version(0).decode()
    number = library.srtp_get_version()     # 0x02070000 = 2.7.0
    if ((number >> 24) & 0xFF, (number >> 16) & 0xFF) != WANTED_LIBSRTP:
        raise ImportError(_advice(f"contains {libsrtp}", f"libsrtp {WANTED_LIBSRTP[0]}.{WANTED_LIBSRTP[1]}.x"))
    if library.OPENSSL_version_major() != WANTED_OPENSSL_MAJOR:
        raise ImportError(_advice(f"contains {openssl}", f"OpenSSL {WANTED_OPENSSL_MAJOR}.x"))
    return libsrtp, openssl


def _advice(found, wanted):
    try:
        version = metadata.version("pylibsrtp")
    except metadata.PackageNotFoundError:
        version = "(of unknown version)"
    return (f"sfu.engine.srtp: the installed pylibsrtp {version} {found}, but this release was built for {wanted}; "
            "install the pylibsrtp that requirements/run.txt names (pip install 'pylibsrtp>=1.0,<1.1')")


def _check_policy_layout(ffi):
    cdef SrtpPolicy policy
    cdef uintptr_t start = <uintptr_t>&policy
    declared = ffi.typeof("srtp_policy_t")
    found = {name: field.offset for name, field in declared.fields}
    found["size"] = ffi.sizeof(declared)
    ours = {
        "ssrc": 0,
        "rtp": <uintptr_t>&policy.rtp - start,
        "rtcp": <uintptr_t>&policy.rtcp - start,
        "key": <uintptr_t>&policy.key - start,
        "window_size": <uintptr_t>&policy.window_size - start,
        "allow_repeat_tx": <uintptr_t>&policy.allow_repeat_tx - start,
        "size": sizeof(SrtpPolicy),
    }
    if found != ours:
        raise ImportError(_advice(f"lays srtp_policy_t out as {found}", f"{ours}"))


cdef void *_address(library, str name) except NULL:
    try:
        function = getattr(library, name)
    except AttributeError:
        raise ImportError(_advice(f"lacks the function {name}", "a library that has it")) from None
    return <void *><uintptr_t>ctypes.cast(function, ctypes.c_void_p).value


def _bind():
    global libsrtp_create, libsrtp_dealloc, libsrtp_protect, libsrtp_unprotect, libsrtp_protect_rtcp
    global libsrtp_unprotect_rtcp, libsrtp_set_rtp_profile, libsrtp_set_rtcp_profile, libsrtp_remove_stream
    global openssl_hmac, openssl_sha1
    # By path: the wheel's symbols are not in the global scope, and a system libsrtp must not answer for them.
    library = ctypes.CDLL(_binding.__file__)
    for name in ("srtp_get_version_string", "srtp_get_version", "OpenSSL_version", "OPENSSL_version_major"):
        _address(library, name)
    versions = check_versions(library)
    _check_policy_layout(_binding.ffi)
    libsrtp_create = <CreateFunction>_address(library, "srtp_create")
    libsrtp_dealloc = <DeallocateFunction>_address(library, "srtp_dealloc")
    libsrtp_protect = <PacketFunction>_address(library, "srtp_protect")
    libsrtp_unprotect = <PacketFunction>_address(library, "srtp_unprotect")
    libsrtp_protect_rtcp = <PacketFunction>_address(library, "srtp_protect_rtcp")
    libsrtp_unprotect_rtcp = <PacketFunction>_address(library, "srtp_unprotect_rtcp")
    libsrtp_set_rtp_profile = <ProfileFunction>_address(library, "srtp_crypto_policy_set_from_profile_for_rtp")
    libsrtp_set_rtcp_profile = <ProfileFunction>_address(library, "srtp_crypto_policy_set_from_profile_for_rtcp")
    libsrtp_remove_stream = <RemoveStreamFunction>_address(library, "srtp_remove_stream")
    openssl_hmac = <HmacFunction>_address(library, "HMAC")
    openssl_sha1 = (<DigestFunction>_address(library, "EVP_sha1"))()
    aes_gcm_bind(lambda name: <uintptr_t>_address(library, name))
    return versions


LIBSRTP_VERSION, OPENSSL_VERSION = _bind()


# --- for tests, the client and load bots ---

class SrtpError(Exception):
    """`status` is 1 bad authentication, 2 replayed, 3 failed: SrtpStatus in srtp.pxd."""

    def __init__(self, status):
        names = {<int>SRTP_BAD_AUTH: "bad authentication", <int>SRTP_REPLAYED: "replayed"}
        super().__init__(names.get(status, "failed"))
        self.status = status


def key_salt_size(int profile):
    """Bytes of master key and master salt together."""
    cdef uint32_t size = profile_key_salt_size(profile)
    if size == 0:
        raise ValueError(f"unknown SRTP profile {profile}: choose one of {sorted(PROFILES.values())}")
    return size


def hmac_sha1_digest(const uint8_t[::1] key not None, const uint8_t[::1] data not None):
    """HMAC-SHA1 as the engine computes it for STUN."""
    cdef uint8_t out[20]
    cdef const uint8_t *k = &key[0] if key.shape[0] else <const uint8_t *>b""
    cdef const uint8_t *d = &data[0] if data.shape[0] else <const uint8_t *>b""
    if hmac_sha1(k, <uint32_t>key.shape[0], d, <uint32_t>data.shape[0], out) != 0:
        raise RuntimeError("HMAC-SHA1 failed inside OpenSSL")
    return (<const char *>out)[:20]


cdef class SrtpSession:
    """One direction of one transport, packet by packet as bytes. Works without the GIL: one thread at a time."""

    cdef Srtp *srtp

    def __cinit__(self, int profile, const uint8_t[::1] key_salt not None, bint outbound):
        wanted = key_salt_size(profile)
        if key_salt.shape[0] != wanted:
            raise ValueError(f"profile {profile} takes {wanted} bytes of key and salt, not {key_salt.shape[0]}")
        with nogil:
            self.srtp = srtp_open(profile, &key_salt[0], <uint32_t>key_salt.shape[0], outbound)
        if self.srtp == NULL:
            raise MemoryError("no memory for an SRTP session")

    def __dealloc__(self):
        srtp_close(self.srtp)

    def protect(self, const uint8_t[::1] packet not None):
        return self._run(srtp_protect, packet, True)

    def unprotect(self, const uint8_t[::1] packet not None):
        return self._run(srtp_unprotect, packet, False)

    def protect_rtcp(self, const uint8_t[::1] packet not None):
        return self._run(srtcp_protect, packet, True)

    def unprotect_rtcp(self, const uint8_t[::1] packet not None):
        return self._run(srtcp_unprotect, packet, False)

    @property
    def inbound_ssrcs(self):
        """How many SSRCs an inbound session keeps state for."""
        return self.srtp.gcm.count if self.srtp.gcm != NULL else self.srtp.inbound.count

    cdef bytes _run(self, int (*function)(Srtp *, uint8_t *, uint32_t *) noexcept nogil,
                    const uint8_t[::1] packet, bint outbound):
        cdef uint32_t size = <uint32_t>packet.shape[0]
        cdef bytearray buffer = bytearray(size + SRTP_MAX_GROWTH)
        cdef uint8_t *at = <uint8_t *>(<char *>buffer)
        cdef int status
        if outbound != self.srtp.outbound:
            raise ValueError("an outbound session protects, an inbound one unprotects")
        if size:
            memcpy(at, &packet[0], size)
        with nogil:
            status = function(self.srtp, at, &size)
        if status != SRTP_OK:
            raise SrtpError(status)
        return bytes(buffer[:size])
