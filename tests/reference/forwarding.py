# SPDX-License-Identifier: Apache-2.0
"""One receiver's view of one track in plain Python: packets in, packets out (selection.py, rewriting.py).

Knows no clocks but the moment of each packet, forgets nothing, and shares no code with the engine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from sfu.engine.codecs import Codec
from sfu.wire.dependencies import Dependency, Structure, UnknownTemplateError
from tests.reference.rewriting import CLOSED, PICTURE_IDS, Fate, Numbering
from tests.reference.selection import NOTHING, Flow, FrameFacts, Layers, Verdict
from tests.reference.wire_dependency_descriptor import Where, read_descriptor, renumber
from tests.reference.wire_h264 import parse_h264
from tests.reference.wire_vp8 import parse_vp8, renumber_vp8
from tests.reference.wire_vp9 import parse_vp9, rewrite_vp9
from tests.simulation.rtp_packets import RtpPacket, extend

HOLD_US = 40_000
REACH = 64
"""Packets: what a stream's beginning may be late by."""


@dataclass(frozen=True)
class Sent:
    """What goes out; a filler has no payload."""

    place: int
    timestamp: int
    marker: bool
    payload: bytes
    descriptor: bytes | None = None


@dataclass
class Parsed:
    """One inbound packet."""

    packet: RtpPacket
    sequence: int
    order: tuple[int, int]
    """Of its frame: unwrapped timestamp, then number within the picture."""
    facts: FrameFacts
    first: bool = False
    end: bool = False
    picture_id: int | None = None
    tl0: int | None = None
    descriptor: bytes | None = None
    dependency: Dependency | None = None
    where: Where | None = None
    structure: Structure | None = None
    active: int = 0
    arrival: int = 0
    explains: tuple[int, ...] = ()
    """Packets that could be read only when this one's structure had come."""
    padding: bool = False
    unknown: bool = False


def _overtaken(number: int, by: int) -> bool:
    return 0 < (by - number) % 65536 < REACH


