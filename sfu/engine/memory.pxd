# SPDX-License-Identifier: Apache-2.0
"""Memory for what a worker's thread writes per packet: on cache lines of its own.

Objects of all workers are allocated by the one thread that applies commands, and so lie side by side. Without this two
workers would write to the same line at their edges.
"""
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memset

cdef extern from "<stdlib.h>" nogil:
    void *aligned_alloc(size_t alignment, size_t size)

cdef extern from *:
    """
    #define PYSFU_FETCH(at) __builtin_prefetch((at), 1, 3)
    """
    # Ask for the line that `at` lies on, to write to it. Any address will do.
    void fetch "PYSFU_FETCH"(const void *at) nogil

cdef enum:
    CACHE_LINE = 64            # bytes, on x86-64 and on nearly all ARM64 servers

cdef inline void *own_lines_unset(size_t size) noexcept nogil:
    """As own_lines, but of any content."""
    return aligned_alloc(CACHE_LINE, (size + CACHE_LINE - 1) & ~<size_t>(CACHE_LINE - 1))

cdef inline void *own_lines(size_t size) noexcept nogil:
    """`size` bytes, zeroed, that share no cache line with anything else; for free(). NULL without memory."""
    cdef void *memory = own_lines_unset(size)
    if memory != NULL:
        memset(memory, 0, size)
    return memory

cdef inline void fetch_range(const void *start, uint32_t size) noexcept nogil:
    cdef const uint8_t *end = <const uint8_t *>start + size
    cdef const uint8_t *at = <const uint8_t *>start
    while at < end:
        fetch(at)
        at += CACHE_LINE
