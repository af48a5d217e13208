# SPDX-License-Identifier: Apache-2.0
"""The page, when an administrator takes away and gives back; and when it is refused a camera, or the room itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from sfu.config import DEV_KEY_ID, DEV_SECRET
from signaling.tokens import mint
from tests.browser.calls import SMALL, WATCH
from tests.browser.chromium import PHONE, ChromiumPage
from tests.browser.conftest import Join
from tests.browser.serving import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

NOTICES = "[...document.querySelectorAll('.notice p')].map((one) => one.textContent).join('|')"
OWN = "room.localPublications.map((one) => `${one.source} ${one.muted}`).sort()"


async def administer(server: Server, room: str, method: str, path: str, body: Any = None) -> None:
    token = mint((DEV_KEY_ID, DEV_SECRET), {"roomAdmin": True, "room": room})
    url = f"{server.url}/admin/v1/rooms/{room}/{path}"
    async with aiohttp.request(method, url, json=body, headers={"Authorization": f"Bearer {token}"}) as answer:
        assert answer.status < 300, await answer.text()


def says(words: str) -> str:
    return f"{NOTICES}.includes({words!r})"


async def test_an_administrator_mutes_withdraws_gives_back_and_removes(join: Join, server: Server, room: str) -> None:
    ada = await join("Ada", identity="ada", **SMALL)
    ben = await join("Ben", **WATCH)
    await ben.sees("Ada", SMALL["width"])

    microphone = await ben.page.evaluate("probe.publication('Ada', 'microphone').id")
    await administer(server, room, "POST", f"publications/{microphone}/mute")
    await ada.until(says("moderator has turned your microphone off"), "is told of the mute")
    assert await ada.page.evaluate(OWN) == ["camera false", "microphone true"]
    await ada.page.evaluate("document.getElementById('microphone').click()")
    await ben.until("probe.publication('Ada', 'microphone').muted === false", "hears of Ada's unmuting")

    only_sound = {"can_publish_sources": ["microphone"]}
    await administer(server, room, "POST", "participants/ada/permissions", only_sound)
    await ada.until(says("You may not use your camera"), "is told of the withdrawal")
    assert await ada.page.evaluate(OWN) == ["microphone false"]
    assert await ada.page.evaluate("document.getElementById('camera').disabled") is True
    await ben.until("!probe.publication('Ada')", "no longer has Ada's camera")

    await administer(server, room, "POST", "participants/ada/permissions", {"can_publish_sources": None})
    await ada.until(says("You may use your camera now."), "is told that it may again")
    await ada.page.evaluate(
        "[...document.querySelectorAll('.notice button')].find((one) => one.textContent === 'Turn it on').click()"
    )
    await ben.sees("Ada", SMALL["width"])

    await administer(server, room, "DELETE", "participants/ada")
    await ada.until(says("A moderator has removed you"), "is told of the removal")
    assert await ada.page.evaluate("[room.state, document.getElementById('lobby').hidden]") == ["closed", False]


async def test_the_page_gets_a_token_for_each_join(join: Join) -> None:
    ada = await join("Ada", **WATCH)
    asked = "performance.getEntriesByType('resource').filter(({ name }) => name.includes('/token?')).length"
    assert await ada.page.evaluate(asked) == 1
    assert await ada.page.evaluate("room.permissions.can_update_metadata") is True
    ben = await join("Ben", **WATCH)
    await ada.page.evaluate("room.update({ name: 'Ada L.' })")
    await ben.others("Ada L.")


async def test_a_token_that_does_not_open_is_explained(
    open_page: Callable[..., Awaitable[ChromiumPage]], server: Server, room: str
) -> None:
    page = await open_page(size=PHONE)
    await page.goto(f"{server.url}/?room={room}&name=Ada&video=0&audio=0&autojoin=1&token=nonsense")
    await page.page.wait_for_selector(".notice p")
    assert "token" in await page.evaluate(NOTICES)
    assert await page.evaluate("document.getElementById('lobby').hidden") is False


async def test_the_form_shows_the_devices_and_says_what_is_refused(
    open_page: Callable[..., Awaitable[ChromiumPage]], server: Server, room: str
) -> None:
    page = await open_page(size=PHONE)
    await page.goto(f"{server.url}/?room={room}&name=Ada")
    await page.page.click("#preview-start")
    await page.page.wait_for_selector("#preview video", state="visible")
    choices = "[...document.querySelectorAll('#preview-choice select')].every((one) => one.options.length > 0)"
    assert await page.evaluate(choices) is True
    await page.evaluate(
        "void (navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotAllowedError'); })"
    )
    await page.page.uncheck("input[name=audio]")
    await page.page.wait_for_selector("#lobby-problem", state="visible")
    assert (await page.page.inner_text("#lobby-problem")).startswith("Blocked: camera.")
    assert await page.page.is_visible("#preview-start"), "the way on"
