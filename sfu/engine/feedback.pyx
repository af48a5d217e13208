# SPDX-License-Identifier: Apache-2.0
"""RTCP that comes in; see `feedback.pxd`. Unknown types and XR are skipped (RFC 3550 §6.1)."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from sfu.engine cimport drops
from sfu.engine.clock_map cimport ntp_to_us, publisher_clock_report, timestamp_map_report, us_to_ntp
from sfu.engine.bwe.estimator cimport estimator_remb, estimator_report
from sfu.engine.congestion cimport congestion_feedback
from sfu.engine.egress_log cimport EGRESS_KEYFRAME_REQUEST, egress_log_event
from sfu.engine.forwarder cimport flowing_source, forwarder_nack
from sfu.engine.source cimport source_want_keyframe
from sfu.engine.srtp cimport SRTP_BAD_AUTH, SRTP_OK, SRTP_REPLAYED, srtcp_unprotect
from sfu.engine.tables cimport EVENT_LAYERS, Forwarder, RouterState, Source, Track, Transport, note_track
from sfu.wire.rtcp cimport (
    PSFB_APPLICATION, PSFB_FIR, PSFB_PLI, RTCP_BYE, RTCP_PSFB, RTCP_RR, RTCP_RTPFB, RTCP_SR, RTPFB_NACK, RTPFB_TRANSPORT_CC,
    ReportBlock,
    RtcpHeader, SenderReport, rtcp_bye_ssrc, rtcp_feedback_ssrcs, rtcp_fir_entry, rtcp_nack_sequences, rtcp_next, rtcp_remb,
    rtcp_report_block, rtcp_sender_report,
)

cdef enum:
    MAX_NACKED = 256           # sequence numbers answered of one NACK packet
    MAX_RTT_US = 10_000_000    # a longer round trip is a wrong one


cdef void receive_rtcp(RouterState *s, Transport *t, uint8_t *data, uint32_t size, int64_t now_us) noexcept nogil:
    """One datagram that looks like SRTCP, from an address of `t`. Decrypts in place."""
    cdef RtcpHeader header
    cdef uint32_t offset = 0
    cdef uint32_t start
    cdef int status
    if t.receive_srtp == NULL:
        s.drops[drops.DROP_NO_KEYS] += 1
        return
    status = srtcp_unprotect(t.receive_srtp, data, &size)
    if status != SRTP_OK:
        if status == SRTP_REPLAYED:
            s.drops[drops.DROP_REPLAYED] += 1
        else:
            s.drops[drops.DROP_BAD_AUTH if status == SRTP_BAD_AUTH else drops.DROP_MALFORMED] += 1
        return
    while True:
        start = offset
        status = rtcp_next(data, size, &offset, &header)
        if status == 0:
            s.rtcp_received += 1
            return
        if status < 0:
            s.drops[drops.DROP_MALFORMED] += 1
            return
        receive_packet(s, t, data + start, &header, now_us)


cdef void receive_packet(RouterState *s, Transport *t, const uint8_t *packet, const RtcpHeader *header,
                         int64_t now_us) noexcept nogil:
    if header.packet_type == RTCP_SR:
        receive_sender_report(t, packet, header.size, now_us)
        receive_report_blocks(s, t, packet, header, now_us)
    elif header.packet_type == RTCP_RR:
        receive_report_blocks(s, t, packet, header, now_us)
    elif header.packet_type == RTCP_RTPFB and header.count == RTPFB_NACK:
        receive_nack(s, t, packet, header.size, now_us)
    elif header.packet_type == RTCP_RTPFB and header.count == RTPFB_TRANSPORT_CC:
        congestion_feedback(s, t, packet, header.size, now_us)
    elif header.packet_type == RTCP_PSFB:
        receive_payload_feedback(s, t, packet, header, now_us)
    elif header.packet_type == RTCP_BYE:
        receive_bye(s, t, packet, header)


cdef Source *find_source(Transport *t, uint32_t ssrc) noexcept nogil:
    cdef uint32_t i
    for i in range(t.ssrc_count):
        if t.ssrcs[i].ssrc == ssrc and not t.ssrcs[i].rtx:
            return t.ssrcs[i].source
    return NULL


cdef Forwarder *find_forwarder(Transport *t, uint32_t ssrc) noexcept nogil:
    cdef Forwarder *f = t.forwarders
    while f != NULL:
        if f.ssrc == ssrc:
            return f
        f = f.next_of_transport
    return NULL


cdef void receive_sender_report(Transport *t, const uint8_t *packet, uint32_t size, int64_t now_us) noexcept nogil:
    cdef SenderReport report
    cdef Source *source
    cdef int64_t ntp_us
    if rtcp_sender_report(packet, size, &report):
        return
    source = find_source(t, report.ssrc)
    if source == NULL:
        return
    source.reception.sr_ntp_middle = (report.ntp >> 16) & <uint64_t>0xFFFFFFFF
    source.reception.sr_arrival_us = now_us
    if report.ntp == 0:
        return                # RFC 3550 §6.4.1: a sender without a wall clock
    ntp_us = ntp_to_us(report.ntp)
    publisher_clock_report(&t.clock, ntp_us, now_us)
    timestamp_map_report(&source.timestamps, report.rtp_timestamp, ntp_us)


cdef void receive_report_blocks(RouterState *s, Transport *t, const uint8_t *packet, const RtcpHeader *header,
                                int64_t now_us) noexcept nogil:
    """Round-trip time and loss of what we send (RFC 3550 §6.4.1)."""
    cdef ReportBlock block
    cdef Forwarder *f
    cdef uint32_t i, now_middle, rtt
    cdef int64_t rtt_us
    cdef double lost = 0
    cdef double weight = 0
    for i in range(header.count):
        if rtcp_report_block(packet, header.size, i, &block):
            return
        f = find_forwarder(t, block.ssrc)
        if f == NULL:
            continue
        f.fraction_lost = block.fraction_lost
        f.remote_jitter = block.jitter
        weight += f.rate.rate_bps + 1.0
        lost += (f.rate.rate_bps + 1.0) * block.fraction_lost / 256.0
        if block.last_sr == 0:
            continue
        now_middle = <uint32_t>(us_to_ntp(now_us + s.wall_offset_us) >> 16)
        rtt = now_middle - block.last_sr - block.delay_since_last_sr
        rtt_us = <int64_t>rtt * 1_000_000 // 65536
        if rtt_us < MAX_RTT_US:
            t.rtt_us = rtt_us if t.rtt_us < 0 else (t.rtt_us * 7 + rtt_us) // 8
    if t.congestion != NULL and weight > 0:
        estimator_report(t.congestion.estimator, lost / weight, t.rtt_us, now_us)


cdef void receive_nack(RouterState *s, Transport *t, const uint8_t *packet, uint32_t size, int64_t now_us) noexcept nogil:
    cdef uint16_t sequences[MAX_NACKED]
    cdef uint32_t sender, media, count, i
    cdef Forwarder *f
    if rtcp_feedback_ssrcs(packet, size, &sender, &media):
        return
    f = find_forwarder(t, media)
    if f == NULL:
        return
    count = rtcp_nack_sequences(packet, size, sequences, MAX_NACKED)
    s.nacks_received += count
    for i in range(count):
        forwarder_nack(s, f, sequences[i], now_us)


cdef void receive_payload_feedback(RouterState *s, Transport *t, const uint8_t *packet, const RtcpHeader *header,
                                   int64_t now_us) noexcept nogil:
    cdef uint32_t sender, media, ssrc, index = 0
    cdef uint64_t bitrate
    cdef uint8_t command
    if header.count == PSFB_PLI:
        if rtcp_feedback_ssrcs(packet, header.size, &sender, &media) == 0:
            keyframe_request(s, find_forwarder(t, media), now_us)
    elif header.count == PSFB_FIR:
        while rtcp_fir_entry(packet, header.size, index, &ssrc, &command) == 0:
            keyframe_request(s, find_forwarder(t, ssrc), now_us)
            index += 1
    elif header.count == PSFB_APPLICATION and rtcp_remb(packet, header.size, &bitrate) == 0:
        t.remb_bps = bitrate
        if t.congestion != NULL:
            estimator_remb(t.congestion.estimator, <int64_t>bitrate, now_us)


cdef void keyframe_request(RouterState *s, Forwarder *f, int64_t now_us) noexcept nogil:
    """A receiver cannot decode: the layer it gets shall send a keyframe."""
    cdef Source *source
    if f == NULL:
        return
    f.keyframe_requests += 1
    if f.log != NULL:
        egress_log_event(f.log, EGRESS_KEYFRAME_REQUEST, f.binding.csrc, -1, -1, now_us)
    source = flowing_source(f)
    if source != NULL and f.video:
        source_want_keyframe(s, source, now_us)


cdef void receive_bye(RouterState *s, Transport *t, const uint8_t *packet, const RtcpHeader *header) noexcept nogil:
    """The publisher ended a stream: its layer is not live any more."""
    cdef uint32_t ssrc, i
    cdef Source *source
    cdef Track *track
    for i in range(header.count):
        if rtcp_bye_ssrc(packet, header.size, i, &ssrc):
            return
        source = find_source(t, ssrc)
        if source == NULL:
            continue
        track = source.track
        if track.layers[source.layer].active:
            track.layers[source.layer].active = False
            note_track(s, track, EVENT_LAYERS)
