# SPDX-License-Identifier: Apache-2.0
"""Every codec and kind of layers that Chromium can publish, switched through as a viewer sees it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.browser.calls import HD, WATCH, CallPage
from tests.browser.conftest import Join

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

WIDTHS = (240, 480, 960)
ROUND = (0, 1, 2, 0, 2, 1)
SETTLE_S, MEASURE_S = 1.0, 2.0

# H.264 has no temporal layers here: OpenH264 in Chromium makes none unless it is told to.
KINDS = [("VP9", "L3T3_KEY", True), ("AV1", "L3T3_KEY", True), ("AV1", "", True), ("H264", "", False)]


@pytest.mark.parametrize(("codec", "scalability", "temporal"), KINDS)
async def test_a_viewer_is_led_through_all_layers(join: Join, codec: str, scalability: str, temporal: bool) -> None:
    svc = {"svc": scalability} if scalability else {}
    await join("Ada", codec=codec, **svc, **HD)
    ben = await join("Ben", **WATCH)
    await ben.sees("Ada", WIDTHS[2])
    before = await ben.received("Ada")
    for spatial in ROUND:
        await ben.force("Ada", "spatial", str(spatial))
        shown = f"probe.received('Ada').then((it) => it.frameWidth === {WIDTHS[spatial]})"
        await ben.until(shown, f"follows to {spatial}")
    after = await ben.received("Ada")
    # No keyframe request of the viewer's own: it never lacked a reference.
    assert troubles(before, after, "pliCount", "packetsLost", "framesDropped") == [0, 0, 0]
    if temporal:
        rates = [await frame_rate(ben, layer) for layer in (0, 1, 2)]
        assert rates[0] < 0.7 * rates[1] < 0.7 * 0.8 * rates[2]


async def frame_rate(viewer: CallPage, temporal: int) -> float:
    await viewer.force("Ada", "temporal", str(temporal))
    await asyncio.sleep(SETTLE_S)
    before = await viewer.received("Ada")
    await asyncio.sleep(MEASURE_S)
    now = await viewer.received("Ada")
    return float(1000 * (now["framesDecoded"] - before["framesDecoded"]) / (now["timestamp"] - before["timestamp"]))


def troubles(before: dict[str, Any], after: dict[str, Any], *names: str) -> list[int]:
    return [after[name] - before[name] for name in names]
