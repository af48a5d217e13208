# SPDX-License-Identifier: Apache-2.0
"""Application-limited region: figures of libwebrtc's alr_detector_unittest.cc."""

from __future__ import annotations

from sfu.engine.bwe.components import ApplicationLimit

ESTIMATE_BPS = 300_000
STEP_US = 10_000


class Traffic:
    """Sends at a percentage of the estimate."""

    def __init__(self) -> None:
        self.detector = ApplicationLimit()
        self.detector.set_rate(ESTIMATE_BPS)
        self.now_us = 1_000_000

    def send(self, milliseconds: int, percent: int) -> bool:
        for _ in range(milliseconds * 1000 // STEP_US):
            self.now_us += STEP_US
            self.detector.sent(ESTIMATE_BPS * percent // 100 * STEP_US // 8_000_000, self.now_us)
        return self.detector.since_us is not None


def test_it_begins_far_below_the_estimate_and_ends_near_it() -> None:
    traffic = Traffic()
    assert not traffic.send(1000, 90)
    assert traffic.send(1500, 20)
    assert not traffic.send(4000, 100)


def test_a_short_spike_does_not_end_it() -> None:
    traffic = Traffic()
    assert traffic.send(1000, 20)
    assert traffic.send(100, 150)
    assert not traffic.send(3000, 100)


def test_it_outlasts_a_drop_of_the_estimate_for_a_moment() -> None:
    traffic = Traffic()
    assert traffic.send(1000, 20)
    traffic.detector.set_rate(ESTIMATE_BPS / 5)
    assert traffic.detector.since_us is not None
    assert not traffic.send(1000, 50)


def test_since_when() -> None:
    traffic = Traffic()
    traffic.send(3000, 20)
    assert traffic.detector.since_us is not None
    assert 1_000_000 < traffic.detector.since_us < 2_000_000
