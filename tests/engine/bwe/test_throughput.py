# SPDX-License-Identifier: Apache-2.0
"""Robust throughput: figures of libwebrtc's robust_throughput_estimator_unittest.cc; and a busy bottleneck's."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.engine.bwe.components import ThroughputMeter
from tests.reference.throughput import ThroughputReference

RATE = 100_000
"""Bytes per second."""


class Feedback:
    """Packets at given rates of sending and arriving, bytes per second."""

    def __init__(self) -> None:
        self.sent_us = 100_000_000
        self.arrival_us = 10_000_000

    def packets(self, count: int, send_rate: int = RATE, receive_rate: int = RATE) -> list[tuple[int, int, int]]:
        made = []
        for _ in range(count):
            sent_us = self.sent_us
            self.sent_us += 1000 * 1_000_000 // send_rate
            self.arrival_us += 1000 * 1_000_000 // receive_rate
            made.append((sent_us, self.arrival_us, 1000))
        return made


def bytes_per_second(meter: ThroughputMeter) -> float:
    assert meter.bps is not None
    return meter.bps / 8


def test_the_first_estimate_needs_ten_packets() -> None:
    meter, feedback = ThroughputMeter(), Feedback()
    meter.feedback(feedback.packets(9))
    assert meter.bps is None
    meter.feedback(feedback.packets(1))
    assert bytes_per_second(meter) == pytest.approx(RATE)
    meter.feedback(feedback.packets(15))
    assert bytes_per_second(meter) == pytest.approx(RATE)


def test_it_adapts_within_a_second() -> None:
    meter, feedback = ThroughputMeter(), Feedback()
    for rate, rounds, settled in [(100_000, 10, 0), (200_000, 20, 20), (50_000, 5, 5)]:
        for _ in range(rounds):
            meter.feedback(feedback.packets(10, rate, rate))
            assert 50_000 <= bytes_per_second(meter) <= 200_000 + 1
        for _ in range(settled):
            meter.feedback(feedback.packets(10, rate, rate))
            assert bytes_per_second(meter) == pytest.approx(rate)


@pytest.mark.parametrize(("send_rate", "receive_rate"), [(100_000, 25_000), (50_000, 100_000)])
def test_the_lower_of_both_rates_counts(send_rate: int, receive_rate: int) -> None:
    meter, feedback = ThroughputMeter(), Feedback()
    meter.feedback(feedback.packets(20, send_rate, receive_rate))
    assert bytes_per_second(meter) == pytest.approx(min(send_rate, receive_rate), rel=0.05)


def test_a_pause_of_the_link_is_not_taken_for_a_low_rate() -> None:
    meter, feedback = ThroughputMeter({"window_min_us": 500_000}), Feedback()
    meter.feedback(feedback.packets(20))
    feedback.arrival_us += 250_000
    for _ in range(30):
        meter.feedback(feedback.packets(1, RATE, 600_000))
        assert bytes_per_second(meter) == pytest.approx(RATE, rel=0.05)
    for _ in range(20):
        meter.feedback(feedback.packets(5))
        assert bytes_per_second(meter) == pytest.approx(RATE, rel=0.05)


def test_lost_packets_lower_it() -> None:
    meter, feedback = ThroughputMeter(), Feedback()
    meter.feedback(feedback.packets(20)[::2])
    assert bytes_per_second(meter) == pytest.approx(RATE / 2, rel=0.05)


def test_feedback_out_of_order() -> None:
    meter, feedback = ThroughputMeter(), Feedback()
    meter.feedback(feedback.packets(20))
    late = feedback.packets(10)
    meter.feedback(feedback.packets(10))
    assert bytes_per_second(meter) < RATE
    meter.feedback(late)
    assert bytes_per_second(meter) == pytest.approx(RATE)


def test_a_packet_that_comes_a_second_late() -> None:
    meter, feedback = ThroughputMeter({"window_min_us": 500_000}), Feedback()
    ((sent_us, _, size),) = feedback.packets(1)
    for _ in range(10):
        meter.feedback(feedback.packets(10))
    meter.feedback([(sent_us, feedback.arrival_us, size)])
    assert bytes_per_second(meter) == pytest.approx(RATE, rel=0.05)


def test_a_clock_that_jumps_back_begins_anew() -> None:
    meter, feedback = ThroughputMeter(), Feedback()
    meter.feedback(feedback.packets(20))
    feedback.arrival_us -= 2_000_000
    meter.feedback(feedback.packets(20, 200_000, 200_000))
    assert bytes_per_second(meter) == pytest.approx(200_000)


def test_after_a_pause_only_the_new_counts() -> None:
    meter, feedback = ThroughputMeter(), Feedback()
    meter.feedback(feedback.packets(20))
    feedback.sent_us += 60_000_000
    feedback.arrival_us += 60_000_000
    meter.feedback(feedback.packets(5))
    assert meter.bps is None
    for _ in range(4):
        meter.feedback(feedback.packets(5))
        assert bytes_per_second(meter) == pytest.approx(RATE)


def test_the_window_is_bounded() -> None:
    meter, feedback = ThroughputMeter({"window_packets_max": 100_000}), Feedback()
    for _ in range(40):
        meter.feedback(feedback.packets(100, 10_000_000, 10_000_000))
    assert bytes_per_second(meter) == pytest.approx(10_000_000, rel=0.02)


def test_bursts_tell_the_capacity_of_a_link_that_is_mostly_idle() -> None:
    meter, rng = ThroughputMeter(), random.Random(1)
    way_us, sent_us, free_us, packets = 30_000, 1_000_000, 0, []
    for _ in range(30):
        for _ in range(6):
            free_us = max(free_us, sent_us) + 1200 * 8  # 1 Mbit/s
            packets.append((sent_us, free_us + way_us, 1200))
            sent_us += 200
        sent_us += rng.randrange(90_000, 110_000)
    meter.feedback(packets)
    assert meter.bps == pytest.approx(570_000, rel=0.1)
    assert meter.busy_bps(way_us + 1200 * 8 + 5_000) == pytest.approx(1_000_000, rel=0.02)
    assert meter.busy_bps(way_us + 1_000_000) is None


PACKETS = st.lists(
    st.tuples(
        st.sampled_from((0, 1, 900, 15_000, 400_000)),
        st.sampled_from((-40_000, -1_000, 0, 0, 0, 3, 7_000, 1_200_000)),
        st.integers(1, 1_500),
    ),
    max_size=30,
)
"""Between sendings; what the way takes more than usual; bytes."""


@given(feedbacks=st.lists(PACKETS, max_size=25), window=st.sampled_from((12, 40, 500)))
def test_sums_that_are_kept_are_those_taken_anew(feedbacks: list[list[tuple[int, int, int]]], window: int) -> None:
    parameters = {"window_packets": 8, "window_packets_max": window, "window_min_us": 100_000, "window_max_us": 900_000}
    meter, reference, sent_us = ThroughputMeter(parameters), ThroughputReference(**parameters), 5_000_000
    for steps in feedbacks:
        packets = []
        for step_us, late_us, size in steps:
            sent_us += step_us
            packets.append((sent_us, sent_us + 50_000 + late_us, size))
        packets.sort(key=lambda one: one[1])
        meter.feedback(packets)
        reference.feedback(packets)
        assert meter.bps == pytest.approx(reference.bps)
        for delay_us in (49_000, 50_010, 60_000, 1_250_000):
            assert meter.busy_bps(delay_us) == pytest.approx(reference.busy_bps(delay_us))
