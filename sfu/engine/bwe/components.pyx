# SPDX-License-Identifier: Apache-2.0
"""The estimator's parts one by one, for tests that compare them with other implementations.

Rates are bits per second, times microseconds; `parameters` are changes of a part's defaults.
"""

from libc.math cimport INFINITY
from libc.stdint cimport INT64_MIN, int32_t, int64_t, uint32_t

from sfu.engine.bwe.alr cimport AlrDetector, alr_init, alr_sent, alr_set_rate
from sfu.engine.bwe.bandwidth import with_changes
from sfu.engine.bwe.loss cimport (
    LossEstimator, loss_init, loss_packet, loss_rate_bps, loss_ready, loss_recovered, loss_set_acknowledged,
    loss_set_bounds, loss_set_rate, loss_update,
)
from sfu.engine.bwe.parameters cimport EstimatorParameters
from sfu.engine.bwe.probe_result cimport (
    ProbeResults, probe_results_expect, probe_results_init, probe_results_packet, probe_results_take,
)
from sfu.engine.bwe.probes cimport (
    LimitCause, ProbeController, ProbePlan, probes_init, probes_process, probes_recovered, probes_request,
    probes_set_estimate, probes_set_limited, probes_set_max, probes_set_wanted, probes_start, probes_take,
)
from sfu.engine.bwe.rate_control cimport (
    RateControl, RateInput, rate_control_additive_bps, rate_control_init, rate_control_may_reduce, rate_control_set,
    rate_control_update,
)
from sfu.engine.bwe.throughput cimport (
    Throughput, throughput_bps, throughput_busy_bps, throughput_init, throughput_packet, throughput_trim,
)
from sfu.engine.bwe.trendline cimport (
    InterArrival, Trendline, Usage, inter_arrival_init, inter_arrival_packet, trendline_init, trendline_update,
)


cdef class DelayDetector:
    """Groups of packets, their trend, the verdict: 0 normal, 1 underusing, 2 overusing."""

    cdef EstimatorParameters p
    cdef InterArrival groups
    cdef Trendline trend

    def __cinit__(self, parameters=None):
        self.p = with_changes({"trendline": parameters or {}})
        inter_arrival_init(&self.groups)
        trendline_init(&self.trend, &self.p.trendline)

    def packet(self, int64_t sent_us, int64_t arrival_us, int64_t system_us):
        """The distances (sent, arrived) to the group before if this packet completes a group, else None."""
        cdef int64_t sent_delta_us = 0, arrival_delta_us = 0
        if not inter_arrival_packet(&self.groups, sent_us, arrival_us, system_us, &sent_delta_us, &arrival_delta_us):
            return None
        self.deltas(sent_delta_us / 1000.0, arrival_delta_us / 1000.0, arrival_us)
        return sent_delta_us, arrival_delta_us

    def deltas(self, double sent_ms, double arrival_ms, int64_t arrival_us):
        trendline_update(&self.trend, &self.p.trendline, sent_ms, arrival_ms, arrival_us)

    @property
    def usage(self):
        return <int>self.trend.usage

    @property
    def modified_ms(self):
        return self.trend.modified_ms

    @property
    def threshold_ms(self):
        return self.trend.threshold_ms


cdef class DelayRate:
    """Rate control. States: 0 hold, 1 increase, 2 drain, 3 compete."""

    cdef EstimatorParameters p
    cdef RateControl rate

    def __cinit__(self, double start_bps, double min_bps=5_000.0, parameters=None):
        self.p = with_changes({"rate": parameters or {}})
        rate_control_init(&self.rate, &self.p.rate, start_bps, min_bps)

    def update(self, int usage, throughput_bps, int64_t now_us, busy_bps=None, int64_t queue_us=0,
               int64_t newest_sent_us=INT64_MIN, bint lost=False, double sent_bps=0.0):
        cdef RateInput heard
        heard.usage = <Usage>usage
        heard.throughput_bps = -1.0 if throughput_bps is None else throughput_bps
        heard.busy_bps = -1.0 if busy_bps is None else busy_bps
        heard.sent_bps = sent_bps
        heard.queue_us = queue_us
        heard.newest_sent_us = newest_sent_us
        heard.lost = lost
        heard.now_us = now_us
        rate_control_update(&self.rate, &self.p.rate, &heard)
        return self.rate.rate_bps

    def set(self, double bps, int64_t now_us):
        rate_control_set(&self.rate, bps, now_us)

    def set_rtt(self, double rtt_us):
        self.rate.rtt_us = rtt_us

    def may_reduce(self, double throughput_bps, int64_t now_us):
        return bool(rate_control_may_reduce(&self.rate, throughput_bps, now_us))

    @property
    def additive_bps(self):
        return rate_control_additive_bps(&self.rate)

    @property
    def rate_bps(self):
        return self.rate.rate_bps

    @property
    def state(self):
        return <int>self.rate.state

    @property
    def delay_shifted(self):
        return bool(self.rate.delay_shifted)


