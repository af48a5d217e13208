# SPDX-License-Identifier: Apache-2.0
"""The few atomics that the worker shares with Python's threads besides its lock (GCC and clang builtins)."""

cdef extern from *:
    """
    static inline int pysfu_load(const int *p) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
    static inline void pysfu_store(int *p, int v) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }
    """
    int pysfu_load(const int *p) noexcept nogil
    void pysfu_store(int *p, int v) noexcept nogil
