# SPDX-License-Identifier: Apache-2.0
"""This server and others, in turn, under the same load client: one publisher to N receivers. docs/benchmarks.md."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from benchmarks import client
from benchmarks.figures import Figure, in_turn, middle
from benchmarks.namespaces import Place, place
from benchmarks.peers.aiortc_forwarder import aiortc_forwarder
from benchmarks.peers.janus import find_libsrtp, janus
from benchmarks.processes import server
from benchmarks.running import parser_for
from benchmarks.scenario import Camera, Group, Scenario, Service, Window

OURS, JANUS, PACKAGED, AIORTC, RELAY = "pysfu", "janus", "janus-packaged", "aiortc-packets", "aiortc"
PROGRAMS: Final = (OURS, JANUS, PACKAGED, AIORTC, RELAY)
AXIS: Final = "receivers"
ROOM: Final = 1234


def run(arguments: Sequence[str]) -> list[Figure]:
    parser = parser_for("compare")
    parser.add_argument("--receivers", type=int, nargs="+", default=(100, 320))
    parser.add_argument("--programs", choices=PROGRAMS, nargs="+", default=PROGRAMS)
    parser.add_argument("--packets-receivers", type=int, default=20, help="of aiortc-packets, which is saturated early")
    parser.add_argument("--relay-receivers", type=int, default=3, help="of aiortc, which decodes and encodes for each")
    options = parser.parse_args(arguments)
    few = {AIORTC: options.packets_receivers, RELAY: options.relay_receivers}
    if any(name.startswith("janus") for name in options.programs) and shutil.which("janus") is None:
        parser.error("no janus on this machine: run benchmarks/peers/build.sh, or leave it out by --programs")
    runs = [(name, few.get(name, receivers)) for receivers in options.receivers for name in options.programs]
    with place(options.way) as where:
        runs = list(dict.fromkeys(runs))
        results = in_turn(runs, options.repeats, lambda one: measure(*one, where, options))
    return describe(results)


def measure(name: str, receivers: int, where: Place, options: argparse.Namespace) -> Window:
    service: Service = "pysfu" if name == OURS else "aiortc" if name in (AIORTC, RELAY) else "janus"
    camera: Camera = "recorded" if name == RELAY else "burst"  # the relay needs something to decode
    groups = (Group("stage", 1, camera=camera), Group("stage", receivers, video_slots=1))
    scenario = Scenario(groups, service=service, room_id=ROOM, gcm=service != "aiortc")
    with program(name, where, options.server_core) as (pid, url):
        given = replace(
            scenario,
            url=url,
            server_pid=pid,
            windows=1,
            window_s=options.seconds,
            settle_limit_s=options.settle,
            gro=options.gro,
            expected_pps=0.0 if name == RELAY else receivers * scenario.burst_packets * scenario.fps,
        )
        (found,) = client.measure(given, where, options.client_core)
    print(f"{name} N={receivers}: {found.server_us_a_packet:.2f} µs a packet", file=sys.stderr)
    return found


def program(name: str, where: Place, core: int) -> contextlib.AbstractContextManager[tuple[int, str]]:
    if name == OURS:
        return server(where, core)
    if name in (AIORTC, RELAY):
        return aiortc_forwarder(where, core, packets=name == AIORTC)
    if name == PACKAGED:
        return janus(where, core, event_loops=1, libsrtp=None)
    libsrtp = find_libsrtp()
    if libsrtp is None:
        raise SystemExit("libsrtp on OpenSSL is not there: run benchmarks/peers/build.sh")
    return janus(where, core, event_loops=1, libsrtp=libsrtp)


def describe(results: dict[tuple[str, int], list[Window]]) -> list[Figure]:
    figures = []
    costs = {run: middle([window.server_us_a_packet for window in windows]) for run, windows in results.items()}
    for (name, receivers), windows in results.items():
        what, x = f"{name}, N = {receivers}", float(receivers)
        latencies = [window.latencies[0] for window in windows if 0 in window.latencies]
        figures += [
            Figure(f"{what}: CPU a packet", costs[name, receivers], "µs of CPU a packet", name, x, AXIS),
            Figure(
                f"{what}: load of the core",
                100 * middle([w.server_load for w in windows]),
                "% of a core",
                name,
                x,
                AXIS,
            ),
            Figure(f"{what}: received", middle([w.received / w.seconds for w in windows]), "packets/s", name, x, AXIS),
            Figure(f"{what}: lost", 100 * middle([w.loss for w in windows]), "% lost", name, x, AXIS),
            Figure(f"{what}: latency, p99", middle([one.p99_us for one in latencies]), "µs", name, x, AXIS),
            Figure(f"{what}: dropped by the load client", max(w.client_dropped for w in windows), "packets"),
        ]
        # Against ours at the same N, or at the N nearest to it.
        ours = [(abs(other - receivers), costs[one, other]) for one, other in costs if one == OURS]
        if name != OURS and ours:
            figures.append(Figure(f"{what}: ratio to pysfu", costs[name, receivers] / min(ours)[1], "× pysfu"))
    return figures
