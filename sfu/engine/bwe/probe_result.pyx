# SPDX-License-Identifier: Apache-2.0
"""Probe results; see probe_result.pxd."""

from libc.stdint cimport INT64_MAX, INT64_MIN

cdef enum:
    CLUSTER_MASK = 0x7FFF           # what the send history keeps of an id

# probe_bitrate_estimator.cc
cdef enum:
    HISTORY_US = 1_000_000          # a cluster's packets do not arrive further apart than this
    INTERVAL_MAX_US = 1_000_000     # nor is it sent, or received, for longer

cdef double RECEIVED_SHARE = 0.8        # of packets and bytes, before there is a result
cdef double RATIO_MAX = 2.0             # received faster than sent: the interval is not to be trusted
cdef double UNSATURATED_RATIO = 0.9     # below it the link's capacity was found,
cdef double UTILISATION = 0.95          # and so much of it is used


cdef void clear(Cluster *c) noexcept nogil:
    c.packets = 0
    c.bytes = 0
    c.first_sent_us = INT64_MAX
    c.last_sent_us = INT64_MIN
    c.first_arrival_us = INT64_MAX
    c.last_arrival_us = INT64_MIN
    c.last_sent_size = 0
    c.first_arrival_size = 0


cdef void probe_results_init(ProbeResults *r) noexcept nogil:
    cdef int i
    for i in range(CLUSTERS_MAX):
        r.clusters[i].id = -1
    r.result_bps = -1.0
    r.measured = 0
    r.measured_id = -1


cdef void probe_results_expect(ProbeResults *r, int32_t cluster, uint32_t min_packets,
                               uint32_t min_bytes) noexcept nogil:
    cdef Cluster *c = &r.clusters[cluster & (CLUSTERS_MAX - 1)]
    clear(c)
    c.id = cluster & CLUSTER_MASK
    c.min_packets = min_packets
    c.min_bytes = min_bytes


cdef void add(Cluster *c, uint32_t size, int64_t sent_us, int64_t arrival_us) noexcept nogil:
    c.first_sent_us = min(c.first_sent_us, sent_us)
    if sent_us > c.last_sent_us:
        c.last_sent_us = sent_us
        c.last_sent_size = size
    if arrival_us < c.first_arrival_us:
        c.first_arrival_us = arrival_us
        c.first_arrival_size = size
    c.last_arrival_us = max(c.last_arrival_us, arrival_us)
    c.packets += 1
    c.bytes += size


cdef double evaluate(const Cluster *c) noexcept nogil:
    """The probed rate, -1 = none (yet)."""
    cdef int64_t sent_us = c.last_sent_us - c.first_sent_us, arrival_us = c.last_arrival_us - c.first_arrival_us
    cdef double sent_bps, received_bps
    if c.packets < RECEIVED_SHARE * c.min_packets or c.bytes < RECEIVED_SHARE * c.min_bytes:
        return -1.0
    if sent_us <= 0 or sent_us > INTERVAL_MAX_US or arrival_us <= 0 or arrival_us > INTERVAL_MAX_US:
        return -1.0
    # The last packet's sending and the first one's reception are not within the intervals.
    sent_bps = (c.bytes - c.last_sent_size) * 8e6 / sent_us
    received_bps = (c.bytes - c.first_arrival_size) * 8e6 / arrival_us
    if received_bps > RATIO_MAX * sent_bps:
        return -1.0
    if received_bps < UNSATURATED_RATIO * sent_bps:
        return UTILISATION * received_bps
    return min(sent_bps, received_bps)


cdef void probe_results_packet(ProbeResults *r, int32_t cluster, uint32_t size, int64_t sent_us,
                               int64_t arrival_us) noexcept nogil:
    cdef Cluster *c = &r.clusters[cluster & (CLUSTERS_MAX - 1)]
    cdef double result
    if c.id != cluster:
        return
    if c.packets and c.last_arrival_us + HISTORY_US < arrival_us:
        clear(c)
    add(c, size, sent_us, arrival_us)
    result = evaluate(c)
    if result < 0:
        return
    r.result_bps = result
    if r.measured_id != cluster:
        r.measured_id = cluster
        r.measured += 1


cdef double probe_results_take(ProbeResults *r) noexcept nogil:
    cdef double result = r.result_bps
    r.result_bps = -1.0
    return result
