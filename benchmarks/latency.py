# SPDX-License-Identifier: Apache-2.0
"""Added latency with a quiet control plane, while people join, and while Python holds its lock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from benchmarks.figures import Figure, in_turn, middle
from benchmarks.namespaces import place
from benchmarks.running import health, latencies, measure, parser_for
from benchmarks.scenario import Group, Scenario, Window

QUIET, JOINS, HELD = "quiet", "joins", "python-busy"
AXIS: Final = "receivers"


def run(arguments: Sequence[str]) -> list[Figure]:
    parser = parser_for("latency")
    parser.add_argument("--receivers", type=int, default=50)
    parser.add_argument("--joins", type=float, default=10.0, help="a second, each of somebody who leaves at once")
    parser.add_argument("--hold", type=float, default=50.0, metavar="MS", help="of each 100 ms, Python's lock is held")
    conditions = (QUIET, JOINS, HELD)
    parser.add_argument("--conditions", nargs="+", choices=conditions, default=conditions)
    options = parser.parse_args(arguments)
    with place(options.way) as where:

        def once(condition: str) -> Window:
            groups = (
                Group("stage", 1, camera="burst", microphone=True),
                Group("stage", options.receivers, video_slots=1),
            )
            scenario = Scenario(groups, joins_per_s=options.joins if condition == JOINS else 0.0)
            expected_pps = options.receivers * (scenario.burst_packets * scenario.fps + 50)
            held = ["--hold-gil", str(options.hold)] if condition == HELD else []
            return measure(replace(scenario, expected_pps=expected_pps), where, options, held)

        results = in_turn(tuple(options.conditions), options.repeats, once)
    return [figure for condition, windows in results.items() for figure in describe(condition, windows)]


def describe(condition: str, windows: Sequence[Window]) -> list[Figure]:
    figures = [
        Figure(f"{condition}: load of the server's core", 100 * middle([w.server_load for w in windows]), "%"),
        Figure(f"{condition}: joins", middle([w.joins / w.seconds for w in windows]), "a second"),
    ]
    for group, kind in ((0, "video"), (1, "audio")):
        # Bars, not lines: conditions are no numbers.
        figures += [
            replace(figure, x=None, series="") for figure in latencies(condition, windows, group, kind, 0.0, "")
        ]
    return figures + health(condition, windows)
