# SPDX-License-Identifier: Apache-2.0
"""Layer selection; see `selector.pxd`. Rules: RFC 7741 §4.2 (VP8 temporal layers), docs/architecture.md."""

from sfu.engine.history cimport FRAME_KEY, FRAME_LAYER_SYNC, Packet

cdef void select_frame(const Selection *s, const Packet *packet, int layer, Decision *decision) noexcept nogil:
    """Decide on the frame that `packet` belongs to. `layer` is the packet's simulcast layer, 0 = lowest."""
    cdef bint key = (packet.flags & FRAME_KEY) != 0
    decision.want_keyframe = False
    decision.temporal = s.current_temporal
    if s.target_spatial < 0:
        decision.verdict = VERDICT_DROP_PAUSED
        return
    if layer == s.current_spatial:
        select_temporal(s, packet, key, decision)
        return
    # The old layer runs until the wanted one can start. With nothing running, any lower layer will do for the moment.
    if layer == s.target_spatial or (s.current_spatial < 0 and layer < s.target_spatial):
        if key:
            decision.verdict = VERDICT_SWITCH
            decision.temporal = s.target_temporal
            return
        decision.want_keyframe = layer == s.target_spatial
        decision.verdict = VERDICT_DROP_AWAITING_KEYFRAME
        return
    decision.verdict = VERDICT_DROP_SPATIAL


cdef void select_temporal(const Selection *s, const Packet *packet, bint key, Decision *decision) noexcept nogil:
    """Within the current layer: down at any frame, up one step at a frame that says it can be decoded from layer 0."""
    cdef int temporal = s.current_temporal
    if key:
        temporal = s.target_temporal
    elif s.target_temporal < temporal:
        temporal = s.target_temporal
    elif packet.temporal == temporal + 1 and packet.temporal <= s.target_temporal and packet.flags & FRAME_LAYER_SYNC:
        temporal = packet.temporal
    decision.temporal = <int8_t>temporal
    decision.verdict = VERDICT_FORWARD if packet.temporal <= temporal else VERDICT_DROP_TEMPORAL
