# SPDX-License-Identifier: Apache-2.0
"""Scenarios of the bandwidth estimator on modelled links, each by seed, and the figures that are asked of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tests.simulation.bwe_path import Path, PathModel, Sample
from tests.simulation.bwe_sources import ElasticSource, LayeredSource, RenoFlow, SecondSender
from tests.simulation.links import LinkModel

MBIT = 1_000_000
BASE_RTT_US = 50_000
QUEUE_US = 250_000
REACHED = 0.9
"""Share of the capacity that counts as having reached it."""
BACKLOG_GONE_US = 25_000
"""One packet at 500 kbit/s takes 19 ms."""

Figures = dict[str, float]


def make_path(
    seed: int,
    capacity_bps: float,
    *,
    source: Any = None,
    rtt_us: int = BASE_RTT_US,
    queue_us: int = QUEUE_US,
    loss: float = 0.0,
    jitter_us: int = 0,
    parameters: Mapping[str, Any] | None = None,
    cross: Any = None,
) -> Path:
    """Loss and jitter are those of both directions; feedback comes each 50 to 100 ms."""
    forward = LinkModel(
        capacity_bps=round(capacity_bps), queue_us=queue_us, delay_us=rtt_us // 2, loss=loss, jitter_us=jitter_us
    )
    backward = LinkModel(delay_us=rtt_us // 2, loss=loss, jitter_us=jitter_us)
    feedback_us = 50_000 + 50_000 * (seed % 5) // 4
    return Path(
        PathModel(forward, backward, feedback_us), source or ElasticSource(), seed, parameters or {}, cross=cross
    )


def between(path: Path, begin_s: float, end_s: float) -> list[Sample]:
    """The samples of that time."""
    first_us = path.samples[0].at_us
    return [sample for sample in path.samples if begin_s * 1e6 <= sample.at_us - first_us < end_s * 1e6]


def seconds_until(samples: Sequence[Sample], reached: Callable[[Sample], bool]) -> float:
    """From the first sample to the first that is so; infinite if none is."""
    for sample in samples:
        if reached(sample):
            return (sample.at_us - samples[0].at_us) / 1e6
    return float("inf")


def used(samples: Sequence[Sample]) -> float:
    """Mean estimate as a share of the capacity, what exceeds it not counted."""
    return float(np.mean([min(sample.estimate_bps / sample.capacity_bps, 1.0) for sample in samples]))


def queue_ms(samples: Sequence[Sample], percentile: float) -> float:
    """Of the bottleneck's queue."""
    return float(np.percentile([sample.queue_us for sample in samples], percentile)) / 1000


def steady(path: Path, begin_s: float, end_s: float) -> Figures:
    """How well the link is used, and at which delay."""
    samples = between(path, begin_s, end_s)
    shares = [sample.estimate_bps / sample.capacity_bps for sample in samples]
    return {
        "used": used(samples),
        "lowest": float(np.min(shares)),
        "time ≥ 90 %": float(np.mean([share >= REACHED for share in shares])),
        "queue p95 ms": queue_ms(samples, 95),
    }


def cold_start(seed: int, capacity_bps: float = MBIT, **options: Any) -> Figures:
    """From nothing, then a minute."""
    path = make_path(seed, capacity_bps, **options)
    path.run(63)
    reached_s = seconds_until(path.samples, lambda sample: sample.estimate_bps >= REACHED * capacity_bps)
    return {"reached s": reached_s, **steady(path, 3, 63), "padding": path.padding_bytes / path.sent_bytes}


def backlog_gone_s(samples: Sequence[Sample]) -> float:
    """When the queue that a drop has left is short for the first time."""
    built = next((index for index, sample in enumerate(samples) if sample.queue_us > 2 * BACKLOG_GONE_US), 0)
    return (samples[built].at_us - samples[0].at_us) / 1e6 + seconds_until(
        samples[built:], lambda sample: sample.queue_us < BACKLOG_GONE_US
    )


