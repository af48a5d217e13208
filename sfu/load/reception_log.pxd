# SPDX-License-Identifier: Apache-2.0
"""What one received RTP stream of a load client amounts to: counted without decrypting. No clock, no allocation."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from sfu.load.picture_log cimport PictureLog
from sfu.wire.rtcp cimport ReportBlock


cdef enum:
    SEEN_WINDOW = 1024          # packets that a duplicate or a late one is recognised within; a power of two
    MISSING_MAX = 64            # sequence numbers that wait for a retransmission at once

cdef enum Arrival:
    ARRIVED_NEW = 0
    ARRIVED_LATE                # fills a gap
    ARRIVED_DUPLICATE           # or older than the window


cdef struct MissingPacket:
    int64_t sequence
    int64_t since_us
    int64_t asked_us            # 0 = never
    uint8_t tries


cdef struct ReceptionLog:
    uint32_t ssrc
    uint32_t rtx_ssrc           # 0 = none
    uint32_t clock_rate_hz
    uint8_t group               # whose latency histogram its stamps go to
    bint started
    int64_t first_sequence      # extended
    int64_t highest             # extended
    uint64_t seen[16]           # SEEN_WINDOW bits, a ring by extended sequence number
    uint64_t packets            # all that came, duplicates too, retransmissions not
    uint64_t bytes              # of them, as SRTP
    uint64_t frames             # markers
    PictureLog picture          # of these
    uint64_t duplicates
    uint64_t late
    uint64_t recovered          # by retransmission
    uint64_t retransmissions    # packets on the retransmission SSRC
    uint64_t nacks              # sequence numbers asked for
    uint64_t given_up
    uint64_t verified           # decrypted and authentic
    uint64_t forged             # decrypted and not
    int64_t first_us
    int64_t last_us
    int64_t transit             # RFC 3550 appendix A.8
    double jitter
    int64_t reported_expected
    int64_t reported_received
    uint32_t last_sr
    int64_t last_sr_us
    uint32_t missing_count
    MissingPacket missing[64]   # MISSING_MAX


cdef void reception_log_init(ReceptionLog *log, uint32_t ssrc, uint32_t rtx_ssrc, uint32_t clock_rate_hz,
                             uint8_t group) noexcept nogil
cdef int reception_log_add(ReceptionLog *log, uint16_t sequence, uint32_t timestamp, uint32_t size, bint marker,
                           int64_t arrival_us) noexcept nogil
cdef void reception_log_recovered(ReceptionLog *log, uint16_t sequence) noexcept nogil
# Packets that never came, so far.
cdef int64_t reception_log_lost(const ReceptionLog *log) noexcept nogil
# Sequence numbers to ask for now, ascending; at most `capacity`.
cdef uint32_t reception_log_nacks(ReceptionLog *log, int64_t now_us, uint16_t *out, uint32_t capacity) noexcept nogil
# False before the first packet. Begins a new interval (RFC 3550 appendix A.3).
cdef bint reception_log_report(ReceptionLog *log, int64_t now_us, ReportBlock *out) noexcept nogil


cdef enum:
    HISTOGRAM_BUCKETS = 768     # up to about 67 s; each at most 1/32 of its value wide

cdef struct Histogram:
    uint64_t counts[768]
    uint64_t total
    int64_t highest_us


cdef void histogram_add(Histogram *histogram, int64_t value_us) noexcept nogil
