# SPDX-License-Identifier: Apache-2.0
"""Layer selector: which frames of a track one receiver gets.

`select_frame` is a pure function of (selection, first packet of a frame, its layer): it decides, the caller commits. It is
asked once a frame; the frame's other packets follow the verdict (`rewriter.FrameRecord`), so that frames stay whole.
"""
from libc.stdint cimport int8_t, uint8_t
from sfu.engine.history cimport Packet

cdef enum Verdict:
    VERDICT_FORWARD = 0
    VERDICT_SWITCH = 1                # forward, and this layer becomes the current one from here
    VERDICT_DROP_SPATIAL = 2
    VERDICT_DROP_TEMPORAL = 3
    VERDICT_DROP_AWAITING_KEYFRAME = 4
    VERDICT_DROP_PAUSED = 5

cdef struct Selection:
    int8_t target_spatial     # -1 = paused
    int8_t target_temporal
    int8_t current_spatial    # -1 = nothing flows
    int8_t current_temporal

cdef struct Decision:
    Verdict verdict
    bint want_keyframe        # of the target layer
    int8_t temporal           # the current temporal layer after this frame, if it is forwarded

cdef void select_frame(const Selection *s, const Packet *packet, int layer, Decision *decision) noexcept nogil
