# SPDX-License-Identifier: Apache-2.0
"""From one stored packet to one receiver's datagram; see `forwarder.pxd`.

Order: selector verdict (once a frame) → rewriter (numbers) → `write_packet` → SRTP → egress batch.
"""
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset
from sfu.engine cimport drops
from sfu.engine.clock_map cimport timestamp_map_server_us
from sfu.engine.codecs cimport CODEC_VP8
from sfu.engine.egress cimport egress_buffer, egress_rtp, transport_ready
from sfu.engine.history cimport (
    FRAME_START, HAS_AUDIO_LEVEL, HAS_ORIENTATION, PACKET_PADDING, Packet, history_data, history_get,
)
from sfu.engine.reception cimport rate_add
from sfu.engine.rewriter cimport (
    Rewriter,
    FrameRecord, rewriter_advance, rewriter_drop, rewriter_frame, rewriter_late_frame, rewriter_map, rewriter_new_frame,
    rewriter_switch, rewriter_unmap,
)
from sfu.engine.selector cimport (
    VERDICT_DROP_AWAITING_KEYFRAME, VERDICT_DROP_PAUSED, VERDICT_FORWARD, VERDICT_SWITCH, Decision, Selection, select_frame,
)
from sfu.engine.source cimport source_want_keyframe
from sfu.engine.tables cimport (
    EVENT_LAYER, EVENT_STARTED, SENT_LOG, Binding, Forwarder, PayloadMapping, RouterState, SentPacket, Source,
    Track, note_forwarder, track_of, wake_transport,
)
from sfu.engine.tracks cimport forwarder_release_previous, forwarder_stop
from sfu.wire.bytes cimport write_u16, write_u32
from sfu.wire.extensions cimport (
    EXT_AUDIO_LEVEL, EXT_MID, EXT_VIDEO_ORIENTATION, ExtensionWriter, extensions_add, extensions_begin, extensions_finish,
)
from sfu.wire.rtp cimport RTP_FIXED_HEADER_SIZE
from sfu.wire.vp8 cimport Vp8Descriptor, vp8_parse, vp8_write

cdef enum:
    NO_PAYLOAD_TYPE = 255
    MAX_DATAGRAM = 1472        # bytes with SRTP's tag: what Ethernet carries over IPv4 and UDP
    SRTP_TAG = 16
    SWITCH_REACH = 64          # packets: a keyframe's start that is older than this is no place to switch any more
    TIMELINE_TOLERANCE_MS = 500 # a capture time further off than this is not believed
    MIN_FRAME_TICKS = 90       # video timestamps advance by 1 ms at least
    AUDIO_FRAMES_PER_SECOND = 50
    MIN_RESEND_US = 5_000
    FILL_REACH = 64            # packets: how far back the frame before a hole is looked for
    QUICK_REPORTS = 2          # sender reports soon after a start, besides the one with it


cdef Source *flowing_source(const Forwarder *f) noexcept nogil:
    """The source that the outbound stream currently follows, NULL = none."""
    cdef const Binding *binding = &f.previous if f.previous.track != NULL else &f.binding
    cdef Source *source
    if not f.rewriter.bound or binding.track == NULL or f.selection.current_spatial < 0:
        return NULL
    if <uint32_t>f.selection.current_spatial >= binding.track.layer_count:
        return NULL
    source = binding.track.layers[f.selection.current_spatial].source
    return source if source != NULL and source.generation == f.source_generation else NULL


cdef inline const PayloadMapping *payload_mapping(const Binding *binding, uint8_t payload_type) noexcept nogil:
    cdef uint32_t i
    for i in range(binding.payload_count):
        if binding.payloads[i].incoming == payload_type:
            return &binding.payloads[i]
    return NULL


