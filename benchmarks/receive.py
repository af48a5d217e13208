# SPDX-License-Identifier: Apache-2.0
"""The socket alone: ns of CPU a datagram that came in runs, joined by the kernel for the receiver (UDP_GRO) or not.

Over loopback, one thread sends 64 datagrams and receives them, in turn. A run is what one UDP_SEGMENT send carries;
runs of one are plain datagrams, as browsers send them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.figures import Figure, in_turn, middle
from sfu.engine.udp_probe import cost_of_runs

RUNS: Final = (1, 2, 4, 8, 16, 32)
SIZE: Final = 1200
AXIS: Final = "datagrams in a run"


@dataclass(frozen=True)
class Setup:
    run: int
    gro: bool

    @property
    def name(self) -> str:
        return "GRO" if self.gro else "no GRO"


def run(arguments: Sequence[str]) -> list[Figure]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks receive")
    parser.add_argument("--runs", type=int, nargs="+", default=RUNS, help="datagrams in a run: 1 to 32")
    parser.add_argument("--size", type=int, default=SIZE, help="bytes of a datagram")
    parser.add_argument("--rounds", type=int, default=1000, help="of 64 datagrams, in one measurement")
    parser.add_argument("--repeats", type=int, default=9, help="of each, in turn; medians are printed")
    options = parser.parse_args(arguments)
    setups = [Setup(run, gro) for run in options.runs for gro in (True, False)]
    results = in_turn(
        setups,
        options.repeats,
        lambda setup: cost_of_runs(setup.run, options.size, options.rounds, gro=setup.gro),
    )
    return [
        Figure(
            f"runs of {setup.run}, {setup.name}: {what}",
            middle([found[index] for found in results[setup]]),
            f"ns of CPU a datagram {what}",
            setup.name,
            float(setup.run),
            AXIS,
        )
        for setup in setups
        for index, what in enumerate(("sent", "received"))
    ]
