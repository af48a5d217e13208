# SPDX-License-Identifier: Apache-2.0
"""Who receives a track; see `tracks.pxd`."""
from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport realloc
from libc.string cimport memset
from sfu.engine.codecs cimport CODEC_RED
from sfu.engine.egress_log cimport EGRESS_BOUND, EGRESS_UNBOUND, egress_log_event
from sfu.engine.tables cimport EVENT_LAYER, Binding, Forwarder, PayloadMapping, RouterState, Track, note_forwarder, wake_transport

cdef enum:
    # The track that flowed goes on until the new one can start, but not longer than this.
    MAKE_BEFORE_BREAK_US = 1_500_000
    # Sound can start with any packet: of a silent sender (Opus DTX) one comes every 400 ms.
    AUDIO_MAKE_BEFORE_BREAK_US = 450_000


cdef int track_attach(Track *track, Forwarder *f) noexcept nogil:
    """0, or -1 without memory."""
    cdef Forwarder **bigger
    cdef uint32_t capacity
    if track.forwarder_count == track.forwarder_capacity and track.pending_job == track.pending_head:
        # No fan-out runs that would lose its place. A silent track never compacts otherwise.
        track_compact(track)
    if track.forwarder_count == track.forwarder_capacity:
        capacity = track.forwarder_capacity * 2 if track.forwarder_capacity else 8
        bigger = <Forwarder **>realloc(track.forwarders, capacity * sizeof(Forwarder *))
        if bigger == NULL:
            return -1
        track.forwarders = bigger
        track.forwarder_capacity = capacity
    track.forwarders[track.forwarder_count] = f
    track.forwarder_count += 1
    track.live_forwarders += 1
    return 0


cdef void track_detach(Track *track, Forwarder *f) noexcept nogil:
    """Leave a NULL behind: a fan-out that is under way keeps its place."""
    cdef uint32_t i
    for i in range(track.forwarder_count):
        if track.forwarders[i] == f:
            track.forwarders[i] = NULL
            track.live_forwarders -= 1
            return


cdef void track_compact(Track *track) noexcept nogil:
    """Close up the removed entries; only between two jobs."""
    cdef uint32_t i
    cdef uint32_t kept = 0
    if track.live_forwarders == track.forwarder_count:
        return
    for i in range(track.forwarder_count):
        if track.forwarders[i] != NULL:
            track.forwarders[kept] = track.forwarders[i]
            kept += 1
    track.forwarder_count = kept


cdef void forwarder_release_previous(RouterState *s, Forwarder *f) noexcept nogil:
    if f.previous.track != NULL:
        track_detach(f.previous.track, f)
        f.previous.track = NULL


cdef void forwarder_stop(RouterState *s, Forwarder *f) noexcept nogil:
    """Nothing flows any more; the next source begins with a switch."""
    f.rewriter.bound = False
    if f.selection.current_spatial >= 0:
        f.selection.current_spatial = -1
        note_forwarder(s, f, EVENT_LAYER)


cdef void mark_red(Binding *binding) noexcept nogil:
    """RED that is to go out under a payload type that other codecs go out under: its receiver has no RED."""
    cdef const Track *track = binding.track
    cdef PayloadMapping *red
    cdef uint32_t i, k
    for i in range(binding.payload_count):
        red = &binding.payloads[i]
        if track.payload[red.incoming & 0x7F].codec != CODEC_RED:
            continue
        for k in range(binding.payload_count):
            if (binding.payloads[k].outgoing == red.outgoing
                    and track.payload[binding.payloads[k].incoming & 0x7F].codec != CODEC_RED):
                red.strip_red = True


cdef int forwarder_bind(RouterState *s, Forwarder *f, const Binding *binding, int64_t now_us) noexcept nogil:
    """Make before break: what flows goes on until the new track's first keyframe, or first packet of sound.

    0, or -1 without memory.
    """
    cdef Track *old = f.binding.track
    if f.previous.track == binding.track:
        # Back to what is just leaving: begin it anew under its new name.
        forwarder_release_previous(s, f)
        forwarder_stop(s, f)
    if old == binding.track:
        if f.previous.track == NULL:
            forwarder_stop(s, f)
    else:
        if track_attach(binding.track, f):
            return -1
        if old != NULL and f.previous.track == NULL and f.rewriter.bound:
            f.previous = f.binding
            f.previous_until_us = now_us + (MAKE_BEFORE_BREAK_US if f.video else AUDIO_MAKE_BEFORE_BREAK_US)
            wake_transport(s, f.transport, f.previous_until_us)
        else:
            if old != NULL:
                track_detach(old, f)
            if f.previous.track == NULL:
                forwarder_stop(s, f)
    f.binding = binding[0]
    mark_red(&f.binding)
    f.awaiting_start = True
    if f.log != NULL:
        egress_log_event(f.log, EGRESS_BOUND, binding.csrc, -1, -1, now_us)
    return 0


cdef void forwarder_unbind(RouterState *s, Forwarder *f) noexcept nogil:
    forwarder_release_previous(s, f)
    if f.binding.track != NULL:
        track_detach(f.binding.track, f)
        f.binding.track = NULL
    f.awaiting_start = False
    if f.log != NULL:
        egress_log_event(f.log, EGRESS_UNBOUND, f.binding.csrc, -1, -1, s.now_us)
    forwarder_stop(s, f)
