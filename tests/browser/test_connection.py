# SPDX-License-Identifier: Apache-2.0
"""What happens to the connection under a call: a larger pool of slots, another PeerConnection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tests.browser.calls import CROWD, SMALL, WATCH
from tests.browser.chromium import ChromiumPage
from tests.browser.conftest import Join
from tests.browser.serving import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PAINTED_WIDTH = 160

SLOTS = "room.slots.filter((slot) => slot.kind === 'video').length"


async def test_the_pool_grows_with_the_room(
    join: Join, open_page: Callable[..., Awaitable[ChromiumPage]], server: Server, room: str
) -> None:
    viewer = await join("Dora", **WATCH)
    assert await viewer.page.evaluate(SLOTS) == 4
    page = await open_page()
    await page.goto(server.url)
    await page.evaluate(f"(() => {{ {CROWD} return true; }})()")
    names = [f"Painter {number}" for number in range(6)]
    for name in names:
        await page.evaluate(f"crowd.add({room!r}, {name!r})")
    for name in names:
        await viewer.sees(name, PAINTED_WIDTH)
    assert await viewer.page.evaluate(SLOTS) == 9
    await viewer.others(*names)
    await viewer.keep_screenshot("six-others")
    await page.evaluate("crowd.rooms.map((one) => one.leave()).length")
    await viewer.others()


async def test_another_connection_under_the_call(join: Join) -> None:
    ada = await join("Ada", **SMALL)
    ben = await join("Ben", **WATCH)
    await ben.sees("Ada", SMALL["width"])
    publication = await ben.page.evaluate("probe.publication('Ada').id")
    for page in (ben, ada):
        track = await ben.page.evaluate("probe.publication('Ada').track.id")
        await page.page.evaluate("room.replaceConnection()")
        assert await page.page.evaluate("room.mediaState") == "connected"
        if page is ben:
            await ben.until(f"probe.publication('Ada').track?.id !== {track!r}", "sees Ada by another slot")
        await ben.sees("Ada", SMALL["width"])
        await ben.hears("Ada")
    assert await ben.page.evaluate("probe.publication('Ada').id") == publication
    before = (await ben.received("Ada"))["framesDecoded"]
    await ben.until(f"probe.received('Ada').then((it) => it.framesDecoded > {before} + 20)", "sees Ada go on")
    assert (await ben.summary())["notices"] == []
