# SPDX-License-Identifier: Apache-2.0
"""AES-GCM by OpenSSL's EVP functions; see `aes_gcm.pxd`."""
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uintptr_t
from libc.string cimport memset
from sfu.engine.memory cimport fetch, fetch_range

cdef extern from "<malloc.h>" nogil:
    size_t malloc_usable_size(void *memory)

# OpenSSL 3, openssl/evp.h
cdef enum:
    GET_TAG = 0x10              # EVP_CTRL_AEAD_GET_TAG
    SET_TAG = 0x11              # EVP_CTRL_AEAD_SET_TAG
    CONTEXT_BYTES = 192         # of an EVP_CIPHER_CTX, about

ctypedef void *(*FetchFunction)(void *library, const char *algorithm, const char *properties) noexcept nogil
ctypedef void *(*NewFunction)() noexcept nogil
ctypedef void (*FreeFunction)(void *context) noexcept nogil
ctypedef int (*InitFunction)(void *context, const void *cipher, void *engine, const uint8_t *key,
                             const uint8_t *nonce) noexcept nogil
ctypedef int (*UpdateFunction)(void *context, uint8_t *out, int *out_size, const uint8_t *data, int size) noexcept nogil
ctypedef int (*FinalFunction)(void *context, uint8_t *out, int *out_size) noexcept nogil
ctypedef int (*ControlFunction)(void *context, int kind, int size, void *data) noexcept nogil

cdef NewFunction context_new
cdef FreeFunction context_free
cdef ControlFunction context_control
cdef InitFunction encrypt_init
cdef UpdateFunction encrypt_update
cdef FinalFunction encrypt_final
cdef InitFunction decrypt_init
cdef UpdateFunction decrypt_update
cdef FinalFunction decrypt_final
# Fetched once: a fetch takes a lock, and a method cache that other threads write to.
cdef void *gcm_128
cdef void *gcm_256
cdef void *counter_128
cdef void *counter_256
# Where a context holds what its cipher allocated (tables, key schedule), and its size: only to fetch it in time.
cdef size_t inner_at = 0        # 0 = not found
cdef size_t inner_size = 0


cdef GcmKey *gcm_key_open(const uint8_t *key, uint32_t size, bint sealing) noexcept nogil:
    cdef void *context
    cdef InitFunction init = encrypt_init if sealing else decrypt_init
    if size != 16 and size != 32:
        return NULL
    context = context_new()
    if context == NULL:
        return NULL
    if init(context, gcm_128 if size == 16 else gcm_256, NULL, key, NULL) != 1:
        context_free(context)
        return NULL
    return <GcmKey *>context


cdef void gcm_key_close(GcmKey *key) noexcept nogil:
    if key != NULL:
        context_free(key)


cdef void gcm_key_fetch(const GcmKey *key) noexcept nogil:
    fetch_range(key, CONTEXT_BYTES)


cdef void gcm_key_fetch_inner(const GcmKey *key) noexcept nogil:
    if inner_at:
        fetch_range((<void **>(<uint8_t *>key + inner_at))[0], <uint32_t>inner_size)


cdef int gcm_seal(GcmKey *key, const uint8_t *nonce, const uint8_t *head, uint32_t head_size, uint8_t *data,
                  uint32_t size, uint8_t *tag) noexcept nogil:
    cdef int written
    if (encrypt_init(key, NULL, NULL, NULL, nonce) != 1
            or encrypt_update(key, NULL, &written, head, <int>head_size) != 1
            or encrypt_update(key, data, &written, data, <int>size) != 1
            or encrypt_final(key, tag, &written) != 1
            or context_control(key, GET_TAG, GCM_TAG, tag) != 1):
        return -1
    return 0


