# SPDX-License-Identifier: Apache-2.0
"""From one stored packet to one receiver's datagram; see `forwarder.pxd`.

Order: selector verdict (once a frame) → rewriter (numbers) → `write_packet` → SRTP → egress batch.
"""
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memset
from sfu.engine cimport drops
from sfu.engine.clock_map cimport timestamp_map_server_us
from sfu.engine.codecs cimport CODEC_VP9
from sfu.engine.dependencies cimport Dependencies, dependencies_frame, dependencies_superseded
from sfu.engine.congestion cimport (
    SEND_AT_ONCE, SEND_PACED_FILLER, SEND_PACED_MEDIA, SendClass, congestion_link_loses, congestion_may_resend, congestion_send,
)
from sfu.engine.egress cimport egress_buffer, transport_ready
from sfu.engine.egress_log cimport egress_log_answered, egress_log_dropped, egress_log_sent
from sfu.engine.equaliser cimport EQUALISE_NOT, equalise
from sfu.engine.history cimport (
    DEPENDENCY_UNKNOWN, FRAME_END, FRAME_KEY, FRAME_START, PACKET_LATE, PACKET_OVERTAKEN, PACKET_PADDING, SWITCH_REACH, Packet,
    frame_newer, history_get,
)
from sfu.engine.latency cimport LATENCY_AUDIO, LATENCY_NONE, LATENCY_VIDEO
from sfu.engine.packet_writer cimport write_filler, write_packet
from sfu.engine.reception cimport rate_add
from sfu.engine.relay cimport relay_forward, relay_write
from sfu.engine.rewriter cimport (
    Rewriter,
    FrameRecord, rewriter_advance, rewriter_drop, rewriter_frame, rewriter_late_frame, rewriter_map, rewriter_new_frame,
    rewriter_switch, rewriter_unmap,
)
from sfu.engine.selector cimport (
    VERDICT_DROP_AWAITING_KEYFRAME, VERDICT_DROP_PAUSED, VERDICT_DROP_SPATIAL, VERDICT_FORWARD, VERDICT_SWITCH, Decision,
    Selection, Stream, frame_in_target, note_dropped, select_dependency, select_frame,
)
from sfu.engine.source cimport source_want_keyframe
from sfu.engine.srtp cimport SRTP_OK, srtp_protect
from sfu.engine.tables cimport (
    EVENT_LAYER, EVENT_STARTED, MAX_LAYERS, SENT_LOG, Binding, Congestion, Forwarder, PayloadMapping, RouterState, SentPacket,
    Source, Track, Transport, note_forwarder, track_of, wake_transport,
)
from sfu.engine.tracks cimport forwarder_release_previous, forwarder_stop, payload_mapping
from sfu.wire.dependency_descriptor cimport FrameDependency, dd_targets_within

cdef enum:
    NO_PAYLOAD_TYPE = 255
    TIMELINE_TOLERANCE_MS = 500 # a capture time further off than this is not believed
    MIN_FRAME_TICKS = 90       # video timestamps advance by 1 ms at least
    AUDIO_FRAMES_PER_SECOND = 50
    HOLD_US = 40_000           # how long a new source waits for the end of the old one's frame
    JOINED_FRAMES = 4          # a pause of up to 80 ms between two audio sources is arrival jitter, not silence
    MIN_RESEND_US = 5_000
    FILL_REACH = 64            # packets: how far back the frame before a hole is looked for
    HIGHEST_SPATIAL = 7
    QUICK_REPORTS = 2          # sender reports soon after a start, besides the one with it


