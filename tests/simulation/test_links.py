# SPDX-License-Identifier: Apache-2.0
"""The virtual clock and the link model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.simulation.clock import VirtualClock
from tests.simulation.links import Arrival, DropCause, Link, LinkModel

KILOBYTE = bytes(1000)


def test_the_clock_runs_events_in_order_of_time_then_of_scheduling() -> None:
    clock = VirtualClock(100)
    seen: list[tuple[str, int]] = []

    def note(name: str) -> Callable[[], None]:
        return lambda: seen.append((name, clock.now_us))

    clock.call_at(300, note("c"))
    clock.call_later(50, note("a"))
    clock.call_at(300, note("d"))
    clock.call_at(20, note("past"))
    clock.every(120, note("tick"))
    assert clock.next_us() == 100
    clock.run_until(350)
    assert seen == [("past", 100), ("a", 150), ("tick", 220), ("c", 300), ("d", 300), ("tick", 340)]
    clock.run_for(100)
    assert clock.now_us == 450
    assert clock.next_us() == 460


def test_delay_alone() -> None:
    link = Link(LinkModel(delay_us=20_000))
    assert link.send(b"one", 1_000)
    assert link.next_us() == 21_000
    assert link.receive_until(20_999) == []
    assert link.receive_until(21_000) == [Arrival(21_000, b"one")]
    assert link.next_us() is None


def test_the_bottleneck_spaces_datagrams_and_drops_what_does_not_fit() -> None:
    dropped: list[DropCause] = []
    model = LinkModel(capacity_bps=1_000_000, queue_us=40_000, delay_us=5_000, overhead_bytes=0)
    link = Link(model, on_drop=lambda _, cause: dropped.append(cause))
    accepted = [link.send(KILOBYTE, 0) for _ in range(8)]
    assert accepted == [True] * 5 + [False] * 3
    assert link.drops == {DropCause.QUEUE: 3}
    assert dropped == [DropCause.QUEUE] * 3
    assert link.next_us() in {8_000, 8_001}
    assert [arrival.at_us for arrival in link.receive_until(100_000)] == [13_000, 21_000, 29_000, 37_000, 45_000]
    assert link.backlog_us() == 0


def test_capacity_changes_in_the_middle_of_a_datagram() -> None:
    model = LinkModel(capacity_bps=1_000_000, delay_us=0, overhead_bytes=0)
    link = Link(model)
    link.send(KILOBYTE, 0)
    link.send(KILOBYTE, 0)
    link.change(replace(model, capacity_bps=500_000), 4_000)
    assert [arrival.at_us for arrival in link.receive_until(100_000)] == [12_000, 28_000]
    link.send(KILOBYTE, 100_000)
    link.change(replace(model, capacity_bps=None), 101_000)
    assert [arrival.at_us for arrival in link.receive_until(200_000)] == [101_000]


@pytest.mark.parametrize("burst", [1.0, 4.0])
def test_losses_have_the_wanted_share_and_length(burst: float) -> None:
    link = Link(LinkModel(loss=0.1, loss_burst=burst), seed=3)
    lost = [not link.send(b"x", at) for at in range(20_000)]
    runs = sum(1 for before, after in zip([False, *lost], lost, strict=False) if after and not before)
    assert sum(lost) / len(lost) == pytest.approx(0.1, abs=0.015)
    assert sum(lost) / runs == pytest.approx(burst if burst > 1 else 1 / 0.9, rel=0.15)


def test_jitter_keeps_the_order_and_reordering_does_not() -> None:
    def arrivals(model: LinkModel) -> list[int]:
        link = Link(model, seed=1)
        for number in range(1000):
            link.send(number.to_bytes(2, "big"), number * 1000)
        return [int.from_bytes(arrival.data, "big") for arrival in link.receive_until(10_000_000)]

    assert arrivals(LinkModel(jitter_us=9_000)) == list(range(1000))
    mixed = arrivals(LinkModel(reorder=0.05))
    assert mixed != sorted(mixed)
    assert sorted(mixed) == list(range(1000))
    assert len(arrivals(LinkModel(duplicate=0.05))) > 1000


def test_one_seed_is_one_run() -> None:
    def run(seed: int) -> list[Arrival]:
        model = LinkModel(capacity_bps=800_000, loss=0.1, jitter_us=5_000, reorder=0.05, duplicate=0.01)
        link = Link(model, seed=seed)
        arrivals = []
        for number in range(500):
            link.send(bytes(number), number * 1000)
            arrivals += link.receive_until(number * 1000)
        return arrivals

    assert run(1) == run(1)
    assert run(1) != run(2)
