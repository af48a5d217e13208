# SPDX-License-Identifier: Apache-2.0
"""One stage, N viewers: when the last one has a frame, how audio fares, and a room of two beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from benchmarks.figures import Figure, in_turn, middle
from benchmarks.namespaces import place
from benchmarks.running import health, latencies, measure, parser_for
from benchmarks.scenario import Group, Scenario, Spread, Window

VIEWERS: Final = (1000,)
VIDEO, AUDIO, PAIR_VIDEO, PAIR_AUDIO = 0, 1, 2, 3
AUDIO_PPS: Final = 50
# Each makes some ten control calls, whose wait is what an overload is measured for.
OVERLOAD_JOINS_PER_S: Final = 5.0
AXIS: Final = "viewers"


def run(arguments: Sequence[str]) -> list[Figure]:
    parser = parser_for("webinar")
    parser.add_argument("--viewers", type=int, nargs="+", default=VIEWERS)
    parser.add_argument("--packets", type=int, default=4, help="of each frame: every frame is as big as a keyframe")
    parser.add_argument("--fps", type=float, default=8.0)
    parser.add_argument(
        "--overload",
        action="store_true",
        help="while more is sent than goes: people join, normal priority, the server on any core",
    )
    options = parser.parse_args(arguments)
    if options.overload:
        options.server_core = None
    with place(options.way) as where:
        where = replace(where, urgent=not options.overload)

        def once(viewers: int) -> Window:
            groups = (
                Group("stage", 1, camera="burst", microphone=True),
                Group("stage", viewers, video_slots=1, video_group=VIDEO, audio_group=AUDIO),
                Group(
                    "pair",
                    2,
                    camera="recorded",
                    microphone=True,
                    video_slots=1,
                    video_group=PAIR_VIDEO,
                    audio_group=PAIR_AUDIO,
                ),
            )
            joins_per_s = OVERLOAD_JOINS_PER_S if options.overload else 0.0
            scenario = Scenario(groups, burst_packets=options.packets, fps=options.fps, joins_per_s=joins_per_s)
            expected_pps = viewers * (options.packets * options.fps + AUDIO_PPS)
            return measure(replace(scenario, expected_pps=expected_pps), where, options)

        results = in_turn(tuple(options.viewers), options.repeats, once)
    return [figure for viewers in options.viewers for figure in describe(viewers, options.packets, results[viewers])]


def describe(viewers: int, packets: int, windows: Sequence[Window]) -> list[Figure]:
    what = f"1 × {viewers}"
    cost_us = middle([window.server_us_a_packet for window in windows])
    spreads = [window.spreads[VIDEO] for window in windows if VIDEO in window.spreads]
    fan_out_us = viewers * packets * cost_us

    def spread(name: str, values: Sequence[float]) -> Figure:
        return Figure(f"{what}: {name}", middle(values), "µs after the frame was sent", name, float(viewers), AXIS)

    def after(one: Spread) -> float:
        return one.last_us - one.first_us

    return [
        Figure(f"{what}: load of the server's core", 100 * middle([w.server_load for w in windows]), "%"),
        Figure(f"{what}: CPU a packet", cost_us, "µs of CPU"),
        spread("first viewer has a frame", [one.first_us for one in spreads]),
        spread("last viewer has it", [one.last_us for one in spreads]),
        spread("last viewer has it, p99 of frames", [one.last_p99_us for one in spreads]),
        Figure(f"{what}: last after first", middle([after(one) for one in spreads]), "µs"),
        Figure(
            f"{what}: the same over N × packets × CPU a packet", middle([after(o) for o in spreads]) / fan_out_us, "×"
        ),
        Figure(f"{what}: joins", middle([w.joins / w.seconds for w in windows]), "a second"),
        Figure(f"{what}: control calls", middle([w.control_calls / w.seconds for w in windows]), "a second"),
        Figure(f"{what}: they wait, p99", middle([w.control_wait_us(99) for w in windows]), "µs at most"),
        Figure(f"{what}: packets to viewers", middle([w.received / w.seconds for w in windows]), "a second"),
        *latencies(what, windows, AUDIO, "audio of the stage", float(viewers), AXIS),
        *latencies(what, windows, PAIR_AUDIO, "audio of two in a room", float(viewers), AXIS),
        *latencies(what, windows, PAIR_VIDEO, "video of two in a room", float(viewers), AXIS),
        *health(what, windows),
    ]
