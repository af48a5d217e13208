# SPDX-License-Identifier: Apache-2.0
"""Two workers: what a packet costs with one router and with two at once, and what a relay adds to it.

Routers without sockets, each driven by a native thread. CPU time of the threads, medians of alternating runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from benchmarks.figures import Figure, in_turn
from sfu.engine.router_probe import drive
from sfu.transport.relay import Content
from tests.engine.media import Vp8Stream
from tests.engine.router_driver import LOCAL, VP8, Driver, Peer
from tests.simulation.relay import FAR, ORIGIN, RelayPair

PACKETS: Final = 1_000
"""Of one run: well within what a receiver may do without a sign of life."""
PACKET_BYTES: Final = 1_000
STEP_US: Final = 1_000
FRAME: Final = 5
"""Packets in one frame."""
PUBLISHER: Final = ("198.51.100.7", 40_001)
"""Where a driver's first peer is."""
CAMERA: Final = Content("video", (VP8,), 1, 77)


@dataclass
class Side:
    """A router with a publisher on it, or at the end of a relay, and receivers."""

    driver: Driver
    receivers: list[Peer]
    publisher: Peer | None = None
    stream: Vp8Stream = field(default_factory=lambda: Vp8Stream(5, 96))
    spent_ns: int = 0

    @classmethod
    def with_publisher(cls, seed: int, receivers: int) -> tuple[Side, int]:
        driver = Driver(seed)
        publisher = driver.connect("p")
        track = driver.video_track(publisher)
        return cls(driver, _receive(driver, track, receivers), publisher), track

    def datagrams(self) -> list[bytes]:
        """What the publisher sends in one run."""
        assert self.publisher is not None
        packets = [
            packet
            for index in range(PACKETS // FRAME)
            for packet in self.stream.frame(FRAME, key=index == 0, size=PACKET_BYTES)
        ]
        peer = self.publisher
        made: list[bytes] = []
        send, peer.datagram = peer.datagram, lambda data, *_: made.append(data)  # type: ignore[method-assign]
        peer.send(*packets)
        peer.datagram = send  # type: ignore[method-assign]
        return made

    def drive(self, datagrams: list[bytes], remote: tuple[str, int], local: str = LOCAL) -> int:
        """CPU time in ns."""
        return drive(self.driver.router, datagrams, remote, local, self.driver.now_us, STEP_US)

    def rest(self) -> None:
        """Everybody gives a sign of life after a run."""
        self.driver.now_us += PACKETS * STEP_US
        for peer in [*self.receivers, *([] if self.publisher is None else [self.publisher])]:
            peer.check()
        self.driver.router.tick(self.driver.now_us)
        self.driver.router.egress()


def _receive(driver: Driver, track: int, receivers: int) -> list[Peer]:
    peers = [driver.connect(f"r{number}") for number in range(receivers)]
    for peer in peers:
        driver.bind(driver.video_slot(peer), track)
    return peers


def run(arguments: Sequence[str]) -> list[Figure]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks workers")
    parser.add_argument("--receivers", type=int, default=50, help="of each worker")
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args(arguments)
    return at_once(options.receivers, options.repeats) + relayed(options.receivers, options.repeats)


def at_once(receivers: int, repeats: int) -> list[Figure]:
    """The same work by one router alone, and by two at the same time."""
    sides = [Side.with_publisher(seed, receivers)[0] for seed in (1, 2)]

    def measure(count: int) -> float:
        work = [(side, side.datagrams()) for side in sides[:count]]
        before = [side.driver.statistics().media_forwarded for side in sides[:count]]
        with ThreadPoolExecutor(count) as pool:
            spent = sum(pool.map(lambda one: one[0].drive(one[1], PUBLISHER), work))
        sent = sum(
            side.driver.statistics().media_forwarded - then for (side, _), then in zip(work, before, strict=True)
        )
        for side, _ in work:
            side.rest()
        return float(spent / sent)

    results = in_turn([1, 2], repeats, measure)
    alone, together = (median(results[count]) for count in (1, 2))
    ratios = [two / one for one, two in zip(results[1], results[2], strict=True)]
    return [
        Figure(f"one router, {receivers} receivers", alone, "ns of CPU a packet sent"),
        Figure("two routers at once, each with as many", together, "ns of CPU a packet sent"),
        Figure("rise", 100 * (median(ratios) - 1), "%"),
    ]


def relayed(receivers: int, repeats: int) -> list[Figure]:
    """One room: all of it on one worker, or half of it behind a relay."""
    whole, _ = Side.with_publisher(3, 2 * receivers)
    origin, origin_track = Side.with_publisher(4, receivers)
    RelayPair(origin.driver, Driver(5)).open(origin_track, CAMERA)
    # What arrives at the far router is made by a third one: the datagrams of `origin` are thrown away.
    source, source_track = Side.with_publisher(6, 0)
    pair = RelayPair(source.driver, Driver(7))
    leg = pair.open(source_track, CAMERA)
    pair.forth.keep = True
    far = Side(pair.far, _receive(pair.far, leg.track, receivers))

    def crossing() -> list[bytes]:
        assert source.publisher is not None
        for data in source.datagrams():
            source.publisher.datagram(data)
            source.driver.pump()
        made, pair.forth.sent = pair.forth.sent, []
        source.rest()
        return made

    def measure(kind: str) -> float:
        ways = {"whole": [whole], "relayed": [origin, far]}[kind]
        spent = sent = 0
        for side in ways:
            before = side.driver.statistics()
            if side is far:
                spent += side.drive(crossing(), ORIGIN, FAR[0])
            else:
                spent += side.drive(side.datagrams(), PUBLISHER)
            after = side.driver.statistics()
            sent += after.media_forwarded - before.media_forwarded
            if side is origin:
                sent -= PACKETS  # what left on the leg reached no receiver by that
            side.rest()
        return spent / sent

    results = in_turn(["whole", "relayed"], repeats, measure)
    one, two = (median(results[kind]) for kind in ("whole", "relayed"))
    ratios = [two / one for one, two in zip(results["whole"], results["relayed"], strict=True)]
    return [
        Figure(f"room of {2 * receivers} receivers on one worker", one, "ns of CPU a packet to a receiver"),
        Figure("half of them behind a relay", two, "ns of CPU a packet to a receiver, both workers"),
        Figure("the relay adds", 100 * (median(ratios) - 1), "%"),
    ]
