# SPDX-License-Identifier: Apache-2.0
"""From a publisher's clocks to the server's: RTP timestamps → server time, in µs.

One `PublisherClock` a participant (its NTP clock against ours), one `TimestampMap` a source (its RTP clock against NTP).
Audio and video of a participant share the first, so that they stay in step whatever the publisher's clock says.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef struct PublisherClock:
    bint known
    int64_t offset_us         # server time = publisher's NTP time + offset
    int64_t window_start_us
    int64_t window_minimum_us
    int64_t previous_minimum_us
    bint has_previous

cdef struct TimestampMap:
    bint has_report
    uint32_t report_timestamp
    int64_t report_ntp_us     # in the publisher's clock
    bint has_anchor
    uint32_t anchor_timestamp # by arrival, until a sender report is there
    int64_t anchor_us
    uint32_t clock_rate

cdef int64_t ntp_to_us(uint64_t ntp) noexcept nogil
cdef uint64_t us_to_ntp(int64_t unix_us) noexcept nogil
cdef void publisher_clock_report(PublisherClock *c, int64_t ntp_us, int64_t now_us) noexcept nogil
cdef void timestamp_map_packet(TimestampMap *m, uint32_t timestamp, int64_t now_us) noexcept nogil
cdef void timestamp_map_report(TimestampMap *m, uint32_t timestamp, int64_t ntp_us) noexcept nogil
cdef int64_t timestamp_map_server_us(const TimestampMap *m, const PublisherClock *c, uint32_t timestamp) noexcept nogil
cdef uint32_t timestamp_map_at(const TimestampMap *m, const PublisherClock *c, int64_t server_us) noexcept nogil
