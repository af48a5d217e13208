# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks` lists the benchmarks; `python -m benchmarks NAME [--json] [--plot FILE] [OPTIONS]` runs one.

A benchmark is a module of this package with a docstring and `run(arguments) -> list of Figure`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from benchmarks.machine import describe
from benchmarks.plots import write_plot

# Name → module.
BENCHMARKS: Final = {
    "allocation": "benchmarks.allocation",
    "compare": "benchmarks.compare",
    "congestion": "benchmarks.congestion",
    "forward": "benchmarks.forward",
    "latency": "benchmarks.latency",
    "joins": "benchmarks.joins",
    "meeting": "benchmarks.meeting",
    "memory": "benchmarks.memory",
    "receive": "benchmarks.receive",
    "router": "benchmarks.router",
    "scale": "benchmarks.scale",
    "selector": "benchmarks.selector",
    "webinar": "benchmarks.webinar",
    "workers": "benchmarks.workers",
}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measures what pysfu costs.")
    parser.add_argument("name", nargs="?", choices=sorted(BENCHMARKS), help="which one; without a name they are listed")
    parser.add_argument("--json", action="store_true", help="figures as one JSON object")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the figures into this PNG")
    chosen, its_own = parser.parse_known_args(arguments)
    if chosen.name is None:
        for name in sorted(BENCHMARKS):
            summary = (importlib.import_module(BENCHMARKS[name]).__doc__ or "").strip().splitlines()[0]
            print(f"{name:<14} {summary}")
        return 0
    machine = describe()
    figures = importlib.import_module(BENCHMARKS[chosen.name]).run(its_own)
    if chosen.json:
        found = [asdict(figure) for figure in figures]
        print(json.dumps({"benchmark": chosen.name, "machine": machine, "figures": found}))
    else:
        print("; ".join(f"{what} {value}" for what, value in machine.items()))
        print("\n".join(map(str, figures)))
    if chosen.plot is not None:
        write_plot(chosen.plot, chosen.name, figures, machine)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
