# SPDX-License-Identifier: Apache-2.0
"""Times the selector and the rewriter on the packets in a track's history; for the benchmark, the server never imports it."""
import time

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memset
from sfu.engine.codecs cimport CODEC_VP9
from sfu.engine.dependencies cimport dependencies_frame
from sfu.engine.history cimport FRAME_START, Packet, history_get
from sfu.engine.packet_writer cimport write_packet
from sfu.engine.rewriter cimport (
    FrameRecord, Rewriter, rewriter_advance, rewriter_frame, rewriter_init, rewriter_new_frame, rewriter_switch,
)
from sfu.engine.router cimport Router
from sfu.engine.selector cimport Decision, Selection, Stream, select_dependency, select_frame
from sfu.engine.tables cimport Forwarder, SentPacket, Source, Track, forwarder_of, track_of
from sfu.wire.dependency_descriptor cimport FrameDependency

cdef enum:
    OUT_SIZE = 2048


cdef Source *source_of(Router router, uint32_t handle, uint32_t layer) except NULL:
    cdef Track *track = track_of(router.state, handle)
    if track == NULL or layer >= track.layer_count or track.layers[layer].source == NULL:
        raise ValueError("no such layer, or nothing came of it")
    return track.layers[layer].source


cdef uint32_t decide_all(Source *source, Selection *selection, Packet **frames, uint32_t count) noexcept nogil:
    cdef Decision decision
    cdef Stream stream
    cdef const FrameDependency *dependency
    cdef uint32_t i, kept = 0
    stream.layer = source.layer
    stream.scalable = source.track.layer_count == 1 and frames[0].codec == CODEC_VP9
    stream.new_picture = True
    stream.top_spatial = 2
    for i in range(count):
        if frames[i].has_dependency:
            dependency = dependencies_frame(source.dependencies, frames[i].frame)
            select_dependency(selection, dependency, &source.dependencies.structure, source.dependencies.active_targets,
                              True, False, &decision)
        else:
            select_frame(selection, frames[i], &stream, &decision)
        selection.current_spatial = decision.spatial
        selection.current_temporal = decision.temporal
        selection.chains = decision.chains
        kept += decision.verdict == 0
    return kept


cdef uint32_t gather(Source *source, bint frames_only, Packet **out, uint32_t capacity) noexcept nogil:
    """What the history holds, oldest first; frames whose descriptor is forgotten are left out."""
    cdef int64_t at
    cdef Packet *packet
    cdef uint32_t count = 0
    for at in range(max(<int64_t>0, source.history.newest - 1000), source.history.newest + 1):
        packet = history_get(&source.history, at)
        if packet == NULL or count == capacity or (frames_only and not packet.flags & FRAME_START):
            continue
        if packet.has_dependency and dependencies_frame(source.dependencies, packet.frame) == NULL:
            continue
        out[count] = packet
        count += 1
    return count


def decision_ns(Router router, uint32_t track, uint32_t layer, int spatial, int temporal, int rounds):
    """Nanoseconds of one decision, and the share of frames that were forwarded."""
    cdef Packet *frames[1024]
    cdef Source *source = source_of(router, track, layer)
    cdef uint32_t count = gather(source, True, frames, 1024)
    cdef Selection selection
    cdef uint32_t kept = 0
    cdef int i
    if count == 0:
        raise ValueError("no frames in the history")
    memset(&selection, 0, sizeof(selection))
    selection.target_spatial = spatial
    selection.target_temporal = temporal
    selection.current_spatial = min(spatial, 2)
    selection.current_temporal = temporal
    began = time.perf_counter_ns()
    for i in range(rounds):
        kept += decide_all(source, &selection, frames, count)
    spent = time.perf_counter_ns() - began
    return spent / rounds / count, kept / (<double>rounds * count)


cdef void rewrite_all(Forwarder *f, Source *source, Packet **packets, uint32_t count, bint write, uint8_t *out) noexcept nogil:
    cdef Rewriter rewriter
    cdef FrameRecord *frame
    cdef SentPacket entry
    cdef uint32_t i
    rewriter_init(&rewriter, 1000, 90000)
    rewriter_switch(&rewriter, packets[0], 90000, True)
    memset(&entry, 0, sizeof(entry))
    for i in range(count):
        frame = rewriter_frame(&rewriter, packets[i].frame)
        if frame == NULL:
            frame = rewriter_new_frame(&rewriter, packets[i], True, 0, 2)
        rewriter_advance(&rewriter, packets[i])
        if write:
            entry.sequence = rewriter.highest_out
            entry.timestamp = packets[i].timestamp + rewriter.timestamp_offset
            entry.picture_id = (packets[i].picture_id + frame.picture_offset) & 0x7FFF
            entry.frame_number = packets[i].frame_number + rewriter.frame_number_offset
            write_packet(f, source, packets[i], &entry, out, False)


def rewrite_ns(Router router, uint32_t track, uint32_t layer, uint32_t forwarder, int rounds):
    """Nanoseconds to give one packet its numbers, and to do so and write it with its payload; mean payload in bytes."""
    cdef Packet *packets[1024]
    cdef uint8_t out[OUT_SIZE]
    cdef Source *source = source_of(router, track, layer)
    cdef Forwarder *f = forwarder_of(router.state, forwarder)
    cdef uint32_t count = gather(source, False, packets, 1024)
    cdef uint32_t i, size = 0
    cdef int n
    if f == NULL or count == 0:
        raise ValueError("no such forwarder, or no packets in the history")
    for i in range(count):
        size += packets[i].payload_size
    spent = []
    for write in (False, True):
        began = time.perf_counter_ns()
        for n in range(rounds):
            rewrite_all(f, source, packets, count, write, out)
        spent.append((time.perf_counter_ns() - began) / rounds / count)
    return spent[0], spent[1], size / <double>count
