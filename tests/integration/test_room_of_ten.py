# SPDX-License-Identifier: Apache-2.0
"""A room of ten with people coming and going: every stream that leaves the server is legal, and nothing is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from sfu.config import Settings
from sfu.server import Server
from tests.integration.crowd import VIDEO_SLOTS, Crowd
from tests.integration.leftovers import assert_nothing_left, census
from tests.integration.slow_machine import CoreTime, too_slow

PARTICIPANTS = 10
SECONDS = 8.0
MOST_SECONDS = 60.0
FRAMES_AFTERWARDS = 10
WITHIN_S = 20.0
SEED = 10
# What a worker that is not overloaded never does.
OVERLOAD = ("fanout_full", "egress_full", "overtaken", "protect_failed", "too_large")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    # Bots and server share a loop here: its lateness says nothing about the server's load.
    settings = {"dev": True, "http_port": 0, "udp_port": 0, "udp_host": "127.0.0.1", "shed_load": False}
    server = Server(Settings.model_validate(settings))
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def until(condition: Callable[[], bool], why: Callable[[], object]) -> None:
    try:
        async with asyncio.timeout(WITHIN_S):
            while not condition():
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(why()) from None


async def all_slots_flow(crowd: Crowd) -> None:
    """Each slot shows who it is said to show, and goes on, or it is said to be paused (on a machine that is busy)."""
    bound = {(bot, slot): slot.statistics.packets for bot in crowd.inside for slot in bot.slots.values()}
    assert sum(slot.publication is not None for _, slot in bound) >= len(crowd.inside) * VIDEO_SLOTS * 2

    def behind() -> list[str]:
        return [
            f"{bot.spec.name}, {slot.mid}: {slot.publication}, {slot.number} told, {slot.last_csrc} seen"
            for (bot, slot), packets in bound.items()
            if slot.publication is not None
            and slot.publication not in bot.paused
            and (slot.statistics.packets < packets + FRAMES_AFTERWARDS or slot.last_csrc != slot.number)
        ]

    await until(lambda: not behind(), behind)
    assert sum(slot.publication in bot.paused for bot, slot in bound) < len(bound) / 2


async def test_ten_people_come_and_go(
    server: Server, scale: float, measured: Callable[[str, float, str], None]
) -> None:
    warm = Crowd(server.url, SEED)
    await warm.enter_all(2)
    await warm.leave_all()
    (worker,) = server.workers
    await until(lambda: not any(worker.commands.live_handles), lambda: worker.commands.live_handles)
    del warm
    before = census()
    cores = CoreTime()

    crowd = Crowd(server.url, SEED)
    await crowd.enter_all(PARTICIPANTS)
    await crowd.live(min(SECONDS * scale, MOST_SECONDS))
    await crowd.settle()
    await all_slots_flow(crowd)
    busy = worker.statistics()
    await crowd.leave_all()

    seen = crowd.departed
    for name in ("packets", "frames", "keyframes", "binds", "switches", "holes_filled", "holes_lost"):
        measured(f"{name} in all streams", seen.total(name), "")
    measured("joins", crowd.joins, "")
    measured("streams watched", len(seen.reports), "")
    measured("packets lost on purpose on the way up", seen.impaired, "")
    measured("of these sent again", seen.retransmitted, "")
    measured("packets recovered on the way down", seen.recovered, "")
    overloaded = {name: count for name in OVERLOAD if (count := busy.drops.get(name, 0))}
    excuse = too_slow(cores, [busy], seen.overrun)
    if excuse and (seen.overrun or seen.violations or overloaded):
        pytest.skip(f"this machine is too slow to watch a room of ten: {excuse}")
    assert not seen.violations, "\n".join([f"{len(seen.violations)}:", *seen.violations[:30], *seen.contexts[:3]])
    assert not overloaded
    assert len(seen.reports) >= crowd.joins * VIDEO_SLOTS
    assert min(seen.total("switches"), seen.retransmitted, seen.recovered) > 0
    assert seen.total("binds") > len(seen.reports), "no slot was bound to somebody else"

    del crowd, seen, busy, cores
    await until(lambda: not any(worker.commands.live_handles), lambda: worker.commands.live_handles)
    await assert_nothing_left(before)
    await until(lambda: not _engine_objects(server), lambda: _engine_objects(server))
    assert server.directory.rooms == server.directory.participants == 0


def _engine_objects(server: Server) -> list[int]:
    statistics = server.workers[0].statistics()
    return [*statistics.transports, *statistics.tracks, *statistics.forwarders]