cdef Source *flowing_source(const Forwarder *f) noexcept nogil:
    """The source that the outbound stream currently follows, NULL = none."""
    cdef const Binding *binding = &f.previous if f.previous.track != NULL else &f.binding
    cdef Source *source
    cdef uint32_t i
    if not f.rewriter.bound or binding.track == NULL:
        return NULL
    for i in range(binding.track.layer_count):
        source = binding.track.layers[i].source
        if source != NULL and source.generation == f.source_generation:
            return source
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
    elif f.transport.relay_leg:
        reason = relay_forward(s, f, binding, source, packet, now_us)
    elif f.video:
        reason = forward_video(s, f, binding, source, packet, now_us)
    else:
        reason = forward_audio(s, f, binding, source, packet, now_us)
    if reason >= 0:
        s.drops[reason] += 1
        if f.log != NULL:
            egress_log_dropped(f.log, reason, binding.csrc, source.layer, packet.temporal, now_us)


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
    """Every audio packet can be decoded by itself. Returns the drop reason, or -1.

    What is on its way out goes on until the first packet of what is wanted. That one is then never later than the old
    one's next would have been, and takes its timestamp: the receiver's jitter buffer has nothing to conceal.
    """
    cdef int64_t out
    cdef bint switched = False
    if binding != &f.binding and not (f.rewriter.bound and f.source_generation == source.generation):
        return drops.DROP_LATE
    if f.selection.target_spatial < 0:
        forwarder_stop(s, f)
        return drops.DROP_PAUSED
    if payload_mapping(binding, packet.payload_type) == NULL:
        close_foreign(s, f, source, packet, now_us)
        return drops.DROP_NO_PAYLOAD_TYPE
    if not f.rewriter.bound or f.source_generation != source.generation:
        start_source(s, f, source, packet, now_us)
        switched = True
    if packet.sequence > f.rewriter.highest_in:
        rewriter_advance(&f.rewriter, packet)
        out = f.rewriter.highest_out
    else:
        out = rewriter_map(&f.rewriter, packet.sequence)
        if out < 0:
            return drops.DROP_LATE
    return send_packet(s, f, binding, source, packet, out, NULL, packet.marker or switched, now_us)


cdef int forward_video(RouterState *s, Forwarder *f, const Binding *binding, Source *source, const Packet *packet,
                       int64_t now_us) noexcept nogil:
    """Returns the drop reason, or -1."""
    cdef FrameRecord *frame
    cdef int64_t out
    cdef int reason
    cdef bint flowing = f.rewriter.bound and f.source_generation == source.generation
    if not flowing:
        return start_video(s, f, binding, source, packet, now_us)
    if payload_mapping(binding, packet.payload_type) == NULL:
        close_foreign(s, f, source, packet, now_us)
        return drops.DROP_NO_PAYLOAD_TYPE
    if packet.flags & DEPENDENCY_UNKNOWN:
        # Its place is kept: it is offered again when the packet that explains it has come.
        return drops.DROP_AWAITING_KEYFRAME
    frame = rewriter_frame(&f.rewriter, packet.frame)
    if frame == NULL and f.held_generation and frame_newer(packet.frame, f.rewriter.newest_frame):
        # The frame that the new source waits for will not be finished. It may have been called off, then this one flows on.
        release_held(s, f, now_us)
        if f.source_generation != source.generation or not f.rewriter.bound:
            return drops.DROP_LATE
    if frame == NULL:
        frame = decide_frame(s, f, binding, source, packet, now_us)
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
    reason = send_packet(s, f, binding, source, packet, out, frame, ends_picture(frame, source, packet), now_us)
    if f.held_generation and f.rewriter.last_marker:
        release_held(s, f, now_us)
    return reason


cdef inline bint ends_picture(const FrameRecord *frame, const Source *source, const Packet *packet) noexcept nogil:
    """The marker, where spatial layers above the forwarded ones are dropped: on the last packet that is left."""
    if packet.marker:
        return True
    return (packet.flags & FRAME_END and source.track.layer_count == 1
            and packet.spatial == frame.spatial_limit)