class Origin:
    """One inbound stream: what its packets say."""

    def __init__(self, layer: int, codec: Codec, scalable: bool, descriptor_id: int | None) -> None:
        self.layer, self.codec, self.scalable, self.descriptor_id = layer, codec, scalable, descriptor_id
        self.structure: Structure | None = None
        self.structure_frame = 0
        self.active = self.active_frame = 0
        self.sequence: int | None = None
        self.timestamp = 0
        self.picture_id: int | None = None
        self.frame_number: int | None = None
        self.timestamps: dict[int, int] = {}
        self.seen: dict[int, Parsed] = {}
        self.arrived = 0
        self.gone = False

    def parse(self, packet: RtpPacket) -> Parsed:
        if self.sequence is None:
            self.sequence, self.timestamp = (1 << 20) + packet.sequence, (1 << 40) + packet.timestamp
        sequence = extend(packet.sequence, self.sequence, 16)
        timestamp = extend(packet.timestamp, self.timestamp, 32)
        self.sequence, self.timestamp = max(sequence, self.sequence), max(timestamp, self.timestamp)
        self.timestamps[sequence] = timestamp
        self.seen.pop(sequence - REACH, None)
        self.arrived += 1
        parsed = self.seen[sequence] = self.explain(packet, sequence, timestamp)
        parsed.arrival = self.arrived
        if parsed.dependency is not None and parsed.dependency.structure is not None:
            parsed.explains = tuple(self._explained(sequence))
        return parsed

    def _explained(self, behind: int) -> list[int]:
        """Read again what could not be read."""
        found = []
        for sequence, unread in sorted(self.seen.items()):
            if unread.unknown and sequence > behind:
                again = self.explain(unread.packet, sequence, unread.order[0])
                again.arrival = unread.arrival
                if not again.unknown:
                    self.seen[sequence] = again
                    found.append(sequence)
        return found

    def explain(self, packet: RtpPacket, sequence: int, timestamp: int) -> Parsed:
        plain = Parsed(packet, sequence, (timestamp, 0), FrameFacts(self.layer))
        if not packet.payload:
            plain.padding = True
            return plain
        found = dict(packet.extensions).get(self.descriptor_id or 0)
        if found is not None:
            return self._described(plain, found)
        if self.codec is Codec.VP8:
            return self._vp8(plain)
        if self.codec is Codec.VP9:
            return self._vp9(plain)
        return self._plain(plain)

    def _vp8(self, plain: Parsed) -> Parsed:
        d = parse_vp8(plain.packet.payload)
        plain.first, plain.tl0 = d.start_of_frame, d.tl0_picture_index
        plain.end = plain.packet.marker
        if d.picture_id is not None:
            self.picture_id = extend(
                d.picture_id, self.picture_id or (1 << 20) + d.picture_id, 15 if d.long_picture_id else 7
            )
            plain.picture_id = self.picture_id % PICTURE_IDS
        plain.facts = FrameFacts(self.layer, 0, d.temporal or 0, d.keyframe, d.layer_sync)
        return plain

    def _vp9(self, plain: Parsed) -> Parsed:
        d = parse_vp9(plain.packet.payload)
        spatial = d.spatial or 0
        plain.first, plain.tl0, plain.picture_id, plain.end = (
            d.start_of_frame,
            d.tl0_picture_index,
            d.picture_id,
            d.end_of_frame,
        )
        plain.order = (plain.order[0], spatial)
        plain.facts = FrameFacts(
            self.layer, spatial, d.temporal or 0, d.keyframe, up=d.switching_up, picture=plain.order[0]
        )
        return plain

    def _plain(self, plain: Parsed) -> Parsed:
        """No layers: a frame is a timestamp."""
        key = False
        if self.codec is Codec.H264:
            units = parse_h264(plain.packet.payload)
            # An IDR picture may need parameter sets that were in a packet before it: that one must be known.
            before = self.timestamps.get(plain.sequence - 1, plain.order[0])
            key = units.has_sps or (units.has_idr and before != plain.order[0])
        elif self.codec is Codec.AV1:
            key = bool(plain.packet.payload[0] & 0x08)
        plain.end = plain.packet.marker
        plain.facts = FrameFacts(self.layer, key=key)
        return plain

    def _described(self, plain: Parsed, found: bytes) -> Parsed:
        try:
            dependency, where = read_descriptor(found, self.structure)
        except UnknownTemplateError:
            plain.unknown = True
            return plain
        structure = dependency.structure or self.structure
        assert structure is not None
        # What comes late, out of its turn, does not put aside what is newer.
        number = dependency.frame_number
        if dependency.structure is not None and not (self.structure and _overtaken(number, self.structure_frame)):
            self.structure, self.structure_frame = structure, dependency.frame_number
        active = dependency.active_targets or self.active
        if dependency.active_targets and not (self.active and _overtaken(number, self.active_frame)):
            self.active, self.active_frame = dependency.active_targets, number
        self.frame_number = extend(
            dependency.frame_number,
            (1 << 20) + dependency.frame_number if self.frame_number is None else self.frame_number,
            16,
        )
        plain.order = (plain.order[0], self.frame_number)
        plain.descriptor, plain.dependency, plain.where = found, dependency, where
        plain.structure, plain.active = structure, active
        plain.first, plain.end = dependency.start_of_frame, dependency.end_of_frame
        plain.facts = FrameFacts(
            self.layer,
            dependency.spatial,
            dependency.temporal,
            dependency.structure is not None and dependency.start_of_frame,
            picture=plain.order[0],
            dependency=dependency,
        )
        return plain


@dataclass
class Last:
    """What the numbers of the next stream go on from."""

    picture_id: int | None = None
    tl0: int | None = None
    frame_number: int | None = None


