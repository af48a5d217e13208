# SPDX-License-Identifier: Apache-2.0
"""A rate without transport-wide feedback: what the receiver estimates (REMB), else what its loss reports allow."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from sfu.engine.bwe.parameters cimport FallbackParameters


cdef struct Fallback:
    double remb_bps
    int64_t remb_us             # INT64_MIN = never, and so on
    double loss                 # the latest report's
    int64_t reported_us
    int64_t decreased_us
    double rate_bps             # from the reports
    uint64_t sent_bytes         # since metered_us
    int64_t metered_us
    double sent_bps             # of the last full window


cdef void fallback_init(Fallback *f, double start_bps) noexcept nogil
cdef void fallback_remb(Fallback *f, double bps, int64_t now_us) noexcept nogil
cdef void fallback_report(Fallback *f, const FallbackParameters *p, double fraction_lost, double rtt_us, double min_bps,
                          int64_t now_us) noexcept nogil
cdef void fallback_meter(Fallback *f, int64_t now_us) noexcept nogil
# Infinity = none.
cdef double fallback_cap_bps(const Fallback *f, const FallbackParameters *p, int64_t now_us) noexcept nogil
# With REMB: that, less what is lost; else from the reports.
cdef double fallback_rate_bps(const Fallback *f, const FallbackParameters *p, int64_t now_us) noexcept nogil
