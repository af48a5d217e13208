# SPDX-License-Identifier: Apache-2.0
"""Python bytes for the C parsers. The copy has exactly the input's size, so that AddressSanitizer sees any overread."""

from libc.stdint cimport uint8_t
from libc.stdlib cimport malloc
from libc.string cimport memcpy


cdef inline uint8_t *copy_exact(bytes data) except? NULL:
    """The caller frees it. NULL only with an exception, or (by malloc's leave) where data is empty."""
    cdef uint8_t *copy = <uint8_t *>malloc(len(data))
    if len(data) > 0:
        if copy == NULL:
            raise MemoryError
        memcpy(copy, <const uint8_t *>data, len(data))
    return copy
