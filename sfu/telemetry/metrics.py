# SPDX-License-Identifier: Apache-2.0
"""Prometheus metrics, read from the engine's own counters when they are asked for. Nothing is counted twice, nothing
in between.

Labels are bounded by the configuration (workers, drop reasons), never by what clients do: no room or participant is a
label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

import sfu
from sfu.engine.statistics import Statistics

ReadStatistics = Callable[[], Statistics]


class Shedding(Protocol):
    """What one worker leaves out for want of power."""

    @property
    def level(self) -> int: ...
    @property
    def stress(self) -> float: ...


class Occupancy(Protocol):
    """How full the server is."""

    @property
    def shedding(self) -> Sequence[Shedding]: ...
    @property
    def rooms(self) -> int: ...
    @property
    def participants(self) -> int: ...


class SfuCollector(Collector):
    def __init__(self, workers: Sequence[ReadStatistics], occupancy: Occupancy) -> None:
        """`workers`: one reader of statistics each, in the order of their indexes."""
        self._workers = tuple(workers)
        self._occupancy = occupancy

    def collect(self) -> Iterable[Metric]:
        yield _gauge("pysfu_rooms", "Rooms with somebody in them.", self._occupancy.rooms)
        yield _gauge("pysfu_participants", "Participants in all rooms.", self._occupancy.participants)
        info = GaugeMetricFamily("pysfu_info", "Always 1; the version is a label.", labels=["version"])
        info.add_metric([sfu.__version__], 1)
        yield info
        yield from self._engine()
        yield from self._load()

    def _load(self) -> Iterator[Metric]:
        level = GaugeMetricFamily(
            "pysfu_shedding_level", "What is left out under overload: 0 nothing, 8 newcomers.", labels=["worker"]
        )
        stress = GaugeMetricFamily("pysfu_stress", "Load as a share of what is borne, smoothed.", labels=["worker"])
        for index, one in enumerate(self._occupancy.shedding):
            level.add_metric([str(index)], one.level)
            stress.add_metric([str(index)], one.stress)
        yield from (level, stress)

    def _engine(self) -> Iterator[Metric]:
        packets = CounterMetricFamily("pysfu_packets", "UDP datagrams.", labels=["worker", "direction"])
        size = CounterMetricFamily("pysfu_bytes", "Bytes in UDP datagrams.", labels=["worker", "direction"])
        drops = CounterMetricFamily(
            "pysfu_drops", "Packets that were not forwarded, and why.", labels=["worker", "reason"]
        )
        busy = CounterMetricFamily(
            "pysfu_worker_busy_seconds", "Time that the worker's thread has worked and not waited.", labels=["worker"]
        )
        for index, read in enumerate(self._workers):
            totals = read()
            worker = str(index)
            packets.add_metric([worker, "in"], totals.packets_received)
            packets.add_metric([worker, "out"], totals.packets_sent)
            size.add_metric([worker, "in"], totals.bytes_received)
            size.add_metric([worker, "out"], totals.bytes_sent)
            for reason, count in totals.drops.items():
                drops.add_metric([worker, reason.lower()], count)
            busy.add_metric([worker], totals.busy_us / 1e6)
        yield from (packets, size, drops, busy)


def make_registry(workers: Sequence[ReadStatistics], occupancy: Occupancy) -> CollectorRegistry:
    """A registry of its own: servers in one process (tests) do not see each other's."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SfuCollector(workers, occupancy))
    ProcessCollector(registry=registry)
    return registry


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)