cdef void forward_packet(RouterState *s, Forwarder *f, Source *source, const Packet *packet, int64_t now_us) noexcept nogil:
    """Offer one packet of `source` to `f`: it is queued for sending, or dropped under a name."""
    cdef const Binding *binding
    cdef int reason
    s.media_offered += 1
    if f.binding.track == source.track:
        binding = &f.binding
    elif f.previous.track == source.track:
        binding = &f.previous
    else:
        s.drops[drops.DROP_OVERTAKEN] += 1
        return
    if not transport_ready(f.transport):
        # It begins anew later: SRTP cannot follow a gap of 2^15 numbers.
        if f.rewriter.bound:
            forwarder_stop(s, f)
        s.drops[drops.DROP_NOT_CONNECTED] += 1
        return
    if packet.flags & PACKET_PADDING:
        close_foreign(s, f, source, packet, now_us)
        reason = drops.DROP_PADDING
    elif f.video:
        reason = forward_video(s, f, binding, source, packet, now_us)
    else:
        reason = forward_audio(s, f, binding, source, packet, now_us)
    if reason >= 0:
        s.drops[reason] += 1


cdef void close_foreign(RouterState *s, Forwarder *f, Source *source, const Packet *packet, int64_t now_us) noexcept nogil:
    """A packet that is no receiver's concern uses up a number on the way in; on the way out it is closed up."""
    if f.rewriter.bound and f.source_generation == source.generation:
        close_dropped(s, f, packet, now_us)


cdef void close_dropped(RouterState *s, Forwarder *f, const Packet *packet, int64_t now_us) noexcept nogil:
    """Close a dropped packet's number up, or fill the hole that was kept for it while it was missing."""
    cdef int64_t out
    if packet.sequence > f.rewriter.highest_in:
        rewriter_drop(&f.rewriter, packet)
        return
    out = rewriter_map(&f.rewriter, packet.sequence)
    if out >= 0:
        fill_hole(s, f, out, now_us)


cdef int forward_audio(RouterState *s, Forwarder *f, const Binding *binding, Source *source, const Packet *packet,
                       int64_t now_us) noexcept nogil:
    """Every audio packet can be decoded by itself. Returns the drop reason, or -1."""
    cdef int64_t out
    cdef bint switched = False
    if binding != &f.binding:
        return drops.DROP_LATE
    if f.selection.target_spatial < 0:
        forwarder_stop(s, f)
        return drops.DROP_PAUSED
    if payload_mapping(binding, packet.payload_type) == NULL:
        close_foreign(s, f, source, packet, now_us)
        return drops.DROP_NO_PAYLOAD_TYPE
    if not f.rewriter.bound or f.source_generation != source.generation:
        start_source(s, f, source, packet, 0, now_us)
        switched = True
    if packet.sequence > f.rewriter.highest_in:
        rewriter_advance(&f.rewriter, packet)
        out = f.rewriter.highest_out
    else:
        out = rewriter_map(&f.rewriter, packet.sequence)
        if out < 0:
            return drops.DROP_LATE
    return send_packet(s, f, binding, source, packet, out, 0, packet.marker or switched, now_us)


cdef int forward_video(RouterState *s, Forwarder *f, const Binding *binding, Source *source, const Packet *packet,
                       int64_t now_us) noexcept nogil:
    """Returns the drop reason, or -1."""
    cdef FrameRecord *frame
    cdef int64_t out
    cdef bint flowing = f.rewriter.bound and f.source_generation == source.generation
    if not flowing:
        return start_video(s, f, binding, source, packet, now_us)
    if payload_mapping(binding, packet.payload_type) == NULL:
        close_foreign(s, f, source, packet, now_us)
        return drops.DROP_NO_PAYLOAD_TYPE
    frame = rewriter_frame(&f.rewriter, packet.timestamp)
    if frame == NULL:
        frame = decide_frame(s, f, binding, source, packet)
        if frame == NULL:
            return drops.DROP_LATE if f.rewriter.bound else drops.DROP_PAUSED
    if not frame.forwarded:
        close_dropped(s, f, packet, now_us)
        return frame.reason
    if packet.sequence > f.rewriter.highest_in:
        rewriter_advance(&f.rewriter, packet)
        out = f.rewriter.highest_out
    else:
        out = rewriter_map(&f.rewriter, packet.sequence)
        if out < 0:
            return drops.DROP_LATE
    return send_packet(s, f, binding, source, packet, out, frame.picture_offset, packet.marker, now_us)


