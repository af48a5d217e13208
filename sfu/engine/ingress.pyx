# SPDX-License-Identifier: Apache-2.0
"""From a publisher's datagram to a stored packet; see `ingress.pxd`."""
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport malloc
from libc.string cimport memcmp, memmove
from sfu.engine cimport drops
from sfu.engine.clock_map cimport timestamp_map_packet
from sfu.engine.fanout cimport fanout_add, fanout_spares
from sfu.engine.history cimport (
    FRAME_KEY, FRAME_START, PACKET_LATE, PACKET_OVERTAKEN, PACKET_PADDING, SWITCH_DELAY, SWITCH_REACH, Packet,
    history_accepts, history_add, history_get,
)
from sfu.engine.nack cimport nack_next_us, nack_on_packet
from sfu.engine.packet_inspector cimport explain_packet, inspect_packet
from sfu.engine.reception cimport (
    SEQUENCE_REJECTED, SEQUENCE_RESTART, rate_add, reception_packet, reception_sequence,
)
from sfu.engine.relay cimport relay_accepts
from sfu.engine.source cimport source_ask_keyframe, source_close, source_open, source_restart
from sfu.engine.srtp cimport SRTP_BAD_AUTH, SRTP_OK, SRTP_REPLAYED, srtp_unprotect
from sfu.engine.tables cimport (
    EVENT_LAYERS, MAX_LAYERS, MAX_SSRCS, PAYLOAD_KNOWN, PAYLOAD_NACK, PAYLOAD_RTX, Layer, PayloadType,
    RouterState, Source, SsrcEntry, Track, Transport, note_track, wake_transport,
)
from sfu.engine.transport_cc cimport ArrivalLog, arrival_log_add, arrival_log_init
from sfu.wire.bytes cimport read_u16, write_u16, write_u32
from sfu.wire.extensions cimport (
    EXT_MID, EXT_REPAIRED_RID, EXT_RID, EXT_TRANSPORT_CC, Extensions, extensions_parse,
)
from sfu.wire.rtp cimport RtpHeader, rtp_parse

cdef enum:
    OVERTAKEN_US = 2_000_000   # packets of a replaced stream come this late at most, retransmissions included


cdef void receive_rtp(RouterState *s, Transport *t, uint8_t *data, uint32_t size, int64_t now_us) noexcept nogil:
    """One datagram that looks like SRTP, from an address of `t`. Decrypts in place."""
    cdef RtpHeader header
    cdef Extensions extensions
    cdef SsrcEntry *entry
    cdef int status
    if t.receive_srtp == NULL:
        s.drops[drops.DROP_NO_KEYS] += 1
        return
    status = srtp_unprotect(t.receive_srtp, data, &size)
    if status != SRTP_OK:
        if status == SRTP_REPLAYED:
            s.drops[drops.DROP_REPLAYED] += 1
        else:
            s.drops[drops.DROP_BAD_AUTH if status == SRTP_BAD_AUTH else drops.DROP_MALFORMED] += 1
        return
    if rtp_parse(data, size, &header) or extensions_parse(data, &header, &t.receive_extensions, &extensions):
        s.drops[drops.DROP_MALFORMED] += 1
        return
    if extensions.data[<int>EXT_TRANSPORT_CC] != NULL and extensions.size[<int>EXT_TRANSPORT_CC] == 2:
        log_arrival(s, t, read_u16(extensions.data[<int>EXT_TRANSPORT_CC]), header.ssrc, now_us)
    entry = find_ssrc(t, header.ssrc)
    if entry == NULL:
        entry = latch(s, t, &header, &extensions, now_us)
        if entry == NULL:
            return           # counted there
    if t.relay_leg and not relay_accepts(s, entry.source, &extensions):
        s.drops[drops.DROP_TOO_OLD] += 1
        return
    if entry.rtx:
        receive_rtx(s, entry.source, data, size, &header, &extensions, now_us)
    else:
        receive_media(s, entry.source, data, size, &header, &extensions, False, now_us)


