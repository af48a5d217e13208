# SPDX-License-Identifier: Apache-2.0
"""Snapshot of all counters: taken by the worker between two slices, read by Python without the lock."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from sfu.engine.latency cimport Latency
from sfu.engine.tables cimport RouterState
from sfu.engine.udp cimport UdpCounters

cdef struct TransportRow:
    uint32_t handle
    uint64_t packets_received
    uint64_t bytes_received
    uint64_t packets_sent
    uint64_t bytes_sent
    int64_t rtt_us
    uint64_t remb_bps
    int64_t estimate_bps
    int congestion
    uint64_t paced
    uint64_t probe_padding
    bint relay

cdef struct LayerRow:
    bint active
    bint known
    uint64_t packets
    uint64_t bytes
    int64_t lost
    uint64_t recovered
    uint32_t rate_bps
    uint32_t frame_rate_q8
    int64_t jitter_us
    uint32_t keyframes
    uint32_t width
    uint32_t height

cdef struct TrackRow:
    uint32_t handle
    int audio_level
    uint32_t receivers
    uint32_t layer_count
    LayerRow layers[4]

cdef struct ForwarderRow:
    uint32_t handle
    uint64_t packets
    uint64_t bytes
    int spatial
    int temporal
    uint32_t rate_bps
    uint32_t frame_rate_q8
    uint64_t resent
    uint64_t nack_unanswered
    uint64_t keyframe_requests
    uint64_t switches
    uint8_t fraction_lost

cdef struct Totals:
    uint64_t packets_received
    uint64_t bytes_received
    uint64_t packets_sent
    uint64_t bytes_sent
    uint64_t media_received
    uint64_t media_offered
    uint64_t media_forwarded
    uint64_t resent
    uint64_t nacks_sent
    uint64_t switches
    uint64_t nacks_received
    uint64_t keyframes_asked
    uint64_t stun_received
    uint64_t dtls_received
    uint64_t dtls_sent
    uint64_t rtcp_received
    uint64_t rtcp_sent
    uint64_t padded_packets
    uint64_t padding_bytes
    uint64_t busy_us
    uint64_t relay_packets_received
    uint64_t relay_bytes_received
    uint64_t relay_packets_sent
    uint64_t relay_bytes_sent
    uint64_t drops[33]
    UdpCounters socket
    bint has_socket
    Latency latency[3]          # by LatencyClass
    Latency control_wait

cdef struct Snapshot:
    Totals totals
    uint32_t next_transport     # of the table, while the snapshot is being taken
    uint32_t next_track
    uint32_t next_forwarder
    TransportRow *transports
    uint32_t transport_count
    uint32_t transport_capacity
    TrackRow *tracks
    uint32_t track_count
    uint32_t track_capacity
    ForwarderRow *forwarders
    uint32_t forwarder_count
    uint32_t forwarder_capacity

cdef void snapshot_open(Snapshot *snapshot) noexcept nogil
cdef void snapshot_close(Snapshot *snapshot) noexcept nogil
# Copied piece by piece, so that a large table holds nobody up: begin, then step until it is done. The caller is the
# router's thread, or alone. The totals are those of the moment at which it is done.
cdef void snapshot_begin(Snapshot *snapshot) noexcept nogil
cdef int snapshot_step(Snapshot *snapshot, const RouterState *s, uint32_t places) noexcept nogil   # 1 = done, -1 = no memory
cdef int snapshot_take(Snapshot *snapshot, const RouterState *s) noexcept nogil                    # at once: 0, or -1
