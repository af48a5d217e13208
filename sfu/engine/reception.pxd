# SPDX-License-Identifier: Apache-2.0
"""Reception of one RTP stream: extended sequence numbers, loss, jitter, rates (RFC 3550 §6.4.1, A.1, A.3, A.8)."""
from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t
from sfu.wire.rtcp cimport ReportBlock

cdef enum SequenceVerdict:
    SEQUENCE_OK = 0
    SEQUENCE_RESTART = 1      # the stream began anew: everything known of it is void
    SEQUENCE_REJECTED = 2     # a jump that a second packet has not confirmed yet

cdef struct Reception:
    bint started
    int64_t base              # extended sequence number of the first packet
    int64_t highest
    int32_t probation         # sequence number that would confirm a jump, -1 = none
    uint64_t packets
    uint64_t bytes
    uint64_t recovered        # of these, by retransmission
    int64_t jitter_q4         # interarrival jitter in RTP ticks, times 16
    int64_t last_transit
    bint has_transit
    int64_t reported_expected
    int64_t reported_packets
    uint64_t sr_ntp_middle
    int64_t sr_arrival_us     # -1 = no sender report yet

cdef struct RateMeter:
    int64_t window_start_us
    uint32_t bytes
    uint32_t frames
    uint32_t rate_bps         # over the last full window
    uint32_t frame_rate_q8    # frames per second, times 256

cdef void reception_init(Reception *r) noexcept nogil
cdef int reception_sequence(Reception *r, uint16_t sequence, int64_t *extended) noexcept nogil
cdef void reception_packet(Reception *r, int64_t extended, uint32_t timestamp, uint32_t size, uint32_t clock_rate,
                           bint recovered, int64_t now_us) noexcept nogil
cdef int64_t reception_lost(const Reception *r) noexcept nogil
cdef void reception_report(Reception *r, uint32_t ssrc, int64_t now_us, ReportBlock *block) noexcept nogil
cdef void rate_add(RateMeter *m, uint32_t size, bint frame, int64_t now_us) noexcept nogil
cdef void rate_roll(RateMeter *m, int64_t now_us) noexcept nogil
