# SPDX-License-Identifier: Apache-2.0
"""What bots count, second by second, and what is said of a span of it. Pure: samples in, figures out."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Final

from sfu.load.histogram import Histogram, percentile

LAYERS: Final = 3


@dataclass(slots=True)
class Counters:
    """Cumulative, of one bot or of many."""

    received_packets: int = 0
    received_bytes: int = 0
    """Of media datagrams."""
    expected_packets: int = 0
    """By the sequence numbers of the slots."""
    lost_packets: int = 0
    """Missing when a later one came."""
    repaired_packets: int = 0
    """Of these, what came after all: by retransmission, or late."""
    unrepaired_packets: int = 0
    """Of these, what was given up."""
    frames: int = 0
    freezes: int = 0
    frozen_us: int = 0
    watched_us: int = 0
    """Time of pictures: from the first frame of a slot on, while it shows something."""
    sent_packets: int = 0
    sent_bytes: int = 0
    nacks: int = 0
    keyframe_requests: int = 0
    faults: int = 0
    """Packets that could not be decrypted or understood."""
    audio_bytes: int = 0
    layer_bytes: list[int] = field(default_factory=lambda: [0] * LAYERS)
    """Received, by spatial layer."""

    def add(self, other: Counters) -> None:
        for name in COUNTED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.layer_bytes = [mine + theirs for mine, theirs in zip(self.layer_bytes, other.layer_bytes, strict=True)]

    def since(self, earlier: Counters) -> Counters:
        change = Counters(**{name: getattr(self, name) - getattr(earlier, name) for name in COUNTED})
        change.layer_bytes = [now - then for now, then in zip(self.layer_bytes, earlier.layer_bytes, strict=True)]
        return change


COUNTED: Final = tuple(one.name for one in fields(Counters) if one.name != "layer_bytes")


@dataclass(frozen=True, slots=True)
class ServerSample:
    """From the server's metrics; cumulative but for the memory."""

    cpu_s: float
    memory_bytes: float
    packets_in: float
    packets_out: float
    drops: float


@dataclass(frozen=True, slots=True)
class Arrival:
    """A join that succeeded. Times are ms from its beginning."""

    at_s: float
    join_ms: float


@dataclass(frozen=True, slots=True)
class FirstFrame:
    at_s: float
    """When it came."""
    after_ms: float
    """From the beginning of the join on."""


@dataclass(frozen=True, slots=True)
class Failure:
    at_s: float
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Sample:
    """How things stand at one time. Counters are cumulative, those who left included."""

    at_s: float
    begun: int
    """Joins that have begun."""
    inside: int
    receiving: int
    """Of those inside, how many had their first frame."""
    expecting: int
    """Of those inside, how many receive at all and have been there long enough for a first frame."""
    counters: Counters
    latency: Histogram
    own_cpu_s: float
    server: ServerSample | None = None
    own_drops: int = 0
    """Packets that this machine's kernel dropped because the test was too slow to take them."""
    lateness_us: int = 0
    """How late the test has sent a frame, at worst."""


MAX_SCORES: Final = 2000


@dataclass(slots=True)
class Score:
    """What full bots saw and heard. Lists keep the latest values only."""

    pictures: int = 0
    unreadable: int = 0
    """Pictures whose blocks could not be read."""
    width: int = 0
    height: int = 0
    """Of the largest picture."""
    delays_ms: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_SCORES))
    """From drawing to decoding."""
    psnrs_db: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_SCORES))
    levels_dbfs: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_SCORES))

    def picture(self, width: int, height: int) -> None:
        self.pictures += 1
        if width * height > self.width * self.height:
            self.width, self.height = width, height

    def read(self, delay_ms: float, psnr_db: float | None) -> None:
        self.delays_ms.append(delay_ms)
        if psnr_db is not None:
            self.psnrs_db.append(psnr_db)

    def audio(self, level_dbfs: float) -> None:
        self.levels_dbfs.append(level_dbfs)


@dataclass(frozen=True, slots=True)
class FullFigures:
    """Of all full bots."""

    bots: int
    pictures: int
    unreadable_percent: float | None
    fps_median: float | None
    """Of the received pictures of a bot, for each picture that it watches."""
    width: int
    height: int
    delay_p50_ms: float | None
    delay_p95_ms: float | None
    psnr_p50_db: float | None
    psnr_p5_db: float | None
    audio_p50_dbfs: float | None


def full_figures(scored: Sequence[tuple[Score, Counters]]) -> FullFigures | None:
    """None: there were no full bots."""
    if not scored:
        return None
    scores = [score for score, _ in scored]
    pictures = sum(score.pictures for score in scores)
    rates = [counters.frames / (counters.watched_us / 1e6) for _, counters in scored if counters.watched_us]
    delays = [delay for score in scores for delay in score.delays_ms]
    psnrs = [psnr for score in scores for psnr in score.psnrs_db]
    largest = max(scores, key=lambda score: score.width * score.height)
    return FullFigures(
        bots=len(scores),
        pictures=pictures,
        unreadable_percent=_percent(sum(score.unreadable for score in scores), pictures),
        fps_median=percentile(rates, 50),
        width=largest.width,
        height=largest.height,
        delay_p50_ms=percentile(delays, 50),
        delay_p95_ms=percentile(delays, 95),
        psnr_p50_db=percentile(psnrs, 50),
        psnr_p5_db=percentile(psnrs, 5),
        audio_p50_dbfs=percentile([level for score in scores for level in score.levels_dbfs], 50),
    )


