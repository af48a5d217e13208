# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks` lists the benchmarks, `python -m benchmarks NAME [--json] [ITS OPTIONS]` runs one.

A benchmark is a module of this package with a docstring and `run(arguments) -> list of Figure`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

# Name → module.
BENCHMARKS: Final = {
    "allocation": "benchmarks.allocation",
    "selector": "benchmarks.selector",
}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measures what pysfu costs.")
    parser.add_argument("name", nargs="?", choices=sorted(BENCHMARKS), help="which one; without a name they are listed")
    parser.add_argument("--json", action="store_true", help="figures as one JSON object")
    chosen, its_own = parser.parse_known_args(arguments)
    if chosen.name is None:
        for name in sorted(BENCHMARKS):
            summary = (importlib.import_module(BENCHMARKS[name]).__doc__ or "").strip().splitlines()[0]
            print(f"{name:<14} {summary}")
        return 0
    figures = importlib.import_module(BENCHMARKS[chosen.name]).run(its_own)
    if chosen.json:
        print(json.dumps({"benchmark": chosen.name, "figures": [asdict(figure) for figure in figures]}))
    else:
        print("\n".join(map(str, figures)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
