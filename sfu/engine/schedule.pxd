# SPDX-License-Identifier: Apache-2.0
"""What is due next: a binary heap of timers, one for each transport.

A tick costs what is due, whoever else waits. Memory grows when a timer is put in, never afterwards; keys lie in the heap
itself, so that moving a timer touches no other transport.
"""
from libc.stdint cimport int64_t, uint32_t

cdef struct Timer:
    uint32_t place            # in the heap, from 1; 0 = not in it
    void *owner

cdef struct ScheduleEntry:
    int64_t due_us
    Timer *timer

cdef struct Schedule:
    ScheduleEntry *heap
    uint32_t count
    uint32_t capacity

cdef void schedule_close(Schedule *schedule) noexcept nogil
# Put in a timer that is not in yet; 0, or -1 without memory.
cdef int schedule_put(Schedule *schedule, Timer *timer, int64_t due_us) noexcept nogil
cdef void schedule_move(Schedule *schedule, Timer *timer, int64_t due_us) noexcept nogil
cdef void schedule_remove(Schedule *schedule, Timer *timer) noexcept nogil   # also one that is not in

# When the first timer is due; INT64_MAX = none.
cdef int64_t schedule_next_us(const Schedule *schedule) noexcept nogil
cdef int64_t schedule_due_us(const Schedule *schedule, const Timer *timer) noexcept nogil
