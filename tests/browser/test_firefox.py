# SPDX-License-Identifier: Apache-2.0
"""A Firefox and a Chromium page in one room."""

from __future__ import annotations

import pytest

from tests.browser.calls import HD, SMALL, CallPage
from tests.browser.conftest import Join
from tests.browser.firefox import Firefox
from tests.browser.serving import Server

pytestmark = [pytest.mark.browser("chromium", "firefox"), pytest.mark.asyncio(loop_scope="session")]


async def test_firefox_and_chromium_see_and_hear_each_other(
    join: Join, firefox_browser: Firefox, server: Server, room: str
) -> None:
    ada = await join("Ada", **HD)
    ben = await CallPage.join(await firefox_browser.new_page(), server.url, room, "Ben", **SMALL)
    try:
        await ben.sees("Ada", HD["width"])
        await ada.sees("Ben", SMALL["width"])
        await ada.hears("Ben")
        await ben.hears("Ada")
        for page, other in ((ada, "Ben"), (ben, "Ada")):
            await page.others(other)
            await page.keep_screenshot(f"firefox-and-chromium-{page.name}")
    finally:
        await ben.close()
    await ada.others()
