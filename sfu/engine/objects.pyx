# SPDX-License-Identifier: Apache-2.0
"""Linking and unlinking of transports, tracks and forwarders; see `objects.pxd`."""
from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport free
from sfu.engine.congestion cimport congestion_close, congestion_open
from sfu.engine.egress_log cimport egress_log_close
from sfu.engine.fanout cimport fanout_forget
from sfu.engine.relay cimport relay_link, relay_unlink
from sfu.engine.schedule cimport schedule_put, schedule_remove
from sfu.engine.source cimport source_close
from sfu.engine.srtp cimport Srtp, srtp_close, srtp_reserve
from sfu.engine.tables cimport (
    MAX_LAYERS, Forwarder, Layer, RouterState, Track, Transport, address_map_remove, random_u32, table_clear, table_put,
)
from sfu.wire.extensions cimport EXT_TRANSPORT_CC
from sfu.engine.tracks cimport forwarder_stop, forwarder_unbind

cdef enum:
    FULL_DTLS_CREDIT_US = 1_000_000    # enough to fill the bucket (demux.pyx): a handshake may begin at once


cdef int link_transport(RouterState *s, Transport *t, int64_t now_us) noexcept nogil:
    """0, or -1 without memory."""
    t.selected = -1
    t.rtt_us = -1
    t.consent_us = now_us
    t.check_due_us = now_us
    t.report_due_us = now_us
    t.dtls_credited_us = now_us - FULL_DTLS_CREDIT_US
    t.local_ssrc = random_u32(s) | 1
    t.timer.owner = t
    if schedule_put(&s.schedule, &t.timer, now_us):
        return -1
    if table_put(&s.transports, t.handle, t):
        schedule_remove(&s.schedule, &t.timer)
        return -1
    if t.relay_leg and relay_link(s, t):
        table_clear(&s.transports, t.handle)
        schedule_remove(&s.schedule, &t.timer)
        return -1
    return 0


cdef void link_keys(Transport *t, Srtp *receiving, Srtp *sending) noexcept nogil:
    cdef Forwarder *f = t.forwarders
    t.receive_srtp = receiving
    t.send_srtp = sending
    srtp_reserve(sending, t.local_ssrc)
    while f != NULL:
        reserve_ssrcs(t, f)
        f = f.next_of_transport


cdef void reserve_ssrcs(Transport *t, const Forwarder *f) noexcept nogil:
    """A failure is not lost: the first packet tries again."""
    if t.send_srtp != NULL:
        srtp_reserve(t.send_srtp, f.ssrc)
        if f.rtx_ssrc:
            srtp_reserve(t.send_srtp, f.rtx_ssrc)


cdef int link_track(RouterState *s, Transport *t, Track *track) noexcept nogil:
    if table_put(&s.tracks, track.handle, track):
        return -1
    track.transport = t
    track.next_of_transport = t.tracks
    t.tracks = track
    return 0


cdef int link_layer(Track *track, const Layer *layer) noexcept nogil:
    if track.layer_count == MAX_LAYERS:
        return -1
    track.layers[track.layer_count] = layer[0]
    track.layer_count += 1
    return 0


cdef int link_forwarder(RouterState *s, Transport *t, Forwarder *f, int64_t now_us) noexcept nogil:
    if t.congestion == NULL and not t.relay_leg:
        t.congestion = congestion_open(now_us)
    if t.congestion != NULL and f.extension_ids[<int>EXT_TRANSPORT_CC]:
        t.congestion.numbered = True
    if table_put(&s.forwarders, f.handle, f):
        return -1
    f.transport = t
    f.next_of_transport = t.forwarders
    t.forwarders = f
    reserve_ssrcs(t, f)
    return 0


cdef void remove_transport(RouterState *s, Transport *t) noexcept nogil:
    """With all its tracks and forwarders."""
    cdef uint32_t i
    while t.tracks != NULL:
        remove_track(s, t.tracks)
    while t.forwarders != NULL:
        remove_forwarder(s, t.forwarders)
    if t.relay_leg:
        relay_unlink(s, t)
    for i in range(t.path_count):
        address_map_remove(&s.addresses, &t.paths[i].path, t.handle)
    schedule_remove(&s.schedule, &t.timer)
    table_clear(&s.transports, t.handle)
    free_transport(t)


cdef void free_transport(Transport *t) noexcept nogil:
    if t == NULL:
        return
    srtp_close(t.receive_srtp)
    srtp_close(t.send_srtp)
    free(t.arrivals)
    congestion_close(t.congestion)
    free(t)


cdef void remove_track(RouterState *s, Track *track) noexcept nogil:
    """Its receivers are left unbound."""
    cdef Transport *t = track.transport
    cdef Track **link = &t.tracks
    cdef Forwarder *f
    cdef uint32_t i, kept = 0
    for i in range(track.forwarder_count):
        f = track.forwarders[i]
        if f == NULL:
            continue
        if f.binding.track == track:
            forwarder_unbind(s, f)
        else:
            # It only ran on until the next one starts.
            f.previous.track = NULL
            forwarder_stop(s, f)
    fanout_forget(s, track)
    for i in range(t.ssrc_count):
        if t.ssrcs[i].source.track != track:
            t.ssrcs[kept] = t.ssrcs[i]
            kept += 1
    t.ssrc_count = kept
    while link[0] != track:
        link = &link[0].next_of_transport
    link[0] = track.next_of_transport
    table_clear(&s.tracks, track.handle)
    free_track(track)


cdef void free_track(Track *track) noexcept nogil:
    cdef uint32_t i
    if track == NULL:
        return
    for i in range(track.layer_count):
        source_close(track.layers[i].source)
    free(track.forwarders)
    free(track)


cdef void remove_forwarder(RouterState *s, Forwarder *f) noexcept nogil:
    cdef Forwarder **link = &f.transport.forwarders
    forwarder_unbind(s, f)
    while link[0] != f:
        link = &link[0].next_of_transport
    link[0] = f.next_of_transport
    table_clear(&s.forwarders, f.handle)
    free_forwarder(f)


cdef void free_forwarder(Forwarder *f) noexcept nogil:
    if f == NULL:
        return
    free(f.sent)
    egress_log_close(f.log)
    free(f)
