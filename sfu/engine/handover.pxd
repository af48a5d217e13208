# SPDX-License-Identifier: Apache-2.0
"""The one lock between a worker and the control thread, handed over rather than fought for.

When both sides want it they get it in turn, so that neither can keep the other out: a control call waits for at most
the slice that runs, a worker for at most one control call. Callers on the control side must not need the GIL while
they hold it.
"""

from libc.stdint cimport uint32_t, uint64_t


cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_cond_t:
        pass


cdef struct Handover:
    pthread_mutex_t mutex       # guards the fields; held for a few instructions only
    pthread_cond_t worker_may
    pthread_cond_t control_may
    bint held
    bint control_turn           # who gets it next if both want it
    bint worker_waiting
    uint32_t control_waiting    # read without the mutex by handover_wanted
    uint64_t worker_turns       # times the worker had it
    uint64_t control_turns
    uint64_t most_slices_waited # worker's turns that ended while one control call waited, the most so far
    uint64_t most_calls_waited  # control calls that began while the worker waited once, the most so far


cdef int handover_init(Handover *lock) noexcept nogil            # 0, or an errno
cdef void handover_destroy(Handover *lock) noexcept nogil
cdef void handover_worker_lock(Handover *lock) noexcept nogil    # one worker thread only
cdef void handover_worker_unlock(Handover *lock) noexcept nogil
cdef void handover_control_lock(Handover *lock) noexcept nogil   # any number of control threads
cdef void handover_control_unlock(Handover *lock) noexcept nogil

# True while a control call waits: the worker ends its slice soon.
cdef bint handover_wanted(const Handover *lock) noexcept nogil
