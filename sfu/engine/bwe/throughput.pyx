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


cdef inline const ReceivedPacket *at(const Throughput *t, uint32_t i) noexcept nogil:
    return &t.packets[(t.first + i) & RING_MASK]


cdef void drop_first(Throughput *t) noexcept nogil:
    t.discarded_us = max(t.discarded_us, at(t, 0).sent_us)
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
    slot = &t.packets[(t.first + i) & RING_MASK]
    slot.sent_us = sent_us
    slot.arrival_us = arrival_us
    slot.size = size
    t.count += 1


cdef void throughput_trim(Throughput *t, const ThroughputParameters *p) noexcept nogil:
    cdef int64_t duration_us
    while t.count:
        duration_us = at(t, t.count - 1).arrival_us - at(t, 0).arrival_us
        if not (t.count > p.window_packets_max or duration_us > p.window_max_us
                or (t.count > p.window_packets and duration_us > p.window_min_us)):
            return
        drop_first(t)


cdef double throughput_bps(const Throughput *t, const ThroughputParameters *p) noexcept nogil:
    cdef int64_t largest_us = 0, second_us = 0, gap_us, first_sent_us = INT64_MAX, last_sent_us = INT64_MIN
    cdef int64_t arrival_us, before_us, sent_span_us
    cdef uint32_t i, sent = 0, last_sent_size = 0
    cdef uint32_t received_bytes = 0, sent_bytes = 0
    cdef const ReceivedPacket *packet
    cdef double received_bps
    if t.count == 0 or t.count < p.required_packets:
        return -1.0
    before_us = at(t, 0).arrival_us
    for i in range(t.count):
        packet = at(t, i)
        if i:
            gap_us = packet.arrival_us - before_us
            before_us = packet.arrival_us
            if gap_us > second_us:
                second_us = min(gap_us, largest_us)
                largest_us = max(gap_us, largest_us)
            # The first packet's size has no part in the time between the first and the last arrival,
            received_bytes += packet.size
        if packet.sent_us < t.discarded_us:
            continue                    # reordered: it would stretch the time of sending
        if packet.sent_us > last_sent_us:
            last_sent_us = packet.sent_us
            last_sent_size = packet.size
        first_sent_us = min(first_sent_us, packet.sent_us)
        sent_bytes += packet.size
        sent += 1
    # and the last packet's none in that between the sendings. A single long gap, as a link that pauses makes it, is
    # counted like the second longest; what that overestimates is bounded by the rate of sending.
    arrival_us = at(t, t.count - 1).arrival_us - at(t, 0).arrival_us - largest_us + second_us
    received_bps = received_bytes * 8e6 / max(arrival_us, <int64_t>INTERVAL_MIN_US)
    if sent < p.required_packets:
        return received_bps
    sent_span_us = max(last_sent_us - first_sent_us, <int64_t>INTERVAL_MIN_US)
    return min(received_bps, (sent_bytes - last_sent_size) * 8e6 / sent_span_us)


cdef double throughput_busy_bps(const Throughput *t, const ThroughputParameters *p,
                                int64_t queued_delay_us) noexcept nogil:
    cdef uint32_t i = t.count, packets = 0, busy_bytes = 0
    cdef int64_t busy_us = 0, newest_us
    cdef const ReceivedPacket *packet
    if t.count < 2:
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
