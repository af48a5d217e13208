# SPDX-License-Identifier: Apache-2.0
"""Latency histograms: the buckets against their definition, percentiles against the values themselves."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.engine.latency import LatencyRecorder
from sfu.engine.statistics import LATENCY_BUCKETS, LatencyStatistics, latency_bucket_end_us

TOP_US = 1 << 24
ERROR = 1 / 32
DURATIONS = st.one_of(st.integers(0, 100), st.integers(0, 5_000), st.integers(0, TOP_US - 1))


def recorded(durations_us: list[int]) -> LatencyStatistics:
    recorder = LatencyRecorder()
    for duration_us in durations_us:
        recorder.add(duration_us)
    return recorder.statistics()


@given(DURATIONS)
def test_a_duration_lies_in_its_bucket(duration_us: int) -> None:
    bucket = recorded([duration_us]).counts.index(1)
    begin_us = latency_bucket_end_us(bucket - 1) if bucket else 0
    assert begin_us <= duration_us < latency_bucket_end_us(bucket)
    assert latency_bucket_end_us(bucket) - begin_us <= max(1, begin_us * ERROR)


@pytest.mark.parametrize(("duration_us", "bucket"), [(-5, 0), (0, 0), (TOP_US - 1, -1), (TOP_US, -1), (1 << 40, -1)])
def test_what_is_out_of_range_is_counted_at_the_end(duration_us: int, bucket: int) -> None:
    statistics = recorded([duration_us])
    assert statistics.counts[bucket] == statistics.count == 1
    assert len(statistics.counts) == LATENCY_BUCKETS


@given(st.lists(DURATIONS, min_size=1, max_size=300), st.floats(0, 100))
def test_percentiles_are_right_to_three_percent(durations_us: list[int], percent: float) -> None:
    statistics = recorded(durations_us)
    exact_us = sorted(durations_us)[max(1, math.ceil(percent / 100 * len(durations_us))) - 1]
    assert statistics.percentile_us(percent) == pytest.approx(exact_us, rel=ERROR, abs=0.5)
    assert statistics.sum_us == sum(durations_us)


@given(st.lists(DURATIONS, max_size=100), st.lists(DURATIONS, max_size=100))
def test_what_came_between_two_readings(first_us: list[int], then_us: list[int]) -> None:
    between = recorded(first_us + then_us).since(recorded(first_us))
    assert between == recorded(then_us)
    bounds_us = [32, 64, 1 << 10, 1 << 20]
    assert between.shorter_than(bounds_us) == [sum(one < bound for one in then_us) for bound in bounds_us]


def test_nothing_has_no_percentile() -> None:
    assert math.isnan(LatencyStatistics().percentile_us(50))
