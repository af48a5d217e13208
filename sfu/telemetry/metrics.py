# SPDX-License-Identifier: Apache-2.0
"""Prometheus metrics, read from the engine's own counters when they are asked for. Nothing is counted twice, nothing
in between.

Labels are bounded by the configuration (workers, drop reasons), never by what clients do: no room or participant is a
label. docs/operations.md says what each is good for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

import sfu
from sfu.engine.statistics import LatencyStatistics, Statistics
from sfu.rooms.model import LeaveReason

# Powers of two: edges of the engine's own buckets, so that the counts are exact.
LATENCY_BOUNDS_US: Final = (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768, 131_072, 1_048_576)

ReadStatistics = Callable[[], Statistics]

# Of the engine's totals: metric, what it is, and of each value of its label (None: it has none) the total.
ENGINE_COUNTERS: Final[Sequence[tuple[str, str, str | None, Mapping[str, str]]]] = (
    ("pysfu_packets", "UDP datagrams.", "direction", {"in": "packets_received", "out": "packets_sent"}),
    ("pysfu_bytes", "Bytes in UDP datagrams.", "direction", {"in": "bytes_received", "out": "bytes_sent"}),
    (
        "pysfu_relay_packets",
        "Of the UDP datagrams those between workers.",
        "direction",
        {"in": "relay_packets_received", "out": "relay_packets_sent"},
    ),
    ("pysfu_rtcp_packets", "RTCP datagrams.", "direction", {"in": "rtcp_received", "out": "rtcp_sent"}),
    ("pysfu_dtls_packets", "DTLS datagrams.", "direction", {"in": "dtls_received", "out": "dtls_sent"}),
    ("pysfu_stun_packets", "STUN messages that came in.", None, {"": "stun_received"}),
    (
        "pysfu_media_packets",
        "Media: received from publishers, and what became of each (packet, receiver).",
        "stage",
        {"received": "media_received", "offered": "media_offered", "forwarded": "media_forwarded"},
    ),
    (
        "pysfu_nacks",
        "Packets asked for again: by us of publishers (out), of us (in).",
        "direction",
        {"in": "nacks_received", "out": "nacks_sent"},
    ),
    ("pysfu_retransmissions", "Packets sent again to receivers.", None, {"": "resent"}),
    ("pysfu_keyframe_requests", "Keyframe requests to publishers.", None, {"": "keyframes_asked"}),
    ("pysfu_layer_switches", "Changes of the layer that flows, of all receivers.", None, {"": "switches"}),
)
# Estimates of what receivers' links carry.
QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
CONGESTION: Final = ("none", "warning", "congested")


class Shedding(Protocol):
    """What one worker leaves out for want of power."""

    @property
    def level(self) -> int: ...
    @property
    def stress(self) -> float: ...


class ConnectTimes(Protocol):
    """A histogram."""

    @property
    def bounds_s(self) -> Sequence[float]: ...
    @property
    def cumulative(self) -> Sequence[int]: ...
    @property
    def sum_s(self) -> float: ...


class Events(Protocol):
    """What has happened in rooms since the start."""

    @property
    def joins(self) -> int: ...
    @property
    def media_failures(self) -> int: ...
    @property
    def leaves(self) -> Mapping[LeaveReason, int]: ...
    @property
    def connect_times(self) -> ConnectTimes: ...


class Occupancy(Protocol):
    """How full the server is."""

    @property
    def shedding(self) -> Sequence[Shedding]: ...
    @property
    def rooms(self) -> int: ...
    @property
    def participants(self) -> int: ...
    @property
    def publications(self) -> int: ...
    @property
    def loop_lag_s(self) -> float: ...
    @property
    def journal(self) -> Events: ...


class SfuCollector(Collector):
    def __init__(self, workers: Sequence[ReadStatistics], occupancy: Occupancy) -> None:
        """`workers`: one reader of statistics each, in the order of their indexes."""
        self._workers = tuple(workers)
        self._occupancy = occupancy

    def collect(self) -> Iterable[Metric]:
        readings = [read() for read in self._workers]
        info = GaugeMetricFamily("pysfu_info", "Always 1; the version is a label.", labels=["version"])
        info.add_metric([sfu.__version__], 1)
        yield info
        yield from self._rooms()
        yield from self._load()
        yield from _engine(readings)
        yield from _links(readings)

    def _rooms(self) -> Iterator[Metric]:
        occupancy, journal = self._occupancy, self._occupancy.journal
        yield _gauge("pysfu_rooms", "Rooms with somebody in them.", occupancy.rooms)
        yield _gauge("pysfu_participants", "Participants in all rooms.", occupancy.participants)
        yield _gauge("pysfu_publications", "Published tracks in all rooms.", occupancy.publications)
        yield CounterMetricFamily("pysfu_joins", "Participants that have joined.", value=journal.joins)
        leaves = CounterMetricFamily("pysfu_leaves", "Participants that have gone, and why.", labels=["reason"])
        for reason in LeaveReason:
            leaves.add_metric([reason.value], journal.leaves.get(reason, 0))
        yield leaves
        yield CounterMetricFamily(
            "pysfu_media_failures",
            "Transports that failed: DTLS, or no consent any more.",
            value=journal.media_failures,
        )
        times = journal.connect_times
        bounds = [*map(str, times.bounds_s), "+Inf"]
        buckets = list(zip(bounds, map(float, times.cumulative), strict=True))
        yield HistogramMetricFamily(
            "pysfu_connect_seconds", "From a join to media that can flow.", buckets=buckets, sum_value=times.sum_s
        )

    def _load(self) -> Iterator[Metric]:
        level = GaugeMetricFamily(
            "pysfu_shedding_level", "What is left out under overload: 0 nothing, 8 newcomers.", labels=["worker"]
        )
        stress = GaugeMetricFamily("pysfu_stress", "Load as a share of what is borne, smoothed.", labels=["worker"])
        for index, one in enumerate(self._occupancy.shedding):
            level.add_metric([str(index)], one.level)
            stress.add_metric([str(index)], one.stress)
        yield from (level, stress)
        yield _gauge("pysfu_event_loop_lag_seconds", "How late Python's loop was of late.", self._occupancy.loop_lag_s)


def _engine(readings: Sequence[Statistics]) -> Iterator[Metric]:
    for name, text, label, totals in ENGINE_COUNTERS:
        family = CounterMetricFamily(name, text, labels=["worker", label] if label else ["worker"])
        for index, reading in enumerate(readings):
            for value, attribute in totals.items():
                family.add_metric([str(index), value] if label else [str(index)], getattr(reading, attribute))
        yield family
    drops = CounterMetricFamily("pysfu_drops", "Packets that were not forwarded, and why.", labels=["worker", "reason"])
    socket = CounterMetricFamily(
        "pysfu_socket_events", "What the UDP socket met: docs/operations.md.", labels=["worker", "event"]
    )
    busy = CounterMetricFamily(
        "pysfu_worker_busy_seconds", "Time that the worker's thread has worked and not waited.", labels=["worker"]
    )
    latency = HistogramMetricFamily(
        "pysfu_forwarding_latency_seconds",
        "From the kernel's receive timestamp to the return of the send call; not what waited for a link.",
        labels=["worker", "kind"],
    )
    wait = HistogramMetricFamily(
        "pysfu_control_wait_seconds", "How long Python's calls waited for the worker's slice to end.", labels=["worker"]
    )
    for index, reading in enumerate(readings):
        worker = str(index)
        for reason, count in reading.drops.items():
            drops.add_metric([worker, reason.lower()], count)
        for event, count in reading.socket.items():
            socket.add_metric([worker, event], count)
        busy.add_metric([worker], reading.busy_us / 1e6)
        for kind, durations in (("audio", reading.latency_audio), ("video", reading.latency_video)):
            latency.add_metric([worker, kind], _buckets(durations), durations.sum_us / 1e6)
        wait.add_metric([worker], _buckets(reading.control_wait), reading.control_wait.sum_us / 1e6)
    yield from (drops, socket, busy, latency, wait)


def _links(readings: Sequence[Statistics]) -> Iterator[Metric]:
    """What is there now, and how good receivers' links are, without naming any of them."""
    now = GaugeMetricFamily(
        "pysfu_engine_objects", "What the engine holds now: transports, tracks, forwarders.", labels=["worker", "kind"]
    )
    congestion = GaugeMetricFamily(
        "pysfu_receivers", "Receivers by the state of their links.", labels=["worker", "congestion"]
    )
    estimates = GaugeMetricFamily(
        "pysfu_estimate_bps", "What receivers' links are estimated to carry, by quantile.", labels=["quantile"]
    )
    rates: list[int] = []
    for index, reading in enumerate(readings):
        worker = str(index)
        for kind in ("transports", "tracks", "forwarders"):
            now.add_metric([worker, kind], len(getattr(reading, kind)))
        receivers = [one for one in reading.transports.values() if one.estimate_bps]
        rates += [one.estimate_bps for one in receivers]
        for state, name in enumerate(CONGESTION):
            congestion.add_metric([worker, name], sum(one.congestion == state for one in receivers))
    rates.sort()
    for quantile in QUANTILES if rates else ():
        estimates.add_metric([str(quantile)], rates[int(quantile * (len(rates) - 1) + 0.5)])
    yield from (now, congestion, estimates)


def make_registry(workers: Sequence[ReadStatistics], occupancy: Occupancy) -> CollectorRegistry:
    """A registry of its own: servers in one process (tests) do not see each other's."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SfuCollector(workers, occupancy))
    ProcessCollector(registry=registry)
    return registry


def _buckets(durations: LatencyStatistics) -> list[tuple[str, float]]:
    below = durations.shorter_than(LATENCY_BOUNDS_US)
    named = [(str(bound_us / 1e6), float(count)) for bound_us, count in zip(LATENCY_BOUNDS_US, below, strict=True)]
    return [*named, ("+Inf", float(durations.count))]


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)
