# SPDX-License-Identifier: Apache-2.0
"""The estimator for Python: tests, simulations and benchmarks."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

from sfu.engine.bwe.estimator cimport (
    Estimator, EstimatorSnapshot, estimator_close, estimator_feedback, estimator_init, estimator_next_sequence,
    estimator_next_us, estimator_open, estimator_pacing_bps, estimator_probe, estimator_rate_bps, estimator_remb,
    estimator_report, estimator_request_probe, estimator_sent, estimator_set_bounds, estimator_set_wanted,
    estimator_size, estimator_snapshot, estimator_state, estimator_tick,
)
from sfu.engine.bwe.history cimport HISTORY_PACKETS
from sfu.engine.bwe.parameters cimport EstimatorParameters, parameters_default
from sfu.engine.bwe.probes cimport ProbePlan
from sfu.wire.rtcp cimport TransportCcHeader, rtcp_transport_cc


def default_parameters():
    """All parameters, the parts' nested, by name."""
    cdef EstimatorParameters p
    parameters_default(&p)
    return p


def with_changes(changes):
    """The default parameters with some of them changed: {"start_bps": 1e6, "loss": {"padding_us": 0}}."""
    found = default_parameters()
    for name, value in changes.items():
        if name not in found:
            raise KeyError(name)
        if isinstance(value, dict):
            unknown = value.keys() - found[name].keys()
            if unknown:
                raise KeyError(f"{name}.{min(unknown)}")
            found[name] = {**found[name], **value}
        else:
            found[name] = value
    return found


def estimator_bytes():
    """What one estimator takes."""
    return estimator_size()


cdef class BandwidthEstimator:
    """One transport's estimator."""

    cdef Estimator *e

    def __cinit__(self, int64_t now_us=0, parameters=None):
        cdef EstimatorParameters p = with_changes(parameters or {})
        self.e = estimator_open()
        if self.e == NULL:
            raise MemoryError
        estimator_init(self.e, &p, now_us)

    def __dealloc__(self):
        estimator_close(self.e)

    def next_sequence(self):
        return estimator_next_sequence(self.e)

    def sent(self, uint16_t sequence, uint32_t size, int64_t now_us, int cluster=-1):
        estimator_sent(self.e, sequence, size, now_us, cluster)

    def feedback(self, const uint8_t[:] packet not None, int64_t now_us):
        """One transport-wide feedback packet (RTCP); False: malformed."""
        cdef TransportCcHeader header
        cdef int64_t arrival_us[HISTORY_PACKETS]
        cdef int count = -1
        if packet.shape[0] > 0:
            count = rtcp_transport_cc(&packet[0], <uint32_t>packet.shape[0], &header, arrival_us, HISTORY_PACKETS)
        if count < 0:
            return False
        estimator_feedback(self.e, &header, arrival_us, <uint32_t>count, now_us)
        return True

    def remb(self, int64_t bitrate_bps, int64_t now_us):
        estimator_remb(self.e, bitrate_bps, now_us)

    def report(self, double fraction_lost, int64_t rtt_us, int64_t now_us):
        estimator_report(self.e, fraction_lost, rtt_us, now_us)

    def tick(self, int64_t now_us):
        estimator_tick(self.e, now_us)

    def probe(self, int64_t now_us):
        """The next probe's plan, or None."""
        cdef ProbePlan plan
        if not estimator_probe(self.e, now_us, &plan):
            return None
        return plan

    def request_probe(self, int64_t target_bps, int64_t now_us):
        return bool(estimator_request_probe(self.e, target_bps, now_us))

    def set_wanted(self, int64_t wanted_bps, int64_t now_us):
        estimator_set_wanted(self.e, wanted_bps, now_us)

    def set_bounds(self, int64_t min_bps, int64_t max_bps, int64_t now_us):
        estimator_set_bounds(self.e, min_bps, max_bps, now_us)

    def snapshot(self):
        cdef EstimatorSnapshot snapshot
        estimator_snapshot(self.e, &snapshot)
        return snapshot

    @property
    def rate_bps(self):
        return estimator_rate_bps(self.e)

    @property
    def pacing_bps(self):
        return estimator_pacing_bps(self.e)

    @property
    def state(self):
        return estimator_state(self.e)

    @property
    def next_us(self):
        return estimator_next_us(self.e)
