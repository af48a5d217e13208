# SPDX-License-Identifier: Apache-2.0
"""The loss-based rate: which pair of inherent loss and capacity explains best what was lost at which sending rate.

libwebrtc loss_based_bwe_v2 (branch-heads/7204).
"""

from libc.stdint cimport int64_t, uint32_t

from sfu.engine.bwe.parameters cimport LossParameters


cdef enum LossState:
    LOSS_DELAY_BASED = 0        # loss does not limit
    LOSS_INCREASING = 1
    LOSS_INCREASING_PADDED = 2  # padding is asked for meanwhile (only with padding_us)
    LOSS_DECREASING = 3         # or holding


cdef struct Observation:
    double size                 # bytes
    double lost_size
    double packets
    double lost_packets
    double rate_bps             # at which they were sent
    int64_t id                  # -1 = none


cdef struct Channel:
    double inherent_loss
    double capacity_bps         # < 0 = unknown


cdef struct LossEstimator:
    const LossParameters *p
    Observation observations[15]
    double weights[15]          # by age
    double instant_weights[15]
    int64_t count               # observations so far; the number of the one that is being filled
    Observation partial
    int64_t first_sent_us       # of the packets since the last update
    int64_t last_sent_us
    bint any
    bint started
    int64_t observed_us         # when the newest packet of the newest observation was sent
    Channel best
    double average_loss
    double acknowledged_bps     # -1 = unknown
    double delay_based_bps
    double min_bps
    double max_bps
    double inherent             # share of losses that is known to be the link's own,
    double tolerated            # and what is put up with on that account
    double known_bps            # capacity that losses have named, infinity = none
    double instant_upper_bps
    double instant_lower_bps
    bint recovering
    int64_t recovering_us       # since
    double window_limit_bps     # of the increase within increase_window_us
    double rate_bps             # the result, with
    LossState state
    int64_t hold_until_us
    int64_t hold_us
    double hold_bps
    double padding_bps
    int64_t padding_since_us
    bint padding_known


cdef void loss_init(LossEstimator *l, const LossParameters *p, double min_bps, double max_bps) noexcept nogil
cdef void loss_set_bounds(LossEstimator *l, double min_bps, double max_bps) noexcept nogil
cdef void loss_set_acknowledged(LossEstimator *l, double bps) noexcept nogil
cdef void loss_set_rate(LossEstimator *l, double bps) noexcept nogil

# Each packet that a feedback names for the first time; one that was named lost in this observation, and arrived.
cdef void loss_packet(LossEstimator *l, int64_t sent_us, uint32_t size, bint received) noexcept nogil
cdef void loss_recovered(LossEstimator *l, uint32_t size) noexcept nogil
# After a feedback's packets; delay_based_bps may be infinite.
cdef void loss_update(LossEstimator *l, double delay_based_bps, bint application_limited) noexcept nogil

# Losses limit still, but nothing is lost any more: an application that sends less than it may cannot show that more
# passes. A probe can.
cdef bint loss_is_over(const LossEstimator *l) noexcept nogil
cdef void loss_shown(LossEstimator *l, double probed_bps, double delay_based_bps) noexcept nogil

# What a probe of the losses has shown.
cdef void loss_tolerate(LossEstimator *l, double inherent, double tolerated, double capacity_bps) noexcept nogil

cdef bint loss_ready(const LossEstimator *l) noexcept nogil
cdef double loss_rate_bps(const LossEstimator *l) noexcept nogil        # infinity = does not know
