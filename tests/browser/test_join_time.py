# SPDX-License-Identifier: Apache-2.0
"""How long it takes from the click on Join to the first picture. Noted, not asserted."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable

import pytest

from tests.browser.calls import SMALL
from tests.browser.chromium import ChromiumPage
from tests.browser.conftest import Join
from tests.browser.serving import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

JOINS = 20

# Joins by the form and resolves with the milliseconds until the browser has a frame of somebody to show.
JOIN_BY_CLICK = """new Promise((resolve) => {
  const clicked = performance.now();
  document.querySelector("#join-form button[type=submit]").click();
  const look = () => {
    const video = document.querySelector(".tile:not(.local) video");
    if (video) video.requestVideoFrameCallback(() => resolve(performance.now() - clicked));
    else requestAnimationFrame(look);
  };
  look();
})"""


async def test_join_to_first_picture(
    join: Join,
    open_page: Callable[..., Awaitable[ChromiumPage]],
    server: Server,
    room: str,
    scaled: Callable[[int], int],
    measured: Callable[[str, float, str], None],
) -> None:
    await join("Ada", **SMALL)
    page = await open_page()
    times_ms = []
    for _ in range(scaled(JOINS)):
        await page.goto(f"{server.url}/?room={room}&name=Ben&publish=0")
        times_ms.append(await page.evaluate(JOIN_BY_CLICK))
    measured("join click to first picture, median", round(statistics.median(times_ms)), "ms")
    measured("join click to first picture, maximum", round(max(times_ms)), "ms")
