# SPDX-License-Identifier: Apache-2.0
"""Parts of the client library that decide by themselves, in the browser that they are for."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.browser.chromium import ChromiumPage
from tests.browser.serving import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

OpenPage = Callable[..., Awaitable[ChromiumPage]]


@pytest.fixture
def library(open_page: OpenPage, server: Server) -> Callable[[str, str], Awaitable[Any]]:
    async def evaluate(module: str, expression: str) -> Any:
        page = await open_page()
        await page.goto(server.url)
        return await page.evaluate(f"import('/{module}').then((m) => {expression})")

    return evaluate


async def test_layers_depend_on_what_the_camera_gives(library: Callable[[str, str], Awaitable[Any]]) -> None:
    sizes = [(1920, 1080), (1280, 720), (960, 540), (540, 960), (640, 360), (480, 270), (320, 180)]
    captures = json.dumps([{"width": width, "height": height, "frameRate": 30} for width, height in sizes])
    layers = await library("encodings.js", f"{captures}.map((capture) => m.videoLayers(capture))")
    rids = {size: [layer["rid"] for layer in found] for size, found in zip(sizes, layers, strict=True)}
    three, two, one = ["q", "h", "f"], ["h", "f"], [""]
    assert rids == dict(zip(sizes, (three, three, three, three, two, two, one), strict=True))
    for size, found in zip(sizes, layers, strict=True):
        assert (found[-1]["width"], found[-1]["height"]) == size
        rates = [layer["max_bitrate_bps"] for layer in found]
        assert rates == sorted(rates)


async def test_fewer_layers_are_had_by_asking(library: Callable[[str, str], Awaitable[Any]]) -> None:
    capture = "{width: 1280, height: 720}"
    calls = f"[m.videoLayers({capture}, {{layers: 2}}), m.videoLayers({capture}, {{simulcast: false}})]"
    two, one = await library("encodings.js", calls)
    assert [layer["rid"] for layer in two] == ["h", "f"]
    assert [layer["rid"] for layer in one] == [""]


async def test_layers_fit_a_limit_from_below(library: Callable[[str, str], Awaitable[Any]]) -> None:
    rates = [450, 1200, 5000]
    layers = [{"rid": rid, "max_bitrate_bps": rate} for rid, rate in zip("qhf", rates, strict=True)]
    cases = {10_000: rates, 6650: rates, 5000: [450, 1200, 3350], 2000: [450, 1200, 0], 900: [450, 450, 0]}
    cases |= {500: [450, 0, 0], 100: [100, 0, 0]}
    calls = ", ".join(f"m.fitLayers({json.dumps(layers)}, {limit})" for limit in cases)
    fitted = await library("encodings.js", f"[{calls}]")
    assert [[layer["max_bitrate_bps"] for layer in found] for found in fitted] == list(cases.values())
    sent = await library("encodings.js", f"[{calls}].map((fitted) => m.sentLayers(fitted).map(({{rid}}) => rid))")
    assert sent == [["q", "h", "f"]] * 3 + [["q", "h"]] * 2 + [[""]] * 2, "without a rid where there is only one"


async def test_spatial_layers_of_one_stream_give_way_alike(library: Callable[[str, str], Awaitable[Any]]) -> None:
    layers = "m.videoLayers({width: 1280, height: 720}, {scalabilityMode: 'L3T3_KEY'})"
    call = f"m.fitLayers({layers}, 1000000)"
    whole, fitted, encodings = await library("encodings.js", f"[{layers}, {call}, m.sendEncodings({call}, 'L3T3_KEY')]")
    shares = [now["max_bitrate_bps"] / before["max_bitrate_bps"] for now, before in zip(fitted, whole, strict=True)]
    assert max(shares) - min(shares) < 0.001
    assert [one["maxBitrate"] for one in encodings] == [pytest.approx(1_000_000, abs=3)]


async def test_codecs_are_few_and_the_preferred_comes_first(library: Callable[[str, str], Awaitable[Any]]) -> None:
    known = "RTCRtpSender.getCapabilities('video').codecs"
    found = await library("encodings.js", f"m.orderCodecs({known}, ['H264', 'VP8'])")
    names = [codec["mimeType"].partition("/")[2] for codec in found]
    assert names == ["H264", "H264", "VP8", "rtx"]
    assert all("profile-level-id=42e0" in codec["sdpFmtpLine"] for codec in found[:2])
    assert [f"packetization-mode={mode}" in codec["sdpFmtpLine"] for mode, codec in zip((1, 0), found, strict=False)]


async def test_rtp_time_wraps(library: Callable[[str, str], Awaitable[Any]]) -> None:
    cases = [(5, 5, True), (6, 5, True), (4, 5, False), (3, 2**32 - 3, True), (2**32 - 3, 3, False)]
    calls = ", ".join(f"m.notBefore({timestamp}, {reference})" for timestamp, reference, _ in cases)
    assert await library("slots.js", f"[{calls}]") == [expected for *_, expected in cases]


async def test_the_grid_makes_tiles_large(library: Callable[[str, str], Awaitable[Any]]) -> None:
    cases = {(1, 1280, 620): 1, (2, 1280, 620): 2, (4, 1280, 620): 2, (2, 360, 600): 1, (9, 1280, 620): 3}
    calls = ", ".join(f"m.bestColumns({count}, {width}, {height})" for count, width, height in cases)
    assert await library("tiles.js", f"[{calls}]") == list(cases.values())