cdef FrameRecord *decide_frame(RouterState *s, Forwarder *f, const Binding *binding, Source *source,
                               const Packet *packet, int64_t now_us) noexcept nogil:
    """Ask the selector about a frame of the flowing source. NULL: too late to be placed, or the stream stops here."""
    cdef Selection selection = f.selection
    cdef Decision decision
    cdef FrameRecord *frame
    cdef const FrameDependency *dependency = NULL
    cdef uint8_t reason
    cdef bint wanted
    if packet.has_dependency:
        dependency = dependencies_frame(source.dependencies, packet.frame)
    if not frame_newer(packet.frame, f.rewriter.newest_frame):
        wanted = dependency == NULL or (not dependencies_superseded(source.dependencies, dependency)
                                        and frame_in_target(&selection, dependency))
        frame = rewriter_late_frame(&f.rewriter, packet, wanted, drops.DROP_NOT_SELECTED_TEMPORAL)
        if frame != NULL and not frame.forwarded and dependency != NULL:
            note_dropped(&f.selection.chains, dependency.frame_number)
        return frame
    if binding == &f.previous and selection.target_spatial >= 0:
        # What is on its way out goes on as it is, unless nothing is wanted any more.
        selection.target_spatial = selection.current_spatial
        selection.target_temporal = selection.current_temporal
    decide(f, source, packet, dependency, &selection, True, &decision)
    if decision.verdict == VERDICT_DROP_PAUSED:
        forwarder_stop(s, f)
        return NULL
    if decision.want_keyframe and binding == &f.binding:
        source_want_keyframe(s, source, now_us)
    if decision.temporal != f.selection.current_temporal or decision.spatial != f.selection.current_spatial:
        note_forwarder(s, f, EVENT_LAYER)
    commit(f, &decision)
    reason = drops.DROP_NOT_SELECTED_TEMPORAL
    if decision.verdict == VERDICT_DROP_SPATIAL:
        reason = drops.DROP_NOT_SELECTED_SPATIAL
    elif decision.verdict == VERDICT_DROP_AWAITING_KEYFRAME:
        reason = drops.DROP_AWAITING_KEYFRAME
    frame = rewriter_new_frame(&f.rewriter, packet, decision.verdict == VERDICT_FORWARD, reason, <uint8_t>decision.temporal)
    frame.spatial_limit = decision.spatial
    frame.announce = decision.announce
    if decision.announce:
        frame.active_targets = forwarded_targets(f, source, dependency.active_targets)
    return frame


cdef inline void commit(Forwarder *f, const Decision *decision) noexcept nogil:
    f.selection.current_spatial = decision.spatial
    f.selection.current_temporal = decision.temporal
    f.selection.switch_up = decision.switch_up
    f.selection.chains = decision.chains


cdef void decide(Forwarder *f, const Source *source, const Packet *packet, const FrameDependency *dependency,
                 const Selection *selection, bint flowing, Decision *decision) noexcept nogil:
    """By the dependency descriptor where there is one, else by the codec's payload descriptor."""
    cdef bint simulcast = source.track.layer_count > 1
    cdef Selection inner = selection[0]
    cdef Stream stream
    cdef int i
    stream.new_picture = (packet.frame >> 16) != (f.rewriter.newest_frame >> 16)
    if dependency == NULL or (simulcast and not flowing):
        stream.layer = source.layer
        stream.scalable = packet.codec == CODEC_VP9 and not simulcast
        stream.top_spatial = 0
        for i in range(MAX_LAYERS):
            if source.spatial_active[i]:
                stream.top_spatial = i
        select_frame(selection, packet, &stream, decision)
        if dependency == NULL or decision.verdict != VERDICT_SWITCH:
            return
    if simulcast and inner.target_spatial >= 0:
        # The simulcast layer is chosen by its stream; spatial layers within it are all wanted.
        inner.target_spatial = HIGHEST_SPATIAL
    select_dependency(&inner, dependency, &source.dependencies.structure, dependency.active_targets, flowing,
                      not stream.new_picture and f.rewriter.last_marker, decision)
    if simulcast:
        decision.spatial = <int8_t>source.layer


