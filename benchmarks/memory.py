# SPDX-License-Identifier: Apache-2.0
"""Bytes that the engine allocates per participant, track and subscription. Python's share: `benchmarks joins`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, Final

from benchmarks.figures import Figure
from sfu.engine.router_replay import allocated_bytes
from tests.engine.media import OpusStream, Vp8Stream
from tests.engine.router_driver import Driver, Peer

COUNT: Final = 200


def run(arguments: Sequence[str]) -> list[Figure]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks memory")
    parser.add_argument("--count", type=int, default=COUNT, help="of each thing")
    options = parser.parse_args(arguments)
    return engine(options.count)


class Accountant:
    """Stands before a router or its commands, and adds up what is allocated in their methods."""

    grown = 0

    def __init__(self, behind: Any) -> None:
        self._behind = behind

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._behind, name)

        def counted(*arguments: Any) -> Any:
            before = allocated_bytes()
            try:
                return method(*arguments)
            finally:
                Accountant.grown += allocated_bytes() - before

        return counted


def engine(count: int) -> list[Figure]:  # noqa: C901  one short step after another
    driver = Driver(1)
    vars(driver).update(router=Accountant(driver.router), commands=Accountant(driver.commands))
    peers: list[Peer] = []
    publisher = driver.connect("p")
    tracks: list[int] = []
    slots: list[int] = []

    def participants() -> None:
        peers.extend(driver.connect(f"r{number}") for number in range(count))

    def video_slots() -> None:
        slots.extend(driver.video_slot(peer, 0x1000, 0x1001, b"v") for peer in peers)

    def audio_slots() -> None:
        for peer in peers:
            driver.audio_slot(peer)

    def more_video_slots() -> None:
        for peer in peers:
            driver.video_slot(peer, 0x3000, 0x3001, b"w")

    def video_tracks() -> None:
        tracks.extend(driver.video_track(peer, mid=b"1") for peer in peers)

    def audio_tracks() -> None:
        for peer in peers:
            driver.audio_track(peer, mid=b"0")

    def video_flows() -> None:
        for number, peer in enumerate(peers):
            peer.send(*Vp8Stream(10 + number, 96).key())

    def audio_flows() -> None:
        for number, peer in enumerate(peers):
            peer.send(OpusStream(10_000 + number, 111, mid=b"0").frame())

    def subscriptions() -> None:
        stage = driver.video_track(publisher)
        for slot in slots:
            driver.bind(slot, stage)
        publisher.send(*Vp8Stream(9, 96).key())
        driver.pump()

    steps: list[tuple[str, Callable[[], None]]] = [
        ("engine: a participant, connected", participants),
        ("engine: its first video slot, with its bandwidth estimator", video_slots),
        ("engine: each further video slot", more_video_slots),
        ("engine: an audio slot", audio_slots),
        ("engine: a published video track", video_tracks),
        ("engine: a published audio track", audio_tracks),
        ("engine: a video layer that flows", video_flows),
        ("engine: audio that flows", audio_flows),
        ("engine: a subscription that flows", subscriptions),
    ]
    return [Figure(what, _grown(step) / count, "bytes") for what, step in steps]


def _grown(step: Callable[[], None]) -> int:
    before = Accountant.grown
    step()
    return Accountant.grown - before
