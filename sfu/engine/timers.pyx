# SPDX-License-Identifier: Apache-2.0
"""The router's tick; see `timers.pxd`."""
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint32_t
from sfu.engine.clock_map cimport timestamp_map_at, us_to_ntp
from sfu.engine.congestion cimport congestion_busy, congestion_tick
from sfu.engine.egress cimport egress_buffer, egress_has_room, egress_rtcp, transport_ready
from sfu.engine.fetching cimport fetch_timers
from sfu.engine.forwarder cimport flowing_source
from sfu.engine.nack cimport nack_next_us
from sfu.engine.reception cimport rate_roll, reception_report
from sfu.engine.schedule cimport schedule_move, schedule_next_us
from sfu.engine.source cimport source_ask_keyframe, source_ask_missing
from sfu.engine.tables cimport (
    EGRESS_BUFFER, EVENT_EXPIRED, EVENT_LAYERS, MAX_LAYERS, Forwarder, RouterState, Source, Track, Transport, note_track, note_transport,
)
from sfu.engine.tracks cimport forwarder_release_previous, forwarder_stop
from sfu.engine.transport_cc cimport arrival_log_feedback
from sfu.wire.rtcp cimport (
    ReportBlock, SenderReport, rtcp_write_remb, rtcp_write_rr, rtcp_write_sdes_cname, rtcp_write_sr,
)

cdef enum:
    CONSENT_US = 30_000_000         # RFC 7675 §5.1
    REPORT_INTERVAL_US = 1_000_000
    # Feedback this often lets Chromium's first probe succeed (docs/architecture.md).
    FEEDBACK_INTERVAL_US = 50_000
    CHECK_INTERVAL_US = 100_000     # silence, keyframes asked again, consent
    # At 5 frames/s a layer sends every 200 ms; a share-screen layer may send less often, and is not told apart here.
    LAYER_SILENT_US = 1_500_000
    AUDIO_SILENT_US = 300_000       # no packets (muted, DTX): the level fades
    SECOND_QUICK_REPORT_US = 200_000
    FIRST_QUICK_REPORT_US = 100_000
    MAX_REPORT_BLOCKS = 31          # RFC 3550 §6.4.1
    QUIET_US = 3_000_000            # more than it takes a layer to end, a level to fade and a rate to fall to 0
    SLICE_TRANSPORTS = 64           # of one tick: some 50 µs of a slice
    MAX_FEEDBACK_PACKETS = 8        # of one tick and transport

cdef const uint8_t *CNAME = b"pysfu"


cdef uint32_t run_timers(RouterState *s, int64_t now_us) noexcept nogil:
    """Do what is due, of a slice's worth of transports. Returns of how many; the rest stays due."""
    cdef Transport *t
    cdef uint32_t done = 0
    while done < SLICE_TRANSPORTS and schedule_next_us(&s.schedule) <= now_us:
        if not egress_has_room(&s.egress, MAX_FEEDBACK_PACKETS):
            break             # again when the batch is out
        fetch_timers(&s.schedule)
        t = <Transport *>s.schedule.heap[0].timer.owner
        schedule_move(&s.schedule, &t.timer, max(run_transport(s, t, now_us), now_us + 1))
        done += 1
    return done


cdef int64_t run_transport(RouterState *s, Transport *t, int64_t now_us) noexcept nogil:
    """Returns when to come again."""
    cdef int64_t next_us, congestion_us
    check_consent(s, t, now_us)
    if not transport_ready(t):
        # What makes it ready wakes it.
        return consent_end_us(t, now_us)
    if t.check_due_us <= now_us:
        t.quiet = is_quiet(t, now_us)
        next_us = consent_end_us(t, now_us) if t.quiet else now_us + CHECK_INTERVAL_US
        next_us = check_sources(s, t, now_us, next_us)
        t.check_due_us = check_forwarders(s, t, now_us, next_us)
    next_us = t.check_due_us
    if t.quiet:
        return next_us
    congestion_us = congestion_tick(s, t, now_us)
    if congestion_us < next_us:
        next_us = congestion_us
    if t.arrivals != NULL:
        if t.feedback_due_us <= now_us:
            send_feedback(s, t)
            t.feedback_due_us = now_us + FEEDBACK_INTERVAL_US
        if t.feedback_due_us < next_us:
            next_us = t.feedback_due_us
    if t.report_due_us <= now_us:
        send_receiver_report(s, t, now_us)
        t.report_due_us = now_us + REPORT_INTERVAL_US
    return next_us


cdef bint is_quiet(const Transport *t, int64_t now_us) noexcept nogil:
    """Whether nothing came and nothing went for so long that all rates have fallen to 0 and all layers have ended."""
    cdef const Forwarder *f = t.forwarders
    if t.heard_us + QUIET_US > now_us or (t.congestion != NULL and congestion_busy(t.congestion, now_us - QUIET_US)):
        return False
    while f != NULL:
        if f.rewriter.bound or f.previous.track != NULL or f.rate.rate_bps or f.rate.bytes:
            return False
        f = f.next_of_transport
    return True


cdef int64_t consent_end_us(const Transport *t, int64_t now_us) noexcept nogil:
    """When consent ends if the peer stays silent. A relay's does not: its other end is a part of this server."""
    return INT64_MAX if t.expired or t.relay_leg else t.consent_us + CONSENT_US + 1


cdef void check_consent(RouterState *s, Transport *t, int64_t now_us) noexcept nogil:
    if not t.expired and not t.relay_leg and now_us - t.consent_us > CONSENT_US:
        t.expired = True
        note_transport(s, t, EVENT_EXPIRED)


