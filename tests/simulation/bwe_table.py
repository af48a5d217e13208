# SPDX-License-Identifier: Apache-2.0
"""Runs the bandwidth estimator's scenarios and writes what they reach into docs/congestion.md.

python -m tests.simulation.bwe_table [seeds]
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from tests.simulation.bwe_scenarios import SCENARIOS, Figures

PAGE = Path(__file__).resolve().parents[2] / "docs" / "congestion.md"
BEGIN, END = "<!-- scenarios: written by tests/simulation/bwe_table.py -->", "<!-- end of scenarios -->"
SEEDS = 20
SHARES = {"used", "lowest", "time ≥ 90 %", "padding", "before", "low used", "share", "total", "estimate", "lost",
          "arrived", "time in top"}  # fmt: skip
LEFT_OUT = {"total", "arrived", "top layer"}


def run(name: str, seed: int) -> Figures:
    """One run, for another process."""
    return SCENARIOS[name](seed)


def written(figure: str, value: float) -> str:
    """As a percentage where it is a share."""
    return f"{100 * value:.3g} %" if figure in SHARES else f"{value:.3g}"


def row(name: str, runs: list[Figures]) -> str:
    """Median and range of each figure."""
    cells = []
    for figure in runs[0]:
        values = [found[figure] for found in runs]
        if figure not in LEFT_OUT:
            middle = written(figure, float(np.median(values)))
            cells.append(f"{figure} **{middle}** ({written(figure, min(values))} … {written(figure, max(values))})")
    return f"| {name} | {'; '.join(cells)} |"


def main(seeds: int) -> None:
    """Write the table, and print it."""
    with ProcessPoolExecutor() as pool:
        found = {name: [pool.submit(run, name, seed) for seed in range(seeds)] for name in SCENARIOS}
        rows = [row(name, [future.result() for future in futures]) for name, futures in found.items()]
    table = "\n".join([f"| scenario | median (lowest … highest) of {seeds} seeds |", "|---|---|", *rows])
    print(table)
    page = PAGE.read_text(encoding="utf-8")
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    PAGE.write_text(f"{head}{BEGIN}\n{table}\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else SEEDS)
