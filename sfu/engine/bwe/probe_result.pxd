# SPDX-License-Identifier: Apache-2.0
"""What a probe has shown: libwebrtc probe_bitrate_estimator (branch-heads/7204)."""

from libc.stdint cimport int32_t, int64_t, uint32_t


cdef enum:
    CLUSTERS_MAX = 8            # a power of two: probes of which feedback may be under way at once


cdef struct Cluster:
    int32_t id                  # -1 = none
    uint32_t min_packets
    uint32_t min_bytes
    uint32_t packets            # received
    uint32_t bytes
    int64_t first_sent_us
    int64_t last_sent_us
    int64_t first_arrival_us
    int64_t last_arrival_us
    uint32_t last_sent_size
    uint32_t first_arrival_size


cdef struct ProbeResults:
    Cluster clusters[8]
    double result_bps           # the newest, -1 = none since probe_results_take
    uint32_t measured           # clusters that gave a result
    int32_t measured_id


cdef void probe_results_init(ProbeResults *r) noexcept nogil
cdef void probe_results_expect(ProbeResults *r, int32_t cluster, uint32_t min_packets,
                               uint32_t min_bytes) noexcept nogil
# A received packet of that cluster (its low 15 bits); in order of arrival.
cdef void probe_results_packet(ProbeResults *r, int32_t cluster, uint32_t size, int64_t sent_us,
                               int64_t arrival_us) noexcept nogil
cdef double probe_results_take(ProbeResults *r) noexcept nogil