def drop_and_back(seed: int, **options: Any) -> Figures:
    """3 Mbit/s, 500 kbit/s, 3 Mbit/s again."""
    path = make_path(seed, 3 * MBIT, **options)
    path.run(20)
    path.change(capacity_bps=MBIT // 2)
    path.run(20)
    path.change(capacity_bps=3 * MBIT)
    path.run(20)
    low, back = between(path, 20, 40), between(path, 40, 60)
    return {
        "before": used(between(path, 10, 20)),
        "backlog s": backlog_gone_s(low[:500]),
        "low used": used(low[500:]),
        "low queue p95 ms": queue_ms(low[200:], 95),
        "back s": seconds_until(back, lambda sample: sample.estimate_bps >= REACHED * 3 * MBIT),
    }


def beside_reno(seed: int, capacity_bps: float = 2 * MBIT, queue_us: int = 100_000, **options: Any) -> Figures:
    """One TCP-like flow joins after ten seconds; shares of the last minute of 90 s."""
    flow = RenoFlow(start_us=10_000_000)
    path = make_path(seed, capacity_bps, queue_us=queue_us, cross=flow, **options)
    path.run(30)
    path.collect()
    ours, theirs = path.arrived_bytes, sum(size for _, size in flow.arrived)
    path.run(60)
    path.collect()
    ours, theirs = path.arrived_bytes - ours, sum(size for _, size in flow.arrived) - theirs
    samples = between(path, 30, 90)
    return {
        "share": ours / (ours + theirs),
        "total": (ours + theirs) * 8 / 60 / capacity_bps,
        "estimate": used(samples),
        "queue p50 ms": queue_ms(samples, 50),
        "queue p95 ms": queue_ms(samples, 95),
    }


def layers(seed: int, capacity_bps: float = MBIT, seconds: float = 63, **options: Any) -> Figures:
    """Simulcast layers of 0.2, 0.5 and 1.05 Mbit/s with audio."""
    source = LayeredSource()
    path = make_path(seed, capacity_bps, source=source, **options)
    path.run(seconds)
    samples = between(path, 3, seconds)
    last = between(path, 10, seconds)
    top = max(sample.layer for sample in samples)
    return {
        "top layer": float(top),
        "time in top": float(np.mean([sample.layer == top for sample in last])),
        "switches": float(source.switches),
        "estimate": used(samples),
        "queue p95 ms": queue_ms(samples, 95),
        "padding": path.padding_bytes / path.sent_bytes,
    }


def losses_end(seed: int, capacity_bps: float = 3 * MBIT, **options: Any) -> Figures:
    """Layers on a link that loses 20 % for ten seconds. What is sent then is far less than the link carries."""
    path = make_path(seed, capacity_bps, source=LayeredSource(), **options)
    path.run(10)
    path.change(loss=0.2)
    path.run(10)
    path.change(loss=0.0)
    path.run(40)
    top = max(sample.layer for sample in path.samples)
    after = between(path, 20, 60)
    return {
        "lowest layer": float(min(sample.layer for sample in between(path, 10, 20))),
        "top again after s": seconds_until(after, lambda sample: sample.layer == top),
        "padding": path.padding_bytes / path.sent_bytes,
    }


def two_of_us(seed: int, capacity_bps: float = 2 * MBIT, **options: Any) -> Figures:
    """A second flow like ours joins after 15 s; shares from 30 s after that."""
    second = SecondSender(15_000_000, seed + 100)
    path = make_path(seed, capacity_bps, cross=second, **options)
    path.run(45)
    assert second.path is not None
    ours, theirs = path.arrived_bytes, second.path.arrived_bytes
    path.run(60)
    ours, theirs = path.arrived_bytes - ours, second.path.arrived_bytes - theirs
    return {
        "share": ours / (ours + theirs),
        "total": (ours + theirs) * 8 / 60 / capacity_bps,
        "queue p95 ms": queue_ms(between(path, 45, 105), 95),
    }


def reno_leaves(seed: int, capacity_bps: float = 2 * MBIT, queue_us: int = 300_000, **options: Any) -> Figures:
    """A TCP-like flow from 10 s to 40 s; the link is ours again afterwards."""
    flow = RenoFlow(start_us=10_000_000, stop_us=40_000_000)
    path = make_path(seed, capacity_bps, queue_us=queue_us, cross=flow, **options)
    path.run(70)
    after = between(path, 40, 70)
    return {
        "again 90 % after s": seconds_until(after, lambda sample: sample.estimate_bps >= REACHED * capacity_bps),
        "used": used(between(path, 45, 70)),
        "queue p95 ms": queue_ms(between(path, 45, 70), 95),
    }


def policer(seed: int, capacity_bps: float = MBIT, **options: Any) -> Figures:
    """A bottleneck that holds next to nothing: only losses tell of it."""
    path = make_path(seed, capacity_bps, queue_us=12_000, **options)
    path.run(63)
    lost = sum(path.forward.drops.values()) / path.forward.sent
    samples = between(path, 3, 63)
    return {"used": used(samples), "lost": lost, "arrived": path.arrived_bytes * 8 / 63 / capacity_bps}


def longer_way(seed: int, capacity_bps: float = 2 * MBIT, **options: Any) -> Figures:
    """The path's delay grows by 60 ms from one moment to the next."""
    path = make_path(seed, capacity_bps, **options)
    path.run(20)
    path.change(delay_us=path.forward.model.delay_us + 60_000)
    path.run(30)
    samples = between(path, 20, 50)
    return {
        "used": used(samples),
        "lowest": min(sample.estimate_bps for sample in samples) / capacity_bps,
        "queue p95 ms": queue_ms(samples, 95),
    }


SCENARIOS: dict[str, Callable[..., Figures]] = {
    "1 Mbit/s, cold start": cold_start,
    "3 → 0.5 → 3 Mbit/s": drop_and_back,
    "5 % loss": lambda seed, **o: cold_start(seed, loss=0.05, **o),
    "10 % loss": lambda seed, **o: cold_start(seed, loss=0.10, **o),
    "3 Mbit/s, 5 % loss": lambda seed, **o: cold_start(seed, 3 * MBIT, loss=0.05, **o),
    "3 Mbit/s, 10 % loss": lambda seed, **o: cold_start(seed, 3 * MBIT, loss=0.10, **o),
    "150 ms RTT": lambda seed, **o: cold_start(seed, rtt_us=150_000, **o),
    "30 ms jitter": lambda seed, **o: cold_start(seed, jitter_us=30_000, **o),
    "3 Mbit/s, 30 ms jitter": lambda seed, **o: cold_start(seed, 3 * MBIT, jitter_us=30_000, **o),
    "Reno, queue 100 ms": lambda seed, **o: beside_reno(seed, queue_us=100_000, **o),
    "Reno, queue 300 ms": lambda seed, **o: beside_reno(seed, queue_us=300_000, **o),
    "Reno leaves": reno_leaves,
    "two of us": two_of_us,
    "policer, 1 Mbit/s": policer,
    "policer, 3 Mbit/s": lambda seed, **o: policer(seed, 3 * MBIT, **o),
    "path 60 ms longer": longer_way,
    "layers, 20 % loss that ends": losses_end,
    "layers, 1 Mbit/s": layers,
    "layers, 2.5 Mbit/s": lambda seed, **o: layers(seed, 2.5 * MBIT, **o),
}
