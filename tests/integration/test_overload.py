# SPDX-License-Identifier: Apache-2.0
"""Overload lowers pictures, never drops sound, and passes by itself.

A server with its default settings; the load comes from another room, which has more to hand out than a worker can. In
the one that is watched everybody gets the top layer before and after.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Final

import aiohttp
import pytest

from sfu.load.media import AudioSpec, VideoLayer, VideoSpec
from sfu.load.peer import LightPeer, LightSpec
from sfu.rooms.shedding import LEVELS
from tests.integration.processes import Child
from tests.load.keyframes import Widths

CAMERA: Final = VideoSpec(
    (VideoLayer("q", 320, 180, 60_000), VideoLayer("h", 640, 360, 120_000), VideoLayer("f", 1280, 720, 240_000)), fps=10
)
TOP: Final = CAMERA.layers[-1].width
PEOPLE: Final = 3
FLOODED: Final = 100
LEVEL: Final = 1
"""That is waited for: pictures of at most 360 lines."""
WITHIN_S: Final = 90.0
LOOK_EVERY_S: Final = 0.1
SOUND_GOES_ON: Final = 50  # packets: a second
LEVEL_METRIC: Final = re.compile(r'^pysfu_shedding_level\{worker="0"\} ([0-9.]+)$', re.MULTILINE)


@dataclass
class Watched:
    bot: LightPeer
    widths: Widths

    def pictures(self) -> list[int]:
        return [self.widths.by_mid.get(slot.mid, 0) for slot in self.bot.slots.values() if slot.kind == "video"]

    def sound(self) -> list[int]:
        """Packets of each voice."""
        return [slot.statistics.packets for slot in self.bot.slots.values() if slot.kind == "audio"]

    def lost_sound(self) -> int:
        """What did not come, not even late."""
        counts = [slot.statistics for slot in self.bot.slots.values() if slot.kind == "audio"]
        return sum(count.lost - count.late for count in counts)


@dataclass
class Meeting:
    """A room in which everybody sees and hears everybody."""

    url: str
    people: list[Watched] = field(default_factory=list)

    async def enter(self, name: str) -> LightPeer:
        widths = Widths()
        spec = LightSpec(room="watched", name=name, audio=AudioSpec(), video=CAMERA, video_slots=PEOPLE - 1)
        bot = await LightPeer.join(self.url, spec, on_packet=widths)
        self.people.append(Watched(bot, widths))
        return bot

    def widths(self) -> list[int]:
        return [width for one in self.people for width in one.pictures()]

    async def sound_goes_on(self) -> None:
        """Once everybody has heard a second more of everybody."""
        before = [one.sound() for one in self.people]

        async def heard() -> bool:
            return all(
                now >= then + SOUND_GOES_ON
                for one, sounds in zip(self.people, before, strict=True)
                for now, then in zip(one.sound(), sounds, strict=True)
            )

        await until(heard, lambda: f"not all voices go on: {before}, {[one.sound() for one in self.people]}")


async def until(condition: Callable[[], Awaitable[bool]], why: Callable[[], str]) -> None:
    try:
        async with asyncio.timeout(WITHIN_S):
            while not await condition():
                await asyncio.sleep(LOOK_EVERY_S)
    except TimeoutError:
        raise AssertionError(why()) from None


@pytest.mark.slow  # half a minute of two saturated cores
@pytest.mark.timeout(300)
async def test_overload_lowers_layers_never_drops_sound_and_passes(measured: Callable[[str, float, str], None]) -> None:
    async with AsyncExitStack() as resources:
        server = await Child.start("tests.integration.stallable_server", "127.0.0.1")
        resources.push_async_callback(server.stop)
        url = (await server.hear())["url"]
        http = await resources.enter_async_context(aiohttp.ClientSession())

        async def level() -> int:
            async with http.get(f"{url.rstrip('/')}/metrics") as response:
                found = LEVEL_METRIC.search(await response.text())
            assert found is not None, "the server does not tell its level"
            return int(float(found[1]))

        async def overloaded() -> bool:
            return await level() >= LEVEL

        async def smaller() -> bool:
            return max(meeting.widths()) < TOP

        async def recovered() -> bool:
            return await level() == 0

        async def as_before() -> bool:
            return set(meeting.widths()) == {TOP}

        def seen() -> str:
            return f"widths {meeting.widths()}"

        meeting = Meeting(url)
        for number in range(PEOPLE):
            resources.push_async_callback((await meeting.enter(f"bot {number}")).close)
        await until(as_before, seen)
        await meeting.sound_goes_on()
        assert await recovered()

        flood = await Child.start("tests.integration.video_flooder", url, str(FLOODED))
        try:
            await flood.hear()
            await until(overloaded, lambda: "the flood does not overload the worker")
            await until(smaller, seen)
            await meeting.sound_goes_on()
            reached = await level()
        finally:
            await flood.stop()
        await until(recovered, lambda: "the caps are not lifted")
        await until(as_before, seen)
        await meeting.sound_goes_on()

        measured("level reached", reached, LEVELS[reached].name)
        assert sum(one.lost_sound() for one in meeting.people) == 0
        assert all(one.bot.disconnected is None and one.bot.connection.failure is None for one in meeting.people)