cdef int gcm_unseal(GcmKey *key, const uint8_t *nonce, const uint8_t *head, uint32_t head_size, uint8_t *data,
                    uint32_t size, const uint8_t *tag) noexcept nogil:
    cdef int written
    cdef uint8_t rest[GCM_TAG]
    if (decrypt_init(key, NULL, NULL, NULL, nonce) != 1
            or context_control(key, SET_TAG, GCM_TAG, <void *>tag) != 1
            or decrypt_update(key, NULL, &written, head, <int>head_size) != 1
            or decrypt_update(key, data, &written, data, <int>size) != 1
            or decrypt_final(key, rest, &written) != 1):
        return -1
    return 0


cdef int aes_counter_stream(const uint8_t *key, uint32_t key_size, const uint8_t *counter, uint8_t *out,
                            uint32_t size) noexcept nogil:
    cdef int written
    cdef int status = -1
    cdef void *context = context_new()
    if context == NULL:
        return -1
    memset(out, 0, size)
    if (encrypt_init(context, counter_128 if key_size == 16 else counter_256, NULL, key, counter) == 1
            and encrypt_update(context, out, &written, out, <int>size) == 1):
        status = 0
    context_free(context)
    return status


cdef void *_function(address_of, str name) except NULL:
    return <void *><uintptr_t>address_of(name)


cdef void *_cipher(FetchFunction find, str name) except NULL:
    encoded = name.encode()
    cdef void *cipher = find(NULL, encoded, NULL)
    if cipher == NULL:
        raise ImportError(f"sfu.engine.aes_gcm: the OpenSSL inside pylibsrtp has no {name}: install the pylibsrtp that "
                          "requirements/run.txt names")
    return cipher


cdef void _find_inner() noexcept:
    """Two contexts under one key differ in one pointer."""
    global inner_at, inner_size
    cdef uint8_t key[16]
    cdef GcmKey *one
    cdef GcmKey *other
    cdef size_t i, found = 0, differences = 0
    memset(key, 0, sizeof(key))
    one = gcm_key_open(key, sizeof(key), True)
    other = gcm_key_open(key, sizeof(key), True)
    if one != NULL and other != NULL:
        for i in range(0, malloc_usable_size(one) // sizeof(void *)):
            if (<void **>one)[i] != (<void **>other)[i]:
                found = i * sizeof(void *)
                differences += 1
        if differences == 1:
            inner_at = found
            inner_size = malloc_usable_size((<void **>(<uint8_t *>one + found))[0])
    gcm_key_close(one)
    gcm_key_close(other)


cdef int aes_gcm_bind(address_of) except -1:
    global context_new, context_free, context_control, encrypt_init, encrypt_update, encrypt_final
    global decrypt_init, decrypt_update, decrypt_final, gcm_128, gcm_256, counter_128, counter_256
    cdef FetchFunction find = <FetchFunction>_function(address_of, "EVP_CIPHER_fetch")
    context_new = <NewFunction>_function(address_of, "EVP_CIPHER_CTX_new")
    context_free = <FreeFunction>_function(address_of, "EVP_CIPHER_CTX_free")
    context_control = <ControlFunction>_function(address_of, "EVP_CIPHER_CTX_ctrl")
    encrypt_init = <InitFunction>_function(address_of, "EVP_EncryptInit_ex")
    encrypt_update = <UpdateFunction>_function(address_of, "EVP_EncryptUpdate")
    encrypt_final = <FinalFunction>_function(address_of, "EVP_EncryptFinal_ex")
    decrypt_init = <InitFunction>_function(address_of, "EVP_DecryptInit_ex")
    decrypt_update = <UpdateFunction>_function(address_of, "EVP_DecryptUpdate")
    decrypt_final = <FinalFunction>_function(address_of, "EVP_DecryptFinal_ex")
    gcm_128 = _cipher(find, "AES-128-GCM")
    gcm_256 = _cipher(find, "AES-256-GCM")
    counter_128 = _cipher(find, "AES-128-CTR")
    counter_256 = _cipher(find, "AES-256-CTR")
    _find_inner()
    return 0
