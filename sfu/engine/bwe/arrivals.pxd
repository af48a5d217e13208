# SPDX-License-Identifier: Apache-2.0
"""What the times of arrival in a feedback tell: the receiver's clock without wrapping, their order, the queue."""

from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t


cdef struct ReceiverClock:
    bint known
    int64_t reference           # extended reference time, in 64 ms


cdef struct OneWayDelay:        # of unknown offset; the shortest within two windows is taken for the empty queue's
    bint known
    int64_t shortest_us         # in this window
    int64_t before_us           # in the one before
    int64_t window_us           # its begin
    int64_t empty_us            # the shortest of both
    int64_t queue_us            # the latest, above it


cdef void receiver_clock_init(ReceiverClock *c) noexcept nogil
# What to add to a feedback's arrivals, so that its 24-bit reference time does not wrap.
cdef int64_t receiver_clock_shift_us(ReceiverClock *c, int32_t reference_time) noexcept nogil

cdef void delay_init(OneWayDelay *d) noexcept nogil
cdef void delay_add(OneWayDelay *d, int64_t delay_us, int64_t now_us) noexcept nogil

# `order` are indices into arrival_us; those of equal arrival stay in ascending order.
cdef void sort_by_arrival(uint16_t *order, uint32_t n, const int64_t *arrival_us) noexcept nogil