cdef class ThroughputMeter:
    """What arrives per second."""

    cdef EstimatorParameters p
    cdef Throughput throughput

    def __cinit__(self, parameters=None):
        self.p = with_changes({"throughput": parameters or {}})
        throughput_init(&self.throughput)

    def feedback(self, packets):
        """(sent_us, arrival_us, size) in order of arrival."""
        for sent_us, arrival_us, size in packets:
            throughput_packet(&self.throughput, sent_us, arrival_us, size)
        throughput_trim(&self.throughput, &self.p.throughput)

    @property
    def bps(self):
        cdef double bps = throughput_bps(&self.throughput, &self.p.throughput)
        return bps if bps >= 0 else None

    def busy_bps(self, int64_t queued_delay_us):
        cdef double bps = throughput_busy_bps(&self.throughput, &self.p.throughput, queued_delay_us)
        return bps if bps >= 0 else None


cdef class LossRate:
    """Loss-based estimate. States: 0 delay-based, 1 increasing, 2 the same with padding, 3 decreasing."""

    cdef EstimatorParameters p
    cdef LossEstimator loss
    cdef dict _lost

    def __cinit__(self, parameters=None, double min_bps=1_000.0, double max_bps=INFINITY):
        self.p = with_changes({"loss": parameters or {}})
        self._lost = {}
        loss_init(&self.loss, &self.p.loss, min_bps, max_bps)

    def feedback(self, packets, double delay_based_bps=INFINITY, bint application_limited=False):
        """(sequence, sent_us, size, received) in order of sequence."""
        for sequence, sent_us, size, received in packets:
            observation = self._lost.pop(sequence, None)
            if received and observation == self.loss.count:
                loss_recovered(&self.loss, size)
                continue
            if not received:
                self._lost[sequence] = self.loss.count
            loss_packet(&self.loss, sent_us, size, received)
        loss_update(&self.loss, delay_based_bps, application_limited)

    def set_rate(self, double bps):
        loss_set_rate(&self.loss, bps)

    def set_acknowledged(self, double bps):
        loss_set_acknowledged(&self.loss, bps)

    def set_bounds(self, double min_bps, double max_bps):
        loss_set_bounds(&self.loss, min_bps, max_bps)

    @property
    def ready(self):
        return bool(loss_ready(&self.loss))

    @property
    def rate_bps(self):
        return loss_rate_bps(&self.loss)

    @property
    def state(self):
        return <int>self.loss.state

    @property
    def average_loss(self):
        return self.loss.average_loss


cdef class ApplicationLimit:
    """Application-limited region."""

    cdef EstimatorParameters p
    cdef AlrDetector alr

    def __cinit__(self, parameters=None):
        self.p = with_changes({"alr": parameters or {}})
        alr_init(&self.alr)

    def set_rate(self, double bps):
        alr_set_rate(&self.alr, &self.p.alr, bps)

    def sent(self, uint32_t size, int64_t now_us):
        alr_sent(&self.alr, size, now_us)

    @property
    def since_us(self):
        return None if self.alr.started_us == INT64_MIN else self.alr.started_us


cdef class ProbePlanner:
    """When to probe. Causes: 0 delay or nothing, 1 delay increases, 2 loss, 3 loss while increasing, 4 timeout."""

    cdef EstimatorParameters p
    cdef ProbeController probes

    def __cinit__(self, double start_bps, double max_bps=5e6, parameters=None):
        self.p = with_changes({"probe": parameters or {}})
        probes_init(&self.probes, &self.p.probe, start_bps, max_bps)

    def start(self, int64_t now_us):
        probes_start(&self.probes, &self.p.probe, now_us)
        return self.take()

    def set_estimate(self, double bps, int64_t now_us, int cause=0):
        probes_set_estimate(&self.probes, &self.p.probe, bps, <LimitCause>cause, now_us)
        return self.take()

    def set_limited(self, since_us, int64_t now_us):
        probes_set_limited(&self.probes, since_us is not None, INT64_MIN if since_us is None else since_us, now_us)

    def set_max(self, double bps, int64_t now_us):
        probes_set_max(&self.probes, &self.p.probe, bps, now_us)

    def set_wanted(self, double bps):
        probes_set_wanted(&self.probes, &self.p.probe, bps)

    def recovered(self, int64_t now_us):
        probes_recovered(&self.probes, &self.p.probe, now_us)
        return self.take()

    def request(self, double bps, int64_t now_us):
        return bool(probes_request(&self.probes, &self.p.probe, bps, now_us))

    def process(self, int64_t now_us):
        probes_process(&self.probes, &self.p.probe, now_us)
        return self.take()

    def take(self):
        """The plans that are due."""
        cdef ProbePlan plan
        plans = []
        while probes_take(&self.probes, &plan):
            plans.append(plan)
        return plans


cdef class ProbeMeter:
    """What probes show."""

    cdef ProbeResults results

    def __cinit__(self):
        probe_results_init(&self.results)

    def expect(self, int32_t cluster, uint32_t min_packets, uint32_t min_bytes):
        probe_results_expect(&self.results, cluster, min_packets, min_bytes)

    def packet(self, int32_t cluster, uint32_t size, int64_t sent_us, int64_t arrival_us):
        """The result after this packet, or None."""
        probe_results_packet(&self.results, cluster, size, sent_us, arrival_us)
        return self.take()

    def take(self):
        cdef double bps = probe_results_take(&self.results)
        return bps if bps >= 0 else None
