# SPDX-License-Identifier: Apache-2.0
"""Statistics snapshots; see `snapshot.pxd`."""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset
from sfu.engine.bwe.estimator cimport estimator_rate_bps, estimator_state
from sfu.engine.latency cimport LATENCY_AUDIO, LATENCY_VIDEO, latency_statistics
from sfu.engine.reception cimport reception_lost
from sfu.engine.tables cimport HANDLE_INDEX_MASK, MAX_LAYERS, Forwarder, RouterState, Source, Track, Transport

from collections.abc import Mapping

from sfu.engine.drops import DropReason
from sfu.engine.statistics import (
    ForwarderStatistics, LayerStatistics, Statistics, TrackStatistics, TransportStatistics,
)

cdef enum:
    SILENT = 127


cdef void snapshot_open(Snapshot *snapshot) noexcept nogil:
    memset(snapshot, 0, sizeof(Snapshot))


cdef void snapshot_close(Snapshot *snapshot) noexcept nogil:
    free(snapshot.transports)
    free(snapshot.tracks)
    free(snapshot.forwarders)
    memset(snapshot, 0, sizeof(Snapshot))


cdef void *grow(void *rows, uint32_t *capacity, uint32_t wanted, size_t size) noexcept nogil:
    """Room for `wanted` rows; NULL without memory (the old rows stay)."""
    cdef void *bigger
    if wanted <= capacity[0] and rows != NULL:
        return rows
    bigger = realloc(rows, (wanted + wanted // 2 + 16) * size)
    if bigger != NULL:
        capacity[0] = wanted + wanted // 2 + 16
    return bigger


cdef void snapshot_begin(Snapshot *snapshot) noexcept nogil:
    snapshot.transport_count = snapshot.track_count = snapshot.forwarder_count = 0
    snapshot.next_transport = snapshot.next_track = snapshot.next_forwarder = 0


cdef int snapshot_step(Snapshot *snapshot, const RouterState *s, uint32_t places) noexcept nogil:
    """Copy what stands in the next `places` places of the tables, which may have changed since the last step."""
    cdef void *rows
    rows = grow(snapshot.transports, &snapshot.transport_capacity, s.transports.capacity, sizeof(TransportRow))
    if rows == NULL:
        return -1
    snapshot.transports = <TransportRow *>rows
    rows = grow(snapshot.tracks, &snapshot.track_capacity, s.tracks.capacity, sizeof(TrackRow))
    if rows == NULL:
        return -1
    snapshot.tracks = <TrackRow *>rows
    rows = grow(snapshot.forwarders, &snapshot.forwarder_capacity, s.forwarders.capacity, sizeof(ForwarderRow))
    if rows == NULL:
        return -1
    snapshot.forwarders = <ForwarderRow *>rows
    while places and snapshot.next_transport < s.transports.capacity:
        if s.transports.items[snapshot.next_transport] != NULL:
            take_transport(snapshot, <const Transport *>s.transports.items[snapshot.next_transport])
        snapshot.next_transport += 1
        places -= 1
    while places and snapshot.next_track < s.tracks.capacity:
        if s.tracks.items[snapshot.next_track] != NULL:
            take_track(snapshot, <const Track *>s.tracks.items[snapshot.next_track])
        snapshot.next_track += 1
        places -= 1
    while places and snapshot.next_forwarder < s.forwarders.capacity:
        if s.forwarders.items[snapshot.next_forwarder] != NULL:
            take_forwarder(snapshot, <const Forwarder *>s.forwarders.items[snapshot.next_forwarder])
        snapshot.next_forwarder += 1
        places -= 1
    if places == 0:
        return 0
    take_totals(&snapshot.totals, s)
    return 1


cdef int snapshot_take(Snapshot *snapshot, const RouterState *s) noexcept nogil:
    cdef int done = 0
    snapshot_begin(snapshot)
    while done == 0:
        done = snapshot_step(snapshot, s, 1 << 20)
    return 0 if done > 0 else -1


cdef void take_totals(Totals *totals, const RouterState *s) noexcept nogil:
    totals.packets_received = s.received_packets
    totals.bytes_received = s.received_bytes
    totals.packets_sent = s.sent_packets
    totals.bytes_sent = s.sent_bytes
    totals.media_received = s.media_received
    totals.media_offered = s.media_offered
    totals.media_forwarded = s.media_forwarded
    totals.resent = s.resent
    totals.nacks_sent = s.nacks_sent
    totals.switches = s.switches
    totals.nacks_received = s.nacks_received
    totals.keyframes_asked = s.keyframes_asked
    totals.stun_received = s.stun_received
    totals.dtls_received = s.dtls_received
    totals.dtls_sent = s.dtls_sent
    totals.rtcp_received = s.rtcp_received
    totals.rtcp_sent = s.rtcp_sent
    totals.padded_packets = s.padded_packets
    totals.padding_bytes = s.padding_bytes
    totals.relay_packets_received = s.relays.packets_received
    totals.relay_bytes_received = s.relays.bytes_received
    totals.relay_packets_sent = s.relays.packets_sent
    totals.relay_bytes_sent = s.relays.bytes_sent
    memcpy(totals.drops, s.drops, sizeof(totals.drops))


cdef void take_transport(Snapshot *snapshot, const Transport *t) noexcept nogil:
    cdef TransportRow *row = &snapshot.transports[snapshot.transport_count]
    snapshot.transport_count += 1
    row.handle = t.handle
    row.packets_received = t.packets_received
    row.bytes_received = t.bytes_received
    row.packets_sent = t.packets_sent
    row.bytes_sent = t.bytes_sent
    row.rtt_us = t.rtt_us
    row.remb_bps = t.remb_bps
    row.estimate_bps = 0
    row.congestion = 0
    row.paced = 0
    row.probe_padding = 0
    row.relay = t.relay_leg != 0
    if t.congestion != NULL:
        row.estimate_bps = estimator_rate_bps(t.congestion.estimator)
        row.congestion = <int>estimator_state(t.congestion.estimator)
        row.paced = t.congestion.paced
        row.probe_padding = t.congestion.probe_padding


cdef void take_layer(LayerRow *row, const Source *source) noexcept nogil:
    memset(row, 0, sizeof(LayerRow))
    if source == NULL:
        return
    row.known = True
    row.packets = source.reception.packets
    row.bytes = source.reception.bytes
    row.lost = reception_lost(&source.reception)
    row.recovered = source.reception.recovered
    row.rate_bps = source.rate.rate_bps
    row.frame_rate_q8 = source.rate.frame_rate_q8
    row.jitter_us = (source.reception.jitter_q4 >> 4) * 1_000_000 // source.timestamps.clock_rate
    row.keyframes = source.keyframes
    row.width = source.width
    row.height = source.height


cdef void take_track(Snapshot *snapshot, const Track *track) noexcept nogil:
    cdef TrackRow *row = &snapshot.tracks[snapshot.track_count]
    cdef uint32_t layer
    snapshot.track_count += 1
    row.handle = track.handle
    row.audio_level = SILENT - <int>(track.level_q8 >> 8)
    row.receivers = track.live_forwarders
    row.layer_count = track.layer_count
    for layer in range(track.layer_count):
        take_layer(&row.layers[layer], track.layers[layer].source)
        row.layers[layer].active = track.layers[layer].active
    if track.layer_count == 1:
        take_spatial(row, track.layers[0].source)


cdef void take_spatial(TrackRow *row, const Source *source) noexcept nogil:
    """The spatial layers of a scalable stream, each with its own rate and size; the counters are the lowest one's."""
    cdef uint32_t i
    if source == NULL:
        return
    for i in range(1, MAX_LAYERS):
        if source.spatial_seen_us[i]:
            row.layer_count = i + 1
    if row.layer_count == 1:
        return
    for i in range(row.layer_count):
        if i:
            memset(&row.layers[i], 0, sizeof(LayerRow))
        row.layers[i].known = True
        row.layers[i].active = source.spatial_active[i]
        row.layers[i].rate_bps = source.spatial_rate[i].rate_bps
        row.layers[i].frame_rate_q8 = source.spatial_rate[i].frame_rate_q8
        row.layers[i].width = source.spatial_width[i]
        row.layers[i].height = source.spatial_height[i]


cdef void take_forwarder(Snapshot *snapshot, const Forwarder *f) noexcept nogil:
    cdef ForwarderRow *row = &snapshot.forwarders[snapshot.forwarder_count]
    snapshot.forwarder_count += 1
    row.handle = f.handle
    row.packets = f.packets_sent
    row.bytes = f.bytes_sent
    row.spatial = f.selection.current_spatial
    row.temporal = f.selection.current_temporal
    row.rate_bps = f.rate.rate_bps
    row.frame_rate_q8 = f.rate.frame_rate_q8
    row.resent = f.resent
    row.nack_unanswered = f.nack_unanswered
    row.keyframe_requests = f.keyframe_requests
    row.switches = f.switches
    row.fraction_lost = f.fraction_lost


cdef object transport_object(const TransportRow *row):
    return TransportStatistics(
        packets_received=row.packets_received, bytes_received=row.bytes_received, packets_sent=row.packets_sent,
        bytes_sent=row.bytes_sent, rtt_ms=None if row.rtt_us < 0 else row.rtt_us / 1000.0, remb_bps=row.remb_bps,
        estimate_bps=row.estimate_bps, congestion=row.congestion, paced=row.paced, probe_padding=row.probe_padding,
        relay=bool(row.relay))


cdef object layer_object(const LayerRow *row):
    return LayerStatistics(
        active=bool(row.active), packets=row.packets, bytes=row.bytes, lost=row.lost, recovered=row.recovered,
        bitrate_bps=row.rate_bps, frames_per_second=row.frame_rate_q8 / 256.0, jitter_ms=row.jitter_us / 1000.0,
        keyframes=row.keyframes, width=row.width, height=row.height)


cdef object track_object(const TrackRow *row):
    cdef uint32_t i
    layers = []
    for i in range(row.layer_count):
        layers.append(layer_object(&row.layers[i]))
    return TrackStatistics(audio_level=row.audio_level, layers=tuple(layers), receivers=row.receivers)


cdef object forwarder_object(const ForwarderRow *row):
    return ForwarderStatistics(
        packets=row.packets, bytes=row.bytes, spatial=row.spatial, temporal=row.temporal, bitrate_bps=row.rate_bps,
        frames_per_second=row.frame_rate_q8 / 256.0, resent=row.resent, nack_unanswered=row.nack_unanswered,
        keyframe_requests=row.keyframe_requests, switches=row.switches, fraction_lost=row.fraction_lost / 256.0)


cdef bytes rows_bytes(const void *rows, uint32_t count, size_t size):
    return (<const char *>rows)[:count * size] if count else b""


cdef const void *row_at(bytes rows, size_t offset):
    return <const void *>(<const char *>rows + offset)


def transport_at(bytes rows, size_t offset):
    return transport_object(<const TransportRow *>row_at(rows, offset))


def track_at(bytes rows, size_t offset):
    return track_object(<const TrackRow *>row_at(rows, offset))


def forwarder_at(bytes rows, size_t offset):
    return forwarder_object(<const ForwarderRow *>row_at(rows, offset))


cdef uint32_t handle_at(bytes rows, size_t offset):
    """Each row begins with its handle."""
    return (<const uint32_t *>row_at(rows, offset))[0]


def find_row(bytes rows, size_t size, uint32_t handle):
    """Where the row of `handle` begins, -1 = there is none. Rows stand in the order of their handles' indexes."""
    cdef size_t low = 0
    cdef size_t high = len(rows) // size
    cdef size_t middle
    cdef uint32_t found
    while low < high:
        middle = (low + high) // 2
        found = handle_at(rows, middle * size)
        if found == handle:
            return middle * size
        if found & HANDLE_INDEX_MASK < handle & HANDLE_INDEX_MASK:
            low = middle + 1
        else:
            high = middle
    return -1


class Rows(Mapping):
    """Statistics by handle, made into objects when they are looked up."""

    __slots__ = ("_rows", "_size", "_make")

    def __init__(self, rows, size, make):
        self._rows, self._size, self._make = rows, size, make

    def __getitem__(self, handle):
        at = find_row(self._rows, self._size, handle)
        if at < 0:
            raise KeyError(handle)
        return self._make(self._rows, at)

    def get(self, handle, default=None):
        at = find_row(self._rows, self._size, handle)
        return default if at < 0 else self._make(self._rows, at)

    def __contains__(self, handle):
        return find_row(self._rows, self._size, handle) >= 0

    def __iter__(self):
        return (handle_at(self._rows, at) for at in range(0, len(self._rows), self._size))

    def __len__(self):
        return len(self._rows) // self._size


def statistics_of(address: int):
    """The Snapshot at `address` as objects of `sfu.engine.statistics`."""
    cdef const Snapshot *snapshot = <const Snapshot *><size_t>address
    cdef const Totals *t = &snapshot.totals
    transports = Rows(rows_bytes(snapshot.transports, snapshot.transport_count, sizeof(TransportRow)), sizeof(TransportRow),
                      transport_at)
    tracks = Rows(rows_bytes(snapshot.tracks, snapshot.track_count, sizeof(TrackRow)), sizeof(TrackRow), track_at)
    forwarders = Rows(rows_bytes(snapshot.forwarders, snapshot.forwarder_count, sizeof(ForwarderRow)), sizeof(ForwarderRow),
                      forwarder_at)
    drops = {}
    for reason in DropReason:
        drops[reason.name.lower()] = t.drops[<int>reason]
    return Statistics(
        packets_received=t.packets_received, bytes_received=t.bytes_received, packets_sent=t.packets_sent,
        bytes_sent=t.bytes_sent, media_received=t.media_received, media_offered=t.media_offered,
        media_forwarded=t.media_forwarded, resent=t.resent, nacks_sent=t.nacks_sent, nacks_received=t.nacks_received,
        switches=t.switches,
        keyframes_asked=t.keyframes_asked, stun_received=t.stun_received, dtls_received=t.dtls_received,
        dtls_sent=t.dtls_sent, rtcp_received=t.rtcp_received, rtcp_sent=t.rtcp_sent,
        padded_packets=t.padded_packets, padding_bytes=t.padding_bytes, busy_us=t.busy_us,
        relay_packets_received=t.relay_packets_received, relay_bytes_received=t.relay_bytes_received,
        relay_packets_sent=t.relay_packets_sent, relay_bytes_sent=t.relay_bytes_sent, drops=drops,
        socket=dict(t.socket) if t.has_socket else {}, transports=transports, tracks=tracks, forwarders=forwarders,
        latency_audio=latency_statistics(&t.latency[<int>LATENCY_AUDIO]),
        latency_video=latency_statistics(&t.latency[<int>LATENCY_VIDEO]),
        control_wait=latency_statistics(&t.control_wait))