cdef void log_arrival(RouterState *s, Transport *t, uint16_t sequence, uint32_t ssrc, int64_t now_us) noexcept nogil:
    if t.arrivals == NULL:
        t.arrivals = <ArrivalLog *>malloc(sizeof(ArrivalLog))
        if t.arrivals == NULL:
            return
        arrival_log_init(t.arrivals)
        wake_transport(s, t, now_us)
    t.feedback_media_ssrc = ssrc
    # When the kernel had it. A worker that is scheduled late finds a whole probe at once, and would tell the publisher that
    # it had come at once: it concludes nothing of that, and stays at its start rate.
    arrival_log_add(t.arrivals, sequence, now_us - s.kernel_wait_us)


cdef inline SsrcEntry *find_ssrc(Transport *t, uint32_t ssrc) noexcept nogil:
    cdef uint32_t i
    for i in range(t.ssrc_count):
        if t.ssrcs[i].ssrc == ssrc:
            return &t.ssrcs[i]
    return NULL


cdef bint same_id(const uint8_t *id, uint8_t id_size, const uint8_t *other, uint8_t other_size) noexcept nogil:
    return id_size == other_size and memcmp(id, other, id_size) == 0


cdef SsrcEntry *latch(RouterState *s, Transport *t, const RtpHeader *header, const Extensions *x, int64_t now_us) noexcept nogil:
    """Learn where an unknown SSRC belongs, while the extensions (or the SDP) tell. NULL: counted as a drop."""
    cdef Track *track = find_track(t, header, x)
    cdef Layer *layer = NULL
    cdef Source *source
    cdef SsrcEntry *entry
    cdef PayloadType *payload
    cdef bint rtx
    if track == NULL:
        s.drops[drops.DROP_NO_ROUTE] += 1
        return NULL
    payload = &track.payload[header.payload_type]
    if not payload.flags & PAYLOAD_KNOWN:
        s.drops[drops.DROP_NO_ROUTE] += 1
        return NULL
    rtx = (payload.flags & PAYLOAD_RTX) != 0
    layer = find_layer(track, header.ssrc, x, rtx)
    if layer == NULL or (rtx and layer.source == NULL):
        s.drops[drops.DROP_NO_ROUTE] += 1
        return NULL
    if was_just_replaced(layer, header.ssrc, now_us):
        s.drops[drops.DROP_TOO_OLD] += 1
        return NULL
    forget_stale(t, layer, rtx, now_us)
    if t.ssrc_count >= MAX_SSRCS:
        s.drops[drops.DROP_TOO_MANY_SSRCS] += 1
        return NULL
    source = layer.source
    if not rtx:
        source = source_open(s, track, <int>(layer - &track.layers[0]), header.ssrc, payload.clock_rate,
                             (payload.flags & PAYLOAD_NACK) != 0)
        if source == NULL:
            s.drops[drops.DROP_NO_ROUTE] += 1
            return NULL
        layer.source = source
    else:
        source.rtx_ssrc = header.ssrc
    entry = &t.ssrcs[t.ssrc_count]
    t.ssrc_count += 1
    entry.ssrc = header.ssrc
    entry.rtx = rtx
    entry.source = source
    return entry


cdef Track *find_track(Transport *t, const RtpHeader *header, const Extensions *x) noexcept nogil:
    """By mid; else by an SSRC from the SDP; else by a payload type that only one track has."""
    cdef Track *track = t.tracks
    cdef Track *only = NULL
    cdef uint32_t i
    while track != NULL:
        if x.data[<int>EXT_MID] != NULL:
            if same_id(track.mid, track.mid_size, x.data[<int>EXT_MID], x.size[<int>EXT_MID]):
                return track
        else:
            for i in range(track.layer_count):
                if header.ssrc and (track.layers[i].declared_ssrc == header.ssrc
                                    or track.layers[i].declared_rtx_ssrc == header.ssrc):
                    return track
        track = track.next_of_transport
    if x.data[<int>EXT_MID] != NULL:
        return NULL
    track = t.tracks
    while track != NULL:
        if track.payload[header.payload_type].flags & PAYLOAD_KNOWN:
            if only != NULL or track.layer_count != 1:
                return NULL
            only = track
        track = track.next_of_transport
    return only


