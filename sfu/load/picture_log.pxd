# SPDX-License-Identifier: Apache-2.0
"""When a received picture stands still, as browsers count it (W3C webrtc-stats, freezeCount). No clock, no allocation.

`sfu.load.freezes` is the same in Python.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t


cdef enum:
    KEPT_INTERVALS = 30


cdef struct PictureLog:
    int64_t intervals[30]       # KEPT_INTERVALS, a ring
    uint8_t kept
    uint8_t at                  # of the next one
    bint watching               # there was a frame since the beginning or the last pause
    bint frozen
    int64_t sum_us              # of the kept ones
    int64_t first_us            # of the very first frame
    int64_t last_us
    int64_t frozen_us           # of freezes that are over
    int64_t watched_us
    uint64_t freezes


cdef void picture_log_frame(PictureLog *log, int64_t now_us) noexcept nogil
# Count a freeze that is still going on; once.
cdef void picture_log_look(PictureLog *log, int64_t now_us) noexcept nogil
# The next frame begins anew: what lies before it is no freeze.
cdef void picture_log_pause(PictureLog *log) noexcept nogil
