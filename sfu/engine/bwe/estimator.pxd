# SPDX-License-Identifier: Apache-2.0
"""How much one transport can carry: send-side bandwidth estimation in the line of libwebrtc's goog_cc.

Fed with what was sent and with the receiver's transport-wide feedback, REMB and receiver reports. No clock, no I/O; the
only allocation is estimator_open's. Rates count what IP carries: overhead_bytes are added to each packet's size.
docs/congestion.md says which part follows what.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t

from sfu.engine.bwe.alr cimport AlrDetector
from sfu.engine.bwe.arrivals cimport OneWayDelay, ReceiverClock
from sfu.engine.bwe.fallback cimport Fallback
from sfu.engine.bwe.history cimport SendHistory
from sfu.engine.bwe.loss cimport LossEstimator
from sfu.engine.bwe.loss_probe cimport LossProbe
from sfu.engine.bwe.parameters cimport EstimatorParameters
from sfu.engine.bwe.probe_result cimport ProbeResults
from sfu.engine.bwe.probes cimport ProbeController, ProbePlan
from sfu.engine.bwe.rate_control cimport RateControl
from sfu.engine.bwe.throughput cimport Throughput
from sfu.engine.bwe.trendline cimport InterArrival, Trendline
from sfu.wire.rtcp cimport TransportCcHeader


cdef enum CongestionState:
    CONGESTION_NORMAL = 0
    CONGESTION_WARNING = 1      # a queue is building or has not drained yet: do not add layers
    CONGESTION_CONGESTED = 2    # the estimate was lowered just now because of delay, loss or missing feedback


cdef enum EstimateBasis:        # what the present estimate rests on
    BASIS_START = 0             # nothing heard yet
    BASIS_DELAY = 1
    BASIS_LOSS = 2
    BASIS_REPORTS = 3           # receiver reports only: transport-wide feedback never came
    BASIS_REMB = 4
    BASIS_TIMEOUT = 5           # feedback stopped while packets were sent


cdef struct EstimatorSnapshot:
    int64_t rate_bps
    int64_t pacing_bps
    int64_t delay_rate_bps      # of the delay-based part; 0 = none yet
    int64_t loss_rate_bps       # of the loss-based part; 0 = does not limit
    int64_t acknowledged_bps    # 0 = not known yet
    int64_t remb_bps            # 0 = none
    int64_t rtt_us              # 0 = not known yet
    int64_t queue_us            # one-way delay above its minimum of late
    double trend_ms             # modified trend and its adaptive threshold
    double threshold_ms
    double loss                 # share of packets, mean of the last observations
    double inherent_loss        # share that the loss-based part holds for the link's own
    uint8_t state               # CongestionState
    uint8_t basis               # EstimateBasis
    uint8_t rate_state          # RateControlState
    bint application_limited
    uint32_t probes             # plans handed out so far
    uint32_t probe_results      # of them, measured
    int64_t probe_bps           # the latest result; 0 = none


cdef struct Estimator:          # for its users opaque; estimator_size() bytes
    EstimatorParameters p
    SendHistory history
    Throughput throughput
    InterArrival inter_arrival
    Trendline trendline
    RateControl rate
    LossEstimator loss
    LossProbe loss_probe
    AlrDetector alr
    ProbeController probes
    ProbeResults results
    Fallback fallback
    ReceiverClock clock
    OneWayDelay delay
    int64_t now_us              # the latest time heard of
    int64_t ticked_us
    int64_t sent_us             # of the last packet, INT64_MIN = none; and so on
    int64_t heard_us            # the last transport-wide feedback, or the first packet while there was none
    bint feedback               # transport-wide feedback has come at least once
    int64_t timeout_us          # the last back-off for want of feedback
    double rtt_us               # 0 = unknown
    int64_t rtt_reported_us     # when a receiver report told it
    double target_bps
    double delay_target_bps     # delay-based rate after the last feedback
    uint8_t basis
    int64_t warning_until_us
    int64_t congested_until_us
    double probed_bps           # latest result


cdef Estimator *estimator_open() noexcept nogil         # NULL = no memory
cdef void estimator_close(Estimator *e) noexcept nogil
cdef uint32_t estimator_size() noexcept nogil           # bytes, all of it
cdef void estimator_init(Estimator *e, const EstimatorParameters *parameters, int64_t now_us) noexcept nogil

# --- sending: per packet. The number goes into the packet; estimator_sent follows when it was handed to the socket,
# with the UDP payload's size. A number that is never sent does no harm.
cdef uint16_t estimator_next_sequence(Estimator *e) noexcept nogil
cdef void estimator_sent(Estimator *e, uint16_t sequence, uint32_t size, int64_t now_us,
                         int32_t probe_cluster) noexcept nogil     # -1 = no probe

# --- hearing
# As rtcp_transport_cc delivers it; INT64_MIN = not received.
cdef void estimator_feedback(Estimator *e, const TransportCcHeader *header, const int64_t *arrival_us, uint32_t count,
                             int64_t now_us) noexcept nogil
cdef void estimator_remb(Estimator *e, int64_t bitrate_bps, int64_t now_us) noexcept nogil
# From receiver reports, once per compound packet: the streams' losses weighed by their packets; rtt_us ≤ 0 = unknown.
cdef void estimator_report(Estimator *e, double fraction_lost, int64_t rtt_us, int64_t now_us) noexcept nogil

# --- time
cdef void estimator_tick(Estimator *e, int64_t now_us) noexcept nogil       # each ~25 ms, or at estimator_next_us
cdef int64_t estimator_next_us(const Estimator *e) noexcept nogil           # when tick has something to do

# --- results
cdef int64_t estimator_rate_bps(const Estimator *e) noexcept nogil
cdef int64_t estimator_pacing_bps(const Estimator *e) noexcept nogil
cdef int64_t estimator_rtt_us(const Estimator *e) noexcept nogil            # 0 = not known
# Much is lost though nothing queues: the link's own losses, which meet what is sent again as well.
cdef bint estimator_link_loses(const Estimator *e) noexcept nogil
cdef uint8_t estimator_basis(const Estimator *e) noexcept nogil             # EstimateBasis
cdef CongestionState estimator_state(const Estimator *e) noexcept nogil
cdef void estimator_snapshot(const Estimator *e, EstimatorSnapshot *out) noexcept nogil

# --- probing
# True = a probe is wanted: *out is taken out of the queue and is to be sent now. One at a time; call again when it is
# done (or given up: nothing needs to be said then).
cdef bint estimator_probe(Estimator *e, int64_t now_us, ProbePlan *out) noexcept nogil
cdef bint estimator_has_probe(const Estimator *e) noexcept nogil            # whether one waits to be taken
# The allocator would use target_bps in all: probe whether the link carries it. Refused (False) while congested, too
# soon after the last one, or when the estimate is there already.
cdef bint estimator_request_probe(Estimator *e, int64_t target_bps, int64_t now_us) noexcept nogil
# What all subscriptions' wishes add up to; periodic probes do not go beyond twice that. 0 = unknown.
cdef void estimator_set_wanted(Estimator *e, int64_t wanted_bps, int64_t now_us) noexcept nogil
cdef void estimator_set_bounds(Estimator *e, int64_t min_bps, int64_t max_bps, int64_t now_us) noexcept nogil
