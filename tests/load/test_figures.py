# SPDX-License-Identifier: Apache-2.0
"""Figures of a span: differences of what was counted, percentiles, and nothing made up where nothing was measured."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.load.figures import (
    Arrival,
    Counters,
    Failure,
    FirstFrame,
    Record,
    Sample,
    Score,
    ServerSample,
    figures,
    full_figures,
)
from sfu.load.histogram import SUBS, Histogram, bucket_of, middle_of, percentile


@given(st.integers(0, 2**32 - 1))
def test_a_bucket_is_near_its_values(value: int) -> None:
    assert middle_of(bucket_of(value)) == pytest.approx(value, rel=1 / SUBS / 2 + 1e-9)


@given(st.integers(0, 2**32 - 2))
def test_buckets_are_in_order(value: int) -> None:
    assert 0 <= bucket_of(value + 1) - bucket_of(value) <= 1


@given(st.lists(st.integers(0, 10_000_000), min_size=1), st.sampled_from([1, 50, 90, 99, 99.9, 100]))
def test_percentiles_of_a_histogram_are_those_of_its_values(values: list[int], percent: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    exact = sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]
    assert percentile(values, percent) == exact
    assert histogram.percentile_ms(percent) == pytest.approx(exact / 1000, rel=1 / SUBS, abs=0.0006)


def test_a_histogram_since_then() -> None:
    histogram = Histogram()
    histogram.add(100)
    earlier = histogram.copy()
    histogram.add(5000)
    assert histogram.since(earlier).percentile_ms(50) == pytest.approx(5.0, rel=0.04)
    assert Histogram().percentile_ms(50) is None
    assert percentile([], 50) is None


def record_of(seconds: int) -> Record:
    """100 packets a second of which one is lost for good and two are repaired; the server needs 0.2 s for 50."""
    record, latency = Record(), Histogram()
    rng = random.Random(1)
    for second in range(seconds + 1):
        counters = Counters(
            received_packets=99 * second,
            received_bytes=99_000 * second,
            expected_packets=100 * second,
            lost_packets=3 * second,
            repaired_packets=2 * second,
            unrepaired_packets=second,
            frames=30 * second,
            freezes=second // 5,
            frozen_us=second * 10_000,
            watched_us=second * 1_000_000,
            audio_bytes=1000 * second,
            layer_bytes=[0, 2000 * second, 0],
        )
        for _ in range(100):
            latency.add(rng.randrange(1000, 2000))
        server = ServerSample(cpu_s=0.2 * second, memory_bytes=1e8, packets_in=0, packets_out=50.0 * second, drops=0)
        record.samples.append(
            Sample(float(second), 10, 10, 9, 9, counters, latency.copy(), own_cpu_s=0.1 * second, server=server)
        )
    record.arrivals += [Arrival(number / 10, 100.0 + number) for number in range(1, 11)]
    record.first_frames += [FirstFrame(number / 10, 200.0 + number) for number in range(1, 10)]
    return record


def test_rates_are_of_the_span() -> None:
    found = figures(record_of(20), 5.0, 15.0)
    assert found is not None
    assert found.seconds == 10
    assert (found.packets_expected, found.packets_received, found.freezes) == (1000, 990, 2)
    assert (found.lost_percent, found.repaired_percent) == (1.0, 2.0)
    assert found.freezes_per_minute == pytest.approx(12)
    assert found.frozen_percent == pytest.approx(1.0)
    assert found.received_bps == 792_000
    assert list(found.layer_bps) == [0, 16_000, 0]
    assert found.audio_bps == 8000
    assert found.server_cpu_percent == pytest.approx(20)
    assert found.server_cpu_us_per_packet == pytest.approx(4000)
    assert found.own_cpu_percent == pytest.approx(10)
    assert found.latency_p50_ms == pytest.approx(1.5, rel=0.1)
    assert found.receiving_percent == 100
    assert found.joins == 0
    assert found.join_p95_ms is None
    assert found.joined_percent is None


def test_joins_are_counted_where_they_end() -> None:
    record = record_of(3)
    record.failures.append(Failure(0.5, "timeout", ""))
    record.lost_bots.append(Failure(2.0, "disconnected", ""))
    found = figures(record, 0.0, 3.0)
    assert found is not None
    assert (found.joins, found.failed_joins, found.disconnected, found.peak_join_rate) == (10, 1, 1, 10)
    assert found.joined_percent == pytest.approx(9 / 11 * 100)
    assert (found.join_p50_ms, found.join_p95_ms, found.first_frame_p99_ms) == (105, 110, 209)


def test_nothing_is_made_up() -> None:
    assert figures(Record(), 0.0, 10.0) is None
    record = Record()
    record.samples += [Sample(float(at), 0, 0, 0, 0, Counters(), Histogram(), 0.0) for at in (0, 1)]
    found = figures(record, 0.0, 1.0)
    assert found is not None
    unknown = ("joined_percent", "lost_percent", "freezes_per_minute", "latency_p99_ms", "server_cpu_percent")
    assert [getattr(found, name) for name in unknown] == [None] * len(unknown)


def test_scores_of_full_bots() -> None:
    assert full_figures([]) is None
    score = Score()
    for number in range(20):
        score.picture(640 if number else 320, 360)
        score.read(50.0 + number, 30.0 + number)
        score.audio(-12.0)
    score.unreadable = 5
    found = full_figures([(score, Counters(frames=20, watched_us=2_000_000))])
    assert found is not None
    assert (found.width, found.height, found.fps_median, found.unreadable_percent) == (640, 360, 10, 25)
    assert (found.delay_p50_ms, found.psnr_p50_db, found.psnr_p5_db, found.audio_p50_dbfs) == (59, 39, 30, -12)
