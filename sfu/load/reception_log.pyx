# SPDX-License-Identifier: Apache-2.0
"""One received stream's account, and the histogram of latencies; see reception_log.pxd."""

from libc.stdint cimport int16_t, int32_t
from libc.string cimport memset

from sfu.load.picture_log cimport picture_log_frame

cdef enum:
    FIRST_NACK_AFTER_US = 10_000
    NACK_INTERVAL_US = 100_000
    MAX_NACKS = 5
    MAX_GAP = 1000              # packets; a longer run of missing ones counts as a new beginning
    EXACT_BUCKETS = 64          # one microsecond each
    HALF_BUCKETS = 32


cdef extern from *:
    """
    static inline int pysfu_highest_bit(unsigned long long value) { return 63 - __builtin_clzll(value); }
    """
    int highest_bit "pysfu_highest_bit"(unsigned long long value) noexcept nogil


cdef void reception_log_init(ReceptionLog *log, uint32_t ssrc, uint32_t rtx_ssrc, uint32_t clock_rate_hz,
                             uint8_t group) noexcept nogil:
    memset(log, 0, sizeof(ReceptionLog))
    log.ssrc = ssrc
    log.rtx_ssrc = rtx_ssrc
    log.clock_rate_hz = clock_rate_hz
    log.group = group


cdef inline bint is_seen(const ReceptionLog *log, int64_t sequence) noexcept nogil:
    cdef uint32_t at = <uint32_t>sequence & (SEEN_WINDOW - 1)
    return (log.seen[at >> 6] >> (at & 63)) & 1


cdef inline void set_seen(ReceptionLog *log, int64_t sequence, bint seen) noexcept nogil:
    cdef uint32_t at = <uint32_t>sequence & (SEEN_WINDOW - 1)
    if seen:
        log.seen[at >> 6] |= <uint64_t>1 << (at & 63)
    else:
        log.seen[at >> 6] &= ~(<uint64_t>1 << (at & 63))


cdef inline int64_t extend(const ReceptionLog *log, uint16_t sequence) noexcept nogil:
    return log.highest + <int16_t>(sequence - <uint16_t>(log.highest & 0xFFFF))


cdef void measure_jitter(ReceptionLog *log, uint32_t timestamp, int64_t arrival_us) noexcept nogil:
    """RFC 3550 appendix A.8, in timestamp units; arithmetic modulo 2^32."""
    cdef int64_t transit = arrival_us * log.clock_rate_hz // 1_000_000 - timestamp
    cdef int32_t change = <int32_t>(<uint32_t>(transit - log.transit))
    if log.packets > 1:
        log.jitter += ((-<double>change if change < 0 else <double>change) - log.jitter) / 16
    log.transit = transit


cdef void forget_missing(ReceptionLog *log, uint32_t at) noexcept nogil:
    cdef uint32_t i
    log.missing_count -= 1
    for i in range(at, log.missing_count):
        log.missing[i] = log.missing[i + 1]


cdef void note_gap(ReceptionLog *log, int64_t sequence, int64_t arrival_us) noexcept nogil:
    """Everything between the highest and `sequence` is missing; of more than fits the oldest are given up."""
    cdef int64_t missing
    cdef MissingPacket *entry
    if sequence - log.highest - 1 > MAX_GAP:
        log.given_up += log.missing_count + <uint64_t>(sequence - log.highest - 1)
        log.missing_count = 0
        memset(log.seen, 0, sizeof(log.seen))
        return
    for missing in range(log.highest + 1, sequence):
        set_seen(log, missing, False)
        if log.missing_count == MISSING_MAX:
            forget_missing(log, 0)
            log.given_up += 1
        entry = &log.missing[log.missing_count]
        entry.sequence = missing
        entry.since_us = arrival_us
        entry.asked_us = 0
        entry.tries = 0
        log.missing_count += 1


cdef void fill(ReceptionLog *log, int64_t sequence) noexcept nogil:
    cdef uint32_t i
    set_seen(log, sequence, True)
    for i in range(log.missing_count):
        if log.missing[i].sequence == sequence:
            forget_missing(log, i)
            return


cdef int reception_log_add(ReceptionLog *log, uint16_t sequence, uint32_t timestamp, uint32_t size, bint marker,
                           int64_t arrival_us) noexcept nogil:
    cdef int64_t extended
    log.packets += 1
    log.bytes += size
    if marker:
        log.frames += 1
        picture_log_frame(&log.picture, arrival_us)
    log.last_us = arrival_us
    measure_jitter(log, timestamp, arrival_us)
    if not log.started:
        log.started = True
        log.first_us = arrival_us
        log.first_sequence = log.highest = sequence
        set_seen(log, sequence, True)
        return ARRIVED_NEW
    extended = extend(log, sequence)
    if extended > log.highest:
        if extended > log.highest + 1:
            note_gap(log, extended, arrival_us)
        log.highest = extended
        set_seen(log, extended, True)
        return ARRIVED_NEW
    if extended <= log.highest - SEEN_WINDOW or extended < log.first_sequence or is_seen(log, extended):
        log.duplicates += 1
        return ARRIVED_DUPLICATE
    log.late += 1
    fill(log, extended)
    return ARRIVED_LATE


