# SPDX-License-Identifier: Apache-2.0
"""The worker's lock; see handover.pxd.

A plain mutex kept control calls out for up to 27 s under load: the thread that unlocks and locks again at once nearly
always wins. Here the side that unlocks gives the turn away, and may not take the lock back while the other waits.
"""

from libc.stdint cimport int64_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec


cdef extern from "<pthread.h>" nogil:
    int pthread_mutex_init(pthread_mutex_t *mutex, const void *attributes)
    int pthread_mutex_destroy(pthread_mutex_t *mutex)
    int pthread_mutex_lock(pthread_mutex_t *mutex)
    int pthread_mutex_unlock(pthread_mutex_t *mutex)
    int pthread_cond_init(pthread_cond_t *condition, const void *attributes)
    int pthread_cond_destroy(pthread_cond_t *condition)
    int pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex)
    int pthread_cond_signal(pthread_cond_t *condition)


cdef extern from *:
    """
    #define PYSFU_LOAD_RELAXED(at) __atomic_load_n((at), __ATOMIC_RELAXED)
    #define PYSFU_STORE_RELAXED(at, value) __atomic_store_n((at), (value), __ATOMIC_RELAXED)
    """
    uint32_t load_relaxed "PYSFU_LOAD_RELAXED"(const uint32_t *at) nogil
    void store_relaxed "PYSFU_STORE_RELAXED"(uint32_t *at, uint32_t value) nogil


cdef int handover_init(Handover *lock) noexcept nogil:
    cdef int error
    lock.held = False
    lock.control_turn = False
    lock.worker_waiting = False
    lock.control_waiting = 0
    lock.worker_turns = 0
    lock.control_turns = 0
    lock.most_slices_waited = 0
    lock.most_calls_waited = 0
    error = pthread_mutex_init(&lock.mutex, NULL)
    if error == 0:
        error = pthread_cond_init(&lock.worker_may, NULL)
    if error == 0:
        error = pthread_cond_init(&lock.control_may, NULL)
    return error


cdef void handover_destroy(Handover *lock) noexcept nogil:
    pthread_cond_destroy(&lock.control_may)
    pthread_cond_destroy(&lock.worker_may)
    pthread_mutex_destroy(&lock.mutex)


cdef void handover_worker_lock(Handover *lock) noexcept nogil:
    cdef uint64_t before
    pthread_mutex_lock(&lock.mutex)
    before = lock.control_turns
    lock.worker_waiting = True
    while lock.held or (lock.control_turn and lock.control_waiting > 0):
        pthread_cond_wait(&lock.worker_may, &lock.mutex)
    lock.worker_waiting = False
    lock.held = True
    lock.most_calls_waited = max(lock.most_calls_waited, lock.control_turns - before)
    pthread_mutex_unlock(&lock.mutex)


cdef void handover_worker_unlock(Handover *lock) noexcept nogil:
    pthread_mutex_lock(&lock.mutex)
    lock.held = False
    lock.worker_turns += 1
    lock.control_turn = True
    if lock.control_waiting > 0:
        pthread_cond_signal(&lock.control_may)
    pthread_mutex_unlock(&lock.mutex)


cdef void handover_control_lock(Handover *lock) noexcept nogil:
    cdef uint64_t before
    pthread_mutex_lock(&lock.mutex)
    before = lock.worker_turns
    store_relaxed(&lock.control_waiting, lock.control_waiting + 1)
    while lock.held or (not lock.control_turn and lock.worker_waiting):
        pthread_cond_wait(&lock.control_may, &lock.mutex)
    store_relaxed(&lock.control_waiting, lock.control_waiting - 1)
    lock.held = True
    lock.control_turns += 1
    lock.most_slices_waited = max(lock.most_slices_waited, lock.worker_turns - before)
    pthread_mutex_unlock(&lock.mutex)


cdef void handover_control_unlock(Handover *lock) noexcept nogil:
    pthread_mutex_lock(&lock.mutex)
    lock.held = False
    lock.control_turn = False
    if lock.worker_waiting:
        pthread_cond_signal(&lock.worker_may)
    elif lock.control_waiting > 0:
        pthread_cond_signal(&lock.control_may)
    pthread_mutex_unlock(&lock.mutex)


cdef bint handover_wanted(const Handover *lock) noexcept nogil:
    return load_relaxed(&lock.control_waiting) > 0


cdef int64_t monotonic_us() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t>now.tv_sec * 1_000_000 + now.tv_nsec // 1000


cdef void spin(int64_t us) noexcept nogil:
    """Stands for work: sleeping would leave the processor to the other side."""
    cdef int64_t until_us = monotonic_us() + us
    while monotonic_us() < until_us:
        pass


cdef class HandoverLock:
    """Drives a Handover from Python threads as the worker and the control thread do: without the GIL."""

    cdef Handover lock
    cdef uint64_t in_section    # a plain counter: only the lock keeps it right
    cdef uint32_t stop_worker

    def __cinit__(self):
        cdef int error = handover_init(&self.lock)
        if error:
            raise OSError(error, "cannot make a lock")

    def __dealloc__(self):
        handover_destroy(&self.lock)

    def work(self, int64_t slice_us):
        """The worker: slice after slice without a pause, until `stop`."""
        with nogil:
            while load_relaxed(&self.stop_worker) == 0:
                handover_worker_lock(&self.lock)
                self.in_section += 1
                spin(slice_us)
                handover_worker_unlock(&self.lock)

    def control(self, int64_t calls, int64_t hold_us):
        """`calls` control calls without a pause."""
        cdef int64_t i
        with nogil:
            for i in range(calls):
                handover_control_lock(&self.lock)
                self.in_section += 1
                spin(hold_us)
                handover_control_unlock(&self.lock)

    def stop(self):
        store_relaxed(&self.stop_worker, 1)

    @property
    def wanted(self):
        return bool(handover_wanted(&self.lock))

    @property
    def entered(self):
        """Times the section was entered, counted by code that only the lock protects."""
        return self.in_section

    @property
    def worker_turns(self):
        return self.lock.worker_turns

    @property
    def control_turns(self):
        return self.lock.control_turns

    @property
    def most_slices_waited(self):
        return self.lock.most_slices_waited

    @property
    def most_calls_waited(self):
        return self.lock.most_calls_waited
