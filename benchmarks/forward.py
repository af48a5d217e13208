# SPDX-License-Identifier: Apache-2.0
"""One publisher to N receivers over sockets: CPU per packet, latency, loss; beside a C prototype if there is one.

The prototype runs without a pause; `--rooms` brings a server with few receivers to a load like that.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from benchmarks.figures import Figure, in_turn, middle
from benchmarks.floor import Floor
from benchmarks.namespaces import Place, place
from benchmarks.running import health, latencies, measure, parser_for
from benchmarks.scenario import Group, Scenario, Window

COUNTS: Final = (10, 50, 100, 400)
AXIS: Final = "receivers"


@dataclass(frozen=True)
class Setup:
    receivers: int
    gso: bool
    gcm: bool
    server_gro: bool

    @property
    def name(self) -> str:
        joined = "" if self.server_gro else ", server without GRO"
        return f"{'GCM' if self.gcm else 'CM'}, {'GSO' if self.gso else 'no GSO'}{joined}"

    @property
    def server_options(self) -> list[str]:
        return [*([] if self.gso else ["--no-gso"]), *([] if self.server_gro else ["--no-gro"])]


def run(arguments: Sequence[str]) -> list[Figure]:
    parser = parser_for("forward")
    parser.add_argument("--receivers", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--rooms", type=int, default=1, help="of that many receivers each; all print as one")
    parser.add_argument("--gso", choices=("on", "off", "both"), default="both")
    parser.add_argument("--server-gro", choices=("on", "off", "both"), default="on", help="of the server's socket")
    parser.add_argument("--crypto", choices=("gcm", "cm", "both"), default="gcm")
    parser.add_argument("--floor", type=Path, metavar="FOLDER", help="of the C prototype (sfu.c), to measure in turn")
    options = parser.parse_args(arguments)
    setups = [
        Setup(receivers, gso, gcm, server_gro)
        for receivers in options.receivers
        for gcm in ((True, False) if options.crypto == "both" else (options.crypto == "gcm",))
        for gso in ((True, False) if options.gso == "both" else (options.gso == "on",))
        for server_gro in ((True, False) if options.server_gro == "both" else (options.server_gro == "on",))
    ]
    with place(options.way) as where:
        floor = None if options.floor is None else Floor(options.floor, where, gro=options.gro)
        floors: dict[Setup, list[float]] = {setup: [] for setup in setups}

        def both(setup: Setup) -> Window:
            found = once(setup, where, options)
            if floor is not None:
                floors[setup].append(floor.us_a_packet(setup.receivers, gso=setup.gso, gcm=setup.gcm))
            return found

        results = in_turn(setups, options.repeats, both)
    figures = []
    for setup in setups:
        figures += describe(setup, results[setup], floors[setup], options)
    return figures


def once(setup: Setup, where: Place, options: argparse.Namespace) -> Window:
    groups = [
        group
        for room in range(options.rooms)
        for group in (Group(f"stage {room}", 1, camera="burst"), Group(f"stage {room}", setup.receivers, video_slots=1))
    ]
    scenario = Scenario(tuple(groups), gcm=setup.gcm)
    expected_pps = options.rooms * setup.receivers * scenario.burst_packets * scenario.fps
    return measure(replace(scenario, expected_pps=expected_pps), where, options, setup.server_options)


def describe(
    setup: Setup, windows: Sequence[Window], floors: Sequence[float], options: argparse.Namespace
) -> list[Figure]:
    rooms = f" in each of {options.rooms} rooms" if options.rooms > 1 else ""
    what = f"{options.way}, {setup.name}, N = {setup.receivers}{rooms}"

    def point(name: str, value: float, unit: str, series: str = "") -> Figure:
        return Figure(f"{what}: {name}", value, unit, series or setup.name, float(setup.receivers), AXIS)

    cost = middle([window.server_us_a_packet for window in windows])
    figures = [
        point("CPU per packet", cost, "µs of CPU a packet"),
        point("of it the media thread", middle([w.media_us_a_packet for w in windows]), "µs of media thread a packet"),
        point("the load client", middle([w.client_us_a_packet for w in windows]), "µs of load client a packet"),
        Figure(f"{what}: load", 100 * middle([w.server_load for w in windows]), "% of a core"),
        point("received", middle([w.received / w.seconds for w in windows]), "packets/s"),
        *latencies(what, windows, 0, setup.name, float(setup.receivers), AXIS),
        *health(what, windows),
    ]
    if floors:
        bare = middle(floors)
        figures.append(point("C prototype", bare, "µs of CPU a packet", f"C prototype: {setup.name}"))
        figures.append(point("ratio to the C prototype", cost / bare, "×"))
    return figures
