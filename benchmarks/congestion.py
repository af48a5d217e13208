# SPDX-License-Identifier: Apache-2.0
"""What a receiver's link carries: estimator and allocation on modelled links, by seed; --timelines DIR draws them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.figures import Figure
from sfu.rooms.allocation import PAUSED
from tests.simulation.allocated_source import AllocatedSource, Camera
from tests.simulation.bwe_path import Path as NetworkPath
from tests.simulation.bwe_path import Sample
from tests.simulation.bwe_scenarios import MBIT, SCENARIOS, between, make_path, queue_ms
from tests.simulation.bwe_sources import LayeredSource, RenoFlow

SETTLED_S: Final = 15.0
WINDOW_US: Final = 10_000_000
CALL_S: Final = 45
# One dot for each 100 ms.
SMOOTHED: Final = 10
INCHES: Final = (8.0, 7.0)
DOTS_PER_INCH: Final = 80
SHARES: Final = ("used", "lowest", "time ≥ 90 %", "padding", "before", "low used", "share", "estimate", "lost",
                 "total", "arrived", "time in top")  # fmt: skip


def run(arguments: Sequence[str]) -> list[Figure]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks congestion")
    parser.add_argument(
        "--seeds", type=int, default=5, help="runs of each scenario (20 are those of the documentation)"
    )
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    parser.add_argument("--timelines", type=Path, metavar="DIR", help="draw some runs over time into PNGs there")
    options = parser.parse_args(arguments)
    figures: list[Figure] = []
    for name, scenario in SCENARIOS.items():
        if options.only in name:
            runs = [scenario(seed) for seed in range(options.seeds)]
            for figure in runs[0]:
                figures += spread(f"{name}: {figure}", [found[figure] for found in runs], unit_of(figure))
    if options.only in EIGHT:
        figures += eight_subscriptions(options.seeds)
    if options.timelines is not None:
        options.timelines.mkdir(parents=True, exist_ok=True)
        for file, (title, make) in TIMELINES.items():
            draw(options.timelines / file, title, make())
    return figures


def unit_of(figure: str) -> str:
    """The names of the scenarios' figures end in their unit, or are one."""
    last = figure.rpartition(" ")[2]
    if figure == "switches":
        return figure
    return "share" if figure in SHARES else last if last in ("s", "ms") else "layers"


def spread(what: str, values: Sequence[float], unit: str) -> list[Figure]:
    """Median and both ends."""
    return [
        Figure(f"{what}, median", float(np.median(values)), unit),
        Figure(f"{what}, lowest", min(values), unit),
        Figure(f"{what}, highest", max(values), unit),
    ]


EIGHT: Final = "eight subscriptions on 1.5 Mbit/s"


def eight_subscriptions(seeds: int) -> list[Figure]:
    """Eight cameras by the real allocation: are all alive, and does anything flap?"""
    switches, alive, queues, used = [], [], [], []
    for seed in range(seeds):
        path = eight(seed)
        source = path.source
        assert isinstance(source, AllocatedSource)
        settled_us = path.samples[0].at_us + round(SETTLED_S * 1e6)
        switches.append(max(busiest(camera.switches, settled_us) for camera in source.cameras))
        alive.append(sum(camera.level > PAUSED for camera in source.cameras))
        late = between(path, SETTLED_S, CALL_S)
        queues.append(queue_ms(late, 95))
        used.append(float(np.mean([sample.sent_bps for sample in late])) / (1.5 * MBIT))
    figures = spread(f"{EIGHT}: switches of one track within 10 s, worst track", switches, "switches")
    figures += spread(f"{EIGHT}: alive", alive, "tracks")
    figures += spread(f"{EIGHT}: queue p95", queues, "ms")
    return figures + spread(f"{EIGHT}: link used", used, "share")


def busiest(times: Sequence[int], from_us: int) -> int:
    """The most switches within ten seconds."""
    late = [time for time in times if time >= from_us]
    return max((sum(first <= time < first + WINDOW_US for time in late) for first in late), default=0)


def eight(seed: int = 0) -> NetworkPath:
    path = make_path(seed, 1.5 * MBIT, source=AllocatedSource([Camera() for _ in range(8)]))
    path.run(CALL_S)
    return path


def narrowed() -> NetworkPath:
    path = make_path(1, 3 * MBIT, source=LayeredSource())
    for capacity_bps in (MBIT // 2, 3 * MBIT):
        path.run(15)
        path.change(capacity_bps=capacity_bps)
    path.run(15)
    return path


def elastic_drop() -> NetworkPath:
    path = make_path(1, 3 * MBIT)
    for capacity_bps in (MBIT // 2, 3 * MBIT):
        path.run(15)
        path.change(capacity_bps=capacity_bps)
    path.run(15)
    return path


def with_reno() -> NetworkPath:
    path = make_path(1, 2 * MBIT, queue_us=300_000, cross=RenoFlow(start_us=10_000_000, stop_us=40_000_000))
    path.run(60)
    return path


def lossy() -> NetworkPath:
    path = make_path(1, 3 * MBIT, loss=0.1)
    path.run(60)
    return path


TIMELINES: Final[dict[str, tuple[str, Callable[[], NetworkPath]]]] = {
    "bwe-drop.png": ("An elastic source: 3 → 0.5 → 3 Mbit/s", elastic_drop),
    "bwe-layers.png": ("Three layers: 3 → 0.5 → 3 Mbit/s", narrowed),
    "bwe-loss.png": ("An elastic source: 3 Mbit/s, 10 % random loss", lossy),
    "bwe-reno.png": ("A Reno-like flow from 10 s to 40 s, 2 Mbit/s, queue of 300 ms", with_reno),
    "bwe-eight.png": ("Eight cameras on 1.5 Mbit/s (layers: the sum of all steps)", eight),
}


def draw(file: Path, title: str, path: NetworkPath) -> None:
    """Estimate and sent rate with the capacity, the bottleneck's queue, and layers, over time. Needs matplotlib."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    samples: Sequence[Sample] = path.samples
    at_s = smoothed([(sample.at_us - samples[0].at_us) / 1e6 for sample in samples])
    lines: list[tuple[str, dict[str, list[float]]]] = [
        ("Mbit/s", {
            "capacity": [sample.capacity_bps / MBIT for sample in samples],
            "sent": [sample.sent_bps / MBIT for sample in samples],
            "estimate": [sample.estimate_bps / MBIT for sample in samples],
        }),
        ("ms", {"queue of the bottleneck": [sample.queue_us / 1000 for sample in samples]}),
    ]  # fmt: skip
    if len({sample.layer for sample in samples}) > 1:
        lines.append(("layer", {"layer": [float(sample.layer) for sample in samples]}))
    drawing, axes = pyplot.subplots(len(lines), 1, figsize=INCHES, sharex=True, squeeze=False)
    for (unit, series), place in zip(lines, axes[:, 0], strict=True):
        for label, values in series.items():
            place.plot(at_s, smoothed(values), label=label, linewidth=1.2)
        place.set_ylabel(unit)
        place.legend(fontsize="small", loc="best")
        place.grid(alpha=0.3)
    axes[0, 0].set_title(title, fontsize="medium")
    axes[-1, 0].set_xlabel("s")
    drawing.tight_layout()
    drawing.savefig(file, dpi=DOTS_PER_INCH)
    pyplot.close(drawing)


def smoothed(values: Sequence[float]) -> list[float]:
    """Means of ten."""
    return [float(np.mean(values[at : at + SMOOTHED])) for at in range(0, len(values) - SMOOTHED, SMOOTHED)]