@dataclass(slots=True)
class Record:
    """All that a run has seen."""

    samples: list[Sample] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    first_frames: list[FirstFrame] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    lost_bots: list[Failure] = field(default_factory=list)
    """Bots that were inside and whose connection ended by itself."""
    scored: list[tuple[Score, Counters]] = field(default_factory=list)
    """Of full bots, when they left."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Of a span of time. None: nothing was measured."""

    seconds: float
    participants: int
    """Inside at the end."""
    joins: int
    failed_joins: int
    disconnected: int
    joined_percent: float | None
    """Of the joins that ended, those that succeeded and whose connection did not break."""
    peak_join_rate: float
    """Joins that succeeded in the busiest second."""
    join_p50_ms: float | None
    join_p95_ms: float | None
    join_p99_ms: float | None
    first_frame_p50_ms: float | None
    first_frame_p95_ms: float | None
    first_frame_p99_ms: float | None
    receiving_percent: float | None
    """At the end, of those who should have had a first frame by then."""
    packets_expected: int
    packets_received: int
    lost_percent: float | None
    """Unrepaired, of the expected."""
    repaired_percent: float | None
    """Lost on the way but repaired, of the expected."""
    frames: int
    freezes: int
    freezes_per_minute: float | None
    frozen_percent: float | None
    latency_p50_ms: float | None
    latency_p99_ms: float | None
    latency_p999_ms: float | None
    received_bps: float
    sent_bps: float
    layer_bps: tuple[float, ...]
    audio_bps: float
    packets_in_per_s: float
    """Received by bots."""
    packets_out_per_s: float
    """Sent by bots."""
    server_cpu_percent: float | None
    """Of one core."""
    server_memory_bytes: float | None
    server_cpu_us_per_packet: float | None
    """For each packet that the server sent."""
    own_cpu_percent: float
    faults: int


def figures(record: Record, from_s: float, to_s: float) -> Figures | None:
    """Of what happened in from_s < time ≤ to_s; None if there are not two samples in it."""
    inside = [sample for sample in record.samples if from_s <= sample.at_s <= to_s]
    if len(inside) < 2:
        return None
    first, last = inside[0], inside[-1]
    seconds = last.at_s - first.at_s
    change = last.counters.since(first.counters)
    latency = last.latency.since(first.latency)
    joins = [one.join_ms for one in record.arrivals if from_s <= one.at_s <= to_s]
    frames = [one.after_ms for one in record.first_frames if from_s <= one.at_s <= to_s]
    failed = sum(1 for one in record.failures if from_s <= one.at_s <= to_s)
    cut = sum(1 for one in record.lost_bots if from_s <= one.at_s <= to_s)
    server = _server(inside)
    return Figures(
        seconds=seconds,
        participants=last.inside,
        joins=len(joins),
        failed_joins=failed,
        disconnected=cut,
        joined_percent=_percent(max(0, len(joins) - cut), len(joins) + failed),
        peak_join_rate=_busiest_second([one.at_s for one in record.arrivals if from_s <= one.at_s <= to_s]),
        join_p50_ms=percentile(joins, 50),
        join_p95_ms=percentile(joins, 95),
        join_p99_ms=percentile(joins, 99),
        first_frame_p50_ms=percentile(frames, 50),
        first_frame_p95_ms=percentile(frames, 95),
        first_frame_p99_ms=percentile(frames, 99),
        receiving_percent=_percent(min(last.receiving, last.expecting), last.expecting),
        packets_expected=change.expected_packets,
        packets_received=change.received_packets,
        lost_percent=_percent(max(0, change.unrepaired_packets), change.expected_packets),
        repaired_percent=_percent(change.repaired_packets, change.expected_packets),
        frames=change.frames,
        freezes=change.freezes,
        freezes_per_minute=change.freezes / (change.watched_us / 60e6) if change.watched_us > 0 else None,
        frozen_percent=_percent(change.frozen_us, change.watched_us),
        latency_p50_ms=latency.percentile_ms(50),
        latency_p99_ms=latency.percentile_ms(99),
        latency_p999_ms=latency.percentile_ms(99.9),
        received_bps=change.received_bytes * 8 / seconds,
        sent_bps=change.sent_bytes * 8 / seconds,
        layer_bps=tuple(octets * 8 / seconds for octets in change.layer_bytes),
        audio_bps=change.audio_bytes * 8 / seconds,
        packets_in_per_s=change.received_packets / seconds,
        packets_out_per_s=change.sent_packets / seconds,
        server_cpu_percent=None if server is None else server[0],
        server_memory_bytes=next((one.server.memory_bytes for one in reversed(inside) if one.server), None),
        server_cpu_us_per_packet=None if server is None else server[1],
        own_cpu_percent=(last.own_cpu_s - first.own_cpu_s) / seconds * 100,
        faults=change.faults,
    )


def _server(samples: Sequence[Sample]) -> tuple[float, float | None] | None:
    """(CPU in percent of a core, CPU µs for each packet sent)."""
    known = [(sample.at_s, sample.server) for sample in samples if sample.server is not None]
    if len(known) < 2:
        return None
    (began_s, first), (ended_s, last) = known[0], known[-1]
    cpu_s, packets = last.cpu_s - first.cpu_s, last.packets_out - first.packets_out
    return cpu_s / (ended_s - began_s) * 100, cpu_s * 1e6 / packets if packets > 0 else None


def _percent(part: float, whole: float) -> float | None:
    return part / whole * 100 if whole > 0 else None


def _busiest_second(times_s: Sequence[float]) -> float:
    """The most in any second that begins with one of them."""
    ordered, most, first = sorted(times_s), 0, 0
    for index, at_s in enumerate(ordered):
        while ordered[first] <= at_s - 1:
            first += 1
        most = max(most, index - first + 1)
    return float(most)
