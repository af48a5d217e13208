# SPDX-License-Identifier: Apache-2.0
"""The rewriter against its twin: streams with losses, reordering and any frames dropped, over wraps and switches."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.engine.probes import RewriterProbe
from tests.reference.rewriter import CLOSED, LATE, RewriterReference, newer

LOOK_BACK = 200


@dataclass(frozen=True)
class Arrival:
    sequence: int
    timestamp: int
    picture_id: int
    temporal: int
    marker: bool


def stream(choose: random.Random, frames: int, reach: int, loss: float) -> list[Arrival]:
    """What arrives of a source: nothing overtakes by more than `reach` packets."""
    sequence, timestamp = choose.choice((70_000, 131_000)), choose.choice((5_000, 0xFFFFFFFF - 40_000))
    picture_id = choose.choice((3, 0x7FFF - 10))
    packets = []
    for number in range(frames):
        temporal = choose.choice((0, 0, 1, 2))
        count = choose.choice((1, 1, 2, 4))
        for index in range(count):
            moment = (timestamp + 3_000 * number) & 0xFFFFFFFF
            identity = (picture_id + number) & 0x7FFF
            packets.append(Arrival(sequence, moment, identity, temporal, index == count - 1))
            sequence += 1
    order = sorted(range(len(packets)), key=lambda at: at + choose.random() * reach)
    return [packets[at] for at in order if choose.random() >= loss]


def as_sent(found: tuple[bool, int | None] | None) -> tuple[bool, int | None] | None:
    """The picture id of a frame that is dropped is nobody's concern."""
    return found if found is None or found[0] else (False, None)


class Pair:
    """The kernel and its twin, fed alike."""

    def __init__(self, choose: random.Random) -> None:
        self.choose = choose
        self.kernel, self.twin = RewriterProbe(5, 99), RewriterReference(5)
        self.newest = 0
        self.outs: dict[int, int] = {}

    def begin(self, packet: Arrival) -> None:
        self.kernel.switch(packet.sequence, packet.timestamp, 1_234, packet.picture_id, packet.sequence & 0xFF)
        self.twin.switch(packet.sequence, packet.picture_id, packet.sequence & 0xFF)
        assert self.kernel.tl0_offset == self.twin.tl0_offset
        self.outs = {}
        self.take_new(packet, forwarded=True)
        self.place(packet, forwarded=True)

    def take_new(self, packet: Arrival, *, forwarded: bool) -> None:
        self.newest = packet.timestamp
        limit = self.choose.randrange(3)
        assert self.kernel.new_frame(packet.timestamp, packet.picture_id, forwarded, limit) == self.twin.new_frame(
            packet.timestamp, packet.picture_id, limit, forwarded=forwarded
        )

    def feed(self, packet: Arrival, drop: float) -> None:
        """As the forwarder does it."""
        found = self.kernel.frame(packet.timestamp, packet.picture_id)
        assert as_sent(found) == as_sent(self.twin.frame(packet.timestamp, packet.picture_id))
        if found is None:
            if newer(packet.timestamp, self.newest):
                self.take_new(packet, forwarded=self.choose.random() >= drop)
                found = self.kernel.frame(packet.timestamp, packet.picture_id)
            else:
                found = self.kernel.late_frame(packet.timestamp, packet.picture_id, packet.temporal)
                wanted = self.twin.late_frame(packet.timestamp, packet.picture_id, packet.temporal)
                assert as_sent(found) == as_sent(wanted)
        if found is not None:
            self.place(packet, forwarded=found[0])

    def place(self, packet: Arrival, *, forwarded: bool) -> None:
        if packet.sequence <= self.kernel.highest_in:
            out = self.compare(packet.sequence)
        elif forwarded:
            out = self.kernel.advance(packet.sequence, packet.timestamp)
            assert out == self.twin.advance(packet.sequence, packet.timestamp)
            tl0 = packet.sequence & 0xFF
            self.kernel.sent(packet.marker, packet.picture_id, tl0)
            self.twin.sent(packet.marker, packet.picture_id, tl0)
        else:
            self.kernel.drop(packet.sequence, packet.timestamp)
            self.twin.drop(packet.sequence, packet.timestamp)
            out = CLOSED
        if out >= 0:
            assert out not in self.outs, "each number is given once"
            self.outs[out] = packet.sequence
        assert self.kernel.highest_out == self.twin.next_out - 1

    def compare(self, sequence: int) -> int:
        found, wanted = self.kernel.map(sequence), self.twin.map(sequence)
        assert found == wanted or (found == LATE and not self.twin.remembers(sequence)), sequence
        return found

    def compare_all(self) -> None:
        highest = self.kernel.highest_in
        for sequence in range(highest - LOOK_BACK, highest + 1):
            self.compare(sequence)
        for out in range(self.kernel.highest_out - LOOK_BACK, self.kernel.highest_out + 3):
            found, wanted = self.kernel.unmap(out), self.twin.unmap(out)
            assert found == wanted or (found == -1 and not self.twin.remembers(wanted)), out
        in_order = [sequence for _, sequence in sorted(self.outs.items())]
        assert in_order == sorted(in_order), "order is kept"


def run(seed: int, frames: int, reach: int, loss: float, drop: float) -> None:
    choose = random.Random(seed)
    pair = Pair(choose)
    for _ in range(3):
        arrivals = stream(choose, frames, reach, loss)
        if not arrivals:
            continue
        pair.begin(arrivals[0])
        for packet in arrivals[1:]:
            if packet.sequence != arrivals[0].sequence:
                pair.feed(packet, drop)
            if choose.random() < 0.1:
                pair.compare_all()
        pair.compare_all()


def test_against_the_twin(scaled: Callable[[int], int]) -> None:
    @settings(max_examples=scaled(60), deadline=None)
    @given(
        st.integers(0, 1 << 32),
        st.integers(1, 60),
        st.sampled_from((1, 3, 12, 40)),
        st.sampled_from((0.0, 0.05, 0.3)),
        st.sampled_from((0.0, 0.3, 0.5, 0.9)),
    )
    def compare(seed: int, frames: int, reach: int, loss: float, drop: float) -> None:
        run(seed, frames, reach, loss, drop)

    compare()


def test_long_streams_forget_what_is_old_and_nothing_else() -> None:
    for seed in range(3):
        run(seed, 400, 6, 0.05, 0.5)


def test_without_loss_everything_is_closed_up() -> None:
    choose = random.Random(1)
    pair = Pair(choose)
    arrivals = stream(choose, 200, 1, 0.0)
    pair.begin(arrivals[0])
    for packet in arrivals[1:]:
        pair.feed(packet, 0.6)
    outs = sorted(pair.outs)
    assert outs == list(range(65_536 + 5, 65_536 + 5 + len(outs)))
