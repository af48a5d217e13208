# SPDX-License-Identifier: Apache-2.0
"""Pages whose media goes through an impairment relay, and what they say of the picture."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.browser.calls import CallPage
from tests.browser.chromium import ChromiumPage
from tests.browser.serving import Server
from tests.integration.impairment import ImpairedRelay

PICTURES: Final = (Path(__file__).parent / "links.js").read_text()
MEDIA_PORT: Final = re.compile(r"media on UDP port (\d+)")
FREEZE_MS: Final = 200.0
"""Gaps between pictures of 15 a second that are looked at."""

# The server's candidates become the relay's address before the browser sees them.
REDIRECT: Final = """
(() => {
  const original = RTCPeerConnection.prototype.setRemoteDescription;
  RTCPeerConnection.prototype.setRemoteDescription = function ({ type, sdp }) {
    const candidate = "a=candidate:1 1 udp 2130706431 %s %d typ host";
    return original.call(this, { type, sdp: sdp.replace(/^a=candidate:.*$/gm, candidate) });
  };
})();
"""


def media_port(server: Server) -> int:
    """The server's first UDP port, from its log."""
    found = MEDIA_PORT.search(server.log.read_text())
    assert found is not None, "the server's log does not tell its media port"
    return int(found.group(1))


async def join_behind(
    page: ChromiumPage, relay: ImpairedRelay, server: Server, room: str, name: str, **parameters: str | int
) -> CallPage:
    """In the call, by way of the relay."""
    await page.page.add_init_script(REDIRECT % relay.address)
    return await CallPage.join(page, server.url, room, name, **parameters)


@dataclass(frozen=True)
class Watched:
    """What was seen of somebody."""

    gaps_ms: Sequence[float]
    pictures: int
    longest_ms: float


async def watch(call: CallPage, *names: str) -> None:
    """From now on, the gaps between pictures of these."""
    await call.page.evaluate(f"(() => {{ {PICTURES} return true; }})()")
    for name in names:
        await call.page.evaluate(f"pictures.watch({name!r})")


async def watched(call: CallPage, name: str) -> Watched:
    """Since `watch`."""
    found: Any = await call.page.evaluate(f"pictures.gaps({name!r}, {FREEZE_MS})")
    gaps = [float(gap) for gap in found["gaps_ms"]]
    return Watched(gaps, int(found["pictures"]), max(gaps, default=0.0))


async def sees_at_most(call: CallPage, name: str, width: int, within_s: float) -> None:
    """Once pictures no wider than that are decoded."""
    await call.until(
        f"probe.received({name!r}).then((it) => it?.frameWidth <= {width})",
        f"sees {name} no more than {json.dumps(width)} pixels wide",
        within_s,
    )


async def received_bps(call: CallPage, name: str, seconds: float = 2.0) -> float:
    """Video that comes of somebody."""
    before = await call.received(name)
    await asyncio.sleep(seconds)
    now = await call.received(name)
    return float(8000 * (now["bytesReceived"] - before["bytesReceived"]) / (now["timestamp"] - before["timestamp"]))
