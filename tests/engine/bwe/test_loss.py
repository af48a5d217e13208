# SPDX-License-Identifier: Apache-2.0
"""The loss-based rate: figures of libwebrtc's loss_based_bwe_v2_test.cc, as jitsi-videobridge ported them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from sfu.engine.bwe.components import LossRate

KBIT = 1000.0
PACKET = 15_000
PERIOD_US = 250_000
DELAY_BASED, INCREASING, INCREASING_PADDED, DECREASING = range(4)
Packets = list[tuple[int, int, int, bool]]

# The configuration of most of those tests; libwebrtc pads for two seconds, where we do not at all by default.
OBSERVING: dict[str, Any] = {
    "rampup_factor": 1.2,
    "candidate_up": 1.1,
    "bandwidth_bias": 0.01,
    "inherent_balance_bps": 14_000,
    "inherent_offset": 0.9,
    "newton_iterations": 2,
    "newton_step": 0.4,
    "sending_rate_smoothing": 0.01,
    "instant_weight": 0.97,
    "instant_balance_bps": 90_000,
    "instant_offset": 0.1,
    "temporal_weight": 0.98,
    "observations_min": 1,
    "increase_factor": 1.5,
    "padding_us": 2_000_000,
}
SHORT: dict[str, Any] = {"observations_min": 1, "observations": 2, "padding_us": 2_000_000}


class Link:
    """Makes feedback, and numbers its packets."""

    def __init__(self, **parameters: Any) -> None:
        self.loss = LossRate(parameters)
        self._sequence = 0

    def feed(self, packets: Iterable[tuple[int, int, bool]], delay_bps: float, limited: bool) -> LossRate:
        numbered = []
        for sent_us, size, received in packets:
            self._sequence += 1
            numbered.append((self._sequence, sent_us, size, received))
        self.loss.feedback(numbered, delay_bps, limited)
        return self.loss

    def two(self, at: float, received: int, delay_bps: float = float("inf"), limited: bool = False) -> LossRate:
        """Two packets one period apart, the first `received` of them received."""
        at_us = round(at * PERIOD_US)
        packets = [(at_us, PACKET, received > 0), (at_us + PERIOD_US, PACKET, received > 1)]
        return self.feed(packets, delay_bps, limited)

    def ten(self, at: int, delay_bps: float = float("inf"), lost_size: int = PACKET) -> LossRate:
        """Ten packets, the last one lost."""
        packets = [((at + i) * PERIOD_US, PACKET if i < 9 else lost_size, i < 9) for i in range(10)]
        return self.feed(packets, delay_bps, limited=False)


def started(parameters: dict[str, Any], rate_bps: float, acknowledged_bps: float | None = None) -> Link:
    link = Link(**parameters)
    link.loss.set_rate(rate_bps)
    if acknowledged_bps is not None:
        link.loss.set_acknowledged(acknowledged_bps)
    return link


def test_it_needs_a_rate_and_an_observation() -> None:
    link = Link(**OBSERVING)
    assert not link.two(0, 2).ready
    assert link.loss.rate_bps == float("inf")
    link = started(OBSERVING, 600 * KBIT)
    link.feed([(0, PACKET, True), (PERIOD_US // 2, PACKET, True)], float("inf"), limited=False)
    assert not link.loss.ready
    assert started(OBSERVING, 600 * KBIT).two(0, 2).ready


def test_without_losses_it_grows_by_the_largest_candidate() -> None:
    assert started(OBSERVING, 600 * KBIT).two(0, 2).rate_bps == pytest.approx(660 * KBIT)


def test_the_acknowledged_rate_counts_with_the_next_observation() -> None:
    one, other = started(OBSERVING, 600 * KBIT), started(OBSERVING, 600 * KBIT)
    for link in (one, other):
        link.two(0, 2)
    one.loss.set_acknowledged(900 * KBIT)
    assert one.loss.rate_bps == pytest.approx(660 * KBIT)
    assert one.two(2, 2).rate_bps != pytest.approx(other.two(2, 2).rate_bps)


def test_when_all_is_lost_the_rate_is_capped() -> None:
    assert started(OBSERVING, 600 * KBIT).two(0, 0).rate_bps == pytest.approx(100 * KBIT)


def test_the_delay_based_rate_is_a_cap() -> None:
    link = started(OBSERVING, 600 * KBIT)
    assert link.two(0, 2).rate_bps > 600 * KBIT
    assert link.two(2, 2, 500 * KBIT).rate_bps == pytest.approx(500 * KBIT)


def test_it_backs_off_to_what_arrives() -> None:
    link = started(OBSERVING, 600 * KBIT, 300 * KBIT)
    link.two(0, 1)
    assert link.two(2, 0).rate_bps <= 300 * KBIT


@pytest.mark.parametrize("at", [0, 1 - 0.004])
def test_less_than_an_observation_changes_nothing(at: float) -> None:
    link = started(OBSERVING, 600 * KBIT)
    before_bps = link.two(0, 2).rate_bps
    assert link.two(at, 2).rate_bps == before_bps


def test_without_losses_the_delay_based_rate_is_reached_at_once() -> None:
    link = started(OBSERVING, 600 * KBIT)
    for at in (0, 2):
        assert link.two(at, 2, 5000 * KBIT).rate_bps == pytest.approx(5000 * KBIT)


def recover(link: Link, state: int, delay_bps: float = float("inf"), limited: bool = False, at: int = 1) -> int:
    """Feedback without losses until that state is reached; returns when."""
    while link.loss.state != state:
        link.two(at, 2, delay_bps, limited)
        at += 1
        assert at < 100
    return at


def test_after_losses_it_grows_by_the_factor_of_the_hold() -> None:
    link = started(SHORT, 600 * KBIT, 100 * KBIT)
    lossy_bps = link.two(0, 0, 5000 * KBIT).rate_bps
    recover(link, INCREASING_PADDED, 5000 * KBIT, at=2)
    assert link.loss.rate_bps == pytest.approx(1.2 * lossy_bps)


EAGER = {**SHORT, "candidate_up": 100.0, "candidate_down": 0.5, "instant_balance_bps": 1e7, "increase_factor": 100.0}


def test_recovered_it_leaves_it_to_the_delay() -> None:
    link = started({**EAGER, "observation_us": 200_000, "rise_above_average_loss": True}, 600 * KBIT, 300 * KBIT)
    assert link.two(0, 0, 600 * KBIT).state == DECREASING
    for at in (1, 2):
        link.loss.set_acknowledged(600 * KBIT)
        assert link.two(at, 2, 600 * KBIT).state == DELAY_BASED


def test_with_an_unknown_delay_based_rate_it_goes_on_limiting() -> None:
    link = started(EAGER, 600 * KBIT)
    assert link.two(0, 0).state == DECREASING
    link.loss.set_acknowledged(600 * KBIT)
    assert link.two(1, 2).state != DELAY_BASED


FAR = {**SHORT, "loss_threshold": 0.99, "rampup_factor": 1.2, "instant_balance_bps": 1e7}


@pytest.mark.parametrize(("share", "expected"), [(0.5, None), (0.9, 0.9 * 1.2)])
def test_increase_is_bounded_by_what_arrives(share: float, expected: float | None) -> None:
    link = started(FAR, 600 * KBIT, 300 * KBIT)
    lossy_bps = link.two(0, 0, 5000 * KBIT).rate_bps
    assert link.loss.state == DECREASING
    assert lossy_bps < 600 * KBIT
    link.loss.set_acknowledged(share * lossy_bps)
    at = recover(link, INCREASING_PADDED, 5000 * KBIT)
    reached_bps = link.loss.rate_bps
    assert reached_bps == pytest.approx(lossy_bps + 1 if expected is None else expected * lossy_bps, rel=1e-6)
    assert link.two(at, 2, 5000 * KBIT).rate_bps == pytest.approx(reached_bps)


def test_it_does_not_rise_while_more_is_lost_than_is_inherent() -> None:
    link = started({**SHORT, "candidate_up": 1.2, "candidate_same": 1.2, "candidate_down": 1.2}, 600 * KBIT)
    link.ten(0)
    assert link.ten(1).rate_bps == pytest.approx(600 * KBIT)


def test_preference_for_high_rates_below_a_threshold_of_loss() -> None:
    low = started({**SHORT, "loss_threshold": 0.2, "rise_above_average_loss": True}, 600 * KBIT)
    high = started({**SHORT, "loss_threshold": 0.05}, 600 * KBIT)
    for link in (low, high):
        link.ten(0, 5000 * KBIT)
        link.ten(1, 5000 * KBIT)
    assert low.loss.rate_bps > 600 * KBIT
    assert high.loss.rate_bps < 600 * KBIT


def test_bounds() -> None:
    link = started(OBSERVING, 1000 * KBIT)
    link.loss.set_bounds(10 * KBIT, 1000 * KBIT)
    assert link.two(0, 2).rate_bps <= 1000 * KBIT


@pytest.mark.parametrize("limited", [True, False])
def test_application_limited_it_does_not_back_off_to_what_arrives(limited: bool) -> None:
    link = started({**SHORT, "instant_balance_bps": 100 * KBIT}, 600 * KBIT, 100 * KBIT)
    found_bps = link.two(0, 0, 5000 * KBIT, limited).rate_bps
    assert 100 * KBIT < found_bps < 600 * KBIT if limited else found_bps == pytest.approx(100 * KBIT)


@pytest.mark.parametrize(("factor", "bounded"), [(1.0, True), (0.0, False)])
def test_lower_bound_by_what_arrives(factor: float, bounded: bool) -> None:
    link = started({**SHORT, "lower_bound_factor": factor}, 600 * KBIT, 500 * KBIT)
    found_bps = link.two(0, 0).rate_bps
    assert found_bps == pytest.approx(500 * KBIT) if bounded else found_bps < 500 * KBIT


def test_the_upper_bound_of_the_moment() -> None:
    same = {"candidate_up": 1.0, "candidate_same": 1.0, "candidate_down": 1.0}
    link = started({**SHORT, **same, "instant_balance_bps": 10 * KBIT}, 500 * KBIT, 100 * KBIT)
    assert link.ten(0).rate_bps == pytest.approx(200 * KBIT)
    assert link.loss.state == DECREASING


def test_at_the_maximum_the_delay_decides() -> None:
    link = Link(**SHORT)
    link.loss.set_bounds(10 * KBIT, 1000 * KBIT)
    assert link.two(0, 2, 2000 * KBIT).rate_bps == pytest.approx(1000 * KBIT)
    assert link.loss.state == DELAY_BASED
    assert link.two(1, 1, 2000 * KBIT).state == DECREASING
    recover(link, DELAY_BASED, 2000 * KBIT, at=2)
    assert link.loss.rate_bps == pytest.approx(1000 * KBIT)


def test_without_padding_the_increasing_state_is_the_plain_one() -> None:
    link = started({**SHORT, "padding_us": 0}, 2500 * KBIT)
    assert link.two(0, 1).state == DECREASING
    recover(link, INCREASING)


def test_after_much_loss_it_ramps_up_slowly() -> None:
    link = started({**SHORT, "padding_us": 1_000_000}, 2500 * KBIT)
    lossy_bps = link.two(0, 1, limited=True).rate_bps
    for at in (1, 2):
        link.two(at, 2, limited=True)
    assert link.loss.state == INCREASING_PADDED
    assert link.loss.rate_bps == pytest.approx(lossy_bps, abs=100 * KBIT)


def test_padding_ends_after_its_time() -> None:
    link = started({**SHORT, "padding_us": 1_000_000, "rampup_factor": 2.0}, 2500 * KBIT, 51 * KBIT)
    assert link.two(0, 1).rate_bps == pytest.approx(51 * KBIT)
    link.loss.set_acknowledged(26 * KBIT)
    begun = recover(link, INCREASING_PADDED)
    assert recover(link, DECREASING, at=begun) - 1 - begun == 4


def test_the_hold_is_not_below_what_arrives() -> None:
    link = started({**SHORT, "hold_factor": 10.0}, 2500 * KBIT)
    assert link.two(0, 1).state == DECREASING
    link.loss.set_acknowledged(1000 * KBIT)
    assert link.two(1, 1).rate_bps == pytest.approx(1000 * KBIT)
    assert link.loss.state == DECREASING


def test_the_hold_ends_when_the_delay_decides() -> None:
    link = started(SHORT, 2500 * KBIT)
    lossy_bps = link.two(0, 1).rate_bps
    for at in (1, 2):
        link.two(at, 2, lossy_bps + 10 * KBIT)
    assert link.loss.state == DELAY_BASED
    assert link.loss.rate_bps == pytest.approx(lossy_bps + 10 * KBIT)


def test_losses_count_by_bytes() -> None:
    link = started(SHORT, 500 * KBIT)
    link.ten(0, lost_size=20 * PACKET)
    assert link.loss.state == DECREASING
    assert link.loss.rate_bps < 160 * KBIT


def test_a_single_bad_moment_is_ignored() -> None:
    link = started({"observations": 5, "padding_us": 2_000_000}, 500 * KBIT)
    for at in range(5):
        link.two(at, 2, 500 * KBIT)
    link.two(5, 0, 500 * KBIT)
    assert link.two(6, 2, 500 * KBIT).rate_bps == pytest.approx(500 * KBIT)
    assert link.two(7, 0, 500 * KBIT).state == DECREASING
    assert link.loss.rate_bps < 500 * KBIT


def test_a_bad_moment_of_a_burst_is_not() -> None:
    link = started({"observations": 5, "padding_us": 2_000_000}, 500 * KBIT)
    for at in range(5):
        link.two(at, 2, 500 * KBIT)
    sent = [5 * PERIOD_US + 10_000 * i for i in range(4)] + [6 * PERIOD_US]
    link.feed([(at_us, PACKET, False) for at_us in sent], 500 * KBIT, limited=False)
    assert link.loss.state == DECREASING
    assert link.loss.rate_bps < 500 * KBIT


def test_reordering_between_feedbacks_is_no_loss() -> None:
    loss = LossRate(SHORT)
    loss.set_rate(2500 * KBIT)
    loss.feedback([(1, 0, PACKET, True), (2, 0, PACKET, False), (3, 0, PACKET, True)], 2500 * KBIT)
    loss.feedback([(2, 0, PACKET, True), (4, 0, PACKET, False), (5, 0, PACKET, True)], 2500 * KBIT)
    assert loss.rate_bps == pytest.approx(2500 * KBIT)
