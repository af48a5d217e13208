# SPDX-License-Identifier: Apache-2.0
"""Layer selection; see `selector.pxd`.

Sources: RFC 7741 §4.2 (VP8 temporal layers), RFC 9628 §4.2 (VP9), AV1 RTP specification v1.0 §4.4 and appendix A (decode
targets, chains), docs/layer-selection.md.
"""
from libc.stdint cimport int8_t, int16_t, uint16_t, uint32_t, uint64_t
from sfu.engine.codecs cimport CODEC_VP9
from sfu.engine.history cimport FRAME_KEY, FRAME_LAYER_SYNC, FRAME_SWITCH_UP, Packet
from sfu.wire.dependency_descriptor cimport DependencyStructure, FrameDependency, dd_present

cdef enum:
    CHAIN_WINDOW = 64          # frames; references further back are taken to be there


cdef void select_frame(const Selection *s, const Packet *packet, const Stream *stream, Decision *decision) noexcept nogil:
    """Decide on the frame that `packet` belongs to, by what its codec's payload descriptor says."""
    cdef bint key = (packet.flags & FRAME_KEY) != 0
    decision.want_keyframe = False
    decision.spatial = s.current_spatial
    decision.temporal = s.current_temporal
    decision.switch_up = s.switch_up
    decision.announce = False
    decision.chains = s.chains
    if s.target_spatial < 0:
        decision.verdict = VERDICT_DROP_PAUSED
    elif stream.scalable:
        select_scalable(s, packet, stream, key, decision)
    elif stream.layer == s.current_spatial:
        select_temporal(s, packet, key, decision)
    else:
        select_simulcast(s, packet, stream, key, decision)


cdef inline bint opens_above(const Packet *packet, bint key) noexcept nogil:
    """VP9: nothing later in higher temporal layers needs what lies before. VP8's receivers want their Y frame instead."""
    return (packet.flags & FRAME_SWITCH_UP) != 0 or (key and packet.codec == CODEC_VP9)


cdef void select_simulcast(const Selection *s, const Packet *packet, const Stream *stream, bint key,
                           Decision *decision) noexcept nogil:
    """A layer that does not flow. The old one runs until the wanted one can start; with none, any lower one will do."""
    decision.verdict = VERDICT_DROP_SPATIAL
    if stream.layer == s.target_spatial or (s.current_spatial < 0 and stream.layer < s.target_spatial):
        if key:
            decision.verdict = VERDICT_SWITCH
            decision.spatial = <int8_t>stream.layer
            decision.temporal = s.target_temporal
            decision.switch_up = opens_above(packet, key)
        else:
            decision.want_keyframe = stream.layer == s.target_spatial
            decision.verdict = VERDICT_DROP_AWAITING_KEYFRAME


cdef void select_temporal(const Selection *s, const Packet *packet, bint key, Decision *decision) noexcept nogil:
    """Within the current layer: down at any frame, up one step at a frame that says it can be decoded from layer 0."""
    cdef int temporal = s.current_temporal
    if key:
        temporal = s.target_temporal
    elif s.target_temporal < temporal:
        temporal = s.target_temporal
    elif temporal < packet.temporal <= s.target_temporal:
        if s.switch_up or (packet.flags & FRAME_LAYER_SYNC and packet.temporal == temporal + 1):
            temporal = packet.temporal
    decision.temporal = <int8_t>temporal
    decision.verdict = VERDICT_FORWARD if packet.temporal <= temporal else VERDICT_DROP_TEMPORAL
    # A dropped picture may be what later ones of its temporal layer depend on.
    decision.switch_up = packet.temporal <= temporal and (s.switch_up or opens_above(packet, key))


