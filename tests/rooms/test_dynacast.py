# SPDX-License-Identifier: Apache-2.0
"""Which layers a publisher is asked for."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.rooms.dynacast import FRESH_US, REST_AFTER_US, WAKING_US, TrackDemand

ALL = 0b111
STEP_US = 100_000


class Track:
    def __init__(self) -> None:
        self.demand = TrackDemand(3, 0)
        self.now_us = 0

    def live(self, seconds: float, highest: int, live: int | None = None) -> int:
        """A well-behaved publisher stops what rests at once. Returns what rests in the end."""
        for _ in range(max(1, int(seconds * 1e6) // STEP_US)):
            self.now_us += STEP_US
            self.demand.update(highest, ALL & ~self.demand.resting if live is None else live, self.now_us)
        return self.demand.resting


def test_what_nobody_wants_rests_after_a_while_and_wakes_at_once() -> None:
    track = Track()
    track.live(10, 2)
    assert track.live(REST_AFTER_US / 1e6 - 0.2, 0) == 0
    assert track.live(0.4, 0) == 0b110
    assert track.live(0.1, 1) == 0b100
    assert track.live(0.1, 2) == 0


def test_a_fresh_track_is_given_time_to_be_seen() -> None:
    track = Track()
    assert track.live(FRESH_US / 1e6 - 0.2, -1) == 0
    assert track.live(0.4, -1) == ALL


def test_layers_below_go_on() -> None:
    track = Track()
    assert track.live(60, 2) == 0
    assert track.live(60, 1) == 0b100


def test_what_rests_can_still_be_had() -> None:
    track = Track()
    track.live(20, 0)
    assert track.demand.resting == 0b110
    assert track.demand.available(0b001) == ALL


def test_a_layer_that_was_called_and_does_not_come_is_given_up() -> None:
    track = Track()
    track.live(20, 0)
    track.live(0.1, 2, live=0b001)
    assert track.demand.available(0b001) == ALL, "it may be a moment"
    track.live(WAKING_US / 1e6 + 0.2, 2, live=0b001)
    assert track.demand.available(0b001) == 0b001
    assert track.demand.resting == 0, "still wanted: it may come later"


def test_a_layer_that_came_and_went_is_gone() -> None:
    track = Track()
    track.live(20, 0)
    track.live(0.1, 2, live=0b001)
    track.live(0.1, 2, live=ALL)
    assert track.demand.available(0b011) == 0b011


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-1, 2), st.integers(0, 7), st.integers(0, 3_000_000)), max_size=60))
def test_nothing_that_is_wanted_ever_rests(course: list[tuple[int, int, int]]) -> None:
    demand, now_us = TrackDemand(3, 0), 0
    for highest, live, passed_us in course:
        now_us += passed_us
        before = demand.resting
        changed = demand.update(highest, live, now_us)
        assert changed == (demand.resting != before)
        assert not demand.resting & ((1 << highest + 1) - 1)
        assert demand.available(live) & live == live
        assert [demand.active(index) for index in range(3)] == [not demand.resting >> index & 1 for index in range(3)]
