# SPDX-License-Identifier: Apache-2.0
"""Layer selector: which frames of a track one receiver gets.

`select_frame` and `select_dependency` are pure functions of (selection, first packet of a frame, what its source is): they
decide, the caller commits. They are asked once a frame; the frame's other packets follow the verdict
(`rewriter.FrameRecord`), so that frames stay whole. docs/layer-selection.md draws the state machine.
"""
from libc.stdint cimport int8_t, uint16_t, uint32_t, uint64_t
from sfu.engine.history cimport Packet
from sfu.wire.dependency_descriptor cimport DependencyStructure, FrameDependency

cdef enum Verdict:
    VERDICT_FORWARD = 0
    VERDICT_SWITCH = 1                # forward, and this layer becomes the current one from here
    VERDICT_DROP_SPATIAL = 2
    VERDICT_DROP_TEMPORAL = 3
    VERDICT_DROP_AWAITING_KEYFRAME = 4
    VERDICT_DROP_PAUSED = 5

cdef struct Chains:                   # what of a source's dependency graph was forwarded
    int8_t target                     # decode target in use, -1 = none
    uint16_t newest                   # newest frame number that was decided on
    uint64_t dropped                  # bit i: frame `newest - i` was dropped, or lies before the start

cdef struct Selection:
    int8_t target_spatial             # -1 = paused
    int8_t target_temporal
    int8_t current_spatial            # -1 = nothing flows
    int8_t current_temporal
    bint switch_up                    # VP9: a picture said that higher temporal layers may begin now
    Chains chains

cdef struct Stream:                   # what the selector must know of the packet's source
    int layer                         # simulcast layer, 0 = lowest
    bint scalable                     # spatial layers lie in this one stream: packet.spatial counts, not `layer`
    int top_spatial                   # highest spatial layer it currently sends
    bint new_picture                  # the frame belongs to another picture than the one before

cdef struct Decision:
    Verdict verdict
    bint want_keyframe                # of the target layer
    int8_t spatial                    # the current layers after this frame
    int8_t temporal
    bint switch_up
    bint announce                     # the set of active decode targets changes here
    Chains chains

cdef void select_frame(const Selection *s, const Packet *packet, const Stream *stream, Decision *decision) noexcept nogil
cdef void select_dependency(const Selection *s, const FrameDependency *frame, const DependencyStructure *structure,
                            uint32_t active_targets, bint flowing, bint closed, Decision *decision) noexcept nogil
cdef void note_dropped(Chains *chains, uint16_t frame_number) noexcept nogil
cdef bint frame_in_target(const Selection *s, const FrameDependency *frame) noexcept nogil