cdef void select_scalable(const Selection *s, const Packet *packet, const Stream *stream, bint key,
                          Decision *decision) noexcept nogil:
    """Spatial layers in one stream (VP9): everything up to the current layer is forwarded, so that down is always free."""
    cdef int spatial = s.current_spatial
    cdef int temporal = s.current_temporal
    cdef int top = stream.top_spatial if stream.top_spatial < s.target_spatial else s.target_spatial
    if key:
        decision.verdict = VERDICT_SWITCH if s.current_spatial < 0 else VERDICT_FORWARD
        decision.spatial = s.target_spatial
        decision.temporal = s.target_temporal
        decision.switch_up = opens_above(packet, key)
        return
    if spatial < 0:
        decision.want_keyframe = True
        decision.verdict = VERDICT_DROP_AWAITING_KEYFRAME
        return
    if stream.new_picture:
        if s.target_spatial < spatial:
            spatial = s.target_spatial
        if s.target_temporal < temporal:
            temporal = s.target_temporal
        elif packet.temporal > temporal and s.switch_up:
            temporal = packet.temporal if packet.temporal < s.target_temporal else s.target_temporal
    decision.spatial = <int8_t>spatial
    decision.temporal = <int8_t>temporal
    decision.want_keyframe = top > spatial
    if packet.temporal > temporal:
        # What comes later in this temporal layer may depend on what is dropped here.
        decision.switch_up = False
        decision.verdict = VERDICT_DROP_TEMPORAL
    elif packet.spatial > spatial:
        decision.verdict = VERDICT_DROP_SPATIAL
    else:
        decision.switch_up = s.switch_up or (packet.flags & FRAME_SWITCH_UP) != 0
        decision.verdict = VERDICT_FORWARD


cdef int best_target(const Selection *s, const DependencyStructure *structure, uint32_t active) noexcept nogil:
    """The highest active decode target within the wanted layers: spatial first. The lowest active one if none is within."""
    cdef int i, best = -1, lowest = -1
    for i in range(structure.target_count):
        if not (active >> i) & 1:
            continue
        if lowest < 0 or above(structure, lowest, i):
            lowest = i
        if structure.target_spatial[i] > s.target_spatial or structure.target_temporal[i] > s.target_temporal:
            continue
        if best < 0 or above(structure, i, best):
            best = i
    if best >= 0:
        return best
    return lowest if lowest >= 0 else 0


cdef bint above(const DependencyStructure *structure, int target, int than) noexcept nogil:
    if structure.target_spatial[target] != structure.target_spatial[than]:
        return structure.target_spatial[target] > structure.target_spatial[than]
    return structure.target_temporal[target] > structure.target_temporal[than]


cdef bint was_dropped(const Chains *chains, uint16_t frame_number) noexcept nogil:
    cdef uint16_t back = chains.newest - frame_number
    return back < CHAIN_WINDOW and (chains.dropped >> back) & 1


cdef bint references_kept(const Chains *chains, const FrameDependency *frame) noexcept nogil:
    """Whether nothing that the frame refers to was dropped. What was lost may still come, and counts as kept."""
    cdef int i
    for i in range(frame.fdiff_count):
        if was_dropped(chains, <uint16_t>(frame.frame_number - frame.fdiffs[i])):
            return False
    return True


cdef bint chain_intact(const Chains *chains, const FrameDependency *frame, const DependencyStructure *structure,
                       int target) noexcept nogil:
    cdef int chain = structure.protected_by[target]
    if structure.chain_count == 0 or chain >= frame.chain_count or frame.chain_fdiffs[chain] == 0:
        return True
    return not was_dropped(chains, <uint16_t>(frame.frame_number - frame.chain_fdiffs[chain]))


cdef void note_frame(Chains *chains, uint16_t frame_number, bint dropped) noexcept nogil:
    cdef uint16_t ahead = frame_number - chains.newest
    if 0 < <int16_t>ahead:
        chains.dropped = chains.dropped << ahead if ahead < CHAIN_WINDOW else 0
        chains.newest = frame_number
        if dropped:
            chains.dropped |= 1


