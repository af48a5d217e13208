# SPDX-License-Identifier: Apache-2.0
"""Times of arrival; see arrivals.pxd."""

cdef enum:
    REFERENCE_US = 64_000           # unit of the reference time
    REFERENCE_MASK = 0xFFFFFF
    WINDOW_US = 10_000_000
    JUMP_US = 3_000_000             # another clock


cdef void receiver_clock_init(ReceiverClock *c) noexcept nogil:
    c.known = False
    c.reference = 0


cdef int64_t receiver_clock_shift_us(ReceiverClock *c, int32_t reference_time) noexcept nogil:
    cdef int64_t step
    if not c.known:
        c.known = True
        c.reference = reference_time
    step = (reference_time - c.reference) & REFERENCE_MASK
    if step > REFERENCE_MASK // 2:
        step -= REFERENCE_MASK + 1
    c.reference += step
    return (c.reference - reference_time) * REFERENCE_US


cdef void delay_init(OneWayDelay *d) noexcept nogil:
    d.known = False
    d.shortest_us = 0
    d.before_us = 0
    d.window_us = 0
    d.empty_us = 0
    d.queue_us = 0


cdef void delay_add(OneWayDelay *d, int64_t delay_us, int64_t now_us) noexcept nogil:
    if not d.known or delay_us < d.shortest_us - JUMP_US or delay_us > d.shortest_us + JUMP_US:
        d.known = True
        d.shortest_us = delay_us
        d.before_us = delay_us
        d.window_us = now_us
    elif now_us - d.window_us > WINDOW_US:
        d.before_us = d.shortest_us
        d.shortest_us = delay_us
        d.window_us = now_us
    d.shortest_us = min(d.shortest_us, delay_us)
    d.empty_us = min(d.shortest_us, d.before_us)
    d.queue_us = delay_us - d.empty_us


cdef void sort_by_arrival(uint16_t *order, uint32_t n, const int64_t *arrival_us) noexcept nogil:
    """Shell sort: nearly sorted as a rule, and bounded where a receiver means harm."""
    cdef uint32_t gap = 1, i, j
    cdef uint16_t moved
    while gap < n // 3:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(gap, n):
            moved = order[i]
            j = i
            while j >= gap and (arrival_us[order[j - gap]] > arrival_us[moved] or (
                    arrival_us[order[j - gap]] == arrival_us[moved] and order[j - gap] > moved)):
                order[j] = order[j - gap]
                j -= gap
            order[j] = moved
        gap //= 3
