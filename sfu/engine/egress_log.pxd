# SPDX-License-Identifier: Apache-2.0
"""What one outbound stream did and why, for whoever looks for the cause of a freeze: a bounded ring per forwarder.

Off, a forwarder has no log (NULL), and a packet costs one branch. What is written down are events, not packets: drops of
one reason are one entry with a count until something else happens.
"""
from libc.stdint cimport int8_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    LOG_REASONS = 32          # drop reasons of which runs are kept (sfu.engine.drops)

# The numbers of sfu.engine.egress_events.EgressEvent.
cdef enum EgressEvent:
    EGRESS_BOUND = 0
    EGRESS_UNBOUND = 1
    EGRESS_TARGET = 2
    EGRESS_SWITCHED = 3
    EGRESS_KEYFRAME = 4
    EGRESS_GAP = 5
    EGRESS_PAUSE = 6
    EGRESS_DROPPED = 7
    EGRESS_RESENT = 8
    EGRESS_UNANSWERED = 9
    EGRESS_KEYFRAME_REQUEST = 10

cdef struct EgressEntry:
    int64_t now_us
    int64_t until_us          # of a run: its last one
    int64_t sequence          # outbound, extended: of the packet, or of the last one that was sent
    uint32_t timestamp        # outbound, of the same packet
    uint32_t csrc
    uint32_t count            # packets of a run, numbers of a gap, ms of a pause
    uint8_t event
    uint8_t reason            # of a drop
    int8_t spatial
    int8_t temporal

cdef struct EgressLog:
    EgressEntry *entries
    uint32_t capacity
    uint64_t written          # in all; the newest stands at (written - 1) % capacity
    uint64_t barrier          # drops before this one are no longer added to
    uint64_t runs[32]         # by drop reason: number of its newest entry + 1; 0 = none
    bint started
    int64_t sequence          # of the newest packet sent
    int64_t sent_us
    uint32_t timestamp
    uint32_t csrc
    uint32_t generation       # of its source

cdef EgressLog *egress_log_open(uint32_t capacity) noexcept nogil
cdef void egress_log_close(EgressLog *log) noexcept nogil
cdef void egress_log_event(EgressLog *log, int event, uint32_t csrc, int spatial, int temporal, int64_t now_us) noexcept nogil
cdef void egress_log_sent(EgressLog *log, int64_t sequence, uint32_t timestamp, uint32_t csrc, uint32_t generation,
                          int spatial, int temporal, bint keyframe, int64_t now_us) noexcept nogil
cdef void egress_log_dropped(EgressLog *log, int reason, uint32_t csrc, int spatial, int temporal,
                             int64_t now_us) noexcept nogil
cdef void egress_log_answered(EgressLog *log, bint answered, int64_t sequence, int64_t now_us) noexcept nogil
cdef list egress_records(const EgressEntry *entries, uint32_t capacity, uint64_t written)
