# SPDX-License-Identifier: Apache-2.0
"""Clock mapping; see `clock_map.pxd`."""
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

cdef enum:
    # The offset is the least seen of (arrival − NTP): network delay only adds. Two windows follow clock drift.
    OFFSET_WINDOW_US = 15_000_000
    # A step of the publisher's clock: begin anew rather than wait for the windows to pass.
    OFFSET_STEP_US = 500_000

cdef uint64_t NTP_UNIX_SECONDS = 2208988800


cdef int64_t ntp_to_us(uint64_t ntp) noexcept nogil:
    """64-bit NTP timestamp → µs since 1900."""
    return <int64_t>((ntp >> 32) * 1_000_000 + (((ntp & <uint64_t>0xFFFFFFFF) * 1_000_000) >> 32))


cdef uint64_t us_to_ntp(int64_t unix_us) noexcept nogil:
    """µs since 1970 → 64-bit NTP timestamp."""
    cdef uint64_t seconds = <uint64_t>(unix_us // 1_000_000)
    cdef uint64_t fraction = ((<uint64_t>(unix_us % 1_000_000)) << 32) // 1_000_000
    return ((seconds + NTP_UNIX_SECONDS) << 32) | fraction


cdef void publisher_clock_report(PublisherClock *c, int64_t ntp_us, int64_t now_us) noexcept nogil:
    cdef int64_t sample = now_us - ntp_us
    if not c.known or sample - c.offset_us > OFFSET_STEP_US or c.offset_us - sample > OFFSET_STEP_US:
        c.known = True
        c.has_previous = False
        c.window_start_us = now_us
        c.window_minimum_us = sample
    elif now_us - c.window_start_us > OFFSET_WINDOW_US:
        c.previous_minimum_us = c.window_minimum_us
        c.has_previous = True
        c.window_start_us = now_us
        c.window_minimum_us = sample
    elif sample < c.window_minimum_us:
        c.window_minimum_us = sample
    c.offset_us = c.window_minimum_us
    if c.has_previous and c.previous_minimum_us < c.offset_us:
        c.offset_us = c.previous_minimum_us


cdef void timestamp_map_packet(TimestampMap *m, uint32_t timestamp, int64_t now_us) noexcept nogil:
    """Learn from an arrival: keep the packet that was fastest so far."""
    cdef int64_t expected_us
    if not m.has_anchor:
        m.has_anchor = True
        m.anchor_timestamp = timestamp
        m.anchor_us = now_us
        return
    expected_us = m.anchor_us + <int64_t>(<int32_t>(timestamp - m.anchor_timestamp)) * 1_000_000 // <int64_t>m.clock_rate
    if now_us < expected_us or now_us - expected_us > OFFSET_STEP_US:
        m.anchor_timestamp = timestamp
        m.anchor_us = now_us
    elif <int32_t>(timestamp - m.anchor_timestamp) > <int32_t>(m.clock_rate * 60):
        # Keep the anchor near, so that 32-bit differences never wrap.
        m.anchor_timestamp = timestamp
        m.anchor_us = expected_us


cdef void timestamp_map_report(TimestampMap *m, uint32_t timestamp, int64_t ntp_us) noexcept nogil:
    m.has_report = True
    m.report_timestamp = timestamp
    m.report_ntp_us = ntp_us


cdef int64_t timestamp_map_server_us(const TimestampMap *m, const PublisherClock *c, uint32_t timestamp) noexcept nogil:
    """When `timestamp` was captured, in server time."""
    cdef int64_t rate = m.clock_rate
    if m.has_report and c.known:
        return m.report_ntp_us + c.offset_us + <int64_t>(<int32_t>(timestamp - m.report_timestamp)) * 1_000_000 // rate
    return m.anchor_us + <int64_t>(<int32_t>(timestamp - m.anchor_timestamp)) * 1_000_000 // rate


cdef uint32_t timestamp_map_at(const TimestampMap *m, const PublisherClock *c, int64_t server_us) noexcept nogil:
    """The source's RTP timestamp at `server_us`."""
    cdef int64_t rate = m.clock_rate
    if m.has_report and c.known:
        return m.report_timestamp + <uint32_t>((server_us - m.report_ntp_us - c.offset_us) * rate // 1_000_000)
    return m.anchor_timestamp + <uint32_t>((server_us - m.anchor_us) * rate // 1_000_000)
