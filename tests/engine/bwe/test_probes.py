# SPDX-License-Identifier: Apache-2.0
"""When to probe: figures of libwebrtc's probe_controller_unittest.cc, then what is our own."""

from __future__ import annotations

from typing import Any

import pytest

from sfu.engine.bwe.components import ProbePlanner
from sfu.engine.bwe.results import Plan

START_BPS, MAX_BPS = 300_000, 10_000_000
BEGIN_US = 100_000_000
SECOND = 1_000_000
DELAY, DELAY_INCREASED, LOSS, LOSS_INCREASING, TIMEOUT = range(5)
AS_LIBWEBRTC = {"upward_interval_us": 0, "start_interval_us": 0, "alr_interval_max_us": 5 * SECOND}


class Probing:
    """A planner and a clock."""

    def __init__(self, max_bps: float = MAX_BPS, **parameters: Any) -> None:
        self.now_us = BEGIN_US
        self.planner = ProbePlanner(START_BPS, max_bps, {**AS_LIBWEBRTC, **parameters})
        self.first = self.planner.start(self.now_us)

    def after(self, seconds: float) -> list[Plan]:
        self.now_us += round(seconds * SECOND)
        return self.planner.process(self.now_us)

    def estimate(self, bps: float, cause: int = DELAY) -> list[Plan]:
        return self.planner.set_estimate(bps, self.now_us, cause)

    def limited(self, since_us: int | None) -> None:
        self.planner.set_limited(since_us, self.now_us)


def rates(plans: list[Plan]) -> list[int]:
    return [plan["rate_bps"] for plan in plans]


def test_the_first_probes() -> None:
    probing = Probing()
    assert rates(probing.first) == [3 * START_BPS, 6 * START_BPS]
    assert [plan["cluster"] for plan in probing.first] == [0, 1]
    assert [plan["min_packets"] for plan in probing.first] == [5, 5]
    assert [plan["min_bytes"] for plan in probing.first] == [1687, 3375]
    assert probing.planner.start(probing.now_us) == []


def test_a_good_result_leads_to_a_further_probe() -> None:
    probing = Probing()
    assert probing.estimate(1_000_000) == []
    assert rates(probing.estimate(1_800_000)) == [3_600_000]


def test_results_are_waited_for_a_second() -> None:
    probing = Probing()
    assert probing.after(1.1) == []
    assert probing.estimate(1_800_000) == []


def test_further_probes_end_at_the_maximum_and_at_twice_what_is_wanted() -> None:
    probing = Probing(max_bps=3_000_000)
    assert rates(probing.estimate(1_800_000)) == [3_000_000]
    assert probing.estimate(3_000_000) == []
    planner = ProbePlanner(START_BPS, MAX_BPS, AS_LIBWEBRTC)
    planner.set_wanted(500_000)
    assert rates(planner.start(BEGIN_US)) == [900_000, 1_000_000]


def test_the_first_probes_wait_for_a_wish_above_the_estimate() -> None:
    planner = ProbePlanner(START_BPS, MAX_BPS, AS_LIBWEBRTC)
    planner.set_wanted(50_000)
    assert planner.start(BEGIN_US) == [], "it would show 100 kbit/s, and that would be believed"
    assert planner.process(BEGIN_US + 10 * SECOND) == []
    planner.set_wanted(1_000_000)
    assert rates(planner.start(BEGIN_US + 11 * SECOND)) == [900_000, 1_800_000]


@pytest.mark.parametrize("cause", [DELAY_INCREASED, LOSS, TIMEOUT])
def test_no_probe_into_a_congested_network(cause: int) -> None:
    probing = Probing()
    assert probing.estimate(1_800_000, cause) == []


def test_a_careful_probe_while_losses_limit_and_the_rate_rises() -> None:
    probing = Probing()
    assert rates(probing.estimate(1_800_000, LOSS_INCREASING)) == [1.5 * 1_800_000]


def test_after_a_drop_while_application_limited() -> None:
    probing = Probing()
    probing.estimate(500_000)
    probing.limited(probing.now_us)
    probing.after(3.001)
    probing.estimate(250_000)
    assert rates(probing.planner.recovered(probing.now_us)) == [425_000]