cdef FrameRecord *decide_frame(RouterState *s, Forwarder *f, const Binding *binding, Source *source,
                               const Packet *packet) noexcept nogil:
    """Ask the selector about a frame of the flowing source. NULL: too late to be placed, or the stream stops here."""
    cdef Selection selection = f.selection
    cdef Decision decision
    cdef int8_t limit
    if <int32_t>(packet.timestamp - f.rewriter.newest_timestamp) <= 0:
        return rewriter_late_frame(&f.rewriter, packet, drops.DROP_NOT_SELECTED_TEMPORAL)
    if binding == &f.previous and selection.target_spatial >= 0:
        # What is on its way out goes on as it is, unless nothing is wanted any more.
        selection.target_spatial = selection.current_spatial
        selection.target_temporal = selection.current_temporal
    select_frame(&selection, packet, source.layer, &decision)
    if decision.verdict == VERDICT_DROP_PAUSED:
        forwarder_stop(s, f)
        return NULL
    limit = f.selection.current_temporal
    if decision.verdict == VERDICT_FORWARD:
        if decision.temporal != limit:
            f.selection.current_temporal = decision.temporal
            note_forwarder(s, f, EVENT_LAYER)
        return rewriter_new_frame(&f.rewriter, packet, True, 0, <uint8_t>decision.temporal)
    if decision.temporal != limit:
        f.selection.current_temporal = decision.temporal
        note_forwarder(s, f, EVENT_LAYER)
    return rewriter_new_frame(&f.rewriter, packet, False, drops.DROP_NOT_SELECTED_TEMPORAL, <uint8_t>decision.temporal)


cdef int start_video(RouterState *s, Forwarder *f, const Binding *binding, Source *source, const Packet *packet,
                     int64_t now_us) noexcept nogil:
    """A packet of a source that does not flow: switch to it, or say why not. Returns the drop reason, or -1."""
    cdef Selection selection = f.selection
    cdef Decision decision
    cdef FrameRecord *frame
    if binding != &f.binding:
        return drops.DROP_LATE
    if f.previous.track != NULL or not f.rewriter.bound:
        selection.current_spatial = -1       # the current layer is another track's
    elif source.layer == selection.current_spatial:
        # The publisher restarted its encoder: the flow that was is over.
        forwarder_stop(s, f)
        selection.current_spatial = -1
    select_frame(&selection, packet, source.layer, &decision)
    if decision.want_keyframe:
        source_want_keyframe(s, source, now_us)
    if decision.verdict == VERDICT_DROP_AWAITING_KEYFRAME:
        return drops.DROP_AWAITING_KEYFRAME
    if decision.verdict == VERDICT_DROP_PAUSED:
        return drops.DROP_PAUSED
    if decision.verdict != VERDICT_SWITCH:
        return drops.DROP_NOT_SELECTED_SPATIAL
    if payload_mapping(binding, packet.payload_type) == NULL:
        return drops.DROP_NO_PAYLOAD_TYPE
    if source.reception.highest - packet.sequence > SWITCH_REACH:
        return drops.DROP_LATE
    start_source(s, f, source, packet, decision.temporal, now_us)
    frame = rewriter_new_frame(&f.rewriter, packet, True, 0, <uint8_t>decision.temporal)
    rewriter_advance(&f.rewriter, packet)
    return send_packet(s, f, binding, source, packet, f.rewriter.highest_out, frame.picture_offset, packet.marker, now_us)


cdef void start_source(RouterState *s, Forwarder *f, Source *source, const Packet *packet, int8_t temporal,
                       int64_t now_us) noexcept nogil:
    """The outbound stream follows `source` from `packet` on."""
    cdef uint32_t timestamp
    f.clock_rate = source.timestamps.clock_rate
    timestamp = out_timestamp(s, f, source, packet, now_us)
    rewriter_switch(&f.rewriter, packet, timestamp, f.video)
    f.source_generation = source.generation
    f.selection.current_spatial = <int8_t>source.layer
    f.selection.current_temporal = temporal
    f.switches += 1
    forwarder_release_previous(s, f)
    if f.awaiting_start:
        f.awaiting_start = False
        f.started_timestamp = timestamp
        note_forwarder(s, f, EVENT_STARTED)
    note_forwarder(s, f, EVENT_LAYER)
    # Sender reports with the start and soon after it: else the receiver's lip sync begins seconds late.
    f.report_due_us = now_us
    f.quick_reports = QUICK_REPORTS
    wake_transport(s, f.transport, now_us)


