# SPDX-License-Identifier: Apache-2.0
"""Throughput; see throughput.pxd."""

from libc.stdint cimport INT64_MAX, INT64_MIN

from sfu.engine.bwe.parameters cimport THROUGHPUT_WINDOW_MAX

cdef enum:
    RING_MASK = THROUGHPUT_WINDOW_MAX - 1
    REORDERING_MAX_US = 1_000_000       # robust_throughput_estimator.cc: more is another clock
    INTERVAL_MIN_US = 1_000             # same


cdef void throughput_init(Throughput *t) noexcept nogil:
    t.first = 0
    t.count = 0
    t.discarded_us = INT64_MIN
    t.longest_us = INT64_MIN
    t.longest_before_us = INT64_MIN
    t.longest_since_us = INT64_MIN
    sum_up(t)


cdef inline const ReceivedPacket *at(const Throughput *t, uint32_t i) noexcept nogil:
    return &t.packets[(t.first + i) & RING_MASK]


cdef inline void add_gap(Throughput *t, int64_t gap_us) noexcept nogil:
    if gap_us > t.second_gap_us:
        t.second_gap_us = min(gap_us, t.largest_gap_us)
        t.largest_gap_us = max(gap_us, t.largest_gap_us)


cdef inline void add_sent(Throughput *t, const ReceivedPacket *packet) noexcept nogil:
    if packet.sent_us > t.last_sent_us:
        t.last_sent_us = packet.sent_us
        t.last_sent_size = packet.size
    t.first_sent_us = min(t.first_sent_us, packet.sent_us)
    t.sent_bytes += packet.size
    t.sent += 1


cdef void sum_up(Throughput *t) noexcept nogil:
    cdef int64_t before_us = INT64_MIN
    cdef uint32_t i
    cdef const ReceivedPacket *packet
    t.bytes = 0
    t.largest_gap_us = 0
    t.second_gap_us = 0
    t.sent = 0
    t.sent_bytes = 0
    t.first_sent_us = INT64_MAX
    t.last_sent_us = INT64_MIN
    t.last_sent_size = 0
    t.summed = True
    for i in range(t.count):
        packet = at(t, i)
        t.bytes += packet.size
        if i:
            add_gap(t, packet.arrival_us - at(t, i - 1).arrival_us)
        if packet.sent_us < before_us or packet.sent_us < t.discarded_us:
            t.summed = False            # what comes or goes next is no matter of adding and subtracting
        before_us = packet.sent_us
        if packet.sent_us >= t.discarded_us:
            add_sent(t, packet)         # else it is reordered, and would stretch the time of sending


cdef void drop_first(Throughput *t) noexcept nogil:
    cdef const ReceivedPacket *gone = at(t, 0)
    cdef int64_t gap_us = at(t, 1).arrival_us - gone.arrival_us if t.count > 1 else 0
    t.discarded_us = max(t.discarded_us, gone.sent_us)
    if gone.sent_us == t.last_sent_us or (gap_us > 0 and gap_us >= t.second_gap_us):
        t.summed = False
    t.bytes -= gone.size
    t.sent_bytes -= gone.size
    t.sent -= 1
    t.first = (t.first + 1) & RING_MASK
    t.count -= 1


cdef void throughput_packet(Throughput *t, int64_t sent_us, int64_t arrival_us, uint32_t size) noexcept nogil:
    cdef uint32_t i
    cdef ReceivedPacket *slot
    if t.count and at(t, t.count - 1).arrival_us - arrival_us > REORDERING_MAX_US:
        throughput_init(t)
    if t.count == THROUGHPUT_WINDOW_MAX:
        drop_first(t)
    # Reordering between two feedbacks is rare, and no farther than the window: a shift, not a search.
    i = t.count
    while i > 0 and at(t, i - 1).arrival_us > arrival_us:
        t.packets[(t.first + i) & RING_MASK] = t.packets[(t.first + i - 1) & RING_MASK]
        i -= 1
    if i < t.count or sent_us < t.last_sent_us or sent_us < t.discarded_us:
        t.summed = False
    slot = &t.packets[(t.first + i) & RING_MASK]
    slot.sent_us = sent_us
    slot.arrival_us = arrival_us
    slot.size = size
    if i:
        add_gap(t, arrival_us - at(t, i - 1).arrival_us)
    t.bytes += size
    t.longest_us = max(t.longest_us, arrival_us - sent_us)
    add_sent(t, slot)
    t.count += 1


cdef void throughput_trim(Throughput *t, const ThroughputParameters *p) noexcept nogil:
    cdef int64_t duration_us
    while t.count:
        duration_us = at(t, t.count - 1).arrival_us - at(t, 0).arrival_us
        if not (t.count > p.window_packets_max or duration_us > p.window_max_us
                or (t.count > p.window_packets and duration_us > p.window_min_us)):
            break
        drop_first(t)
    if not t.summed:
        sum_up(t)
    elif t.count:
        t.first_sent_us = at(t, 0).sent_us
    if t.count and at(t, t.count - 1).arrival_us - p.recent_us > t.longest_since_us:
        t.longest_before_us = t.longest_us
        t.longest_us = INT64_MIN
        t.longest_since_us = at(t, t.count - 1).arrival_us


cdef double throughput_bps(const Throughput *t, const ThroughputParameters *p) noexcept nogil:
    cdef int64_t arrival_us
    cdef double received_bps
    if t.count == 0 or t.count < p.required_packets:
        return -1.0
    # The first packet's size has no part in the time between the first and the last arrival, and the last one's none in
    # that between the sendings. A single long gap, as a link that pauses makes it, is counted like the second longest;
    # what that overestimates is bounded by the rate of sending.
    arrival_us = at(t, t.count - 1).arrival_us - at(t, 0).arrival_us - t.largest_gap_us + t.second_gap_us
    received_bps = (t.bytes - at(t, 0).size) * 8e6 / max(arrival_us, <int64_t>INTERVAL_MIN_US)
    if t.sent < p.required_packets:
        return received_bps
    return min(received_bps, (t.sent_bytes - t.last_sent_size) * 8e6
               / max(t.last_sent_us - t.first_sent_us, <int64_t>INTERVAL_MIN_US))


cdef double throughput_busy_bps(const Throughput *t, const ThroughputParameters *p,
                                int64_t queued_delay_us) noexcept nogil:
    cdef uint32_t i = t.count, packets = 0, busy_bytes = 0
    cdef int64_t busy_us = 0, newest_us
    cdef const ReceivedPacket *packet
    if t.count < 2 or max(t.longest_us, t.longest_before_us) <= queued_delay_us:
        return -1.0
    newest_us = at(t, t.count - 1).arrival_us
    while i > 1:
        i -= 1
        packet = at(t, i)
        if newest_us - packet.arrival_us > p.recent_us:
            break
        if packet.arrival_us - packet.sent_us > queued_delay_us:
            busy_us += packet.arrival_us - at(t, i - 1).arrival_us
            busy_bytes += packet.size
            packets += 1
    if packets < p.busy_packets or busy_us < p.busy_us:
        return -1.0
    return busy_bytes * 8e6 / busy_us
