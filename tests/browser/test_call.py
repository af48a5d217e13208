# SPDX-License-Identifier: Apache-2.0
"""Two Chromium pages in a room, and what the others see when one goes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.browser.calls import CROWD, HD, SMALL, WATCH, CallPage
from tests.browser.chromium import PHONE, ChromiumPage
from tests.browser.conftest import Join
from tests.browser.serving import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

# A tab that is killed says no goodbye: it is gone when ICE consent is (RFC 7675: 30 s), and somebody notices.
CONSENT_S = 30
GONE_WITHIN_S = CONSENT_S + 15
AT_ONCE_S = 5.0

# The part of what was played that was made up because nothing had come. The clicks of the start are not counted.
MAX_CONCEALED = 0.1
LISTEN_S = 3


async def test_two_pages_see_and_hear_each_other(join: Join) -> None:
    ada = await join("Ada", **HD)
    ben = await join("Ben", **SMALL)
    await ben.sees("Ada", HD["width"])
    await ada.sees("Ben", SMALL["width"])
    for listener, speaker in ((ada, "Ben"), (ben, "Ada")):
        first = await listener.hears(speaker)
        await asyncio.sleep(LISTEN_S)
        then = await listener.received(speaker, "microphone")
        played = then["totalSamplesReceived"] - first["totalSamplesReceived"]
        assert played > 0
        assert (then["concealedSamples"] - first["concealedSamples"]) / played < MAX_CONCEALED
        assert then["totalAudioEnergy"] > first["totalAudioEnergy"]
    for page, other in ((ada, "Ben"), (ben, "Ada")):
        await page.others(other)
        await page.keep_screenshot(f"two-pages-{page.name}")
        assert isinstance(page.page, ChromiumPage)
        assert page.page.complaints == []


async def test_a_muted_microphone_and_camera_are_shown(join: Join) -> None:
    ada = await join("Ada", **SMALL)
    ben = await join("Ben", **WATCH)
    await ben.sees("Ada", SMALL["width"])
    await ada.page.evaluate("document.getElementById('microphone').click()")
    await ada.page.evaluate("document.getElementById('camera').click()")
    await ben.until("!probe.tile('Ada').querySelector('.muted').hidden", "sees that Ada is muted")
    await ben.until("probe.tile('Ada').classList.contains('empty')", "sees no picture of Ada")
    before = (await ben.received("Ada"))["framesDecoded"]
    await ada.page.evaluate("document.getElementById('camera').click()")
    await ben.until("!probe.tile('Ada').classList.contains('empty')", "sees a picture of Ada again")
    await ben.until(f"probe.received('Ada').then((it) => it.framesDecoded > {before} + 10)", "sees Ada move again")


async def test_who_speaks_is_marked(
    join: Join, open_page: Callable[..., Awaitable[ChromiumPage]], server: Server, room: str
) -> None:
    ben = await join("Ben", **WATCH)
    page = await open_page()
    await page.goto(server.url)
    await page.evaluate(f"(() => {{ {CROWD} return true; }})()")
    await page.evaluate(f"crowd.add({room!r}, 'Ada', crowd.voice())")
    await ben.until("probe.tile('Ada')?.classList.contains('speaking')", "sees Ada speak")
    await ben.until("!probe.tile('Ada').classList.contains('speaking')", "sees Ada pause")
    await page.evaluate("crowd.rooms.map((one) => one.leave()).length")


async def test_who_leaves_is_gone_at_once(join: Join) -> None:
    ada, ben = await join("Ada", **SMALL), await join("Ben", **WATCH)
    await ben.sees("Ada", SMALL["width"])
    await ada.page.evaluate("document.getElementById('leave').click()")
    await ben.others(within_s=AT_ONCE_S)
    assert await ada.page.evaluate("!document.getElementById('lobby').hidden")


async def test_who_reloads_is_there_once(join: Join) -> None:
    ada, ben = await join("Ada", **SMALL), await join("Ben", **WATCH)
    await ben.sees("Ada", SMALL["width"])
    before = await ben.page.evaluate("probe.publication('Ada').participant.id")
    assert isinstance(ada.page, ChromiumPage)
    await ada.page.reload()
    await ada.look_in()
    await ben.until(f"probe.publication('Ada')?.participant.id !== {before!r}", "is told of the new Ada")
    await ben.others("Ada", within_s=AT_ONCE_S)
    await ben.sees("Ada", SMALL["width"])


async def test_a_killed_tab_disappears(join: Join) -> None:
    ada, ben = await join("Ada", **SMALL), await join("Ben", **WATCH)
    await ben.sees("Ada", SMALL["width"])
    assert isinstance(ada.page, ChromiumPage)
    await ada.page.kill()
    await ben.others(within_s=GONE_WITHIN_S)


async def test_without_devices_one_watches_and_is_told_why(
    join: Join, open_page: Callable[..., Awaitable[ChromiumPage]], server: Server, room: str
) -> None:
    await join("Ada", **SMALL)
    page = await open_page(size=PHONE)
    refuse = "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotAllowedError'); }"
    await page.page.add_init_script(refuse)
    ben = await CallPage.join(page, server.url, room, "Ben")
    await ben.sees("Ada", SMALL["width"])
    notices = (await ben.summary())["notices"]
    assert notices == [text for text in notices if text.startswith("Blocked: microphone and camera.")]
    assert len(notices) == 1
    await ben.keep_screenshot("refused-on-a-phone")


async def test_two_devices_that_are_missing_are_one_notice(
    open_page: Callable[..., Awaitable[ChromiumPage]], server: Server, room: str
) -> None:
    page = await open_page(size=PHONE)
    missing = "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotFoundError'); }"
    await page.page.add_init_script(missing)
    ada = await CallPage.join(page, server.url, room, "Ada")
    (notice,) = (await ada.summary())["notices"]
    assert notice.startswith("Not found: microphone and camera.")


async def test_one_device_is_better_than_none(
    open_page: Callable[..., Awaitable[ChromiumPage]], server: Server, room: str
) -> None:
    page = await open_page()
    no_camera = (
        "const original = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);"
        "navigator.mediaDevices.getUserMedia = async (wanted) => {"
        "  if (wanted.video) throw new DOMException('', 'NotFoundError');"
        "  return original(wanted);"
        "}"
    )
    await page.page.add_init_script(no_camera)
    ada = await CallPage.join(page, server.url, room, "Ada")
    assert await ada.page.evaluate("room.localPublications.map((one) => one.source)") == ["microphone"]
    (notice,) = (await ada.summary())["notices"]
    assert notice.startswith("Not found: camera.")
