# SPDX-License-Identifier: Apache-2.0
"""A call that the server cannot look into: layers are switched all the same, and who has another key gets nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

from tests.browser.calls import HD, SMALL, WATCH, CallPage
from tests.browser.chromium import ChromiumPage
from tests.browser.conftest import Join
from tests.browser.firefox import Firefox
from tests.browser.serving import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

KEY, OTHER_KEY = "correct horse battery staple", "Tr0ub4dor&3"
# Of a picture 960 wide, lowest first.
WIDTHS = (240, 480, 960)
ROUND = (0, 2, 1, 2, 0, 1)
WATCH_S = 3.0
# Mean difference of a colour value between what is sent and what is shown: scaled, coded, and a moment later.
MAX_DIFFERENCE = 24.0
LOOKS = 20


async def test_layers_are_switched_in_an_encrypted_call(
    join: Join, scaled: Callable[[int], int], measured: Callable[[str, float, str], None]
) -> None:
    ada = await join("Ada", passphrase=KEY, **HD)
    ben = await join("Ben", passphrase=KEY, **WATCH)
    await ben.hears("Ada")
    await ben.sees("Ada", WIDTHS[2])
    await assert_shows(ben, ada)
    before = await ben.received("Ada")
    for spatial in ROUND * scaled(1):
        await ben.force("Ada", "spatial", str(spatial))
        await ben.sees("Ada", WIDTHS[spatial])
    await assert_shows(ben, ada)
    after = await ben.received("Ada")
    measured("keyframes asked for while switching", after["pliCount"] - before["pliCount"], "")
    await ben.keep_screenshot("encrypted")

    eve = await join("Eve", passphrase=OTHER_KEY, **WATCH)
    mallory = await join("Mallory", **WATCH)
    await eve.until("document.querySelector('.notice')?.textContent.includes('another passphrase')", "is told why")
    await asyncio.sleep(WATCH_S)
    assert (await eve.received("Ada")).get("framesDecoded", 0) == 0
    assert (await eve.received("Ada", "microphone")).get("totalAudioEnergy", 0) == 0
    # Who does not decrypt at all gets noise at best, and never what was sent.
    assert await difference(mallory, ada) > MAX_DIFFERENCE


@pytest.mark.slow
@pytest.mark.parametrize("scalability", ["L3T3_KEY", "L1T3"])
async def test_layers_of_vp9_are_switched_in_an_encrypted_call(join: Join, scalability: str) -> None:
    """By descriptors alone: nothing of such a frame is clear that the server would need."""
    ada = await join("Ada", passphrase=KEY, codec="VP9", svc=scalability, **HD)
    ben = await join("Ben", passphrase=KEY, **WATCH)
    await ben.sees("Ada", WIDTHS[2])
    for spatial in ROUND:
        await ben.force("Ada", "spatial", str(spatial))
        await ben.sees("Ada", WIDTHS[spatial])
    await assert_shows(ben, ada)


@pytest.mark.slow
@pytest.mark.browser("chromium", "firefox")
async def test_firefox_and_chromium_decrypt_each_other(
    join: Join, firefox_browser: Firefox, server: Server, room: str
) -> None:
    ada = await join("Ada", passphrase=KEY, **SMALL)
    page = await firefox_browser.new_page()
    ben = await CallPage.join(page, server.url, room, "Ben", passphrase=KEY, **SMALL)
    try:
        await ben.sees("Ada", SMALL["width"])
        await ada.sees("Ben", SMALL["width"])
        await ben.hears("Ada")
        await ada.hears("Ben")
        await assert_shows(ben, ada)
    finally:
        await ben.close()


async def test_the_server_is_never_told_the_key(join: Join, server: Server) -> None:
    ada = await join("Ada", passphrase=KEY, **WATCH)
    assert isinstance(ada.page, ChromiumPage)
    sent: list[str] = []
    ada.page.page.on("request", lambda request: sent.append(request.url + (request.post_data or "")))
    ada.page.page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(str(frame))))
    await ada.page.reload()
    await ada.look_in()
    text = " ".join(sent)
    assert "/ws" in text or '"join"' in text
    assert "horse" not in text
    assert "horse" not in server.log.read_text()


async def assert_shows(viewer: CallPage, publisher: CallPage) -> None:
    """What the publisher's camera gives is what the viewer is shown, pixel for pixel as far as coding allows."""
    found = [await difference(viewer, publisher) for _ in range(LOOKS // 4)]
    assert min(found) < MAX_DIFFERENCE, found


async def difference(viewer: CallPage, publisher: CallPage) -> float:
    """The least of some looks: the pictures move, and are not of the same moment."""
    name, own_name = publisher.name, f"{publisher.name} (you)"
    found = []
    for _ in range(4):
        shown = np.array(await viewer.page.evaluate(f"probe.picture({name!r})"), float)
        own = np.array(await publisher.page.evaluate(f"probe.picture({own_name!r})"), float)
        if shown.size and own.size:
            found.append(float(np.abs(shown - own).mean()))
    return min(found, default=255.0)
