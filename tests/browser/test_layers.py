# SPDX-License-Identifier: Apache-2.0
"""Simulcast layers as a viewer sees them: forced, and switched through again and again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.calls import HD, WATCH, CallPage
from tests.browser.conftest import Join

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

# Of a picture 960 wide, lowest first.
WIDTHS = (240, 480, 960)
# Two rounds through the layers: every switch there is, up and down, by one and by two.
TWO_ROUNDS = (0, 1, 2, 0, 2, 1)
ROUNDS = 10
# The control run of the switching test at the least (s): a freeze has to have had its chance.
CONTROL_S = 10.0


async def test_the_picture_follows_a_forced_layer(join: Join) -> None:
    await join("Ada", **HD)
    ben = await join("Ben", **WATCH)
    await ben.sees("Ada", WIDTHS[2])
    for spatial in (*TWO_ROUNDS, 2):
        await ben.force("Ada", "spatial", str(spatial))
        await ben.sees("Ada", WIDTHS[spatial])
        assert (await ben.received("Ada"))["layer"]["spatial"] == spatial
    await ben.force("Ada", "spatial", "")
    await ben.sees("Ada", WIDTHS[2])
    await ben.keep_screenshot("forced-layers")


async def test_a_forced_temporal_layer_lowers_the_frame_rate(join: Join) -> None:
    await join("Ada", **HD)
    ben = await join("Ben", **WATCH)
    await ben.sees("Ada", WIDTHS[2])
    full = await frame_rate(ben)
    await ben.force("Ada", "temporal", "0")
    await ben.until("probe.publication('Ada').layer.temporal === 0", "gets the lowest temporal layer only")
    # Chromium's three temporal layers: a quarter of the frames is in the lowest.
    assert await frame_rate(ben) < 0.5 * full
    await ben.force("Ada", "temporal", "")
    await ben.until("probe.publication('Ada').layer.temporal > 0", "gets all temporal layers again")


@pytest.mark.timeout(1200)
async def test_switching_freezes_no_more_than_staying(
    join: Join, scaled: Callable[[int], int], measured: Callable[[str, float, str], None], judged: bool
) -> None:
    await join("Ada", **HD)
    ben = await join("Ben", **WATCH)
    await ben.sees("Ada", WIDTHS[2])
    started = time.monotonic()
    before = await ben.received("Ada")
    slowest = 0.0
    for spatial in TWO_ROUNDS * scaled(ROUNDS // 2):
        asked = time.monotonic()
        await ben.force("Ada", "spatial", str(spatial))
        await ben.until(f"probe.received('Ada').then((it) => it.frameWidth === {WIDTHS[spatial]})", "follows")
        slowest = max(slowest, time.monotonic() - asked)
    switched = difference(before, await ben.received("Ada"))
    lasted = time.monotonic() - started
    await ben.force("Ada", "spatial", "")
    await ben.sees("Ada", WIDTHS[2])

    before = await ben.received("Ada")
    await asyncio.sleep(max(CONTROL_S, lasted))
    control = difference(before, await ben.received("Ada"))

    measured("freezes while switching", switched["freezeCount"], "")
    measured("freezes without", control["freezeCount"], "")
    measured("slowest switch", 1000 * slowest, "ms")
    if judged:
        assert switched["packetsLost"] == 0
        assert switched["freezeCount"] <= control["freezeCount"]


async def frame_rate(viewer: CallPage, seconds: float = 3.0) -> float:
    before = await viewer.received("Ada")
    await asyncio.sleep(seconds)
    now = await viewer.received("Ada")
    return float(1000 * (now["framesDecoded"] - before["framesDecoded"]) / (now["timestamp"] - before["timestamp"]))


def difference(before: dict[str, Any], now: dict[str, Any]) -> dict[str, float]:
    return {name: now[name] - before[name] for name in ("freezeCount", "packetsLost", "framesDecoded")}