cdef uint32_t out_timestamp(RouterState *s, Forwarder *f, Source *source, const Packet *packet, int64_t now_us) noexcept nogil:
    """Outbound timestamp of the first packet of a source, on the forwarder's own timeline.

    Video: by capture time in the server's clock, always forward. Audio: whole frames after the last packet, so that
    the receiver's jitter buffer has nothing to conceal.
    """
    cdef Rewriter *r = &f.rewriter
    cdef int64_t rate = f.clock_rate
    cdef int64_t frame_ticks = rate // AUDIO_FRAMES_PER_SECOND
    cdef int64_t elapsed, frames, ticks
    cdef int64_t captured_us = timestamp_map_server_us(&source.timestamps, &source.track.transport.clock, packet.timestamp)
    if not r.started:
        f.has_timeline = True
        f.timeline_us = captured_us
        f.timeline_timestamp = r.last_out_timestamp
        return f.timeline_timestamp
    elapsed = (now_us - r.last_sent_us) * rate // 1_000_000
    if not f.video:
        frames = (elapsed + frame_ticks // 2) // frame_ticks
        return r.last_out_timestamp + <uint32_t>(frame_ticks * (frames if frames > 1 else 1))
    ticks = (captured_us - f.timeline_us) * rate // 1_000_000
    ticks = <int32_t>(f.timeline_timestamp + <uint32_t>ticks - r.last_out_timestamp)
    if ticks - elapsed > rate * TIMELINE_TOLERANCE_MS // 1000 or elapsed - ticks > rate * TIMELINE_TOLERANCE_MS // 1000:
        ticks = elapsed
    return r.last_out_timestamp + <uint32_t>(ticks if ticks > MIN_FRAME_TICKS else MIN_FRAME_TICKS)


cdef int send_packet(RouterState *s, Forwarder *f, const Binding *binding, Source *source, const Packet *packet, int64_t out,
                     uint16_t picture_offset, bint marker, int64_t now_us) noexcept nogil:
    """Write, protect and log one packet under outbound number `out`. Returns the drop reason, or -1."""
    cdef const PayloadMapping *mapping = payload_mapping(binding, packet.payload_type)
    cdef SentPacket entry
    cdef SentPacket *logged
    cdef uint8_t *buffer
    cdef uint32_t size
    if mapping == NULL:
        return drops.DROP_NO_PAYLOAD_TYPE
    if f.sent != NULL and f.sent[out & (SENT_LOG - 1)].sequence == out:
        return drops.DROP_ALREADY_SENT
    entry.sequence = out
    entry.source_sequence = packet.sequence
    entry.track = source.track.handle
    entry.source_generation = source.generation
    entry.timestamp = packet.timestamp + f.rewriter.timestamp_offset
    entry.csrc = binding.csrc
    entry.resent_us = 0
    entry.picture_id = (packet.picture_id + picture_offset) & 0x7FFF
    entry.tl0 = <uint8_t>(packet.tl0_picture_index + f.rewriter.tl0_offset)
    entry.layer = <uint8_t>source.layer
    entry.payload_type = mapping.outgoing
    entry.rtx_payload_type = mapping.outgoing_rtx
    entry.marker = marker
    entry.padding = False
    buffer = egress_buffer(s)
    if buffer == NULL:
        return -1        # counted there
    size = write_packet(f, source, packet, &entry, buffer, False)
    if size == 0:
        return drops.DROP_TOO_LARGE
    if not egress_rtp(s, f.transport, buffer, size):
        return -1        # counted there
    if f.sent != NULL:
        logged = &f.sent[out & (SENT_LOG - 1)]
        logged[0] = entry
    note_sent(f, packet, &entry, now_us)
    s.media_forwarded += 1
    return -1


cdef inline void note_sent(Forwarder *f, const Packet *packet, const SentPacket *entry, int64_t now_us) noexcept nogil:
    cdef Rewriter *r = &f.rewriter
    f.packets_sent += 1
    f.bytes_sent += packet.payload_size
    rate_add(&f.rate, packet.size, packet.flags & FRAME_START, now_us)
    if r.started and entry.sequence != r.highest_out:
        return
    r.started = True
    r.last_marker = entry.marker
    r.last_out_timestamp = entry.timestamp
    r.last_sent_us = now_us
    if packet.has_picture_id:
        r.has_picture_id = True
        r.last_picture_id = entry.picture_id
    if packet.has_tl0:
        r.has_tl0 = True
        r.last_tl0 = entry.tl0


cdef uint32_t write_header(Forwarder *f, const SentPacket *entry, uint8_t *out, uint32_t csrc_count) noexcept nogil:
    out[0] = <uint8_t>(0x80 | csrc_count)
    out[1] = <uint8_t>((0x80 if entry.marker else 0) | entry.payload_type)
    write_u16(out + 2, <uint16_t>entry.sequence)
    write_u32(out + 4, entry.timestamp)
    write_u32(out + 8, f.ssrc)
    if csrc_count:
        write_u32(out + 12, entry.csrc)
    return RTP_FIXED_HEADER_SIZE + 4 * csrc_count


cdef uint32_t write_packet(Forwarder *f, Source *source, const Packet *packet, const SentPacket *entry, uint8_t *out,
                           bint rtx) noexcept nogil:
    """The packet as the receiver sees it, in plaintext; with `rtx` in the RFC 4588 form. 0: too large."""
    cdef const uint8_t *data = history_data(&source.history, packet)
    cdef const uint8_t *payload = data + packet.payload_offset
    cdef uint32_t payload_size = packet.payload_size
    cdef uint32_t at = write_header(f, entry, out, 1)
    cdef ExtensionWriter writer
    cdef Vp8Descriptor descriptor
    cdef uint32_t extension_size
    if rtx:
        out[1] = <uint8_t>((0x80 if entry.marker else 0) | entry.rtx_payload_type)
        write_u16(out + 2, f.rtx_sequence)
        write_u32(out + 8, f.rtx_ssrc)
    extensions_begin(&writer, out + at, out + at + 64, False)
    if f.extension_ids[<int>EXT_MID]:
        extensions_add(&writer, f.extension_ids[<int>EXT_MID], f.mid, f.mid_size)
    if packet.flags & HAS_AUDIO_LEVEL and f.extension_ids[<int>EXT_AUDIO_LEVEL]:
        extensions_add(&writer, f.extension_ids[<int>EXT_AUDIO_LEVEL], &packet.audio_level, 1)
    if packet.flags & HAS_ORIENTATION and f.extension_ids[<int>EXT_VIDEO_ORIENTATION]:
        extensions_add(&writer, f.extension_ids[<int>EXT_VIDEO_ORIENTATION], &packet.orientation, 1)
    extension_size = extensions_finish(&writer)
    if extension_size:
        out[0] |= 0x10
        at += extension_size
    if rtx:
        write_u16(out + at, <uint16_t>entry.sequence)
        at += 2
    if packet.codec == CODEC_VP8 and packet.has_picture_id and vp8_parse(payload, payload_size, &descriptor) == 0:
        at += vp8_write(out + at, &descriptor, entry.picture_id, entry.tl0)
        payload += descriptor.size
        payload_size -= descriptor.size
    if at + payload_size + SRTP_TAG > MAX_DATAGRAM:
        return 0
    memcpy(out + at, payload, payload_size)
    return at + payload_size


cdef const SentPacket *sent_before(const Forwarder *f, int64_t out) noexcept nogil:
    """The packet sent with the nearest lower number, NULL = none that is near."""
    cdef int64_t at = out - 1
    while at > out - FILL_REACH:
        if f.sent[at & (SENT_LOG - 1)].sequence == at:
            return &f.sent[at & (SENT_LOG - 1)]
        at -= 1
    return NULL


cdef void fill_hole(RouterState *s, Forwarder *f, int64_t out, int64_t now_us) noexcept nogil:
    """A number was kept for a packet that then proved not to be for this receiver: send padding in its place.

    It looks like padding behind the frame before it; where that is unknown the hole stays.
    """
    cdef SentPacket *entry
    cdef const SentPacket *before
    cdef uint8_t *buffer
    cdef uint32_t at
    if f.sent == NULL or out > f.rewriter.highest_out or f.rewriter.highest_out - out >= SENT_LOG:
        return
    entry = &f.sent[out & (SENT_LOG - 1)]
    before = sent_before(f, out)
    if entry.sequence == out or before == NULL:
        return
    buffer = egress_buffer(s)
    if buffer == NULL:
        return
    memset(entry, 0, sizeof(SentPacket))
    entry.sequence = out
    entry.timestamp = before.timestamp
    entry.csrc = before.csrc
    entry.payload_type = before.payload_type
    entry.padding = True
    at = write_header(f, entry, buffer, 1)
    buffer[0] |= 0x20
    buffer[at] = 1           # one octet of padding, which counts itself (RFC 3550 §5.1)
    egress_rtp(s, f.transport, buffer, at + 1)


cdef void forwarder_nack(RouterState *s, Forwarder *f, uint16_t sequence, int64_t now_us) noexcept nogil:
    """Answer one requested number: as it was sent, by RTX; or for the first time, if it was missing on the way in."""
    cdef int64_t out = f.rewriter.highest_out + <int16_t>(sequence - <uint16_t>(f.rewriter.highest_out & 0xFFFF))
    cdef SentPacket *entry
    cdef Source *source = NULL
    cdef Packet *packet = NULL
    cdef int64_t source_sequence
    cdef int64_t spacing_us = f.transport.rtt_us if f.transport.rtt_us > MIN_RESEND_US else MIN_RESEND_US
    if f.sent == NULL or not transport_ready(f.transport) or out < 0:
        f.nack_unanswered += 1
        return
    entry = &f.sent[out & (SENT_LOG - 1)]
    if entry.sequence != out:
        source = flowing_source(f)
        source_sequence = rewriter_unmap(&f.rewriter, out) if source != NULL else -1
        packet = history_get(&source.history, source_sequence) if source_sequence >= 0 else NULL
        if packet != NULL:
            forward_packet(s, f, source, packet, now_us)
        else:
            f.nack_unanswered += 1
        return
    if entry.resent_us and now_us - entry.resent_us < spacing_us:
        return
    if entry.padding or f.rtx_ssrc == 0 or entry.rtx_payload_type == NO_PAYLOAD_TYPE:
        f.nack_unanswered += 1
        return
    source = logged_source(s, entry)
    packet = history_get(&source.history, entry.source_sequence) if source != NULL else NULL
    if packet == NULL:
        f.nack_unanswered += 1
        return
    resend(s, f, source, packet, entry, now_us)


cdef Source *logged_source(RouterState *s, const SentPacket *entry) noexcept nogil:
    """The source a sent packet came from, if it still lives."""
    cdef Track *track = track_of(s, entry.track)
    cdef Source *source
    if track == NULL or entry.layer >= track.layer_count:
        return NULL
    source = track.layers[entry.layer].source
    return source if source != NULL and source.generation == entry.source_generation else NULL


cdef void resend(RouterState *s, Forwarder *f, Source *source, const Packet *packet, SentPacket *entry,
                 int64_t now_us) noexcept nogil:
    cdef uint8_t *buffer = egress_buffer(s)
    cdef uint32_t size
    if buffer == NULL:
        return
    size = write_packet(f, source, packet, entry, buffer, True)
    if size == 0:
        f.nack_unanswered += 1
        return
    f.rtx_sequence += 1
    entry.resent_us = now_us
    if egress_rtp(s, f.transport, buffer, size):
        f.resent += 1
        s.resent += 1
