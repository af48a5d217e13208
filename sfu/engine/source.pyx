# SPDX-License-Identifier: Apache-2.0
"""Inbound sources; see `source.pxd`."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free, malloc
from sfu.engine.egress cimport egress_buffer, egress_rtcp, transport_ready
from sfu.engine.history cimport history_clear, history_close, history_open
from sfu.engine.nack cimport NackGenerator, nack_due, nack_init, nack_next_us, nack_take_keyframe_wanted
from sfu.engine.reception cimport reception_init
from sfu.engine.tables cimport EGRESS_BUFFER, PAYLOAD_PLI, RouterState, Source, Track, Transport, wake_transport
from sfu.wire.rtcp cimport rtcp_write_fir, rtcp_write_nack, rtcp_write_pli

cdef enum:
    VIDEO_PACKETS = 1024           # history; both powers of two
    VIDEO_ARENA = 1 << 19          # bytes: a second at 4 Mbit/s
    AUDIO_PACKETS = 64
    AUDIO_ARENA = 1 << 15
    # Between two keyframe requests for one layer, over all its receivers: so a storm of joins costs a publisher one
    # keyframe per second. LiveKit 0.5 to 1 s, Jitsi 0.2 s.
    KEYFRAME_SPACING_US = 1_000_000
    KEYFRAME_REPEAT_US = 500_000   # the same while none came: the request or the keyframe was lost
    DEFAULT_RTT_US = 70_000        # as LiveKit assumes until it is measured
    NACK_BATCH = 64                # sequence numbers of one request


cdef Source *source_open(RouterState *s, Track *track, int layer, uint32_t ssrc, uint32_t clock_rate, bint nack) noexcept nogil:
    """NULL without memory."""
    cdef Source *source = <Source *>calloc(1, sizeof(Source))
    cdef int failed
    if source == NULL:
        return NULL
    if track.video:
        failed = history_open(&source.history, VIDEO_PACKETS, VIDEO_ARENA)
    else:
        failed = history_open(&source.history, AUDIO_PACKETS, AUDIO_ARENA)
    if failed:
        free(source)
        return NULL
    if nack:
        source.nack = <NackGenerator *>malloc(sizeof(NackGenerator))
        if source.nack != NULL:
            nack_init(source.nack)
    source.track = track
    source.layer = layer
    source.ssrc = ssrc
    source.timestamps.clock_rate = clock_rate
    s.next_generation += 1
    source.generation = s.next_generation
    reception_init(&source.reception)
    source.keyframe_asked_us = -KEYFRAME_SPACING_US
    source.keyframe_answered = True
    return source


cdef void source_close(Source *source) noexcept nogil:
    if source == NULL:
        return
    history_close(&source.history)
    free(source.nack)
    free(source.dependencies)
    free(source)


cdef void source_restart(RouterState *s, Source *source) noexcept nogil:
    """The stream began anew under the same SSRC: nothing stored of it can be mixed with what comes."""
    s.next_generation += 1
    source.generation = s.next_generation
    history_clear(&source.history)
    source.waiting = 0
    if source.nack != NULL:
        nack_init(source.nack)
    free(source.dependencies)
    source.dependencies = NULL
    source.has_timestamp = False
    source.timestamps.has_report = False
    source.timestamps.has_anchor = False


cdef void source_want_keyframe(RouterState *s, Source *source, int64_t now_us) noexcept nogil:
    """Ask now, or as soon as the spacing allows; asked again until a keyframe comes and nobody wants more."""
    source.keyframe_wanted = True
    source_ask_keyframe(s, source, now_us)


cdef void source_mark_keyframe(RouterState *s, Source *source, int64_t now_us) noexcept nogil:
    """For control calls, which must not touch the egress batch: the worker asks at its next tick."""
    source.keyframe_wanted = True
    wake_transport(s, source.track.transport, now_us)


cdef inline int64_t keyframe_spacing_us(const Source *source) noexcept nogil:
    """A request is not taken for lost before an answer can have come."""
    if source.keyframe_answered:
        return KEYFRAME_SPACING_US
    return min(max(KEYFRAME_REPEAT_US, 2 * source.track.transport.rtt_us), KEYFRAME_SPACING_US)


cdef void source_ask_keyframe(RouterState *s, Source *source, int64_t now_us) noexcept nogil:
    cdef Transport *t = source.track.transport
    cdef uint8_t *buffer
    cdef uint32_t size
    cdef uint8_t payload_type
    if now_us - source.keyframe_asked_us < keyframe_spacing_us(source) or not transport_ready(t):
        return
    buffer = egress_buffer(s)
    if buffer == NULL:
        return
    if source.track.payload[source.payload_type].flags & PAYLOAD_PLI:
        size = rtcp_write_pli(buffer, EGRESS_BUFFER, t.local_ssrc, source.ssrc)
    else:
        source.fir_command += 1
        size = rtcp_write_fir(buffer, EGRESS_BUFFER, t.local_ssrc, source.ssrc, source.fir_command)
    if egress_rtcp(s, t, buffer, size):
        source.keyframe_asked_us = now_us
        source.keyframe_answered = False
        s.keyframes_asked += 1


cdef void source_ask_missing(RouterState *s, Source *source, int64_t now_us) noexcept nogil:
    """Send the NACK that is due; a gap that was given up is healed by a keyframe."""
    cdef Transport *t = source.track.transport
    cdef uint16_t sequences[NACK_BATCH]
    cdef uint32_t count
    cdef uint8_t *buffer
    if source.nack == NULL or not transport_ready(t):
        return
    if nack_next_us(source.nack) <= now_us:
        buffer = egress_buffer(s)
        if buffer == NULL:
            return
        count = nack_due(source.nack, now_us, t.rtt_us if t.rtt_us >= 0 else DEFAULT_RTT_US, sequences, NACK_BATCH)
        if count:
            count = rtcp_write_nack(buffer, EGRESS_BUFFER, t.local_ssrc, source.ssrc, sequences, count)
            if count and egress_rtcp(s, t, buffer, count):
                s.nacks_sent += 1
    # Also when nothing is missing any more: a gap too long to be asked for was given up at once.
    if nack_take_keyframe_wanted(source.nack):
        source_want_keyframe(s, source, now_us)
