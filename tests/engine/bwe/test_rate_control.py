# SPDX-License-Identifier: Apache-2.0
"""The delay-based rate: figures of libwebrtc's aimd_rate_control_unittest.cc, then what is our own."""

from __future__ import annotations

import pytest

from sfu.engine.bwe.components import DelayRate

NORMAL, UNDERUSING, OVERUSING = range(3)
HOLD, INCREASE, DRAIN, COMPETE = range(4)
START_US = 123_456_000
AS_LIBWEBRTC = {"drain_us": 0.0}
"""Backs off to a share of the throughput, whatever the queue."""


def libwebrtc(start_bps: float) -> DelayRate:
    rate = DelayRate(300_000, parameters=AS_LIBWEBRTC)
    rate.set(start_bps, START_US)
    return rate


@pytest.mark.parametrize(
    ("rate_bps", "rtt_us", "expected"),
    [(30_000, 200_000, 4_000), (90_000, 200_000, 5_000), (60_000, 100_000, 5_000)],
)
def test_additive_increase(rate_bps: float, rtt_us: float, expected: float) -> None:
    rate = libwebrtc(rate_bps)
    rate.set_rtt(rtt_us)
    assert rate.additive_bps == pytest.approx(expected)


def test_the_rate_is_bounded_by_what_arrives() -> None:
    rate = libwebrtc(10_000)
    for step in range(200):
        rate.update(NORMAL, 10_000, START_US + step * 100_000)
    assert rate.rate_bps == pytest.approx(1.5 * 10_000 + 10_000)
    assert rate.update(NORMAL, 5_000, START_US + 20_000_000) == pytest.approx(25_000)


def test_typical_decrease() -> None:
    rate = libwebrtc(264_000)
    rate.update(OVERUSING, (216_000 + 5_000) / 0.85, START_US + 300_000)
    assert rate.rate_bps == pytest.approx(216_000)
    assert rate.additive_bps == pytest.approx(12_000)
    assert rate.state == HOLD


def test_an_unknown_throughput_is_the_last_one() -> None:
    rate = libwebrtc(123_000)
    rate.update(NORMAL, 123_000, START_US)
    for step in range(100):
        rate.update(NORMAL, None, START_US + step * 100_000)
    assert rate.rate_bps <= 123_000 * 1.5 + 10_000


def test_multiplicative_increase_by_eight_percent_a_second() -> None:
    rate = libwebrtc(1_000_000)
    for step in range(11):
        rate.update(NORMAL, 1_000_000, START_US + step * 100_000)
    assert rate.rate_bps == pytest.approx(1_080_000, rel=0.002)


def test_decreases_are_an_rtt_apart() -> None:
    rate = libwebrtc(1_000_000)
    rate.set_rtt(100_000)
    assert rate.may_reduce(900_000, START_US + 100_000)
    assert not rate.may_reduce(900_000, START_US + 99_000)
    assert rate.may_reduce(499_000, START_US + 1_000)


def drained(queue_us: int, busy_bps: float) -> DelayRate:
    rate = DelayRate(1_000_000)
    rate.set(1_000_000, START_US)
    rate.update(OVERUSING, 990_000, START_US + 1_000_000, busy_bps=busy_bps, queue_us=queue_us)
    assert rate.state == DRAIN
    return rate


@pytest.mark.parametrize(("queue_us", "share"), [(5_000, 0.97), (100_000, 0.8), (250_000, 0.5), (400_000, 0.5)])
def test_a_decrease_is_as_deep_as_the_queue_is_long(queue_us: int, share: float) -> None:
    assert drained(queue_us, 900_000).rate_bps == pytest.approx(share * 900_000)


def test_after_the_drain_the_rate_is_that_of_the_bottleneck() -> None:
    rate = drained(200_000, 800_000)
    at_us = START_US + 1_100_000
    rate.update(OVERUSING, 800_000, at_us, 800_000, 250_000, newest_sent_us=at_us - 200_000)
    assert rate.rate_bps == pytest.approx(0.5 * 800_000), "the cut follows the queue while it still grows"
    rate.update(UNDERUSING, 700_000, at_us + 500_000, 800_000, 10_000, newest_sent_us=at_us + 400_000)
    assert rate.state == HOLD
    assert rate.rate_bps == pytest.approx(0.97 * 800_000)


def test_a_queue_that_was_misjudged_is_drained_harder() -> None:
    rate = drained(200_000, 800_000)
    for step in range(5):
        at_us = START_US + 1_200_000 + step * 100_000
        rate.update(
            OVERUSING, 600_000, at_us, 300_000, 250_000 + 5_000 * step, newest_sent_us=at_us - 50_000, lost=True
        )
    assert rate.rate_bps <= 0.5 * 300_000 + 1


def run(rate: DelayRate, begin_us: int, seconds: float, queue_ms: list[int], capacity_bps: float = 1e9) -> int:
    """Feedback each 100 ms, of a queue whose length repeats; of the rate, `capacity_bps` pass."""
    at_us = begin_us
    for step in range(round(seconds * 10)):
        at_us = begin_us + step * 100_000
        passes_bps = min(rate.rate_bps, capacity_bps)
        rate.update(OVERUSING, passes_bps, at_us, passes_bps, queue_ms[step % len(queue_ms)] * 1000, at_us - 30_000)
    return at_us


def test_a_queue_that_stays_whatever_we_do_is_anothers() -> None:
    rate = drained(100_000, 800_000)
    at_us = run(rate, START_US + 1_100_000, 6, [70, 80, 90, 100, 75])
    assert rate.state == COMPETE
    before_bps = rate.rate_bps
    at_us = run(rate, at_us, 3, [70, 80, 90, 100, 75])
    assert rate.rate_bps > 1.3 * before_bps, "it takes its share instead of giving way"
    peak_bps = rate.rate_bps
    rate.update(OVERUSING, peak_bps, at_us + 100_000, peak_bps, 100_000, at_us, lost=True)
    assert rate.rate_bps == pytest.approx(0.85 * peak_bps)
    for step in range(15):
        rate.update(NORMAL, peak_bps, at_us + 200_000 + step * 100_000, None, 2_000, at_us + 150_000 + step * 100_000)
    assert rate.state != COMPETE, "the queue was empty for a second"


def test_nobody_competes_where_more_sent_brings_no_more_through() -> None:
    rate = drained(100_000, 800_000)
    at_us = run(rate, START_US + 1_100_000, 6, [70, 80, 90, 100, 75])
    assert rate.state == COMPETE
    run(rate, at_us, 4, [150, 160, 180], capacity_bps=rate.rate_bps)
    assert rate.state == DRAIN


def test_a_longer_way_is_no_queue() -> None:
    rate = drained(60_000, 950_000)
    run(rate, START_US + 1_100_000, 0.8, [60, 61])
    assert rate.delay_shifted
    assert rate.state == HOLD
    assert rate.rate_bps == pytest.approx(0.97 * 1_000_000)


def test_a_sender_that_does_not_obey_learns_nothing_of_others() -> None:
    rate = drained(100_000, 800_000)
    for step in range(100):
        at_us = START_US + 1_100_000 + step * 100_000
        queue_us = 100_000 + 10_000 * (step % 4)
        rate.update(OVERUSING, 1_500_000, at_us, 800_000, queue_us, at_us - 30_000, sent_bps=1_500_000)
    assert rate.state == DRAIN
