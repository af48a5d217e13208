# SPDX-License-Identifier: Apache-2.0
"""Meetings of 10, all see and hear all: CPU a participant, and the latency added at several loads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from benchmarks.figures import Figure, in_turn, middle
from benchmarks.namespaces import place
from benchmarks.running import health, latencies, measure, parser_for
from benchmarks.scenario import Group, Scenario, Window

ROOMS: Final = (1, 4, 12)
VIDEO, AUDIO = 0, 1
AXIS: Final = "load of the server's core, %"


def run(arguments: Sequence[str]) -> list[Figure]:
    parser = parser_for("meeting")
    parser.add_argument("--rooms", type=int, nargs="+", default=ROOMS, help="meetings at once: the load")
    parser.add_argument("--people", type=int, default=10, help="in each")
    parser.add_argument("--camera", choices=("recorded", "simulcast"), default="recorded", help="what they send (docs)")
    parser.add_argument("--no-gso", action="store_true")
    options = parser.parse_args(arguments)
    with place(options.way) as where:

        def once(rooms: int) -> Window:
            groups = tuple(
                Group(
                    f"meeting {number}",
                    options.people,
                    camera=options.camera,
                    microphone=True,
                    video_slots=options.people - 1,
                )
                for number in range(rooms)
            )
            return measure(Scenario(groups), where, options, ["--no-gso"] if options.no_gso else [])

        results = in_turn(tuple(options.rooms), options.repeats, once)
    return [figure for rooms in options.rooms for figure in describe(rooms, options.people, results[rooms])]


def describe(rooms: int, people: int, windows: Sequence[Window]) -> list[Figure]:
    what = f"{rooms} × {people}"
    load = 100 * middle([window.server_load for window in windows])
    return [
        Figure(f"{what}: load of the server's core", load, "%"),
        Figure(f"{what}: CPU a participant", 10 * load / (rooms * people), "ms of CPU a second"),
        Figure(f"{what}: packets out", middle([window.received / window.seconds for window in windows]), "packets/s"),
        Figure(f"{what}: CPU a packet out", middle([window.server_us_a_packet for window in windows]), "µs of CPU"),
        *latencies(what, windows, VIDEO, "video", load, AXIS),
        *latencies(what, windows, AUDIO, "audio", load, AXIS),
        *health(what, windows),
    ]
