# SPDX-License-Identifier: Apache-2.0
"""What benchmarks with a real server have in common: their options, and one measurement."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace

from benchmarks import client
from benchmarks.figures import Figure, middle
from benchmarks.namespaces import Place
from benchmarks.processes import server
from benchmarks.scenario import Scenario, Window


def parser_for(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {name}")
    parser.add_argument("--way", choices=("loopback", "veth"), default="loopback")
    parser.add_argument("--gro", action="store_true", help="the receivers join datagrams (UDP_GRO)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of one measurement")
    parser.add_argument("--repeats", type=int, default=3, help="of each, in turn; medians are printed")
    parser.add_argument("--settle", type=float, default=40.0, help="seconds at most until everything flows")
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--client-core", type=int, default=min(1, (os.cpu_count() or 1) - 1))
    return parser


def measure(
    scenario: Scenario, where: Place, options: argparse.Namespace, server_options: Sequence[str] = ()
) -> Window:
    """A server of its own, the scenario, one window."""
    with server(where, options.server_core, server_options) as (pid, url):
        given = replace(
            scenario,
            url=url,
            server_pid=pid,
            windows=1,
            window_s=options.seconds,
            warm_up_s=min(3.0, options.seconds),
            settle_limit_s=options.settle,
            gro=options.gro,
        )
        (found,) = client.measure(given, where, options.client_core)
    return found


def latencies(what: str, windows: Sequence[Window], group: int, series: str, x: float, axis: str) -> list[Figure]:
    """Medians of the windows' percentiles."""
    found = [window.latencies[group] for window in windows if group in window.latencies]
    percentiles = (
        ("median", [one.p50_us for one in found]),
        ("p99", [one.p99_us for one in found]),
        ("p99.9", [one.p999_us for one in found]),
    )
    return [
        Figure(f"{what}: {series} latency, {name}", middle(values), "µs of added latency", f"{series}, {name}", x, axis)
        for name, values in percentiles
    ]


def health(what: str, windows: Sequence[Window]) -> list[Figure]:
    """Whether the figures can be trusted: nothing lost, and the load client kept up."""
    return [
        Figure(f"{what}: loss", 100 * middle([window.loss for window in windows]), "% lost"),
        Figure(f"{what}: streams that stood still", max(window.silent for window in windows), "streams"),
        Figure(f"{what}: dropped by the load client", max(window.client_dropped for window in windows), "packets"),
    ]
