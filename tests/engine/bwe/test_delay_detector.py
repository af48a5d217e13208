# SPDX-License-Identifier: Apache-2.0
"""Groups of packets, trend and overuse: figures of libwebrtc's own tests, and a plain twin."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.engine.bwe.components import DelayDetector
from tests.reference.bwe_delay import ReferenceDetector

NORMAL, UNDERUSING, OVERUSING = range(3)


# trendline_estimator_unittest.cc: 25 packets 20 ms apart; delivered at the same pace, 10 % slower, 15 % faster.
@pytest.mark.parametrize(("pace", "expected"), [(1.0, NORMAL), (1.1, OVERUSING), (0.85, UNDERUSING)])
def test_verdict_follows_the_pace_of_arrival(pace: float, expected: int) -> None:
    detector = DelayDetector()
    verdicts = []
    for count in range(1, 25):
        sent_ms = int(123456789 + 20.0 * count) - int(123456789 + 20.0 * (count - 1))
        arrival = int(987654321 + pace * 20.0 * count)
        detector.deltas(sent_ms, arrival - int(987654321 + pace * 20.0 * (count - 1)), arrival * 1000)
        verdicts.append(detector.usage)
    first = next((index for index, verdict in enumerate(verdicts) if verdict != NORMAL), len(verdicts))
    assert set(verdicts[first:]) == ({expected} if expected != NORMAL else set())


def test_packets_within_five_milliseconds_are_one_group() -> None:
    detector = DelayDetector()
    made = [detector.packet(sent, sent + 50_000, 0) for sent in range(0, 40_000, 1_000)]
    completed = [deltas for deltas in made if deltas is not None]
    assert completed == [(6_000, 6_000)] * len(completed)
    assert len(completed) == 5


def test_a_burst_out_of_an_emptied_queue_is_one_group() -> None:
    detector = DelayDetector()
    # Sent each 10 ms, arriving within 1 ms of each other: no group is complete until the burst ends.
    arrivals = [detector.packet(sent * 10_000, 200_000 + sent * 1_000, 0) for sent in range(8)]
    assert arrivals == [None] * 8


def test_a_reordered_packet_changes_nothing() -> None:
    detector = DelayDetector()
    for sent in range(0, 60_000, 20_000):
        detector.packet(sent, sent + 5_000, sent)
    assert detector.packet(10_000, 66_000, 66_000) is None
    assert detector.packet(60_000, 67_000, 67_000) == (20_000, 20_000)


def test_another_receiver_clock_begins_anew() -> None:
    detector = DelayDetector()
    for sent in range(0, 100_000, 20_000):
        detector.packet(sent, sent, sent)
    jump = 5_000_000
    deltas = [detector.packet(sent, sent + jump, sent) for sent in range(100_000, 240_000, 20_000)]
    assert max(arrival for found in deltas if found for arrival in found) == 20_000


def calm_detector() -> tuple[DelayDetector, int]:
    """After two seconds without any change of delay."""
    detector, arrival_us = DelayDetector(), 0
    for _ in range(100):
        arrival_us += 20_000
        detector.deltas(20.0, 20.0, arrival_us)
    assert detector.threshold_ms == pytest.approx(6.0)
    return detector, arrival_us


def test_the_threshold_rises_slowly() -> None:
    detector, arrival_us = calm_detector()
    for _ in range(60):
        arrival_us += 21_000
        detector.deltas(20.0, 21.0, arrival_us)
    assert 6.0 < detector.threshold_ms < 12.0


def test_a_leap_does_not_move_the_threshold() -> None:
    detector, arrival_us = calm_detector()
    detector.deltas(20.0, 4_000.0, arrival_us + 4_000_000)
    assert detector.modified_ms > 6.0 + 15.0
    assert detector.threshold_ms == pytest.approx(6.0)


@given(
    st.lists(
        st.tuples(st.integers(0, 40_000), st.integers(-30_000, 60_000)),
        min_size=1,
        max_size=120,
    )
)
def test_same_as_the_twin(steps: list[tuple[int, int]]) -> None:
    """(time since the last packet was sent, change of its delay)"""
    detector, twin = DelayDetector(), ReferenceDetector()
    sent_us = delay_us = 0
    for gap_us, change_us in steps:
        sent_us += gap_us
        delay_us = max(0, delay_us + change_us)
        arrival_us = sent_us + delay_us
        assert detector.packet(sent_us, arrival_us, arrival_us + 10_000) == twin.packet(
            sent_us, arrival_us, arrival_us + 10_000
        )
        assert detector.usage == twin.usage
        assert detector.modified_ms == pytest.approx(twin.modified_ms, rel=1e-6, abs=1e-6)
        assert detector.threshold_ms == pytest.approx(twin.threshold_ms, rel=1e-6)
