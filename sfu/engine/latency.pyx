# SPDX-License-Identifier: Apache-2.0
"""Latency histograms; see `latency.pxd`."""
from libc.string cimport memset

from sfu.engine.statistics import LatencyStatistics


cdef object latency_statistics(const Latency *latency):
    cdef list counts = []
    cdef int i
    for i in range(LATENCY_BUCKETS):
        counts.append(latency.counts[i])
    return LatencyStatistics(tuple(counts), latency.sum_us)


cdef class LatencyRecorder:
    """A Latency driven from Python."""

    cdef Latency latency

    def __cinit__(self):
        memset(&self.latency, 0, sizeof(Latency))

    def add(self, int64_t duration_us) -> None:
        latency_add(&self.latency, duration_us)

    def statistics(self):
        return latency_statistics(&self.latency)
