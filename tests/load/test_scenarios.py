# SPDX-License-Identifier: Apache-2.0
"""Plans: who does what and when follows from the spec and the time alone, however the time is cut into pieces."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.load.scenarios import QUIET, SPEAKING, Action, Join, Leave, Speak, Wish, due, seat
from sfu.load.spec import SCENARIOS, LoadSpec, ScenarioName, read_spec


def plan(scenario: ScenarioName, **options: Any) -> LoadSpec:
    return read_spec(scenario, options)


def joins(spec: LoadSpec, from_s: float = 0.0, to_s: float = 1e6) -> list[Join]:
    return [action for action in due(spec, from_s, min(to_s, spec.duration)) if isinstance(action, Join)]


@pytest.mark.parametrize("scenario", list(SCENARIOS))
@settings(deadline=None)  # plans of a minute, on a machine that does other things besides
@given(cuts=st.lists(st.floats(0, 60), max_size=6))
def test_pieces_of_time_add_up(scenario: ScenarioName, cuts: list[float]) -> None:
    spec = plan(scenario, duration=60.0, stay=5.0) if scenario == "churn" else plan(scenario, duration=60.0)
    edges = [0.0, *sorted(cuts), 60.0]
    pieces: list[Action] = []
    for from_s, to_s in itertools.pairwise(edges):
        pieces += due(spec, from_s, to_s)
    whole = due(spec, 0.0, 60.0)
    assert Counter(pieces) == Counter(whole)
    assert all(0 <= action.at_s < 60 for action in whole)


def test_a_meeting_fills_room_after_room_at_the_rate() -> None:
    spec = plan("meeting", rooms=3, participants=4, join_rate=2.0)
    found = joins(spec)
    assert [join.seat.room for join in found] == ["load-1"] * 4 + ["load-2"] * 4 + ["load-3"] * 4
    assert [join.at_s for join in found] == [number / 2 for number in range(12)]
    assert all(join.seat.publishes and join.seat.slots == 3 for join in found)


def test_a_webinar_has_few_publishers_and_they_need_no_slots() -> None:
    spec = plan("webinar", publishers=2, subscribers=5)
    found = [join.seat for join in joins(spec)]
    assert [one.publishes for one in found] == [True] * 2 + [False] * 5
    assert [one.slots for one in found] == [0] * 2 + [2] * 5
    assert {one.room for one in found} == {"load-1"}


def test_shards_share_everything_and_overlap_in_nothing() -> None:
    for scenario in ("meeting", "webinar", "churn", "ramp"):
        options: dict[str, Any] = {"duration": 100.0}
        whole = Counter(due(plan(scenario, **options), 0.0, 100.0))
        parts: Counter[Action] = Counter()
        for index in (1, 2, 3):
            parts += Counter(due(plan(scenario, shard=(index, 3), **options), 0.0, 100.0))
        assert parts == whole


def test_who_shares_a_room_shares_a_shard() -> None:
    rooms = [
        {join.seat.room for join in joins(plan("meeting", rooms=6, participants=3, shard=(index, 2)))}
        for index in (1, 2)
    ]
    assert not rooms[0] & rooms[1]
    assert len(rooms[0] | rooms[1]) == 6


def test_churn_replaces_whom_it_sends_out() -> None:
    spec = plan("churn", rooms=2, participants=5, stay=4.0, duration=30.0, vanish=50.0)
    actions = due(spec, spec.joining_s, spec.duration)
    leaves = [action for action in actions if isinstance(action, Leave)]
    assert len(leaves) == pytest.approx((30 - spec.joining_s) * 10 / 4, abs=1)
    assert {leave.silently for leave in leaves} == {False, True}
    for leave, join in zip(actions[::2], actions[1::2], strict=True):
        assert isinstance(leave, Leave)
        assert isinstance(join, Join)
        assert (join.seat.number, join.at_s) == (leave.seat_number, leave.at_s)
        assert join.seat.generation > 0
        assert join.seat.room == seat(spec, leave.seat_number).room
    names = [join.seat.name for join in joins(spec)]
    assert len(set(names)) == len(names)


def test_one_speaks_at_a_time_and_everybody_in_turn() -> None:
    spec = plan("speakers", participants=4, speech=2.0, duration=20.0)
    speaking: set[int] = set()
    heard = []
    for action in due(spec, 0.0, 20.0):
        if isinstance(action, Speak):
            (speaking.add if action.level == SPEAKING else speaking.discard)(action.seat_number)
            assert action.level in (SPEAKING, QUIET)
            assert len(speaking) <= 1
            heard += [action.seat_number] if action.level == SPEAKING else []
    assert Counter(heard[:8]) == dict.fromkeys(range(4), 2)


def test_receivers_change_their_layer_one_after_the_other() -> None:
    spec = plan("layers", participants=5, switch_every=5.0, duration=30.0)
    wishes = [action for action in due(spec, 0.0, 30.0) if isinstance(action, Wish)]
    for number in range(5):
        own = [wish for wish in wishes if wish.seat_number == number]
        assert all(later.at_s - one.at_s == pytest.approx(5.0) for one, later in itertools.pairwise(own))
        assert all(later.max_spatial != one.max_spatial for one, later in itertools.pairwise(own))
    assert len({wish.at_s for wish in wishes}) == len(wishes)


def test_bad_networks_are_spread() -> None:
    spec = plan("network", rooms=5, participants=4, impaired=50.0)
    assert [join.seat.impaired for join in joins(spec)] == [False, True] * 10
    assert not any(join.seat.impaired for join in joins(plan("meeting")))


def test_the_first_bots_are_full() -> None:
    assert [join.seat.full for join in joins(plan("meeting", participants=4, full=2))] == [True, True, False, False]


def test_a_ramp_of_meetings_adds_whole_rooms() -> None:
    spec = plan("ramp", participants=4, step=2, step_seconds=10.0, duration=30.0)
    for step in range(3):
        found = joins(spec, step * 10.0, step * 10.0 + 10.0)
        assert len(found) == 8
        assert {join.seat.room for join in found} == {f"load-{2 * step + 1}", f"load-{2 * step + 2}"}
        assert max(join.at_s for join in found) < step * 10 + 5


def test_a_ramp_of_a_webinar_begins_with_its_publishers() -> None:
    spec = plan("ramp", of="webinar", publishers=1, step=10, step_seconds=5.0, duration=15.0)
    assert [len(joins(spec, at_s, at_s + 5.0)) for at_s in (0.0, 5.0, 10.0)] == [11, 10, 10]
    assert [join.seat.publishes for join in joins(spec)].count(True) == 1
    assert len({join.seat.number for join in joins(spec)}) == 31


def test_a_ramp_stops_at_its_target() -> None:
    assert len(joins(plan("ramp", participants=4, target=10, step_seconds=5.0))) == 10
