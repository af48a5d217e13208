# SPDX-License-Identifier: Apache-2.0
"""The ring of an outbound stream's events; see `egress_log.pxd`."""
from libc.stdint cimport int8_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from sfu.engine.egress_events import EgressEvent as EventName, EgressRecord

cdef enum:
    PAUSE_US = 200_000         # longer than between two frames at 5 fps, or ten packets of sound
    RUN_US = 1_000_000         # after so long a run of drops begins a new entry


cdef EgressLog *egress_log_open(uint32_t capacity) noexcept nogil:
    """NULL without memory."""
    cdef EgressLog *log = <EgressLog *>calloc(1, sizeof(EgressLog))
    if log == NULL:
        return NULL
    log.entries = <EgressEntry *>calloc(capacity, sizeof(EgressEntry))
    if log.entries == NULL:
        free(log)
        return NULL
    log.capacity = capacity
    return log


cdef void egress_log_close(EgressLog *log) noexcept nogil:
    if log != NULL:
        free(log.entries)
    free(log)


cdef EgressEntry *append(EgressLog *log, int event, uint32_t csrc, int spatial, int temporal, int64_t now_us) noexcept nogil:
    cdef EgressEntry *entry = &log.entries[log.written % log.capacity]
    log.written += 1
    if event != EGRESS_DROPPED:
        log.barrier = log.written
    memset(entry, 0, sizeof(EgressEntry))
    entry.now_us = now_us
    entry.until_us = now_us
    entry.sequence = log.sequence
    entry.timestamp = log.timestamp
    entry.csrc = csrc
    entry.count = 1
    entry.event = <unsigned char>event
    entry.spatial = <int8_t>spatial
    entry.temporal = <int8_t>temporal
    return entry


cdef void egress_log_event(EgressLog *log, int event, uint32_t csrc, int spatial, int temporal, int64_t now_us) noexcept nogil:
    append(log, event, csrc, spatial, temporal, now_us)


cdef void egress_log_sent(EgressLog *log, int64_t sequence, uint32_t timestamp, uint32_t csrc, uint32_t generation,
                          int spatial, int temporal, bint keyframe, int64_t now_us) noexcept nogil:
    """A media packet leaves: written down are what it begins, and what was missing before it."""
    cdef int64_t missing = sequence - log.sequence - 1
    cdef bint switched = not log.started or generation != log.generation
    if log.started and sequence < log.sequence:
        return                 # fills a gap that was told
    if log.started and missing > 0:
        append(log, EGRESS_GAP, log.csrc, spatial, temporal, now_us).count = <uint32_t>missing
    if log.started and now_us - log.sent_us > PAUSE_US:
        append(log, EGRESS_PAUSE, log.csrc, spatial, temporal, now_us).count = <uint32_t>((now_us - log.sent_us) // 1000)
    log.started = True
    log.sequence = sequence
    log.timestamp = timestamp
    log.csrc = csrc
    log.generation = generation
    log.sent_us = now_us
    if switched:
        append(log, EGRESS_SWITCHED, csrc, spatial, temporal, now_us)
    if keyframe:
        append(log, EGRESS_KEYFRAME, csrc, spatial, temporal, now_us)


cdef void egress_log_dropped(EgressLog *log, int reason, uint32_t csrc, int spatial, int temporal,
                             int64_t now_us) noexcept nogil:
    cdef EgressEntry *entry
    cdef uint64_t number = log.runs[reason & (LOG_REASONS - 1)]
    if number > log.barrier and log.written - number < log.capacity:
        entry = &log.entries[(number - 1) % log.capacity]
        if now_us - entry.now_us < RUN_US:
            entry.count += 1
            entry.until_us = now_us
            return
    entry = append(log, EGRESS_DROPPED, csrc, spatial, temporal, now_us)
    entry.reason = <unsigned char>reason
    log.runs[reason & (LOG_REASONS - 1)] = log.written


cdef void egress_log_answered(EgressLog *log, bint answered, int64_t sequence, int64_t now_us) noexcept nogil:
    """A retransmission was asked for: it is sent again, or cannot be had."""
    append(log, EGRESS_RESENT if answered else EGRESS_UNANSWERED, log.csrc, -1, -1, now_us).sequence = sequence


cdef list egress_records(const EgressEntry *entries, uint32_t capacity, uint64_t written):
    """Oldest first, as EgressRecord."""
    cdef const EgressEntry *entry
    cdef uint64_t number = written - capacity if written > capacity else 0
    records = []
    while number < written:
        entry = &entries[number % capacity]
        records.append(EgressRecord(
            entry.now_us, entry.until_us, EventName(entry.event), entry.count, entry.sequence, entry.timestamp, entry.csrc,
            entry.spatial, entry.temporal, entry.reason if entry.event == EGRESS_DROPPED else None))
        number += 1
    return records