cdef void note_dropped(Chains *chains, uint16_t frame_number) noexcept nogil:
    """A frame that came after newer ones was dropped after all."""
    cdef uint16_t back = chains.newest - frame_number
    if back < CHAIN_WINDOW:
        chains.dropped |= <uint64_t>1 << back


cdef void select_dependency(const Selection *s, const FrameDependency *frame, const DependencyStructure *structure,
                            uint32_t active_targets, bint flowing, bint closed, Decision *decision) noexcept nogil:
    """Decide by the dependency descriptor alone: the payload may be anything, or encrypted.

    `closed`: the picture's last packet was sent as such, so that no higher spatial layer of it can follow.
    """
    cdef int wanted = best_target(s, structure, active_targets)
    cdef int target = s.chains.target
    cdef uint32_t present = dd_present(&frame.targets)
    cdef bint kept
    decision.want_keyframe = False
    # What the publisher says of its decode targets is said anew: fewer of them may flow here.
    decision.announce = frame.layout.has_mask
    decision.switch_up = False
    decision.spatial = s.current_spatial
    decision.temporal = s.current_temporal
    decision.chains = s.chains
    if s.target_spatial < 0:
        decision.verdict = VERDICT_DROP_PAUSED
        return
    if frame.structure_attached:
        # A new coded video sequence refers to nothing before it.
        decision.chains.newest = frame.frame_number
        decision.chains.dropped = <uint64_t>-1 << 1
        target = wanted
        decision.announce = True
        kept = True
    elif not flowing or target < 0:
        decision.want_keyframe = True
        decision.verdict = VERDICT_DROP_AWAITING_KEYFRAME
        return
    else:
        kept = references_kept(&s.chains, frame)
        if (wanted != target and kept and may_switch(s, frame, structure, target, wanted, present)
                and not (closed and structure.target_spatial[wanted] > structure.target_spatial[target])):
            target = wanted
            decision.announce = True
        elif wanted != target:
            decision.want_keyframe = structure.target_spatial[wanted] != structure.target_spatial[target]
    decision.chains.target = <int8_t>target
    decision.spatial = <int8_t>structure.target_spatial[target]
    decision.temporal = <int8_t>structure.target_temporal[target]
    # The frame that brings the structure is a keyframe, and without it no later descriptor can be read: it is forwarded
    # even where the target leaves it out (spatial layers that are encoded independently).
    if not (present >> target) & 1 and not frame.structure_attached:
        decision.verdict = (VERDICT_DROP_SPATIAL if frame.spatial != structure.target_spatial[target]
                            else VERDICT_DROP_TEMPORAL)
    elif not kept:
        decision.want_keyframe = True
        decision.verdict = VERDICT_DROP_AWAITING_KEYFRAME
    else:
        decision.verdict = VERDICT_FORWARD if flowing else VERDICT_SWITCH
    note_frame(&decision.chains, frame.frame_number,
               decision.verdict != VERDICT_FORWARD and decision.verdict != VERDICT_SWITCH)


cdef bint may_switch(const Selection *s, const FrameDependency *frame, const DependencyStructure *structure, int target,
                     int wanted, uint32_t present) noexcept nogil:
    """Up where the frame says that all later ones of the target can be decoded from it; down where its chain is whole."""
    if not (present >> wanted) & 1:
        return False
    if (frame.targets.switching >> wanted) & 1:
        return True
    return above(structure, target, wanted) and (structure.target_temporal[wanted] <= structure.target_temporal[target]
                                                 and chain_intact(&s.chains, frame, structure, wanted))


cdef bint frame_in_target(const Selection *s, const FrameDependency *frame) noexcept nogil:
    """Whether a late frame belongs to what flows, and all that it refers to was forwarded."""
    return (s.chains.target >= 0 and (dd_present(&frame.targets) >> s.chains.target) & 1
            and references_kept(&s.chains, frame))
