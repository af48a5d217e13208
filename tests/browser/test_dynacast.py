# SPDX-License-Identifier: Apache-2.0
"""What nobody sees is not sent: tiles' sizes and visibility reach the publisher's encoder."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable

import pytest

from tests.browser.calls import HD, WATCH, CallPage
from tests.browser.conftest import Join

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

ACTIVE = "probe.sent().then((sent) => sent.filter((one) => one.active).map((one) => one.rid).sort().join(''))"
# A tile for which the lowest of the three layers (240x135) is large enough.
SMALL_GRID = "Object.assign(document.getElementById('grid').style, {width: '420px', height: '130px'})"
LARGE_GRID = "document.getElementById('grid').removeAttribute('style')"


async def sent_bps(publisher: CallPage, seconds: float = 1.0) -> float:
    before = await publisher.page.evaluate("probe.sent()")
    await asyncio.sleep(seconds)
    now = await publisher.page.evaluate("probe.sent()")
    total = sum(one["bytesSent"] for one in now) - sum(one["bytesSent"] for one in before)
    passed_ms = now[0]["timestamp"] - before[0]["timestamp"]
    return float(8000 * total / passed_ms)


async def sends(publisher: CallPage, rids: str) -> float:
    """Seconds until exactly these encodings are sent."""
    began = time.monotonic()
    await publisher.until(f"{ACTIVE}.then((active) => active === {rids!r})", f"sends the layers {rids!r}")
    return time.monotonic() - began


async def test_a_thumbnail_costs_its_publisher_a_thumbnail(
    join: Join, measured: Callable[[str, float, str], None]
) -> None:
    ada = await join("Ada", **HD)
    ben = await join("Ben", **WATCH, adapt=1)
    await ben.sees("Ada", 960)
    full_bps = await sent_bps(ada)
    await ben.page.evaluate(SMALL_GRID)
    measured("until only the lowest layer is sent", await sends(ada, "q"), "s")
    small_bps = await sent_bps(ada)
    await ben.sees("Ada", 240)
    await ben.keep_screenshot("thumbnail")
    await ben.page.evaluate(LARGE_GRID)
    measured("until all layers are sent again", await sends(ada, "fhq"), "s")
    began = time.monotonic()
    await ben.sees("Ada", 960)
    measured("until the top layer is seen again, after that", time.monotonic() - began, "s")
    measured("sent to a large tile", full_bps / 1000, "kbit/s")
    measured("sent to a thumbnail", small_bps / 1000, "kbit/s")
    assert small_bps < full_bps / 3


async def test_what_is_scrolled_out_of_sight_is_not_sent(join: Join) -> None:
    ada = await join("Ada", **HD)
    ben = await join("Ben", **WATCH, adapt=1)
    await ben.sees("Ada", 960)
    await ben.page.evaluate("probe.tile('Ada').style.marginTop = '5000px'")
    await sends(ada, "")
    await ben.page.evaluate("probe.tile('Ada').style.marginTop = ''")
    await ben.sees("Ada", 960)


async def test_the_smallest_layer_that_looks_well_is_asked_for(join: Join) -> None:
    ben = await join("Ben", **WATCH)
    layers = json.dumps([{"width": 320 << k, "height": 180 << k} for k in range(3)])
    sizes = json.dumps([{"width": width, "height": width * 9 // 16} for width in (100, 320, 400, 401, 800, 801, 2000)])
    found = await ben.page.evaluate(
        f"import('/viewport.js').then((m) => {sizes}.map((size) => m.layerFor({layers}, size)?.width ?? null))"
    )
    assert found == [320, 320, 320, 640, 640, None, None]
    upright = "m.layerFor([{width: 180, height: 320}, {width: 360, height: 640}], {width: 300, height: 169})"
    assert await ben.page.evaluate(f"import('/viewport.js').then((m) => {upright})") is None
    unknown = "m.layerFor([{width: 0, height: 0}, {width: 0, height: 0}], {width: 300, height: 169})"
    assert await ben.page.evaluate(f"import('/viewport.js').then((m) => {unknown})") is None


async def test_the_page_shows_how_good_connections_are(join: Join) -> None:
    await join("Ada", **HD)
    ben = await join("Ben", **WATCH)
    await ben.until("Number(probe.tile('Ada').querySelector('.quality').dataset.score) >= 1", "shows Ada's connection")
    await ben.until("Number(document.querySelector('.tile.local .quality').dataset.score) >= 1", "shows its own")
