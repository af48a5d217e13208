# SPDX-License-Identifier: Apache-2.0
"""The timers' heap against a dictionary."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sfu.engine.schedule import TimerSchedule
from tests.reference.schedule import ScheduleTwin

TIMERS = 150  # more than the heap holds at first

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "put", "remove", "take"]),
        st.integers(0, TIMERS - 1),
        st.integers(0, 60) | st.integers(-(2**62), 2**62),
    ),
    max_size=400,
)


@given(STEPS)
def test_the_first_one_is_always_the_one_due_first(steps: list[tuple[str, int, int]]) -> None:
    ours, twin = TimerSchedule(TIMERS), ScheduleTwin()
    for step, name, due_us in steps:
        if step == "put":
            ours.put(name, due_us)
            twin.put(name, due_us)
        else:
            first = ours.first()
            gone = first[0] if step == "take" and first else name
            ours.remove(gone)
            twin.remove(gone)
        first = ours.first()
        assert (first and first[1]) == twin.next_us()
        assert first is None or twin.timers[first[0]] == first[1]
        assert len(ours) == len(twin.timers)
        assert ours.due_us(name) == twin.timers.get(name)


@given(st.lists(st.integers(0, 1000), min_size=TIMERS, max_size=TIMERS))
def test_they_come_in_order(due_us: list[int]) -> None:
    schedule = TimerSchedule(TIMERS)
    for name, at_us in enumerate(due_us):
        schedule.put(name, at_us)
    taken = []
    while (first := schedule.first()) is not None:
        taken.append(first[1])
        schedule.remove(first[0])
    assert taken == sorted(due_us)
