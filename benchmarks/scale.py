# SPDX-License-Identifier: Apache-2.0
"""What those who are not concerned cost: ns per packet with 1 to 1,000 rooms, µs per tick with idle transports.

The router alone, in virtual time, without a socket: one room sends, the others only exist, or, with --active, send too.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from statistics import median
from typing import Final

from benchmarks.figures import Figure
from sfu.engine.router_replay import RouterReplay
from tests.engine.media import Vp8Stream
from tests.engine.router_driver import LOCAL, Driver
from tests.simulation.rtp_packets import build_rtp

ROOMS: Final = (1, 10, 100, 1000)
IDLE: Final = (10, 100, 1000, 5000)
PEOPLE: Final = 4
WARM_UP_FRAMES: Final = 20
FRAMES: Final = 60
FRAME_PACKETS: Final = 4
FRAME_US: Final = 33_333
QUIET_US: Final = 4_000_000
TICK_US: Final = 1_000


def run(arguments: Sequence[str]) -> list[Figure]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks scale")
    parser.add_argument("--rooms", type=int, nargs="*", default=ROOMS)
    parser.add_argument("--idle", type=int, nargs="*", default=IDLE)
    parser.add_argument("--active", type=int, nargs="*", default=(1, 10), help="rooms that send, of the others")
    parser.add_argument("--repeats", type=int, default=5, help="of each, in turn; medians are printed")
    options = parser.parse_args(arguments)
    figures = []
    halls = {rooms: Rooms(rooms) for rooms in options.rooms}
    for active in options.active:
        shown = [rooms for rooms in options.rooms if rooms >= active]
        spent: dict[int, list[float]] = {rooms: [] for rooms in shown}
        for _ in range(options.repeats):
            for rooms in shown:
                spent[rooms].append(halls[rooms].packet_ns(active))
        figures += [
            Figure(
                f"{rooms} rooms of {PEOPLE}, {active} of them active",
                median(spent[rooms]),
                "ns a packet sent",
                f"{active} active",
                rooms,
                "rooms",
            )
            for rooms in shown
        ]
    for idle in options.idle:
        figures.append(Figure(f"{idle} idle transports", idle_tick_ns(idle), "ns a tick", "idle", idle, "transports"))
    return figures


class Rooms:
    """`count` rooms; in each one publishes a camera to the others."""

    def __init__(self, count: int) -> None:
        self._driver = Driver(1)
        self._tracks = []
        for room in range(count):
            publisher = self._driver.connect(f"p{room}")
            track = self._driver.video_track(publisher)
            for number in range(PEOPLE - 1):
                receiver = self._driver.connect(f"r{room}.{number}")
                self._driver.bind(self._driver.video_slot(receiver), track)
            self._tracks.append((publisher, Vp8Stream(10 + room, 96)))
        self._frames = itertools.count()

    def packet_ns(self, active: int) -> float:
        probe = RouterReplay(self._driver.router)
        ends = []
        prepared = 0
        for number in range(WARM_UP_FRAMES + FRAMES):
            self._driver.now_us += FRAME_US
            for publisher, stream in self._tracks[:active]:
                frame = stream.frame(FRAME_PACKETS, key=number == 0, size=1_000)
                for packet in frame:
                    data = publisher.protect.protect(build_rtp(packet))
                    probe.add(data, publisher.address, LOCAL, self._driver.now_us)
                    prepared += 1
            ends.append(prepared)
        probe.play(ends[WARM_UP_FRAMES - 1])
        before_ns = probe.spent_ns
        sent = probe.play(prepared)
        self._driver.router.events()
        return (probe.spent_ns - before_ns) / sent


def idle_tick_ns(count: int) -> float:
    """The mean over a second of ticks, each millisecond."""
    driver = Driver(1)
    for number in range(count):
        peer = driver.connect(f"p{number}")
        driver.bind(driver.video_slot(peer), driver.video_track(peer))
    driver.advance(QUIET_US, QUIET_US // 8)
    probe = RouterReplay(driver.router)
    ticks = 1_000_000 // TICK_US
    return sum(probe.tick(driver.now_us + (tick + 1) * TICK_US) for tick in range(ticks)) / ticks