cdef int start_video(RouterState *s, Forwarder *f, const Binding *binding, Source *source, const Packet *packet,
                     int64_t now_us) noexcept nogil:
    """A packet of a source that does not flow: switch to it, or say why not. Returns the drop reason, or -1."""
    cdef Selection selection = f.selection
    cdef Decision decision
    cdef FrameRecord *frame
    cdef const FrameDependency *dependency = NULL
    cdef int reason
    if binding != &f.binding:
        return drops.DROP_LATE
    if f.held_generation == source.generation:
        if now_us - f.held_us < HOLD_US:
            return drops.DROP_HELD
        release_held(s, f, now_us)
        return drops.DROP_HELD         # offered again, with what was held
    if packet.has_dependency:
        dependency = dependencies_frame(source.dependencies, packet.frame)
    elif source.dependencies != NULL:
        source_want_keyframe(s, source, now_us)
        return drops.DROP_AWAITING_KEYFRAME
    if f.previous.track != NULL or not f.rewriter.bound:
        selection.current_spatial = -1       # the current layer is another track's
    elif flowing_source(f) == NULL:
        # The publisher restarted its encoder: the flow that was is over.
        forwarder_stop(s, f)
        selection.current_spatial = -1
    selection.chains.target = -1
    decide(f, source, packet, dependency, &selection, False, &decision)
    if decision.want_keyframe:
        source_want_keyframe(s, source, now_us)
    if decision.verdict == VERDICT_DROP_AWAITING_KEYFRAME or (
            decision.verdict == VERDICT_SWITCH and not packet.flags & FRAME_KEY):
        # Also the middle of a keyframe whose beginning was not forwarded.
        return drops.DROP_AWAITING_KEYFRAME
    if decision.verdict == VERDICT_DROP_PAUSED:
        return drops.DROP_PAUSED
    if decision.verdict != VERDICT_SWITCH:
        return drops.DROP_NOT_SELECTED_SPATIAL
    if payload_mapping(binding, packet.payload_type) == NULL:
        return drops.DROP_NO_PAYLOAD_TYPE
    if packet.flags & PACKET_LATE or (f.source_generation == source.generation and packet.sequence <= f.rewriter.highest_in):
        # A keyframe that came too late, or from before what was sent of this source until it stopped: never back in time.
        return drops.DROP_LATE
    if frame_open(f, now_us):
        f.held_generation = source.generation
        f.held_sequence = packet.sequence
        f.held_us = now_us
        return drops.DROP_HELD
    start_source(s, f, source, packet, now_us)
    commit(f, &decision)
    frame = rewriter_new_frame(&f.rewriter, packet, True, 0, <uint8_t>decision.temporal)
    frame.spatial_limit = decision.spatial
    frame.announce = decision.announce
    if decision.announce:
        frame.active_targets = forwarded_targets(f, source, dependency.active_targets)
    rewriter_advance(&f.rewriter, packet)
    reason = send_packet(s, f, binding, source, packet, f.rewriter.highest_out, frame, ends_picture(frame, source, packet), now_us)
    if packet.flags & PACKET_OVERTAKEN:
        offer_again(s, f, source, packet, now_us)
    return reason


cdef inline bint frame_open(const Forwarder *f, int64_t now_us) noexcept nogil:
    """Whether the old source's frame is on its way: its end comes within milliseconds, and must not be cut off."""
    return (f.rewriter.bound and f.rewriter.started and not f.rewriter.last_marker and not f.hold_spent
            and now_us - f.rewriter.last_sent_us < HOLD_US and flowing_source(f) != NULL)


