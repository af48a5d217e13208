# SPDX-License-Identifier: Apache-2.0
"""What is left out under overload, in which order, and that it comes back."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.engine.statistics import Statistics
from sfu.rooms.shedding import FALL_AFTER_US, LEVELS, RISE_AFTER_US, Load, LoadMeter, Shedding

STEP_US = 500_000


class Day:
    def __init__(self) -> None:
        self.shedding = Shedding()
        self.now_us = 0

    def live(self, seconds: float, load: Load) -> list[int]:
        """Levels, one a sample."""
        levels = []
        for _ in range(int(seconds * 1e6) // STEP_US):
            self.now_us += STEP_US
            self.shedding.sample(load, self.now_us)
            levels.append(self.shedding.level)
        return levels


OVER = Load(busy=1.0)
IDLE = Load(busy=0.3)


def test_levels_leave_out_more_and_more_and_refuse_last() -> None:
    order = [(one.max_height, one.max_temporal, one.last_n, one.refuse_joins) for one in LEVELS]
    for (height, temporal, last_n, refuses), after in itertools.pairwise(order):
        assert after[0] is not None
        assert height is None or after[0] <= height
        assert temporal is None or (after[1] is not None and after[1] <= temporal)
        assert last_n is None or (after[2] is not None and after[2] <= last_n)
        assert after[3] >= refuses
    first_last_n = next(index for index, one in enumerate(order) if one[2] is not None)
    first_temporal = next(index for index, one in enumerate(order) if one[1] is not None)
    assert 0 < first_temporal < first_last_n < [one[3] for one in order].index(True)


def test_a_burst_sheds_nothing() -> None:
    day = Day()
    assert set(day.live(1.5, Load(busy=2.0)) + day.live(10, IDLE)) == {0}


def test_overload_sheds_one_level_after_the_other_and_comes_back_by_itself() -> None:
    day = Day()
    levels = day.live(60, OVER)
    assert levels[-1] == len(LEVELS) - 1
    assert all(after - before in (0, 1) for before, after in itertools.pairwise(levels))
    rises = [index for index in range(1, len(levels)) if levels[index] > levels[index - 1]]
    assert min(b - a for a, b in itertools.pairwise(rises)) * STEP_US >= RISE_AFTER_US
    back = day.live(300, IDLE)
    assert back[-1] == 0
    falls = [index for index in range(1, len(back)) if back[index] < back[index - 1]]
    assert min(b - a for a, b in itertools.pairwise(falls)) * STEP_US >= FALL_AFTER_US


def test_between_the_thresholds_nothing_changes() -> None:
    day = Day()
    day.live(10, OVER)
    level = day.shedding.level
    day.live(5, Load(busy=0.8))
    level = day.shedding.level
    assert set(day.live(120, Load(busy=0.8))) == {level}


def test_drops_and_a_late_loop_are_stress_as_well() -> None:
    assert Day().live(10, Load(drops_per_s=1000))[-1] > 0
    assert Day().live(10, Load(lag_ms=500))[-1] > 0
    assert Day().live(10, Load(busy=0.85, drops_per_s=100, lag_ms=100))[-1] == 0


@settings(deadline=None)
@given(st.lists(st.builds(Load, st.floats(0, 3), st.floats(0, 1e6), st.floats(0, 1e5)), max_size=100))
def test_the_level_is_always_one_of_them_and_moves_by_one(loads: list[Load]) -> None:
    shedding, before = Shedding(), 0
    for index, load in enumerate(loads):
        changed = shedding.sample(load, index * STEP_US)
        assert changed == (shedding.level != before)
        assert 0 <= shedding.level < len(LEVELS)
        assert abs(shedding.level - before) <= 1
        before = shedding.level


def test_load_is_read_from_counters() -> None:
    meter = LoadMeter()
    assert meter.read(Statistics(busy_us=5_000_000), 3.0, 1_000_000) == Load(lag_ms=3.0)
    later = Statistics(busy_us=5_250_000, drops={"fanout_full": 40, "egress_full": 10, "paused": 1000})
    assert meter.read(later, 4.0, 1_500_000) == Load(0.5, 100.0, 4.0)