cdef int64_t check_sources(RouterState *s, Transport *t, int64_t now_us, int64_t next_us) noexcept nogil:
    cdef Track *track = t.tracks
    cdef Source *source
    cdef uint32_t i
    while track != NULL:
        for i in range(track.layer_count):
            source = track.layers[i].source
            if source == NULL:
                continue
            rate_roll(&source.rate, now_us)
            if not track.video and now_us - source.last_packet_us > AUDIO_SILENT_US:
                track.level_q8 -= track.level_q8 >> 2
            if track.layers[i].active and now_us - source.last_packet_us > LAYER_SILENT_US:
                track.layers[i].active = False
                note_track(s, track, EVENT_LAYERS)
            check_spatial(s, source, now_us)
            if source.keyframe_wanted and track.layers[i].active:
                source_ask_keyframe(s, source, now_us)
            if source.nack != NULL:
                source_ask_missing(s, source, now_us)
                if nack_next_us(source.nack) < next_us:
                    next_us = nack_next_us(source.nack)
        track = track.next_of_transport
    return next_us


cdef void check_spatial(RouterState *s, Source *source, int64_t now_us) noexcept nogil:
    cdef int i
    for i in range(MAX_LAYERS):
        rate_roll(&source.spatial_rate[i], now_us)
        if source.spatial_active[i] and now_us - source.spatial_seen_us[i] > LAYER_SILENT_US:
            source.spatial_active[i] = False
            note_track(s, source.track, EVENT_LAYERS)


cdef int64_t check_forwarders(RouterState *s, Transport *t, int64_t now_us, int64_t next_us) noexcept nogil:
    cdef Forwarder *f = t.forwarders
    while f != NULL:
        rate_roll(&f.rate, now_us)
        if f.previous.track != NULL:
            if f.previous_until_us <= now_us:
                forwarder_release_previous(s, f)
                forwarder_stop(s, f)
            elif f.previous_until_us < next_us:
                next_us = f.previous_until_us
        if f.rewriter.bound and f.rewriter.started:
            if f.report_due_us <= now_us:
                send_sender_report(s, t, f, now_us)
            if f.report_due_us < next_us:
                next_us = f.report_due_us
        f = f.next_of_transport
    return next_us


cdef void send_sender_report(RouterState *s, Transport *t, Forwarder *f, int64_t now_us) noexcept nogil:
    """In the server's clock, with the outbound timestamp that belongs to this very moment."""
    cdef Source *source = flowing_source(f)
    cdef SenderReport report
    cdef uint8_t *buffer
    cdef uint32_t size
    f.report_due_us = now_us + REPORT_INTERVAL_US
    if f.quick_reports:
        f.report_due_us = now_us + (FIRST_QUICK_REPORT_US if f.quick_reports == 2 else SECOND_QUICK_REPORT_US)
        f.quick_reports -= 1
    if source == NULL:
        return
    buffer = egress_buffer(s)
    if buffer == NULL:
        return
    report.ssrc = f.ssrc
    report.ntp = us_to_ntp(now_us + s.wall_offset_us)
    report.rtp_timestamp = (timestamp_map_at(&source.timestamps, &source.track.transport.clock, now_us)
                            + f.rewriter.timestamp_offset)
    report.packet_count = <uint32_t>f.packets_sent
    report.octet_count = <uint32_t>f.bytes_sent
    size = rtcp_write_sr(buffer, EGRESS_BUFFER, &report, NULL, 0)
    size += rtcp_write_sdes_cname(buffer + size, EGRESS_BUFFER - size, f.ssrc, CNAME, 5)
    egress_rtcp(s, t, buffer, size)


cdef void send_receiver_report(RouterState *s, Transport *t, int64_t now_us) noexcept nogil:
    """One block for each source that has been heard since the last report; and what all of them may send, if that is
    bounded."""
    cdef ReportBlock blocks[MAX_REPORT_BLOCKS]
    cdef uint32_t ssrcs[MAX_REPORT_BLOCKS]
    cdef Track *track = t.tracks
    cdef Source *source
    cdef uint8_t *buffer
    cdef uint32_t size, i, count = 0
    while track != NULL:
        for i in range(track.layer_count):
            source = track.layers[i].source
            if source == NULL or not source.reception.started or count == MAX_REPORT_BLOCKS:
                continue
            if now_us - source.last_packet_us > 2 * REPORT_INTERVAL_US:
                continue
            reception_report(&source.reception, source.ssrc, now_us, &blocks[count])
            ssrcs[count] = source.ssrc
            count += 1
        track = track.next_of_transport
    if count == 0:
        return
    buffer = egress_buffer(s)
    if buffer == NULL:
        return
    size = rtcp_write_rr(buffer, EGRESS_BUFFER, t.local_ssrc, blocks, count)
    size += rtcp_write_sdes_cname(buffer + size, EGRESS_BUFFER - size, t.local_ssrc, CNAME, 5)
    if t.publish_limit_bps:
        size += rtcp_write_remb(buffer + size, EGRESS_BUFFER - size, t.local_ssrc, t.publish_limit_bps, ssrcs, count)
    egress_rtcp(s, t, buffer, size)


cdef void send_feedback(RouterState *s, Transport *t) noexcept nogil:
    cdef uint8_t *buffer
    cdef uint32_t size
    cdef int i
    for i in range(MAX_FEEDBACK_PACKETS):
        buffer = egress_buffer(s)
        if buffer == NULL:
            return
        size = arrival_log_feedback(t.arrivals, buffer, EGRESS_BUFFER, t.local_ssrc, t.feedback_media_ssrc)
        if size == 0:
            return
        egress_rtcp(s, t, buffer, size)
