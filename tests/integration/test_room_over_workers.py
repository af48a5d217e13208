# SPDX-License-Identifier: Apache-2.0
"""One room on two workers, with people coming and going on both: legal streams, all seen and heard, nothing left."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from sfu.config import Settings
from sfu.server import Server
from tests.integration.crowd import VIDEO_SLOTS, Crowd
from tests.integration.leftovers import assert_nothing_left, census
from tests.integration.slow_machine import CoreTime, too_slow
from tests.integration.test_room_of_ten import OVERLOAD, all_slots_flow, until

PARTICIPANTS = 6
SECONDS = 5.0
MOST_SECONDS = 60.0
SEED = 6


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    settings = {
        "dev": True,
        "http_port": 0,
        "udp_port": 0,
        "udp_host": "127.0.0.1",
        "shed_load": False,
        "workers": 2,
        "room_spread": PARTICIPANTS // 2,
    }
    server = Server(Settings.model_validate(settings))
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def alive(server: Server) -> list[tuple[int, int, int]]:
    return [worker.commands.live_handles for worker in server.workers if any(worker.commands.live_handles)]


async def test_a_room_on_two_workers(server: Server, scale: float, measured: Callable[[str, float, str], None]) -> None:
    warm = Crowd(server.url, SEED)
    await warm.enter_all(PARTICIPANTS)
    await warm.leave_all()
    await until(lambda: not alive(server), lambda: alive(server))
    del warm
    before = census()
    cores = CoreTime()

    crowd = Crowd(server.url, SEED)
    await crowd.enter_all(PARTICIPANTS)
    (conductor,) = server.directory.conductors.values()
    assert sorted(conductor.headcount.values()) == [PARTICIPANTS // 2] * 2
    await crowd.live(min(SECONDS * scale, MOST_SECONDS))
    await crowd.settle()
    await all_slots_flow(crowd)
    busy = [worker.statistics() for worker in server.workers]
    drops = [{name: count for name, count in one.drops.items() if count} for one in busy]
    legs = len(conductor.relays)
    del conductor
    await crowd.leave_all()

    seen = crowd.departed
    for name in ("packets", "frames", "binds", "switches", "holes_filled", "holes_lost"):
        measured(f"{name} in all streams", seen.total(name), "")
    measured("relay legs at the end", legs, "")
    measured("packets on relays", sum(one.relay_packets_sent for one in busy), "")
    excuse = too_slow(cores, busy, seen.overrun)
    overloaded = [name for dropped in drops for name in OVERLOAD if name in dropped]
    if excuse and (seen.overrun or seen.violations or overloaded):
        pytest.skip(f"this machine is too slow to watch a room of {PARTICIPANTS}: {excuse}")
    told = [f"{len(seen.violations)}, {drops}:", *seen.violations[:30], *seen.contexts[:3]]
    assert not seen.violations, "\n".join(told)
    assert not overloaded, drops
    assert not any(name in dropped for dropped in drops for name in ("bad_auth", "replayed")), drops
    assert min(one.relay_packets_sent for one in busy) > 0
    assert min(one.relay_packets_received for one in busy) > 0
    assert legs >= PARTICIPANTS
    assert len(seen.reports) >= crowd.joins * VIDEO_SLOTS
    assert min(seen.total("switches"), seen.retransmitted, seen.recovered) > 0

    del crowd, seen, busy, cores
    await until(lambda: not alive(server), lambda: alive(server))
    await assert_nothing_left(before)
    assert server.directory.rooms == server.directory.participants == 0
