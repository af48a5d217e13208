# SPDX-License-Identifier: Apache-2.0
"""Application-limited region; see alr.pxd."""

from libc.stdint cimport INT64_MIN

cdef enum:
    WINDOW_US = 500_000         # interval_budget.cc
    IDLE_MAX_US = 10_000_000    # more idle time changes nothing


cdef void alr_init(AlrDetector *a) noexcept nogil:
    a.target_bps = 0
    a.budget_bits = 0
    a.start_bits = 0
    a.stop_bits = 0
    a.limit_bits = 0
    a.sent_us = INT64_MIN
    a.started_us = INT64_MIN


cdef void alr_set_rate(AlrDetector *a, const AlrParameters *p, double rate_bps) noexcept nogil:
    a.target_bps = <int64_t>(rate_bps * p.usage)
    a.limit_bits = a.target_bps * WINDOW_US // 1_000_000
    a.start_bits = <int64_t>(p.start_level * a.limit_bits)
    a.stop_bits = <int64_t>(p.stop_level * a.limit_bits)
    a.budget_bits = min(max(a.budget_bits, -a.limit_bits), a.limit_bits)


cdef void alr_sent(AlrDetector *a, uint32_t size, int64_t now_us) noexcept nogil:
    cdef int64_t elapsed_us
    if a.sent_us == INT64_MIN:
        a.sent_us = now_us
        return
    elapsed_us = min(max(now_us - a.sent_us, <int64_t>0), <int64_t>IDLE_MAX_US)
    a.sent_us = now_us
    a.budget_bits = max(a.budget_bits - 8 * <int64_t>size, -a.limit_bits)
    a.budget_bits = min(a.budget_bits + a.target_bps * elapsed_us // 1_000_000, a.limit_bits)
    if a.started_us == INT64_MIN:
        if a.budget_bits > a.start_bits:
            a.started_us = now_us
    elif a.budget_bits < a.stop_bits:
        a.started_us = INT64_MIN