cdef void release_held(RouterState *s, Forwarder *f, int64_t now_us) noexcept nogil:
    """The old frame is whole, or given up: begin the new source with what was held of it."""
    cdef uint32_t generation = f.held_generation
    cdef int64_t first = f.held_sequence
    cdef int64_t sequence, end
    cdef Track *track = f.binding.track
    cdef Source *source = NULL
    cdef const Packet *packet
    cdef uint32_t i
    f.held_generation = 0
    if track == NULL:
        return
    for i in range(track.layer_count):
        if track.layers[i].source != NULL and track.layers[i].source.generation == generation:
            source = track.layers[i].source
    if source == NULL:
        return
    # A hold that has run out may find the old frame still open: it is cut off then, and not held again.
    f.hold_spent = True
    end = source.reception.highest + 1
    if end > first + SWITCH_REACH:
        end = first + SWITCH_REACH
    for sequence in range(first, end):
        packet = history_get(&source.history, sequence)
        if packet != NULL:
            forward_packet(s, f, source, packet, now_us)
    f.hold_spent = False


cdef void offer_again(RouterState *s, Forwarder *f, Source *source, const Packet *first, int64_t now_us) noexcept nogil:
    """What follows the stream's late beginning came before it and was dropped: now it has its place."""
    cdef int64_t sequence
    cdef const Packet *packet
    for sequence in range(first.sequence + 1, first.sequence + SWITCH_REACH + 1):
        packet = history_get(&source.history, sequence)
        if packet != NULL and packet.position < first.position:
            forward_packet(s, f, source, packet, now_us)


cdef void start_source(RouterState *s, Forwarder *f, Source *source, const Packet *packet, int64_t now_us) noexcept nogil:
    """The outbound stream follows `source` from `packet` on."""
    cdef uint32_t timestamp
    f.clock_rate = source.timestamps.clock_rate
    timestamp = out_timestamp(s, f, source, packet, now_us)
    rewriter_switch(&f.rewriter, packet, timestamp, f.video)
    f.source_generation = source.generation
    f.selection.current_spatial = <int8_t>source.layer
    f.selection.current_temporal = 0
    f.selection.switch_up = False
    f.switches += 1
    s.switches += 1
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
        return r.last_out_timestamp + <uint32_t>(frame_ticks * (frames if frames > JOINED_FRAMES else 1))
    ticks = (captured_us - f.timeline_us) * rate // 1_000_000
    ticks = <int32_t>(f.timeline_timestamp + <uint32_t>ticks - r.last_out_timestamp)
    if ticks - elapsed > rate * TIMELINE_TOLERANCE_MS // 1000 or elapsed - ticks > rate * TIMELINE_TOLERANCE_MS // 1000:
        ticks = elapsed
    return r.last_out_timestamp + <uint32_t>(ticks if ticks > MIN_FRAME_TICKS else MIN_FRAME_TICKS)


