# SPDX-License-Identifier: Apache-2.0
"""The delay-based rate: additive increase near the known capacity, multiplicative elsewhere, decrease on overuse.

libwebrtc aimd_rate_control and link_capacity_estimator (branch-heads/7204); with drain_us > 0 a decrease is made to
drain the queue and no deeper, and a queue that does not drain is held for somebody else's (docs/congestion.md).
"""

from libc.stdint cimport int64_t, uint32_t

from sfu.engine.bwe.parameters cimport RateControlParameters
from sfu.engine.bwe.trendline cimport Usage


cdef enum RateControlState:
    RATE_HOLD = 0               # until the detector is at rest
    RATE_INCREASE = 1
    RATE_DRAIN = 2              # below the capacity until the queue is empty, then on with resume_bps
    RATE_COMPETE = 3            # the queue is another flow's: growth until a loss, as that flow does


cdef struct LinkCapacity:       # where overuse was seen lately
    double estimate_kbps        # < 0 = none
    double deviation            # normalised variance


cdef struct RateInput:
    Usage usage
    double throughput_bps       # < 0 = unknown, both
    double busy_bps             # while the bottleneck was busy
    double sent_bps             # of late, obedient or not; 0 = unknown
    int64_t queue_us            # present delay above the shortest
    int64_t newest_sent_us      # of the packets reported now, the newest
    bint lost                   # some were lost
    int64_t now_us


cdef struct RateControl:
    RateControlState state
    double rate_bps
    double throughput_bps       # the latest known
    double rtt_us
    double min_bps
    int64_t changed_us          # INT64_MIN = never
    int64_t decreased_us
    double resume_bps           # RATE_DRAIN: where to go on afterwards
    double before_bps           # and where it was before
    uint32_t drains             # since the queue was last empty for a while
    uint32_t severity           # harder drains that this one has led to
    double first_drain_bps      # the capacity that the first of them found
    int64_t drain_us            # the last one's begin
    bint visible                # RATE_DRAIN: packets sent after the decrease have been reported,
    int64_t visible_us          # since then
    int64_t visible_queue_us    # with this queue at that time, and since then
    int64_t queue_low_us        # within these
    int64_t queue_high_us
    bint lossy                  # and these losses
    int64_t competing_us        # RATE_COMPETE: since
    bint yielding               # RATE_COMPETE: a loss was answered, the queue is to fall first
    int64_t alone_since_us      # less passes than was sent
    double lagged_bps           # the rate half a second to a second ago
    double lagging_bps
    int64_t lagged_us
    int64_t empty_since_us      # INT64_MIN = there is a queue
    bint capacity_outgrown      # since rate_take_outgrown: the throughput exceeds the known capacity
    bint delay_shifted          # since rate_take_shifted: the queue neither drains nor moves: it is the path's delay
    LinkCapacity capacity


cdef void rate_control_init(RateControl *r, const RateControlParameters *p, double start_bps,
                            double min_bps) noexcept nogil
cdef void rate_control_update(RateControl *r, const RateControlParameters *p, const RateInput *heard) noexcept nogil
cdef void rate_control_set(RateControl *r, double rate_bps, int64_t now_us) noexcept nogil
# There is no queue any more that a drain could wait for.
cdef void rate_control_rest(RateControl *r) noexcept nogil
# Whether a further decrease is due while the overuse lasts.
cdef bint rate_control_may_reduce(const RateControl *r, double throughput_bps, int64_t now_us) noexcept nogil
cdef double rate_control_additive_bps(const RateControl *r) noexcept nogil       # per second
cdef bint rate_control_take_outgrown(RateControl *r) noexcept nogil
cdef bint rate_control_take_shifted(RateControl *r) noexcept nogil
cdef double link_capacity_upper_bps(const LinkCapacity *c) noexcept nogil          # infinity = unknown
