# SPDX-License-Identifier: Apache-2.0
"""The bad network inside a bot: what goes in comes out late, in order, at the rate of the link, or not at all."""

from __future__ import annotations

import asyncio
import functools
import random

from sfu.load.connection import now_us
from sfu.load.network import MAX_QUEUE_US, DelayLine, Impairment, Link


def link(loss: float = 0.0, **options: int) -> Link:
    return Link(Impairment(**options), loss, random.Random(1))


def test_a_clear_link_changes_nothing() -> None:
    assert link().is_clear
    assert link().leaves_us(1200, 5) == 5
    assert not link(loss=0.1).is_clear


def test_loss_is_as_wished() -> None:
    one = link(loss=0.1)
    lost = sum(one.leaves_us(1200, at) is None for at in range(10_000))
    assert 900 < lost < 1100


def test_delay_varies_and_keeps_the_order() -> None:
    one = link(delay_us=40_000, jitter_us=10_000)
    times = [(at, one.leaves_us(1200, at) or 0) for at in range(0, 1_000_000, 700)]
    assert all(40_000 <= out - at <= 50_000 for at, out in times)
    assert len({out - at for at, out in times}) > 100
    assert [out for _, out in times] == sorted(out for _, out in times)


def test_a_narrow_link_carries_its_rate_and_drops_what_waits_too_long() -> None:
    one = link(rate_bps=1_000_000)
    out = [left for at in range(0, 2_000_000, 5_000) if (left := one.leaves_us(1250, at)) is not None]
    assert 190 <= sum(at < 2_000_000 for at in out) <= 200  # 10 ms each
    assert len(out) < 400
    assert out[-1] - 1_995_000 <= MAX_QUEUE_US + 10_000


async def test_what_is_under_way_comes_out_in_order_and_not_after_the_end() -> None:
    line = DelayLine(asyncio.get_running_loop(), now_us)
    began = now_us()
    seen: list[tuple[int, int]] = []

    def note(number: int) -> None:
        seen.append((number, now_us()))

    for number in range(20):
        assert line.put(began + 5_000 + number * 100, functools.partial(note, number))
    await asyncio.sleep(0.1)
    assert [number for number, _ in seen] == list(range(20))
    assert all(at >= began + 5_000 + number * 100 for number, at in seen)
    line.put(now_us() + 1_000, functools.partial(note, 99))
    line.close()
    await asyncio.sleep(0.02)
    assert len(seen) == 20