cdef int send_packet(RouterState *s, Forwarder *f, const Binding *binding, Source *source, const Packet *packet, int64_t out,
                     const FrameRecord *frame, bint marker, int64_t now_us) noexcept nogil:
    """Write, protect and log one packet under outbound number `out`. Returns the drop reason, or -1."""
    cdef const PayloadMapping *mapping = payload_mapping(binding, packet.payload_type)
    cdef SentPacket entry
    cdef uint8_t *buffer
    cdef uint32_t size, waiting
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
    entry.picture_id = (packet.picture_id + (frame.picture_offset if frame != NULL else 0)) & 0x7FFF
    entry.tl0 = <uint8_t>(packet.tl0_picture_index + f.rewriter.tl0_offset)
    entry.layer = <uint8_t>source.layer
    entry.payload_type = mapping.outgoing
    entry.rtx_payload_type = mapping.outgoing_rtx
    entry.marker = marker
    entry.strip_red = mapping.strip_red
    entry.padding = False
    entry.frame_number = packet.frame_number + f.rewriter.frame_number_offset
    entry.set_targets = packet.has_dependency and frame != NULL and frame.announce
    if entry.set_targets:
        entry.active_targets = frame.active_targets
    buffer = egress_buffer(s)
    if buffer == NULL:
        return -1        # counted there
    size = write_packet(f, source, packet, &entry, buffer, False)
    if size == 0:
        return drops.DROP_TOO_LARGE
    if s.run_ahead != EQUALISE_NOT:
        size = equalise(s, buffer, size)
    if srtp_protect(f.transport.send_srtp, buffer, &size) != SRTP_OK:
        return drops.DROP_PROTECT_FAILED
    # From here on the number is used, and what the pacer drops can only be sent again by retransmission.
    waiting = packets_waiting(f.transport)
    note_sent(f, packet, &entry, now_us)
    if f.log != NULL:
        egress_log_sent(f.log, out, entry.timestamp, entry.csrc, source.generation, f.selection.current_spatial,
                        packet.temporal, f.video and packet.flags & FRAME_KEY, now_us)
    s.egress.latency = LATENCY_VIDEO if f.video else LATENCY_AUDIO
    s.egress.received_us = packet.arrival_us - packet.kernel_wait_us
    if congestion_send(s, f.transport, buffer, size, SEND_PACED_MEDIA if f.video else SEND_AT_ONCE):
        s.media_forwarded += 1
    elif f.log != NULL:
        egress_log_dropped(f.log, drops.DROP_PACER_FULL, binding.csrc, source.layer, packet.temporal, now_us)
    s.egress.latency = LATENCY_NONE
    if packets_waiting(f.transport) > waiting:
        entry.resent_us = -s.now_us
    if f.sent != NULL:
        f.sent[out & (SENT_LOG - 1)] = entry
    return -1            # else counted there


cdef bint protect_and_send(RouterState *s, Forwarder *f, uint8_t *packet, uint32_t size, SendClass sending) noexcept nogil:
    """The packet that lies in the current egress buffer. False: it is dropped, and counted."""
    if srtp_protect(f.transport.send_srtp, packet, &size) != SRTP_OK:
        s.drops[drops.DROP_PROTECT_FAILED] += 1
        return False
    return congestion_send(s, f.transport, packet, size, sending)


cdef uint32_t forwarded_targets(const Forwarder *f, const Source *source, uint32_t active) noexcept nogil:
    """The decode targets that the receiver can still decode: what to announce as active."""
    cdef const Dependencies *d = source.dependencies
    cdef int target = f.selection.chains.target
    if target < 0 or target >= d.structure.target_count:
        return active
    return active & dd_targets_within(&d.structure, d.structure.target_spatial[target],
                                                d.structure.target_temporal[target])


cdef inline void note_sent(Forwarder *f, const Packet *packet, const SentPacket *entry, int64_t now_us) noexcept nogil:
    cdef Rewriter *r = &f.rewriter
    f.packets_sent += 1
    f.bytes_sent += packet.payload_size
    rate_add(&f.rate, packet.size, packet.flags & FRAME_START, now_us)
    if r.started and entry.sequence < r.last_sent:
        return
    r.started = True
    r.last_sent = entry.sequence
    r.last_marker = entry.marker
    r.last_out_timestamp = entry.timestamp
    r.last_sent_us = now_us
    if packet.has_picture_id:
        r.has_picture_id = True
        r.last_picture_id = entry.picture_id
    if packet.has_tl0:
        r.has_tl0 = True
        r.last_tl0 = entry.tl0
    if packet.has_dependency:
        r.has_frame_number = True
        r.last_frame_number = entry.frame_number


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
    cdef uint32_t waiting = packets_waiting(f.transport)
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
    entry.rtx_payload_type = before.rtx_payload_type
    entry.padding = True
    protect_and_send(s, f, buffer, write_filler(f, entry, buffer, False), SEND_PACED_FILLER)
    if packets_waiting(f.transport) > waiting:
        entry.resent_us = -s.now_us


cdef inline void leave_unanswered(Forwarder *f, int64_t out, int64_t now_us) noexcept nogil:
    f.nack_unanswered += 1
    if f.log != NULL:
        egress_log_answered(f.log, False, out, now_us)


