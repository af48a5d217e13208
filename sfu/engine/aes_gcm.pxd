# SPDX-License-Identifier: Apache-2.0
"""AES-GCM by the OpenSSL inside the pylibsrtp wheel: the key schedule is made once, each packet brings its nonce.

A key belongs to one thread at a time; different keys may be used, opened and closed in different threads at once.
"""
from libc.stdint cimport uint8_t, uint32_t


cdef enum:
    GCM_TAG = 16                # bytes
    GCM_NONCE = 12


cdef struct GcmKey              # EVP_CIPHER_CTX; its layout is OpenSSL's


# NULL: `size` is not 16 or 32, or no memory.
cdef GcmKey *gcm_key_open(const uint8_t *key, uint32_t size, bint sealing) noexcept nogil
cdef void gcm_key_close(GcmKey *key) noexcept nogil         # NULL is allowed

# Ask for its memory ahead of time: the second finds its address in what the first asks for.
cdef void gcm_key_fetch(const GcmKey *key) noexcept nogil
cdef void gcm_key_fetch_inner(const GcmKey *key) noexcept nogil

# In place; 0, or -1. Sealing writes the tag to `tag`, opening compares with it: -1 leaves `data` undefined.
cdef int gcm_seal(GcmKey *key, const uint8_t *nonce, const uint8_t *head, uint32_t head_size, uint8_t *data,
                  uint32_t size, uint8_t *tag) noexcept nogil
cdef int gcm_unseal(GcmKey *key, const uint8_t *nonce, const uint8_t *head, uint32_t head_size, uint8_t *data,
                    uint32_t size, const uint8_t *tag) noexcept nogil

# AES in counter mode over zeros: the pseudo-random function of RFC 3711 §4.3.3. 0, or -1.
cdef int aes_counter_stream(const uint8_t *key, uint32_t key_size, const uint8_t *counter, uint8_t *out,
                            uint32_t size) noexcept nogil

# Looks the functions up; `address_of` takes a name and returns its address, or raises ImportError.
cdef int aes_gcm_bind(address_of) except -1
