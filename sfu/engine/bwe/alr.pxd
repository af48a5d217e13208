# SPDX-License-Identifier: Apache-2.0
"""Does the application send less than it could? libwebrtc alr_detector and interval_budget (branch-heads/7204)."""

from libc.stdint cimport int64_t, uint32_t

from sfu.engine.bwe.parameters cimport AlrParameters


cdef struct AlrDetector:
    int64_t target_bps          # usage × estimate
    int64_t budget_bits         # within ± the window's worth
    int64_t start_bits          # levels, so that a packet costs no division
    int64_t stop_bits
    int64_t limit_bits
    int64_t sent_us             # of the last packet, INT64_MIN = none
    int64_t started_us          # application limited since, INT64_MIN = not


cdef void alr_init(AlrDetector *a) noexcept nogil
cdef void alr_set_rate(AlrDetector *a, const AlrParameters *p, double rate_bps) noexcept nogil
cdef void alr_sent(AlrDetector *a, uint32_t size, int64_t now_us) noexcept nogil
