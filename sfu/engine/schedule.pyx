# SPDX-License-Identifier: Apache-2.0
"""The timers' heap; see `schedule.pxd`."""
from libc.stdint cimport INT64_MAX, int64_t, uint32_t
from libc.stdlib cimport calloc, free, realloc

cdef enum:
    INITIAL = 64


cdef void schedule_close(Schedule *schedule) noexcept nogil:
    free(schedule.heap)
    schedule.heap = NULL
    schedule.count = 0
    schedule.capacity = 0


cdef inline void set_place(Schedule *schedule, uint32_t at, ScheduleEntry entry) noexcept nogil:
    schedule.heap[at] = entry
    entry.timer.place = at + 1


cdef void rise(Schedule *schedule, uint32_t at, ScheduleEntry entry) noexcept nogil:
    """Place `entry` at `at` or above."""
    cdef uint32_t parent
    while at:
        parent = (at - 1) // 2
        if schedule.heap[parent].due_us <= entry.due_us:
            break
        set_place(schedule, at, schedule.heap[parent])
        at = parent
    set_place(schedule, at, entry)


cdef void sink(Schedule *schedule, uint32_t at, ScheduleEntry entry) noexcept nogil:
    """Place `entry` at `at` or below."""
    cdef uint32_t child
    while True:
        child = 2 * at + 1
        if child >= schedule.count:
            break
        if child + 1 < schedule.count and schedule.heap[child + 1].due_us < schedule.heap[child].due_us:
            child += 1
        if schedule.heap[child].due_us >= entry.due_us:
            break
        set_place(schedule, at, schedule.heap[child])
        at = child
    set_place(schedule, at, entry)


cdef int schedule_put(Schedule *schedule, Timer *timer, int64_t due_us) noexcept nogil:
    cdef uint32_t capacity
    cdef ScheduleEntry *bigger
    cdef ScheduleEntry entry
    if schedule.count == schedule.capacity:
        capacity = schedule.capacity * 2 if schedule.capacity else INITIAL
        bigger = <ScheduleEntry *>realloc(schedule.heap, capacity * sizeof(ScheduleEntry))
        if bigger == NULL:
            return -1
        schedule.heap = bigger
        schedule.capacity = capacity
    entry.due_us = due_us
    entry.timer = timer
    schedule.count += 1
    rise(schedule, schedule.count - 1, entry)
    return 0


cdef void schedule_move(Schedule *schedule, Timer *timer, int64_t due_us) noexcept nogil:
    cdef ScheduleEntry entry
    cdef uint32_t at = timer.place - 1
    if timer.place == 0:
        return
    entry.due_us = due_us
    entry.timer = timer
    if due_us < schedule.heap[at].due_us:
        rise(schedule, at, entry)
    else:
        sink(schedule, at, entry)


cdef void schedule_remove(Schedule *schedule, Timer *timer) noexcept nogil:
    cdef uint32_t at = timer.place - 1
    cdef ScheduleEntry last
    if timer.place == 0:
        return
    timer.place = 0
    schedule.count -= 1
    if at == schedule.count:
        return
    last = schedule.heap[schedule.count]
    if at and last.due_us < schedule.heap[(at - 1) // 2].due_us:
        rise(schedule, at, last)
    else:
        sink(schedule, at, last)


cdef int64_t schedule_next_us(const Schedule *schedule) noexcept nogil:
    return schedule.heap[0].due_us if schedule.count else INT64_MAX


cdef int64_t schedule_due_us(const Schedule *schedule, const Timer *timer) noexcept nogil:
    return schedule.heap[timer.place - 1].due_us if timer.place else INT64_MAX


cdef class TimerSchedule:
    """Drives a Schedule of `size` timers, named 0 to size - 1, from Python."""

    cdef Schedule schedule
    cdef Timer *timers
    cdef readonly int size

    def __cinit__(self, int size):
        cdef int i
        self.timers = <Timer *>calloc(size, sizeof(Timer))
        if self.timers == NULL:
            raise MemoryError
        self.size = size

    def __dealloc__(self):
        schedule_close(&self.schedule)
        free(self.timers)

    cdef Timer *_timer(self, int name) except NULL:
        if not 0 <= name < self.size:
            raise IndexError(name)
        return &self.timers[name]

    def put(self, int name, int64_t due_us) -> None:
        """Put in a timer, or move one that is in."""
        cdef Timer *timer = self._timer(name)
        if timer.place:
            schedule_move(&self.schedule, timer, due_us)
        elif schedule_put(&self.schedule, timer, due_us):
            raise MemoryError

    def remove(self, int name) -> None:
        schedule_remove(&self.schedule, self._timer(name))

    def due_us(self, int name):
        """When this timer is due, None = it is not in."""
        cdef Timer *timer = self._timer(name)
        return schedule_due_us(&self.schedule, timer) if timer.place else None

    def first(self):
        """(name, due_us) of one that is due first, None = no timer is in."""
        if not self.schedule.count:
            return None
        return self.schedule.heap[0].timer - self.timers, self.schedule.heap[0].due_us

    def __len__(self):
        return self.schedule.count