cdef Layer *find_layer(Track *track, uint32_t ssrc, const Extensions *x, bint rtx) noexcept nogil:
    cdef int kind = <int>EXT_REPAIRED_RID if rtx else <int>EXT_RID
    cdef Layer *layer
    cdef uint32_t i
    for i in range(track.layer_count):
        layer = &track.layers[i]
        if x.data[kind] != NULL and same_id(layer.rid, layer.rid_size, x.data[kind], x.size[kind]):
            return layer
        if ssrc and (layer.declared_rtx_ssrc if rtx else layer.declared_ssrc) == ssrc:
            return layer
    # One layer only, and no rid to tell it by.
    if track.layer_count == 1 and track.layers[0].rid_size == 0:
        return &track.layers[0]
    return NULL


cdef inline bint was_just_replaced(const Layer *layer, uint32_t ssrc, int64_t now_us) noexcept nogil:
    """A packet of the stream that the present one took the place of: it was overtaken, and changes nothing."""
    if layer.source == NULL or now_us - layer.replaced_us > OVERTAKEN_US:
        return False
    return ssrc != 0 and (ssrc == layer.replaced_ssrc or ssrc == layer.replaced_rtx_ssrc)


cdef void forget_stale(Transport *t, Layer *layer, bint rtx, int64_t now_us) noexcept nogil:
    """A layer that comes under a new SSRC has done with the old one."""
    cdef uint32_t i = 0
    cdef Source *old = layer.source
    if old == NULL:
        return
    while i < t.ssrc_count:
        if t.ssrcs[i].source == old and (not rtx or t.ssrcs[i].rtx):
            t.ssrc_count -= 1
            t.ssrcs[i] = t.ssrcs[t.ssrc_count]
        else:
            i += 1
    if not rtx:
        layer.replaced_ssrc = old.ssrc
        layer.replaced_rtx_ssrc = old.rtx_ssrc
        layer.replaced_us = now_us
        source_close(old)
        layer.source = NULL


cdef void receive_rtx(RouterState *s, Source *source, uint8_t *data, uint32_t size, RtpHeader *header, const Extensions *x,
                      int64_t now_us) noexcept nogil:
    """RFC 4588: put the original packet back together in place.

    The payload moves up over its first two bytes: `x` goes on pointing into the header.
    """
    cdef PayloadType *payload = &source.track.payload[header.payload_type]
    cdef uint16_t sequence
    if header.payload_size < 2 or not payload.flags & PAYLOAD_RTX:
        s.drops[drops.DROP_PROBE_PADDING] += 1
        return
    sequence = read_u16(data + header.header_size)
    size -= 2
    memmove(data + header.header_size, data + header.header_size + 2, size - header.header_size)
    header.payload_size -= 2
    header.sequence_number = sequence
    header.ssrc = source.ssrc
    header.payload_type = payload.associated
    data[1] = <uint8_t>((data[1] & 0x80) | payload.associated)
    write_u16(data + 2, sequence)
    write_u32(data + 8, source.ssrc)
    receive_media(s, source, data, size, header, x, True, now_us)


