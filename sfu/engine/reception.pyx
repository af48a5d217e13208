# SPDX-License-Identifier: Apache-2.0
"""Receive statistics of one RTP stream; see `reception.pxd`."""
from libc.stdint cimport int16_t, int32_t, int64_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset
from sfu.wire.rtcp cimport ReportBlock

# RFC 3550 A.1: a forward jump up to MAX_DROPOUT and a backward one up to MAX_MISORDER belong to the same stream.
cdef enum:
    MAX_DROPOUT = 3000
    MAX_MISORDER = 2000
    RATE_WINDOW_US = 500_000


cdef void reception_init(Reception *r) noexcept nogil:
    memset(r, 0, sizeof(Reception))
    r.probation = -1
    r.sr_arrival_us = -1


cdef int reception_sequence(Reception *r, uint16_t sequence, int64_t *extended) noexcept nogil:
    """Extend `sequence` to 64 bits. A restart has to be confirmed by two packets in a row (RFC 3550 A.1)."""
    cdef int32_t delta
    if not r.started:
        r.started = True
        r.base = 65536 + sequence
        r.highest = r.base
        extended[0] = r.base
        return SEQUENCE_OK
    delta = <int16_t>(sequence - <uint16_t>(r.highest & 0xFFFF))
    if -MAX_MISORDER < delta < MAX_DROPOUT:
        extended[0] = r.highest + delta
        if extended[0] < 0:
            return SEQUENCE_REJECTED
        if delta > 0:
            r.highest = extended[0]
        r.probation = -1
        return SEQUENCE_OK
    if r.probation == <int32_t>sequence:
        reception_init(r)
        r.started = True
        r.base = 65536 + sequence
        r.highest = r.base
        extended[0] = r.base
        return SEQUENCE_RESTART
    r.probation = (sequence + 1) & 0xFFFF
    return SEQUENCE_REJECTED


cdef void reception_packet(Reception *r, int64_t extended, uint32_t timestamp, uint32_t size, uint32_t clock_rate,
                           bint recovered, int64_t now_us) noexcept nogil:
    """Count one packet that was not seen before."""
    cdef int64_t transit, difference
    if extended < r.base:
        r.base = extended
    r.packets += 1
    r.bytes += size
    if recovered:
        r.recovered += 1
        return
    transit = <int64_t><uint32_t>(<uint32_t>(now_us * clock_rate // 1_000_000) - timestamp)
    if r.has_transit:
        difference = <int32_t>(<uint32_t>transit - <uint32_t>r.last_transit)
        if difference < 0:
            difference = -difference
        # A gap in the timestamps (DTX, restart) is no jitter.
        if difference < 5 * <int64_t>clock_rate:
            r.jitter_q4 += difference - ((r.jitter_q4 + 8) >> 4)
    r.last_transit = transit
    r.has_transit = True


cdef int64_t reception_lost(const Reception *r) noexcept nogil:
    """Packets missing so far, never below 0."""
    cdef int64_t lost
    if not r.started:
        return 0
    lost = r.highest - r.base + 1 - <int64_t>r.packets
    return lost if lost > 0 else 0


cdef void reception_report(Reception *r, uint32_t ssrc, int64_t now_us, ReportBlock *block) noexcept nogil:
    """Fill a report block and begin a new interval (RFC 3550 A.3).

    What came by retransmission came under another SSRC, and was lost for this one.
    """
    cdef int64_t received = <int64_t>(r.packets - r.recovered)
    cdef int64_t expected = r.highest - r.base + 1
    cdef int64_t expected_interval = expected - r.reported_expected
    cdef int64_t lost_interval = expected_interval - (received - r.reported_packets)
    cdef int64_t lost = expected - received if expected > received else 0
    block.ssrc = ssrc
    block.fraction_lost = 0
    if expected_interval > 0 and lost_interval > 0:
        block.fraction_lost = <unsigned char>((lost_interval << 8) // expected_interval if lost_interval < expected_interval else 255)
    block.cumulative_lost = <int32_t>(lost if lost < 0x7FFFFF else 0x7FFFFF)
    block.highest_sequence = <uint32_t>(r.highest - 65536)
    block.jitter = <uint32_t>(r.jitter_q4 >> 4)
    block.last_sr = 0
    block.delay_since_last_sr = 0
    if r.sr_arrival_us >= 0:
        block.last_sr = <uint32_t>r.sr_ntp_middle
        block.delay_since_last_sr = <uint32_t>((now_us - r.sr_arrival_us) * 65536 // 1_000_000)
    r.reported_expected = expected
    r.reported_packets = received


cdef void rate_add(RateMeter *m, uint32_t size, bint frame, int64_t now_us) noexcept nogil:
    rate_roll(m, now_us)
    m.bytes += size
    if frame:
        m.frames += 1


cdef void rate_roll(RateMeter *m, int64_t now_us) noexcept nogil:
    """Close the window when it is over; a silent stream thus falls to 0."""
    cdef int64_t elapsed = now_us - m.window_start_us
    if m.window_start_us == 0:
        m.window_start_us = now_us
        return
    if elapsed < RATE_WINDOW_US:
        return
    m.rate_bps = <uint32_t>(<uint64_t>m.bytes * 8_000_000 // elapsed)
    m.frame_rate_q8 = <uint32_t>(<uint64_t>m.frames * 256_000_000 // elapsed)
    m.bytes = 0
    m.frames = 0
    m.window_start_us = now_us
