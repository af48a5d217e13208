# SPDX-License-Identifier: Apache-2.0
"""One random publisher and one receiver, through the router and through the plain-Python twin: the same packets, byte
for byte, and the same reasons for what is dropped. `python -m tests.engine.twin_run` plays as many as it is told."""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from sfu.engine.commands import Payload
from sfu.wire.extensions import HeaderExtension
from tests.engine.random_streams import (
    DESCRIPTOR_ID,
    KINDS,
    MID_ID,
    RID_ID,
    RIDS,
    TAG_BYTES,
    Arrival,
    Impairment,
    Kind,
    arrivals,
)
from tests.engine.router_driver import Driver
from tests.reference.forwarding import Origin, Parsed, Receiver
from tests.simulation.rtp_packets import RtpPacket, build_rtp

SLOT_SSRC, IN_TYPE, OUT_TYPE, OUT_DESCRIPTOR_ID = 0x1000, 45, 46, 9
PICTURES = 60
SWITCHES = 0.03
"""Share of packets before which the receiver wants something else."""
REASONS = (
    "not_selected_spatial",
    "not_selected_temporal",
    "awaiting_keyframe",
    "paused",
    "padding",
    "late",
    "held",
    "already_sent",
)
IMPAIRMENTS = (
    Impairment(),
    Impairment(padding=0.1),
    Impairment(loss=0.03, padding=0.05),
    Impairment(reorder=0.05),
    Impairment(loss=0.03, reorder=0.05, duplicate=0.02, padding=0.05),
    Impairment(loss=0.03, reorder=0.05, duplicate=0.02, padding=0.05, restart=0.01),
    Impairment(loss=0.03, reorder=0.05, duplicate=0.02, padding=0.05, restart=0.01, interleave=True),
)
KEPT_STEPS = 60


@dataclass(frozen=True)
class Out:
    """An outbound packet, as far as both sides must agree."""

    sequence: int
    timestamp: int
    marker: bool
    payload: bytes
    descriptor: bytes | None


@dataclass(frozen=True)
class Step:
    """What came, for the report of a disagreement."""

    number: int
    arrival: Arrival
    parsed: Parsed | None
    sent: int

    def __str__(self) -> str:
        packet, parsed = self.arrival.packet, self.parsed
        what = f"#{self.number} {self.arrival.at_us} us, layer {self.arrival.layer}.{self.arrival.generation}"
        what += f" seq {packet.sequence} ts {packet.timestamp}{' marker' if packet.marker else ''}"
        if parsed is None or not packet.payload:
            return f"{what} {'duplicate' if parsed is None else 'padding'} -> {self.sent}"
        facts = parsed.facts
        what += f" {packet.payload[:-TAG_BYTES].hex()} S{facts.spatial} T{facts.temporal}"
        what += "".join(name for name, on in (("K", facts.key), ("Y", facts.sync), ("U", facts.up)) if on)
        if facts.dependency is not None:
            told = facts.dependency
            what += f" frame {told.frame_number} {told.indications} refers {told.fdiffs} chains {told.chain_fdiffs}"
        return f"{what}{' unknown' if parsed.unknown else ''} -> {self.sent}"


class Disagreement(AssertionError):
    """Engine and twin differ."""


