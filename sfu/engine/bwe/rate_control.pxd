# SPDX-License-Identifier: Apache-2.0
"""The delay-based rate: additive increase near the known capacity, multiplicative elsewhere, decrease on overuse.

libwebrtc aimd_rate_control and link_capacity_estimator (branch-heads/7204), and a back-off by the length of the queue.
"""

from libc.stdint cimport int64_t

from sfu.engine.bwe.parameters cimport RateControlParameters
from sfu.engine.bwe.trendline cimport Usage


cdef enum RateControlState:
    RATE_HOLD = 0
    RATE_INCREASE = 1


cdef struct LinkCapacity:       # where overuse was seen lately
    double estimate_kbps        # < 0 = none
    double deviation            # normalised variance


cdef struct RateControl:
    RateControlState state
    double rate_bps
    double throughput_bps       # the latest known
    bint valid                  # rate_bps rests on something
    int64_t changed_us          # INT64_MIN = never
    int64_t decreased_us
    double rtt_us
    double min_bps
    bint capacity_outgrown      # since rate_take_outgrown: the throughput exceeds the known capacity
    LinkCapacity capacity


cdef void rate_control_init(RateControl *r, const RateControlParameters *p, double start_bps,
                            double min_bps) noexcept nogil
# throughput_bps < 0 = unknown; queue_us: how long what waits in the bottleneck's queue takes.
cdef void rate_control_update(RateControl *r, const RateControlParameters *p, Usage usage, double throughput_bps,
                              int64_t queue_us, int64_t now_us) noexcept nogil
cdef void rate_control_set(RateControl *r, double rate_bps, int64_t now_us) noexcept nogil
# Whether a further decrease is due while the overuse lasts.
cdef bint rate_control_may_reduce(const RateControl *r, double throughput_bps, int64_t now_us) noexcept nogil
cdef double rate_control_additive_bps(const RateControl *r) noexcept nogil       # per second
cdef bint rate_control_take_outgrown(RateControl *r) noexcept nogil
cdef double link_capacity_upper_bps(const LinkCapacity *c) noexcept nogil          # infinity = unknown