cdef void forwarder_nack(RouterState *s, Forwarder *f, uint16_t sequence, int64_t now_us) noexcept nogil:
    """Answer one requested number: as it was sent, by RTX; or for the first time, if it was missing on the way in."""
    cdef int64_t out = f.rewriter.highest_out + <int16_t>(sequence - <uint16_t>(f.rewriter.highest_out & 0xFFFF))
    cdef SentPacket *entry
    cdef Source *source = NULL
    cdef Packet *packet = NULL
    cdef int64_t source_sequence
    cdef int64_t spacing_us = f.transport.rtt_us if f.transport.rtt_us > MIN_RESEND_US else MIN_RESEND_US
    if f.sent == NULL or not transport_ready(f.transport) or out < 0:
        leave_unanswered(f, out, now_us)
        return
    entry = &f.sent[out & (SENT_LOG - 1)]
    if entry.sequence != out:
        source = flowing_source(f)
        source_sequence = rewriter_unmap(&f.rewriter, out) if source != NULL else -1
        packet = history_get(&source.history, source_sequence) if source_sequence >= 0 else NULL
        if packet != NULL:
            forward_packet(s, f, source, packet, now_us)
        else:
            leave_unanswered(f, out, now_us)
        return
    if entry.resent_us > 0 and now_us - entry.resent_us < spacing_us:
        return
    if entry.resent_us < 0 and still_waiting(f.transport, -entry.resent_us):
        return
    if f.rtx_ssrc == 0 or entry.rtx_payload_type == NO_PAYLOAD_TYPE:
        leave_unanswered(f, out, now_us)
        return
    if entry.padding:
        resend(s, f, NULL, NULL, entry, now_us)
        return
    source = logged_source(s, entry)
    packet = history_get(&source.history, entry.source_sequence) if source != NULL else NULL
    if packet == NULL:
        leave_unanswered(f, out, now_us)
        return
    resend(s, f, source, packet, entry, now_us)


cdef inline uint32_t packets_waiting(const Transport *t) noexcept nogil:
    """In the pacer's queue."""
    return 0 if t.congestion == NULL else t.congestion.count


cdef inline bint still_waiting(const Transport *t, int64_t queued_us) noexcept nogil:
    """Whether a packet that was left to the pacer then has not been sent yet: a retransmission would overtake it."""
    cdef const Congestion *c = t.congestion
    return c != NULL and c.count > 0 and c.queue[c.head].queued_us <= queued_us


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
    """Where the link itself loses much it goes twice: each copy that is lost as well costs the receiver a round trip."""
    if not send_again(s, f, source, packet, entry, now_us):
        leave_unanswered(f, entry.sequence, now_us)
        return
    entry.resent_us = now_us
    if f.log != NULL:
        egress_log_answered(f.log, True, entry.sequence, now_us)
    if congestion_link_loses(f.transport.congestion):
        send_again(s, f, source, packet, entry, now_us)


cdef bint send_again(RouterState *s, Forwarder *f, Source *source, const Packet *packet, SentPacket *entry,
                     int64_t now_us) noexcept nogil:
    """False: there is no room for it, here or on the link."""
    cdef uint8_t *buffer = egress_buffer(s)
    cdef uint32_t size
    if buffer == NULL:
        return False
    if entry.padding:
        size = write_filler(f, entry, buffer, True)
    elif f.transport.relay_leg:
        size = relay_write(f, source, packet, entry, buffer, True)
    else:
        size = write_packet(f, source, packet, entry, buffer, True)
    # Beyond their share retransmissions only add to what the link cannot carry: the receiver asks again.
    if size == 0 or not congestion_may_resend(f.transport.congestion, size, now_us):
        return False
    f.rtx_sequence += 1
    if protect_and_send(s, f, buffer, size, SEND_AT_ONCE):
        f.resent += 1
        s.resent += 1
    return True
