# SPDX-License-Identifier: Apache-2.0
"""Arrival log and transport-wide feedback; see transport_cc.pxd."""

from libc.stdint cimport INT64_MIN, int16_t

from sfu.wire.rtcp cimport rtcp_write_transport_cc

cdef enum:
    SLOT_MASK = ARRIVAL_WINDOW - 1


cdef void arrival_log_init(ArrivalLog *log) noexcept nogil:
    log.started = False
    log.highest = 0
    log.first_unreported = 1
    log.feedback_count = 0


cdef inline int64_t *slot(ArrivalLog *log, int64_t sequence) noexcept nogil:
    return &log.arrival_us[sequence & SLOT_MASK]


cdef void forget_all(ArrivalLog *log) noexcept nogil:
    cdef uint32_t i
    for i in range(<uint32_t>ARRIVAL_WINDOW):
        log.arrival_us[i] = INT64_MIN


cdef void advance(ArrivalLog *log, int64_t sequence) noexcept nogil:
    """Makes `sequence` the highest; what it skips is not received so far."""
    cdef int64_t skipped
    if sequence - log.highest >= ARRIVAL_WINDOW:
        forget_all(log)
    else:
        for skipped in range(log.highest + 1, sequence):
            slot(log, skipped)[0] = INT64_MIN
    log.highest = sequence
    log.first_unreported = max(log.first_unreported, sequence - ARRIVAL_WINDOW + 1)


cdef void arrival_log_add(ArrivalLog *log, uint16_t sequence, int64_t now_us) noexcept nogil:
    cdef int64_t extended
    if not log.started:
        log.started = True
        forget_all(log)
        log.highest = sequence
        log.first_unreported = sequence
        slot(log, sequence)[0] = now_us
        return
    extended = log.highest + <int16_t>(sequence - <uint16_t>(log.highest & 0xFFFF))
    if extended > log.highest:
        advance(log, extended)
    elif extended <= log.highest - ARRIVAL_WINDOW or slot(log, extended)[0] != INT64_MIN:
        return
    else:
        log.first_unreported = min(log.first_unreported, extended)
    slot(log, extended)[0] = now_us


cdef uint32_t arrival_log_feedback(ArrivalLog *log, uint8_t *out, uint32_t capacity, uint32_t sender,
                                   uint32_t media) noexcept nogil:
    cdef int64_t arrival_us[ARRIVAL_WINDOW]
    cdef uint32_t count, i, size, consumed = 0
    if not log.started or log.first_unreported > log.highest:
        return 0
    count = <uint32_t>(log.highest - log.first_unreported + 1)
    for i in range(count):
        arrival_us[i] = slot(log, log.first_unreported + i)[0]
    size = rtcp_write_transport_cc(
        out, min(capacity, <uint32_t>FEEDBACK_MAX_SIZE), sender, media, <uint16_t>(log.first_unreported & 0xFFFF),
        arrival_us, count, log.feedback_count, &consumed)
    if size == 0:
        return 0
    log.first_unreported += consumed
    log.feedback_count += 1
    return size


cdef class ArrivalTracker:
    """An ArrivalLog for tests and load bots."""

    cdef ArrivalLog log

    def __cinit__(self):
        arrival_log_init(&self.log)

    def add(self, uint16_t sequence, int64_t now_us):
        arrival_log_add(&self.log, sequence, now_us)

    def feedback(self, uint32_t sender, uint32_t media, uint32_t capacity=FEEDBACK_MAX_SIZE):
        """All feedback packets that are due."""
        cdef uint8_t out[FEEDBACK_MAX_SIZE]
        cdef uint32_t size
        packets = []
        while True:
            size = arrival_log_feedback(&self.log, out, min(capacity, <uint32_t>FEEDBACK_MAX_SIZE), sender, media)
            if size == 0:
                return packets
            packets.append((<const char *>out)[:size])
