# SPDX-License-Identifier: Apache-2.0
"""One step of the allocation for a whole room: 1,000 receivers × 50 tracks × 9 layers.

The arrays are given: what it takes to gather them from a room's objects is not in it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Final

import numpy as np

from benchmarks.figures import Figure, percentile
from sfu.rooms.allocation import NEVER_US, NEW, UNLIMITED, Course, Int64, Receivers, Sources, allocate

# Three spatial layers with three temporal layers each, in bits per second: libwebrtc's rates for 180p, 360p and 720p.
LADDER_BPS: Final = np.array([60, 90, 150, 200, 300, 500, 600, 900, 1500], np.int64) * 1000
WARM_UP: Final = 3


def run(arguments: Sequence[str]) -> list[Figure]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks allocation")
    parser.add_argument("--receivers", type=int, default=1000)
    parser.add_argument("--tracks", type=int, default=50)
    parser.add_argument("--steps", type=int, default=30, help="how often it is measured")
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(1)
    every_one = rng.integers(200_000, 40_000_000, options.receivers)
    figures = measure("all receivers limited", options.receivers, options.tracks, every_one, options.steps)
    some = np.where(rng.random(options.receivers) < 0.1, every_one, UNLIMITED)
    figures += measure("one in ten limited", options.receivers, options.tracks, some, options.steps)
    return figures + measure("one receiver", 1, options.tracks, every_one[:1], options.steps)


def measure(what: str, receivers: int, tracks: int, budget_bps: Int64, steps: int) -> list[Figure]:
    rng = np.random.default_rng(2)
    costs = (LADDER_BPS[None, :] * rng.uniform(0.7, 1.3, (tracks, 1))).astype(np.int64)
    sources = Sources(costs, np.full(tracks, 5, np.int8), np.zeros(tracks, np.bool_))
    shape = (receivers, tracks)
    priority = rng.choice(np.array([0, 0, 0, 1, 2, 3], np.int8), shape)
    course = Course(np.full(shape, NEW, np.int8), priority, np.full(shape, NEVER_US), np.full(shape, NEVER_US))
    caps = np.full(shape, len(LADDER_BPS) - 1, np.int8)
    spent_ms = []
    for step in range(WARM_UP + steps):
        # Estimates that never rest: each step has something to decide.
        swing = rng.uniform(0.8, 1.2, receivers)
        now_bps = np.where(budget_bps < UNLIMITED, (budget_bps * swing).astype(np.int64), UNLIMITED)
        given = Receivers(now_bps, now_bps, np.full(receivers, 120_000), np.zeros(receivers, np.int8), caps, priority)
        began = time.perf_counter()
        course = allocate(sources, given, course, step * 100_000).course
        if step >= WARM_UP:
            spent_ms.append((time.perf_counter() - began) * 1000)
    return [
        Figure(f"{what} ({receivers} × {tracks}): median", percentile(spent_ms, 50), "ms"),
        Figure(f"{what} ({receivers} × {tracks}): 95th percentile", percentile(spent_ms, 95), "ms"),
    ]