cdef void reception_log_recovered(ReceptionLog *log, uint16_t sequence) noexcept nogil:
    cdef int64_t extended = extend(log, sequence)
    if not log.started or extended > log.highest or extended < log.first_sequence or extended <= log.highest - SEEN_WINDOW:
        return
    if not is_seen(log, extended):
        log.recovered += 1
        fill(log, extended)


cdef int64_t reception_log_lost(const ReceptionLog *log) noexcept nogil:
    if not log.started:
        return 0
    return log.highest - log.first_sequence + 1 - <int64_t>(log.packets - log.duplicates + log.recovered)


cdef uint32_t reception_log_nacks(ReceptionLog *log, int64_t now_us, uint16_t *out, uint32_t capacity) noexcept nogil:
    cdef uint32_t count = 0
    cdef uint32_t i = 0
    cdef MissingPacket *entry
    while i < log.missing_count and count < capacity:
        entry = &log.missing[i]
        if entry.tries == MAX_NACKS and now_us - entry.asked_us >= NACK_INTERVAL_US:
            forget_missing(log, i)
            log.given_up += 1
            continue
        if entry.tries < MAX_NACKS and now_us - entry.since_us >= FIRST_NACK_AFTER_US and (
                entry.asked_us == 0 or now_us - entry.asked_us >= NACK_INTERVAL_US):
            entry.tries += 1
            entry.asked_us = now_us
            out[count] = <uint16_t>(entry.sequence & 0xFFFF)
            count += 1
        i += 1
    log.nacks += count
    return count


cdef bint reception_log_report(ReceptionLog *log, int64_t now_us, ReportBlock *out) noexcept nogil:
    cdef int64_t expected, received, interval_expected, interval_lost, lost
    if not log.started:
        return False
    expected = log.highest - log.first_sequence + 1
    received = <int64_t>log.packets
    interval_expected = expected - log.reported_expected
    interval_lost = interval_expected - (received - log.reported_received)
    log.reported_expected = expected
    log.reported_received = received
    lost = expected - received
    out.ssrc = log.ssrc
    out.fraction_lost = 0
    if interval_expected > 0 and interval_lost > 0:
        out.fraction_lost = <uint8_t>min((interval_lost << 8) // interval_expected, 255)
    out.cumulative_lost = <int32_t>max(-0x800000, min(0x7FFFFF, lost))
    out.highest_sequence = <uint32_t>(log.highest & <int64_t>0xFFFFFFFF)
    out.jitter = <uint32_t>log.jitter
    out.last_sr = log.last_sr
    out.delay_since_last_sr = 0
    if log.last_sr:
        out.delay_since_last_sr = <uint32_t>((now_us - log.last_sr_us) * 65536 // 1_000_000)
    return True


# --- histogram ---

cdef void histogram_add(Histogram *histogram, int64_t value_us) noexcept nogil:
    cdef uint64_t value = <uint64_t>max(value_us, 0)
    cdef uint32_t shift, bucket
    if value < EXACT_BUCKETS:
        bucket = <uint32_t>value
    else:
        shift = <uint32_t>(highest_bit(value) - 5)
        bucket = <uint32_t>min(HALF_BUCKETS * shift + (value >> shift), <uint64_t>(HISTOGRAM_BUCKETS - 1))
    histogram.counts[bucket] += 1
    histogram.total += 1
    histogram.highest_us = max(histogram.highest_us, <int64_t>value)


def bucket_upper_us(int bucket):
    """The highest value in microseconds that a bucket of a histogram counts."""
    if bucket < EXACT_BUCKETS:
        return bucket
    shift = bucket // HALF_BUCKETS - 1
    return ((bucket - HALF_BUCKETS * shift + 1) << shift) - 1


cdef class ReceptionCounter:
    """A ReceptionLog for tests: sequence numbers and times go in, counts come out."""

    cdef ReceptionLog log

    def __cinit__(self, uint32_t clock_rate_hz=90_000):
        reception_log_init(&self.log, 1, 0, clock_rate_hz, 0)

    def add(self, uint16_t sequence, uint32_t timestamp, int64_t arrival_us, uint32_t size=1000, bint marker=False):
        """0 new, 1 late, 2 duplicate."""
        return reception_log_add(&self.log, sequence, timestamp, size, marker, arrival_us)

    def recovered(self, uint16_t sequence):
        reception_log_recovered(&self.log, sequence)

    def nacks(self, int64_t now_us):
        cdef uint16_t out[MISSING_MAX]
        cdef uint32_t count = reception_log_nacks(&self.log, now_us, out, MISSING_MAX)
        return [out[i] for i in range(count)]

    @property
    def lost(self):
        return reception_log_lost(&self.log)

    @property
    def counts(self):
        return {"packets": self.log.packets, "duplicates": self.log.duplicates, "late": self.log.late,
                "recovered": self.log.recovered, "given_up": self.log.given_up, "frames": self.log.frames,
                "bytes": self.log.bytes}

    def report(self, int64_t now_us):
        """(fraction lost in 1/256, cumulative lost, highest sequence, jitter), or None before the first packet."""
        cdef ReportBlock block
        if not reception_log_report(&self.log, now_us, &block):
            return None
        return block.fraction_lost, block.cumulative_lost, block.highest_sequence, block.jitter


cdef class LatencyCounter:
    """A Histogram for tests."""

    cdef Histogram histogram

    def add(self, int64_t value_us):
        histogram_add(&self.histogram, value_us)

    @property
    def counts(self):
        return [self.histogram.counts[i] for i in range(HISTOGRAM_BUCKETS)]
