# SPDX-License-Identifier: Apache-2.0
"""REMB and loss reports; see fallback.pxd."""

from libc.math cimport INFINITY, pow
from libc.stdint cimport INT64_MIN

cdef enum:
    METER_US = 500_000              # window of the rate of sending
    REPORT_GAP_MAX_US = 5_000_000   # a longer time without report does not count as good


cdef void fallback_init(Fallback *f, double start_bps) noexcept nogil:
    f.remb_bps = 0.0
    f.remb_us = INT64_MIN
    f.loss = 0.0
    f.reported_us = INT64_MIN
    f.decreased_us = INT64_MIN
    f.rate_bps = start_bps
    f.sent_bytes = 0
    f.metered_us = INT64_MIN
    f.sent_bps = 0.0


cdef void fallback_meter(Fallback *f, int64_t now_us) noexcept nogil:
    if f.metered_us == INT64_MIN:
        f.metered_us = now_us
    elif now_us - f.metered_us >= METER_US:
        f.sent_bps = f.sent_bytes * 8e6 / (now_us - f.metered_us)
        f.sent_bytes = 0
        f.metered_us = now_us


cdef void fallback_remb(Fallback *f, double bps, int64_t now_us) noexcept nogil:
    f.remb_bps = bps
    f.remb_us = now_us


cdef void fallback_report(Fallback *f, const FallbackParameters *p, double fraction_lost, double rtt_us, double min_bps,
                          int64_t now_us) noexcept nogil:
    cdef double seconds, raised
    f.loss = min(max(fraction_lost, 0.0), 1.0)
    if f.loss <= p.loss_low and f.reported_us != INT64_MIN:
        seconds = min(now_us - f.reported_us, <int64_t>REPORT_GAP_MAX_US) / 1e6
        raised = f.rate_bps * pow(p.increase_per_second, seconds) + p.increase_bps * seconds
        # Nobody has seen more pass than was sent.
        f.rate_bps = max(f.rate_bps, min(raised, p.sent_factor * f.sent_bps + p.sent_margin_bps))
    elif f.loss > p.loss_high and (f.decreased_us == INT64_MIN
                                   or now_us - f.decreased_us >= p.decrease_us + <int64_t>rtt_us):
        f.rate_bps = max(f.rate_bps * (1.0 - 0.5 * f.loss), min_bps)
        f.decreased_us = now_us
    f.reported_us = now_us


cdef double fallback_cap_bps(const Fallback *f, const FallbackParameters *p, int64_t now_us) noexcept nogil:
    if f.remb_us == INT64_MIN or now_us - f.remb_us > p.remb_us or f.remb_bps <= 0:
        return INFINITY
    return f.remb_bps


cdef double fallback_rate_bps(const Fallback *f, const FallbackParameters *p, int64_t now_us) noexcept nogil:
    cdef double cap_bps = fallback_cap_bps(f, p, now_us)
    if cap_bps == INFINITY:
        return f.rate_bps
    if f.reported_us != INT64_MIN and now_us - f.reported_us <= p.report_us and f.loss > p.loss_high:
        return cap_bps * (1.0 - 0.5 * f.loss)
    return cap_bps
