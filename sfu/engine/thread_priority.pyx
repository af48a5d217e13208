# SPDX-License-Identifier: Apache-2.0
"""Linux' scheduler (sched(7), sched_setattr(2)); see thread_priority.pxd."""
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.string cimport memset

cdef extern from "<sys/syscall.h>" nogil:
    long SYS_sched_getattr
    long SYS_sched_setattr

cdef extern from "<unistd.h>" nogil:
    long syscall(long number, ...)

cdef extern from "<sched.h>" nogil:
    int SCHED_OTHER
    int SCHED_FIFO
    int SCHED_RR

# The kernel's struct sched_attr as of its first version, which every kernel knows; libc has none before glibc 2.41.
cdef struct SchedulingAttributes:
    uint32_t size
    uint32_t policy
    uint64_t flags
    int32_t nice
    uint32_t priority
    uint64_t runtime_ns
    uint64_t deadline_ns
    uint64_t period_ns

cdef enum:
    NICE_STEPS = 10            # 9.3 times the share of a thread without
    LOWEST_NICE = -20
    HIGHEST_PRIORITY = 98      # 99 is for the kernel's own threads
    # A thread that asks for short turns gets them sooner (EEVDF, Linux 6.12; ignored before). Needs no privilege.
    TURN_NS = 100_000


cdef bint set_attributes(SchedulingAttributes *attributes) noexcept nogil:
    return syscall(SYS_sched_setattr, 0, attributes, 0) == 0


cdef void prefer_this_thread() noexcept nogil:
    cdef SchedulingAttributes attributes
    cdef int32_t nice
    memset(&attributes, 0, sizeof(attributes))
    if syscall(SYS_sched_getattr, 0, &attributes, sizeof(attributes), 0) != 0:
        return
    attributes.size = sizeof(attributes)
    if attributes.policy == <uint32_t>SCHED_FIFO or attributes.policy == <uint32_t>SCHED_RR:
        if attributes.priority < HIGHEST_PRIORITY:
            attributes.priority += 1
            set_attributes(&attributes)
    elif attributes.policy == <uint32_t>SCHED_OTHER:
        attributes.runtime_ns = TURN_NS
        nice = attributes.nice
        attributes.nice = max(nice - NICE_STEPS, LOWEST_NICE)
        if not set_attributes(&attributes):
            # Without CAP_SYS_NICE or a limit that allows it (RLIMIT_NICE).
            attributes.nice = nice
            set_attributes(&attributes)
