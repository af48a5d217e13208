# SPDX-License-Identifier: Apache-2.0
"""Generic NACK for one inbound source; see nack.pxd.

Follows mediasoup's NackGenerator in what it gives up and when, and LiveKit's in how requests are spaced.
"""

from libc.stdint cimport INT64_MAX, INT64_MIN
from libc.string cimport memmove

cdef enum:
    REORDER_DELAY_US = 10_000       # before the first request; a packet that was only overtaken comes within it
    RETRY_MIN_US = 20_000           # LiveKit mediatransportutil/pkg/nack
    RETRY_MAX_US = 400_000          # same
    RTT_DEFAULT_US = 70_000         # same; while the RTT is unknown (≤ 0)
    MAX_TRIES = 10                  # mediasoup NackGenerator
    MAX_AGE = 10_000                # packets behind the newest; same


cdef void nack_init(NackGenerator *nack) noexcept nogil:
    nack.count = 0
    nack.started = False
    nack.keyframe_wanted = False
    nack.deadline_stale = False
    nack.highest = 0
    nack.keyframe = INT64_MIN
    nack.next_us = INT64_MAX


cdef uint32_t first_not_below(const NackGenerator *nack, int64_t sequence) noexcept nogil:
    """Position of the first missing packet ≥ `sequence`."""
    cdef uint32_t low = 0, high = nack.count, middle
    while low < high:
        middle = (low + high) // 2
        if nack.missing[middle].sequence < sequence:
            low = middle + 1
        else:
            high = middle
    return low


cdef void remove_range(NackGenerator *nack, uint32_t begin, uint32_t end) noexcept nogil:
    if begin == end:
        return
    memmove(&nack.missing[begin], &nack.missing[end], (nack.count - end) * sizeof(MissingPacket))
    nack.count -= end - begin
    nack.deadline_stale = True


cdef void give_up(NackGenerator *nack, uint32_t end) noexcept nogil:
    """Asks no more for the packets before position `end`; what only a keyframe newer than them heals is remembered."""
    if end > 0 and nack.missing[end - 1].sequence > nack.keyframe:
        nack.keyframe_wanted = True
    remove_range(nack, 0, end)


cdef void note_gap(NackGenerator *nack, int64_t begin, int64_t end, int64_t now_us) noexcept nogil:
    """The packets from `begin` to before `end` are missing."""
    cdef int64_t sequence
    cdef MissingPacket *entry
    if nack.count + (end - begin) > NACK_CAPACITY:
        # What lies before a keyframe is no longer needed to go on.
        give_up(nack, first_not_below(nack, nack.keyframe))
        if begin < nack.keyframe:
            begin = min(nack.keyframe, end)
    if nack.count + (end - begin) > NACK_CAPACITY:
        remove_range(nack, 0, nack.count)
        nack.keyframe_wanted = True
        return
    for sequence in range(begin, end):
        entry = &nack.missing[nack.count]
        entry.sequence = sequence
        entry.due_us = now_us + REORDER_DELAY_US
        entry.tries = 0
        nack.count += 1
    nack.deadline_stale = True


cdef void nack_on_packet(NackGenerator *nack, int64_t sequence, int64_t now_us, bint keyframe_start) noexcept nogil:
    cdef uint32_t at
    if keyframe_start and sequence > nack.keyframe:
        nack.keyframe = sequence
        nack.keyframe_wanted = False
    if not nack.started:
        nack.started = True
        nack.highest = sequence
        return
    if sequence > nack.highest:
        if sequence > nack.highest + 1:
            note_gap(nack, nack.highest + 1, sequence, now_us)
        nack.highest = sequence
        give_up(nack, first_not_below(nack, sequence - MAX_AGE))
        return
    at = first_not_below(nack, sequence)
    if at < nack.count and nack.missing[at].sequence == sequence:
        remove_range(nack, at, at + 1)


cdef uint32_t nack_due(NackGenerator *nack, int64_t now_us, int64_t rtt_us, uint16_t *out,
                       uint32_t capacity) noexcept nogil:
    cdef uint32_t i, kept = 0, written = 0
    cdef int64_t interval_us = rtt_us if rtt_us > 0 else RTT_DEFAULT_US
    cdef MissingPacket entry
    if now_us < nack_next_us(nack):
        return 0
    interval_us = min(max(interval_us, <int64_t>RETRY_MIN_US), <int64_t>RETRY_MAX_US)
    for i in range(nack.count):
        entry = nack.missing[i]
        if entry.due_us <= now_us:
            if entry.tries == MAX_TRIES:
                if entry.sequence > nack.keyframe:
                    nack.keyframe_wanted = True
                continue
            if written < capacity:
                out[written] = <uint16_t>(entry.sequence & 0xFFFF)
                written += 1
                entry.tries += 1
                entry.due_us = now_us + interval_us
        nack.missing[kept] = entry
        kept += 1
    nack.count = kept
    nack.deadline_stale = True
    return written


cdef bint nack_take_keyframe_wanted(NackGenerator *nack) noexcept nogil:
    cdef bint wanted = nack.keyframe_wanted
    nack.keyframe_wanted = False
    return wanted


cdef int64_t nack_next_us(NackGenerator *nack) noexcept nogil:
    cdef uint32_t i
    if nack.deadline_stale:
        nack.next_us = INT64_MAX
        for i in range(nack.count):
            if nack.missing[i].due_us < nack.next_us:
                nack.next_us = nack.missing[i].due_us
        nack.deadline_stale = False
    return nack.next_us


cdef class NackTracker:
    """A NackGenerator for tests and load bots."""

    cdef NackGenerator nack

    def __cinit__(self):
        nack_init(&self.nack)

    def on_packet(self, int64_t sequence, int64_t now_us, bint keyframe_start=False):
        nack_on_packet(&self.nack, sequence, now_us, keyframe_start)

    def due(self, int64_t now_us, int64_t rtt_us=0, uint32_t capacity=NACK_CAPACITY):
        """Sequence numbers (16 bits) to ask for now."""
        cdef uint16_t out[NACK_CAPACITY]
        cdef uint32_t n = nack_due(&self.nack, now_us, rtt_us, out, min(capacity, <uint32_t>NACK_CAPACITY))
        return [out[i] for i in range(n)]

    def take_keyframe_wanted(self):
        return bool(nack_take_keyframe_wanted(&self.nack))

    @property
    def next_us(self):
        """When `due` has something to do next, or None."""
        cdef int64_t next_us = nack_next_us(&self.nack)
        return None if next_us == INT64_MAX else next_us

    @property
    def missing(self):
        """Extended sequence numbers, ascending."""
        return [self.nack.missing[i].sequence for i in range(self.nack.count)]