cdef void receive_media(RouterState *s, Source *source, const uint8_t *data, uint32_t size, const RtpHeader *header,
                        const Extensions *x, bint recovered, int64_t now_us) noexcept nogil:
    cdef Track *track = source.track
    cdef PayloadType *payload = &track.payload[header.payload_type]
    cdef Packet *packet
    cdef int64_t sequence
    cdef int verdict
    cdef bint media, frame
    if payload.flags & (PAYLOAD_KNOWN | PAYLOAD_RTX) != PAYLOAD_KNOWN:
        s.drops[drops.DROP_NO_ROUTE] += 1
        return
    if recovered:
        # A retransmission never moves the stream on, restarts it, or comes from before it.
        sequence = source.reception.highest + <int16_t>(header.sequence_number - <uint16_t>(source.reception.highest & 0xFFFF))
        if not source.reception.started or not source.reception.base <= sequence <= source.reception.highest:
            s.drops[drops.DROP_TOO_OLD] += 1
            return
    else:
        verdict = reception_sequence(&source.reception, header.sequence_number, &sequence)
        if verdict == SEQUENCE_REJECTED:
            s.drops[drops.DROP_TOO_OLD] += 1
            return
        if verdict == SEQUENCE_RESTART:
            source_restart(s, source)
    if not history_accepts(&source.history, sequence):
        s.drops[drops.DROP_DUPLICATE if source.history.newest - sequence <= source.history.packet_mask
                else drops.DROP_TOO_OLD] += 1
        return
    if not fanout_spares(source, sequence, size):
        refuse(s, source, sequence, size, header, payload, recovered, now_us)
        return
    packet = history_add(&source.history, sequence, data, <uint16_t>size)
    packet.kernel_wait_us = s.kernel_wait_us
    inspect_packet(source, packet, payload, data, header, x, now_us)
    if source.reception.highest > sequence:
        packet.flags |= PACKET_OVERTAKEN
        if (source.reception.highest - sequence > SWITCH_REACH
                or (source.has_timestamp and <int32_t>(source.last_timestamp - header.timestamp)
                    > <int32_t>payload.clock_rate // SWITCH_DELAY)):
            packet.flags |= PACKET_LATE
    media = not packet.flags & PACKET_PADDING
    frame = media and (not source.has_timestamp or <int32_t>(header.timestamp - source.last_timestamp) > 0)
    reception_packet(&source.reception, sequence, header.timestamp, size, payload.clock_rate, recovered, now_us)
    rate_add(&source.rate, size, frame, now_us)
    note_spatial(s, source, packet, now_us)
    source.payload_type = header.payload_type
    if not recovered:
        source.last_packet_us = now_us
        if frame:
            source.last_timestamp = header.timestamp
            source.has_timestamp = True
        if media:
            timestamp_map_packet(&source.timestamps, header.timestamp, now_us)
    if source.nack != NULL:
        nack_on_packet(source.nack, sequence, now_us, (packet.flags & FRAME_KEY) != 0)
        wake_transport(s, track.transport, nack_next_us(source.nack))
    if media and not track.layers[source.layer].active:
        track.layers[source.layer].active = True
        note_track(s, track, EVENT_LAYERS)
    if source.keyframe_wanted:
        source_ask_keyframe(s, source, now_us)
    fanout_add(s, source, packet)
    if (packet.has_dependency and packet.frame_number == source.dependencies.structure_frame
            and sequence < source.history.newest):
        explain_later(s, source, sequence)


cdef void refuse(RouterState *s, Source *source, int64_t sequence, uint32_t size, const RtpHeader *header,
                 const PayloadType *payload, bint recovered, int64_t now_us) noexcept nogil:
    """Overload: the packet came, and is not asked for again, but there is no place for it."""
    s.drops[drops.DROP_FANOUT_FULL] += 1
    reception_packet(&source.reception, sequence, header.timestamp, size, payload.clock_rate, recovered, now_us)
    rate_add(&source.rate, size, False, now_us)
    if not recovered:
        source.last_packet_us = now_us
    if source.nack != NULL:
        nack_on_packet(source.nack, sequence, now_us, False)


cdef void explain_later(RouterState *s, Source *source, int64_t sequence) noexcept nogil:
    """What came before the packet whose structure explains it is offered once more."""
    cdef Packet *packet
    cdef int64_t at
    for at in range(sequence + 1, source.history.newest + 1):
        packet = history_get(&source.history, at)
        if packet != NULL and explain_packet(source, packet):
            fanout_add(s, source, packet)


cdef void note_spatial(RouterState *s, Source *source, const Packet *packet, int64_t now_us) noexcept nogil:
    """Which spatial layers a scalable stream sends, and how much in each."""
    cdef int spatial = packet.spatial
    if spatial >= MAX_LAYERS or packet.flags & PACKET_PADDING:
        return
    rate_add(&source.spatial_rate[spatial], packet.size, packet.flags & FRAME_START, now_us)
    source.spatial_seen_us[spatial] = now_us
    if not source.spatial_active[spatial]:
        source.spatial_active[spatial] = True
        note_track(s, source.track, EVENT_LAYERS)
