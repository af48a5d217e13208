# SPDX-License-Identifier: Apache-2.0
"""The way of events from the router to Python; see `event_batch.pxd`."""
import ipaddress

from libc.stdint cimport int32_t, uint8_t, uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset
from sfu.engine.tables cimport (
    DTLS_RING, EVENT_ESTIMATE, EVENT_EXPIRED, EVENT_LAYER, EVENT_LAYERS, EVENT_PATH, EVENT_STARTED, MAX_LAYERS, Forwarder, PendingDtls, RouterState,
    Source, Track, Transport, forwarder_of, track_of, transport_of,
)

from sfu.engine.events import (
    DtlsDatagram, ForwarderLayer, ForwarderStarted, TrackLayers, TransportEstimate, TransportExpired,
    TransportPath,
)

cdef enum RawKind:
    RAW_PATH
    RAW_EXPIRED
    RAW_ESTIMATE
    RAW_LAYERS
    RAW_STARTED
    RAW_LAYER


cdef int reserve(EventBatch *batch, uint32_t events, uint32_t dtls) noexcept nogil:
    cdef void *bigger
    if events > batch.capacity:
        bigger = realloc(batch.events, events * sizeof(RawEvent))
        if bigger == NULL:
            return -1
        batch.events = <RawEvent *>bigger
        batch.capacity = events
    if dtls > batch.dtls_capacity:
        bigger = realloc(batch.dtls, dtls * sizeof(PendingDtls))
        if bigger == NULL:
            return -1
        batch.dtls = <PendingDtls *>bigger
        batch.dtls_capacity = dtls
    return 0


cdef RawEvent *add(EventBatch *batch, int kind, uint32_t handle, int32_t first, uint32_t second) noexcept nogil:
    cdef RawEvent *event = &batch.events[batch.count]
    batch.count += 1
    memset(event, 0, sizeof(RawEvent))
    event.kind = kind
    event.handle = handle
    event.first = first
    event.second = second
    return event


cdef int collect_events(RouterState *s, EventBatch *batch) noexcept nogil:
    """Move everything that waits into `batch` (emptied before). 0, or -1 without memory: then all of it still waits."""
    batch.count = 0
    batch.dtls_count = 0
    if reserve(batch, 3 * s.transport_events.count + 2 * s.forwarder_events.count + s.track_events.count, s.dtls_count):
        return -1
    collect_transports(s, batch)
    collect_tracks(s, batch)
    collect_forwarders(s, batch)
    while s.dtls_count:
        batch.dtls[batch.dtls_count] = s.dtls[s.dtls_head]
        batch.dtls_count += 1
        s.dtls_head = (s.dtls_head + 1) % DTLS_RING
        s.dtls_count -= 1
    s.signal_python = False
    return 0


cdef void collect_transports(RouterState *s, EventBatch *batch) noexcept nogil:
    cdef Transport *t
    cdef uint32_t i, bits
    for i in range(s.transport_events.count):
        t = transport_of(s, s.transport_events.items[i])
        if t == NULL:
            continue
        bits = t.events
        t.events = 0
        if bits & EVENT_PATH and t.selected >= 0:
            add(batch, RAW_PATH, t.handle, t.nominated, 0).path = t.paths[t.selected].path
        if bits & EVENT_EXPIRED and t.expired:
            add(batch, RAW_EXPIRED, t.handle, 0, 0)
        if bits & EVENT_ESTIMATE and t.congestion != NULL:
            add(batch, RAW_ESTIMATE, t.handle, t.congestion.told_state, 0).rate_bps = t.congestion.told_bps
    s.transport_events.count = 0


cdef void collect_tracks(RouterState *s, EventBatch *batch) noexcept nogil:
    cdef Track *track
    cdef uint32_t i, active
    for i in range(s.track_events.count):
        track = track_of(s, s.track_events.items[i])
        if track == NULL or not track.events & EVENT_LAYERS:
            continue
        track.events = 0
        active = active_layers(track)
        add(batch, RAW_LAYERS, track.handle, 0, active)
    s.track_events.count = 0


cdef uint32_t active_layers(const Track *track) noexcept nogil:
    """Bit 0 is the lowest: simulcast layers, or the spatial layers of the only stream."""
    cdef const Source *source
    cdef uint32_t layer, active = 0
    for layer in range(track.layer_count):
        if track.layers[layer].active:
            active |= <uint32_t>1 << layer
    if track.layer_count == 1 and active and track.video:
        source = track.layers[0].source
        active = 0
        for layer in range(MAX_LAYERS):
            if source.spatial_active[layer]:
                active |= <uint32_t>1 << layer
    return active


cdef void collect_forwarders(RouterState *s, EventBatch *batch) noexcept nogil:
    cdef Forwarder *f
    cdef uint32_t i, bits
    for i in range(s.forwarder_events.count):
        f = forwarder_of(s, s.forwarder_events.items[i])
        if f == NULL:
            continue
        bits = f.events
        f.events = 0
        if bits & EVENT_STARTED and not f.awaiting_start:
            add(batch, RAW_STARTED, f.handle, <int32_t>f.binding.generation, f.started_timestamp)
        if bits & EVENT_LAYER:
            add(batch, RAW_LAYER, f.handle, f.selection.current_spatial, <uint32_t>f.selection.current_temporal)
    s.forwarder_events.count = 0


cdef str address_text(const uint8_t *ip):
    """IPv4-mapped addresses as IPv4."""
    address = ipaddress.IPv6Address((<const char *>ip)[:16])
    return str(address.ipv4_mapped or address)


cdef list events_of(const EventBatch *batch):
    """The batch as objects of `sfu.engine.events`: transports' states before their datagrams."""
    cdef uint32_t i
    cdef const RawEvent *e
    events = []
    for i in range(batch.count):
        e = &batch.events[i]
        if e.kind == RAW_PATH:
            events.append(TransportPath(e.handle, (address_text(e.path.remote.ip), e.path.remote.port), bool(e.first),
                                        address_text(e.path.local_ip)))
        elif e.kind == RAW_EXPIRED:
            events.append(TransportExpired(e.handle))
        elif e.kind == RAW_ESTIMATE:
            events.append(TransportEstimate(e.handle, e.rate_bps, e.first))
        elif e.kind == RAW_LAYERS:
            events.append(TrackLayers(e.handle, e.second))
        elif e.kind == RAW_STARTED:
            events.append(ForwarderStarted(e.handle, <uint32_t>e.first, e.second))
        else:
            events.append(ForwarderLayer(e.handle, e.first, e.second))
    for i in range(batch.dtls_count):
        events.append(DtlsDatagram(batch.dtls[i].transport, (<const char *>batch.dtls[i].data)[:batch.dtls[i].size]))
    return events


cdef void event_batch_close(EventBatch *batch) noexcept nogil:
    free(batch.events)
    free(batch.dtls)
    memset(batch, 0, sizeof(EventBatch))
