# SPDX-License-Identifier: Apache-2.0
"""Memory for what a worker's thread writes per packet: on cache lines of its own.

Objects of all workers are allocated by the one thread that applies commands, and so lie side by side. Without this two
workers would write to the same line at their edges.
"""
from libc.stddef cimport size_t
from libc.string cimport memset

cdef extern from "<stdlib.h>" nogil:
    void *aligned_alloc(size_t alignment, size_t size)

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
