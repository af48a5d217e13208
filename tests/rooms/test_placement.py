# SPDX-License-Identifier: Apache-2.0
"""Which worker a participant goes to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sfu.rooms.placement import BUSY_STEP, JOIN_SHARE, Spread, WorkerLoad, place

SPREAD = Spread(participants=30, busy=0.6)

loads = st.lists(
    st.builds(
        WorkerLoad,
        busy=st.floats(0, 1),
        participants=st.integers(0, 500),
        recent=st.integers(0, 50),
        members=st.integers(0, 60),
    ),
    min_size=1,
    max_size=8,
)


def test_a_new_room_goes_to_the_least_busy_worker() -> None:
    assert place([WorkerLoad(0.5, 3), WorkerLoad(0.1, 90), WorkerLoad(0.3, 0)], SPREAD) == 1


def test_among_equally_busy_workers_participants_count() -> None:
    assert place([WorkerLoad(0.11, 5), WorkerLoad(0.11 + BUSY_STEP / 4, 4)], SPREAD) == 1
    assert place([WorkerLoad(0, 0), WorkerLoad(0, 0)], SPREAD) == 0


def test_a_burst_of_joins_does_not_wait_for_the_next_measurement() -> None:
    loads = [WorkerLoad(0.0, 0), WorkerLoad(BUSY_STEP * 1.5, 0)]
    assert place(loads, SPREAD) == 0
    burst = round(3 * BUSY_STEP / JOIN_SHARE)
    assert place([WorkerLoad(0.0, burst, recent=burst), loads[1]], SPREAD) == 1


def test_a_room_stays_on_its_worker_while_it_fits() -> None:
    assert place([WorkerLoad(0.0, 0), WorkerLoad(0.55, 300, members=9)], SPREAD) == 1


def test_a_room_that_has_outgrown_its_worker_goes_on_to_the_least_busy() -> None:
    by_number = [WorkerLoad(0.2, 0), WorkerLoad(0.1, 0), WorkerLoad(0.0, 30, members=30)]
    assert place(by_number, SPREAD) == 1
    by_load = [WorkerLoad(0.2, 0), WorkerLoad(0.1, 0), WorkerLoad(0.7, 14, members=14)]
    assert place(by_load, SPREAD) == 1


def test_a_busy_worker_is_left_only_for_one_that_is_clearly_less_busy() -> None:
    assert place([WorkerLoad(0.62, 0), WorkerLoad(0.65, 14, members=14)], SPREAD) == 1
    assert place([WorkerLoad(0.40, 0), WorkerLoad(0.65, 14, members=14)], SPREAD) == 0


def test_a_small_room_stays_even_on_a_busy_worker() -> None:
    assert place([WorkerLoad(0.1, 0), WorkerLoad(0.9, 200, members=4)], SPREAD) == 1


def test_it_fills_the_second_worker_before_it_opens_a_third() -> None:
    assert place([WorkerLoad(0, 0), WorkerLoad(0, 30, members=30), WorkerLoad(0.3, 1, members=1)], SPREAD) == 2


def test_when_all_are_full_the_room_is_shared_evenly() -> None:
    assert place([WorkerLoad(0.9, 50, members=50), WorkerLoad(0.95, 32, members=32)], SPREAD) == 1


@given(loads)
def test_a_worker_is_always_found_and_a_full_one_only_if_all_are(loads: list[WorkerLoad]) -> None:
    chosen = place(loads, SPREAD)
    if loads[chosen].members >= SPREAD.participants:
        assert all(load.members >= SPREAD.participants for load in loads)
