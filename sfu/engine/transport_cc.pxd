# SPDX-License-Identifier: Apache-2.0
"""When the packets of one publisher's transport arrived, and the transport-wide feedback about it.

draft-holmer-rmcat-transport-wide-cc-extensions-01. No clock, no allocation, bounded.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t


cdef enum:
    ARRIVAL_WINDOW = 2048       # packets; a power of two. 16 KiB, and 20,000 packets/s at a feedback each 100 ms
    FEEDBACK_MAX_SIZE = 1100    # bytes of one feedback packet


cdef struct ArrivalLog:
    int64_t arrival_us[2048]    # ring by extended sequence; INT64_MIN = not received
    bint started
    int64_t highest             # highest extended sequence received
    int64_t first_unreported    # where the next feedback begins; highest + 1 = nothing to report
    uint8_t feedback_count      # of the next feedback packet


cdef void arrival_log_init(ArrivalLog *log) noexcept nogil

# Duplicates, and what is older than the window, are ignored. A packet that comes after its successors were reported
# makes the next feedback begin with it again.
cdef void arrival_log_add(ArrivalLog *log, uint16_t sequence, int64_t now_us) noexcept nogil

# One RTCP packet of at most FEEDBACK_MAX_SIZE bytes; 0 = nothing (more) to report. Call until 0.
cdef uint32_t arrival_log_feedback(ArrivalLog *log, uint8_t *out, uint32_t capacity, uint32_t sender,
                                   uint32_t media) noexcept nogil