class Receiver:
    """One forwarder. `join` tells the outbound timestamp of a stream's first packet: that is clocks' concern."""

    def __init__(self, join: Callable[[RtpPacket], int]) -> None:
        self.flow = Flow()
        self.numbers = Numbering()
        self.origin: Origin | None = None
        self.last = Last()
        self.picture_offset = self.tl0_offset = self.frame_offset = 0
        self.newest: tuple[int, int] = (0, 0)
        self.sent: list[Sent] = []
        self.sent_at: dict[int, int] = {}
        self.drops: Counter[str] = Counter()
        self.held: tuple[Origin, int] | None = None
        self.held_us = self.now_us = self.last_sent_us = 0
        self.hold_spent = False
        self.stopped: Origin | None = None
        self.timestamp_offset = 0
        self.join = join

    # -- commands

    def want(self, spatial: int, temporal: int) -> None:
        self.flow.target = Layers(spatial, temporal)

    def restart(self, layer: int) -> None:
        """Another stream has taken the place of this layer's."""
        if self.origin is not None and self.origin.layer == layer:
            self.origin.gone = True
            self.origin = None
            self.flow.stop()

    # -- packets

    def take(self, origin: Origin, parsed: Parsed, now_us: int) -> None:
        """One packet, in the order of arrival."""
        self.now_us = now_us
        self._offer(origin, parsed)
        # What could not be read before this packet's structure came.
        for sequence in parsed.explains:
            self._offer(origin, origin.seen[sequence])

    def _go_on(self) -> None:
        """The stream that waits for the end of another one's frame need not wait any longer."""
        assert self.held is not None
        (origin, first), self.held = self.held, None
        if origin.gone:
            return
        self.hold_spent = True
        for sequence in sorted(one for one in origin.seen if first <= one < first + REACH):
            self._offer(origin, origin.seen[sequence])
        self.hold_spent = False

    def _offer(self, origin: Origin, parsed: Parsed) -> None:
        if parsed.padding:
            self._padding(parsed, flows=origin is self.origin)
            return
        if origin is not self.origin:
            self._other(origin, parsed)
            return
        if parsed.unknown:
            self.drops["awaiting_keyframe"] += 1
            return
        fate = self.numbers.frames.get(parsed.order)
        if fate is None and self.held is not None and parsed.order > self.newest:
            # The frame whose end was waited for has none: the next one begins.
            self._go_on()
            if not self._flows(origin):
                self.drops["late"] += 1
                return
        if fate is None:
            fate = self._late(origin, parsed) if parsed.order < self.newest else self._decide(origin, parsed)
        if fate is None:
            self.drops["late" if self._flows(origin) else "paused"] += 1
            return
        self._place(parsed, fate)
        if self.held is not None and fate.forwarded and self.numbers.last_marker:
            self._go_on()

    def _flows(self, origin: Origin) -> bool:
        return origin is self.origin

    def _other(self, origin: Origin, parsed: Parsed) -> None:
        if self.held is not None and self.held[0] is origin:
            if self.now_us - self.held_us >= HOLD_US:
                self._go_on()
            self.drops["held"] += 1
            return
        if parsed.unknown:
            self.drops["awaiting_keyframe"] += 1
            return
        if self.flow.target.spatial < 0:
            self.drops["paused"] += 1
            return
        before = (self.flow.current, self.flow.decode_target, self.flow.open_above, self.flow.picture)
        if origin.scalable:
            self.flow.decode_target = None
        verdict = self._verdict(origin, parsed)
        late = origin is self.stopped and parsed.sequence <= self.numbers.highest_in
        open_frame = (
            self.origin is not None
            and not self.numbers.last_marker
            and not self.hold_spent
            and self.now_us - self.last_sent_us < HOLD_US
        )
        if verdict is not Verdict.BEGIN or late or open_frame:
            self.flow.current, self.flow.decode_target, self.flow.open_above, self.flow.picture = before
        if verdict is not Verdict.BEGIN:
            self.drops[verdict.value] += 1
        elif late:
            self.drops["late"] += 1
        elif open_frame:
            self.held, self.held_us = (origin, parsed.sequence), self.now_us
            self.drops["held"] += 1
        else:
            self._begin(origin, parsed)

    def _begin(self, origin: Origin, parsed: Parsed) -> None:
        self.origin, self.stopped = origin, None
        self.numbers.begin(parsed.sequence)
        if parsed.picture_id is not None and self.last.picture_id is not None:
            self.picture_offset = (self.last.picture_id + 1 - parsed.picture_id) % PICTURE_IDS
        else:
            self.picture_offset = 0
        if parsed.tl0 is not None:
            self.tl0_offset = (self.last.tl0 + 1 - parsed.tl0) % 256 if self.last.tl0 is not None else 0
        if parsed.dependency is not None:
            number = parsed.dependency.frame_number
            self.frame_offset = (
                (self.last.frame_number + 1 - number) % 65536 if self.last.frame_number is not None else 0
            )
        self.timestamp_offset = (self.join(parsed.packet) - parsed.packet.timestamp) % (1 << 32)
        self._place(parsed, self._remember(parsed, Verdict.BEGIN))
        # It came late: what lay behind it is offered again.
        behind = [one for one, seen in origin.seen.items() if one > parsed.sequence and seen.arrival < parsed.arrival]
        for sequence in sorted(behind):
            self._offer(origin, origin.seen[sequence])

    def _verdict(self, origin: Origin, parsed: Parsed) -> Verdict:
        flow = self.flow
        if origin.scalable:
            if parsed.dependency is None:
                return flow.vp9(parsed.facts)
            assert parsed.structure is not None
            return flow.dependent(
                parsed.dependency,
                parsed.structure,
                parsed.active,
                flow.target.spatial,
                closed=parsed.order[0] == self.newest[0] and self.numbers.last_marker,
            )
        if parsed.dependency is None:
            return flow.simulcast(parsed.facts, by_u=origin.codec is Codec.VP9)
        assert parsed.structure is not None
        if origin is not self.origin:
            verdict = flow.simulcast(parsed.facts)
            if verdict is Verdict.BEGIN:
                flow.decode_target = None
                flow.dependent(parsed.dependency, parsed.structure, parsed.active, 99)
            return verdict
        return flow.dependent(parsed.dependency, parsed.structure, parsed.active, 99)

    def _decide(self, origin: Origin, parsed: Parsed) -> Fate | None:
        verdict = self._verdict(origin, parsed)
        if verdict is Verdict.PAUSED:
            self.origin, self.stopped = None, origin
            return None
        return self._remember(parsed, verdict)

    def _remember(self, parsed: Parsed, verdict: Verdict) -> Fate:
        fate = Fate(parsed.order, verdict.forwards, verdict.value, self.picture_offset)
        if not verdict.forwards and self._closes(parsed):
            self.picture_offset = (self.picture_offset - 1) % PICTURE_IDS
        fate.picture_offset_after = self.picture_offset
        fate.temporal_limit, fate.spatial_limit = self.flow.current.temporal, self.flow.current.spatial
        if parsed.structure is not None and (self.flow.decode_target or 0) >= 0 and self.flow.decode_target is not None:
            fate.spatial_limit, fate.temporal_limit = parsed.structure.target_layers[self.flow.decode_target]
        if parsed.dependency is not None and parsed.structure is not None:
            fate.mask = self._mask(parsed)
        self.newest = parsed.order
        self.numbers.frames[parsed.order] = fate
        return fate

    announced: int | None = None

    def _mask(self, parsed: Parsed) -> int | None:
        """The decode targets to announce: where they change, or the publisher tells its own."""
        structure, at = parsed.structure, self.flow.decode_target
        assert structure is not None
        assert parsed.dependency is not None
        if at is None:
            return None
        spatial, temporal = structure.target_layers[at] if at >= 0 else (-1, -1)
        left = sum(
            1 << n
            for n, (s, t) in enumerate(structure.target_layers)
            if s <= spatial and t <= temporal and parsed.active >> n & 1
        )
        told = (
            parsed.dependency.structure is not None
            or parsed.dependency.has_mask
            or self.flow.decode_target != self.announced
        )
        self.announced = at
        return left if told else None

    def _late(self, origin: Origin, parsed: Parsed) -> Fate | None:
        """A frame that is older than the newest: by what flowed then."""
        numbers = self.numbers
        before = numbers.before(parsed.order)
        if before is None:
            return None
        facts = parsed.facts
        wanted = facts.temporal <= before.temporal_limit
        if origin.scalable:
            wanted = wanted and facts.spatial <= before.spatial_limit
        if parsed.dependency is not None:
            # Decode targets count by their structure: those of one that a newer one has overtaken are not what flows.
            over = parsed.dependency.structure is not None and _overtaken(
                parsed.dependency.frame_number, origin.structure_frame
            )
            wanted = not over and facts.temporal <= before.temporal_limit and self.flow.carries(parsed.dependency)
            if not wanted:
                self.flow.held_back.add(parsed.dependency.frame_number)
        offset = before.picture_offset_after
        newer = [fate for fate in numbers.frames.values() if fate.order > parsed.order]
        if not wanted and self._closes(parsed) and not any(fate.forwarded for fate in newer):
            # Nothing behind it was sent yet: the pictures behind it move down.
            for fate in newer:
                fate.picture_offset = (fate.picture_offset - 1) % PICTURE_IDS
                fate.picture_offset_after = (fate.picture_offset_after - 1) % PICTURE_IDS
            self.picture_offset = (self.picture_offset - 1) % PICTURE_IDS
            offset = (offset - 1) % PICTURE_IDS
        fate = Fate(
            parsed.order,
            wanted,
            "forward" if wanted else "not_selected_temporal",
            offset,
            offset,
            before.temporal_limit,
            before.spatial_limit,
        )
        numbers.frames[parsed.order] = fate
        return fate

    def _closes(self, parsed: Parsed) -> bool:
        """Whether picture ids of what is dropped are closed up."""
        return parsed.picture_id is not None and self.origin is not None and self.origin.codec is Codec.VP8

    def _place(self, parsed: Parsed, fate: Fate) -> None:
        numbers = self.numbers
        if parsed.sequence > numbers.highest_in:
            place = numbers.advance(parsed.sequence, parsed.order, forwarded=fate.forwarded)
            if fate.forwarded:
                assert place is not None
                self._send(parsed, fate, place)
            else:
                self.drops[fate.reason] += 1
            return
        if parsed.sequence not in numbers.places:
            self.drops["late"] += 1
            return
        place = numbers.places[parsed.sequence]
        if place is CLOSED:
            self.drops["late" if fate.forwarded else fate.reason] += 1
        elif fate.forwarded:
            self._send(parsed, fate, place)
        else:
            self.drops[fate.reason] += 1
            self._fill(place)

    def _padding(self, parsed: Parsed, *, flows: bool) -> None:
        self.drops["padding"] += 1
        if not flows:
            return
        if parsed.sequence > self.numbers.highest_in:
            self.numbers.advance(parsed.sequence, parsed.order, forwarded=False)
        else:
            place = self.numbers.places.get(parsed.sequence)
            if place is not None:
                self._fill(place)

    def _fill(self, place: int) -> None:
        before = max((one for one in self.sent_at if one < place), default=None)
        if before is not None and place not in self.sent_at:
            self.sent_at[place] = self.sent_at[before]
            self.sent.append(Sent(place, self.sent_at[before], False, b""))

    def _send(self, parsed: Parsed, fate: Fate, place: int) -> None:
        if place in self.sent_at:
            self.drops["already_sent"] += 1
            return
        packet, numbers, origin = parsed.packet, self.numbers, self.origin
        assert origin is not None
        payload, descriptor = packet.payload, None
        picture_id = None if parsed.picture_id is None else (parsed.picture_id + fate.picture_offset) % PICTURE_IDS
        tl0 = None if parsed.tl0 is None else (parsed.tl0 + self.tl0_offset) % 256
        number = None
        if parsed.dependency is not None:
            assert parsed.descriptor is not None
            assert parsed.where is not None
            number = (parsed.dependency.frame_number + self.frame_offset) % 65536
            descriptor = renumber(parsed.descriptor, parsed.where, number, fate.mask)
        elif origin.codec is Codec.VP8:
            payload = renumber_vp8(payload, picture_id or 0, tl0 or 0)
        elif origin.codec is Codec.VP9:
            payload = rewrite_vp9(payload, picture_id or 0, tl0 or 0) + payload[parse_vp9(payload).size :]
        marker = packet.marker
        if origin.scalable and parsed.end and parsed.facts.spatial == fate.spatial_limit:
            marker = True
        timestamp = (packet.timestamp + self.timestamp_offset) % (1 << 32)
        self.sent.append(Sent(place, timestamp, marker, payload, descriptor))
        self.sent_at[place] = timestamp
        if place > numbers.last_sent:
            numbers.last_sent, numbers.last_marker = place, marker
            self.last_sent_us = self.now_us
            self.last = Last(
                picture_id if picture_id is not None else self.last.picture_id,
                tl0 if tl0 is not None else self.last.tl0,
                number if number is not None else self.last.frame_number,
            )


__all__ = ["NOTHING", "Origin", "Receiver", "Sent"]