class Run:
    """The engine's and the twin's side of one random call."""

    def __init__(self, kind: Kind, seed: int, how: Impairment, pictures: int = PICTURES) -> None:
        self.kind = kind
        self.choose = random.Random(seed)
        self.arrivals = arrivals(kind, self.choose, pictures, how)
        self.driver = driver = Driver(seed)
        self.publisher, self.viewer = driver.connect("publisher"), driver.connect("viewer")
        kinds = {MID_ID: int(HeaderExtension.MID), RID_ID: int(HeaderExtension.RID)}
        if kind.described:
            kinds[DESCRIPTOR_ID] = int(HeaderExtension.DEPENDENCY_DESCRIPTOR)
        driver.commands.set_receive_extensions(self.publisher.handle, kinds)
        payload = Payload(IN_TYPE, kind.codec, 90_000, pli=True)
        track = driver.video_track(self.publisher, RIDS if kind.streams > 1 else (), payloads=[payload])
        out = {int(HeaderExtension.DEPENDENCY_DESCRIPTOR): OUT_DESCRIPTOR_ID}
        self.slot = driver.commands.add_forwarder(self.viewer.handle, "video", b"5", SLOT_SSRC, SLOT_SSRC + 1, out)
        driver.flush()
        self.twin = Receiver(self._joined)
        self.origins: dict[tuple[int, int], Origin] = {}
        wish = self._wish()
        driver.bind(self.slot, track, spatial=wish[0], temporal=wish[1], payloads=[(IN_TYPE, OUT_TYPE, None)])
        self.twin.want(*wish)
        self.start_us = driver.now_us
        self.first: int | None = None
        self.got: list[RtpPacket] = []
        self.wires: dict[int, bytes] = {}
        """Of each packet, as it was sent: a duplicate has the same bytes."""
        self.steps: deque[Step | str] = deque(maxlen=KEPT_STEPS)
        self.forwarded = 0

    def _wish(self) -> tuple[int, int]:
        return self.choose.choice((-1, 0, 0, 1, 1, 2, 2, 2, 3)), self.choose.choice((0, 1, 2, 2, 3))

    def _joined(self, packet: RtpPacket) -> int:
        """The outbound timestamp of a stream's first packet is the engine's to choose: it knows clocks."""
        tag = packet.payload[-TAG_BYTES:]
        return next((one.timestamp for one in self.got if one.payload[-TAG_BYTES:] == tag), packet.timestamp)

    def play(self) -> None:
        """All of it; raises Disagreement."""
        for number, arrival in enumerate(self.arrivals):
            if self.choose.random() < SWITCHES:
                wish = self._wish()
                self.steps.append(f"wants {wish}")
                self.driver.target(self.slot, *wish)
                self.twin.want(*wish)
            self._step(number, arrival)
        self._compare_reasons()

    def _step(self, number: int, arrival: Arrival) -> None:
        driver = self.driver
        driver.now_us = self.start_us + arrival.at_us
        if not arrival.duplicate:
            self.wires[id(arrival.packet)] = self.publisher.protect.protect(build_rtp(arrival.packet))
        self.publisher.datagram(self.wires[id(arrival.packet)])
        driver.pump()
        self.got = self.viewer.take_rtp(SLOT_SSRC)
        # What comes twice ends in SRTP's replay check.
        parsed = None if arrival.duplicate else self._twin_takes(arrival)
        self.steps.append(Step(number, arrival, parsed, len(self.got)))
        self._compare()

    def _twin_takes(self, arrival: Arrival) -> Parsed:
        key = arrival.layer, arrival.generation
        if key not in self.origins:
            if arrival.generation:
                self.twin.restart(arrival.layer)
            identifier = DESCRIPTOR_ID if self.kind.described else None
            self.origins[key] = Origin(arrival.layer, self.kind.codec, self.kind.scalable, identifier)
        origin = self.origins[key]
        parsed = origin.parse(arrival.packet)
        self.twin.take(origin, parsed, self.driver.now_us)
        return parsed

    def _compare(self) -> None:
        sent, self.twin.sent = self.twin.sent, []
        if self.first is None and self.got and sent:
            self.first = self.got[0].sequence - sent[0].place
        first = self.first or 0
        expected = [
            Out((first + one.place) & 0xFFFF, one.timestamp, one.marker, one.payload, one.descriptor) for one in sent
        ]
        found = [
            Out(one.sequence, one.timestamp, one.marker, one.payload, dict(one.extensions).get(OUT_DESCRIPTOR_ID))
            for one in self.got
        ]
        self.forwarded += len(found)
        if found != expected:
            raise Disagreement(self._told(f"engine {found}\ntwin   {expected}"))

    def _compare_reasons(self) -> None:
        drops = self.driver.all_drops()
        engine = {name: drops.get(name, 0) for name in REASONS}
        twin = {name: self.twin.drops[name] for name in REASONS}
        if engine != twin:
            raise Disagreement(self._told(f"engine {engine}\ntwin   {twin}"))
        self.driver.assert_accounts_balance()

    def _told(self, what: str) -> str:
        return "\n".join([*map(str, self.steps), what, str(self.twin.flow)])


@dataclass
class Result:
    """Of many runs of one kind."""

    packets: int = 0
    forwarded: int = 0
    runs: int = 0
    cpu_seconds: float = 0.0
    differences: int = 0


def play_many(kind: Kind, seeds: Iterator[int], packets: int, *, stop: bool = True) -> Result:
    """At least so many inbound packets, through all impairments in turn."""
    result = Result()
    begun = time.process_time()
    while result.packets < packets:
        seed = next(seeds)
        run = Run(kind, seed, IMPAIRMENTS[seed % len(IMPAIRMENTS)])
        try:
            run.play()
        except Disagreement as error:
            if stop:
                raise
            result.differences += 1
            print(f"{kind.name}, seed {seed}\n{error}", flush=True)
        result.packets += len(run.arrivals)
        result.forwarded += run.forwarded
        result.runs += 1
    result.cpu_seconds = time.process_time() - begun
    return result


def main() -> None:
    """The table of docs/results/selector-million.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packets", type=int, default=1_000_000, help="inbound packets of each kind")
    parser.add_argument("--seed", type=int, default=0, help="of the first run")
    parser.add_argument("kinds", nargs="*", default=list(KINDS), help=f"of {', '.join(KINDS)}")
    chosen = parser.parse_args()
    totals: Counter[str] = Counter()
    print("| kind | calls | packets in | packets out | differences | CPU s |\n|---|---|---|---|---|---|")
    for name in chosen.kinds:
        result = play_many(KINDS[name], count(chosen.seed), chosen.packets, stop=False)
        totals[name] = result.differences
        row = (name, result.runs, f"{result.packets:,}", f"{result.forwarded:,}", result.differences)
        print("| " + " | ".join(map(str, row)) + f" | {result.cpu_seconds:.0f} |", flush=True)
    raise SystemExit(1 if totals.total() else 0)


if __name__ == "__main__":
    main()
