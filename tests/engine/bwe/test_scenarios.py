# SPDX-License-Identifier: Apache-2.0
"""The estimator in a closed loop on modelled links (tests/simulation/bwe_*). What it reaches stands in
docs/congestion.md; asserted is what must not get worse: of the median, and of the worst seed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.simulation.bwe_scenarios import SCENARIOS, Figures

SEEDS = 2
Bounds = dict[str, tuple[float, float]]
"""figure → (of the median, of the worst); negative = at least."""

BOUNDS: dict[str, Bounds] = {
    "1 Mbit/s, cold start": {"reached s": (1, 3), "used": (-0.92, -0.9), "queue p95 ms": (45, 60)},
    "3 → 0.5 → 3 Mbit/s": {"backlog s": (1.5, 2), "low used": (-0.9, -0.88), "back s": (6, 8)},
    "5 % loss": {"used": (-0.8, -0.7)},
    "10 % loss": {"used": (-0.75, -0.65)},
    "3 Mbit/s, 5 % loss": {"used": (-0.8, -0.7)},
    "3 Mbit/s, 10 % loss": {"used": (-0.7, -0.5)},
    "150 ms RTT": {"reached s": (1, 3), "used": (-0.9, -0.88), "queue p95 ms": (55, 70)},
    "30 ms jitter": {"reached s": (1, 3), "used": (-0.85, -0.8), "queue p95 ms": (55, 70)},
    "3 Mbit/s, 30 ms jitter": {"used": (-0.85, -0.8), "queue p95 ms": (50, 80)},
    "Reno, queue 100 ms": {"share": (-0.25, -0.15)},
    "Reno, queue 300 ms": {"share": (-0.25, -0.2)},
    "Reno leaves": {"again 90 % after s": (6, 12), "queue p95 ms": (50, 80)},
    "two of us": {"share": (-0.3, -0.25), "queue p95 ms": (70, 200)},
    "policer, 1 Mbit/s": {"used": (-0.9, -0.85), "lost": (0.07, 0.1)},
    "policer, 3 Mbit/s": {"used": (-0.85, -0.8), "lost": (0.05, 0.1)},
    "path 60 ms longer": {"used": (-0.85, -0.8), "queue p95 ms": (50, 80)},
    "layers, 20 % loss that ends": {"top again after s": (6, 31)},
    "layers, 1 Mbit/s": {"time in top": (-0.95, -0.8), "switches": (4, 8), "queue p95 ms": (40, 60)},
    "layers, 2.5 Mbit/s": {"top layer": (-2, -2), "time in top": (-0.95, -0.8), "switches": (5, 9)},
}


def test_every_scenario_is_judged() -> None:
    assert BOUNDS.keys() == SCENARIOS.keys()


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str, scaled: Callable[[int], int], measured: Callable[[str, float, str], None]) -> None:
    runs: list[Figures] = [SCENARIOS[name](seed) for seed in range(scaled(SEEDS))]
    for figure, (median, worst) in BOUNDS[name].items():
        values = [run[figure] for run in runs]
        measured(f"{figure}, median", round(float(np.median(values)), 3), "")
        measured(f"{figure}, worst", round(min(values) if worst < 0 else max(values), 3), "")
        if worst < 0:
            assert np.median(values) >= -median, figure
            assert min(values) >= -worst, figure
        else:
            assert np.median(values) <= median, figure
            assert max(values) <= worst, figure


def test_a_run_is_the_same_each_time() -> None:
    scenario = SCENARIOS["1 Mbit/s, cold start"]
    assert scenario(3) == scenario(3)
    assert scenario(3) != scenario(4)