@pytest.mark.parametrize(("since_end", "probes"), [(2.999, [425_000]), (3.001, [])])
def test_after_a_drop_when_the_limit_ended_recently(since_end: float, probes: list[int]) -> None:
    probing = Probing()
    probing.estimate(500_000)
    probing.limited(probing.now_us)
    probing.after(1.5)
    probing.limited(None)
    probing.after(since_end - 0.5)
    probing.estimate(250_000)
    probing.after(0.5)
    assert rates(probing.planner.recovered(probing.now_us)) == probes


def test_no_probe_when_the_drop_is_long_ago() -> None:
    probing = Probing(alr_interval_us=100 * SECOND)
    probing.estimate(500_000)
    probing.limited(probing.now_us)
    probing.after(5.001)
    probing.estimate(250_000)
    probing.after(5.001)
    assert probing.planner.recovered(probing.now_us) == []


def test_periodic_probes_while_application_limited() -> None:
    probing = Probing()
    probing.estimate(500_000)
    probing.limited(probing.now_us)
    assert rates(probing.after(5)) == [1_000_000]
    assert probing.after(4) == []
    assert probing.estimate(500_000) == []
    assert rates(probing.after(1)) == [1_000_000]


def test_fruitless_probes_become_rare() -> None:
    probing = Probing(alr_interval_max_us=20 * SECOND)
    probing.estimate(500_000)
    probing.limited(probing.now_us)
    gaps, last = [], 0.0
    for second in range(1, 120):
        if probing.after(1):
            gaps.append(second - last)
            last = second
    assert gaps[:3] == [5, 10, 20]
    assert set(gaps[3:]) == {20}


def test_probes_beyond_need_are_left_out() -> None:
    probing = Probing()
    probing.planner.set_wanted(200_000)
    probing.estimate(500_000)
    probing.limited(probing.now_us)
    assert [probing.after(1) for _ in range(30)] == [[]] * 30
    probing.planner.set_wanted(800_000)
    assert rates(probing.after(1)) == [1_000_000]


def test_probes_upwards_outside_the_application_limited_region() -> None:
    probing = Probing(upward_interval_us=5 * SECOND, upward_interval_max_us=20 * SECOND)
    probing.estimate(500_000)
    assert rates([plan for _ in range(12) for plan in probing.after(1)]) == [1_000_000]


def test_more_probes_at_the_start() -> None:
    probing = Probing(start_interval_us=SECOND, start_us=5 * SECOND, upward_interval_us=5 * SECOND)
    probing.estimate(500_000)
    assert len([plan for _ in range(45) for plan in probing.after(0.1)]) == 4


def test_a_request_is_probed_in_steps_up_to_its_target() -> None:
    probing = Probing()
    probing.estimate(500_000)
    assert not probing.planner.request(1_500_000, probing.now_us), "the first probes' results are still awaited"
    probing.after(1.5)
    assert not probing.planner.request(400_000, probing.now_us), "the estimate is there"
    assert probing.planner.request(1_500_000, probing.now_us)
    assert rates(probing.planner.take()) == [1_000_000]
    assert rates(probing.estimate(1_000_000)) == [1_650_000]
    assert probing.estimate(1_650_000) == []
    assert not probing.planner.request(2_000_000, probing.now_us), "too soon"


def test_a_request_into_congestion_is_refused() -> None:
    probing = Probing()
    probing.after(1.5)
    probing.estimate(500_000, DELAY_INCREASED)
    assert not probing.planner.request(1_500_000, probing.now_us)


def test_a_raised_maximum_is_not_probed_at_once_but_soon() -> None:
    probing = Probing(max_bps=500_000)
    probing.after(1.5)
    probing.estimate(500_000)
    probing.limited(probing.now_us)
    assert [probing.after(1) for _ in range(10)] == [[]] * 10
    probing.planner.set_max(2_000_000, probing.now_us)
    assert rates(probing.after(1)) == [1_000_000]


def test_the_queue_of_plans_is_bounded() -> None:
    planner = ProbePlanner(START_BPS, 1e12, {**AS_LIBWEBRTC, "further_threshold": 0.0})
    planner.start(BEGIN_US)
    planner = ProbePlanner(START_BPS, 1e12, {**AS_LIBWEBRTC, "request_interval_us": 0, "further_threshold": 1e9})
    planner.start(BEGIN_US)
    planner.process(BEGIN_US + 2 * SECOND)
    for step in range(20):
        now_us = BEGIN_US + (2 + 2 * step) * SECOND
        planner.request(1e9, now_us)
    assert len(planner.take()) <= 4
