# SPDX-License-Identifier: Apache-2.0
"""A participant that is a page in a real browser."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlencode

ARTEFACTS: Final = Path(__file__).resolve().parents[1] / "artefacts" / "browser"
"""Screenshots and the server's log, kept after the run (and not in the repository)."""

PROBE: Final = (Path(__file__).parent / "probe.js").read_text()
CROWD: Final = (Path(__file__).parent / "crowd.js").read_text()

# Two cores carry two browsers and their encoders badly: what takes a moment elsewhere may take long here.
PATIENCE_S: Final = 40.0
LOOK_EVERY_S: Final = 0.15

# The load that two cores bear: three layers need 960x540 (below it Chromium leaves the top one out).
HD: Final = {"width": 960, "height": 540, "fps": 15}
SMALL: Final = {"width": 640, "height": 360, "fps": 15}
WATCH: Final = {"publish": 0}


class BrowserPage(Protocol):
    async def goto(self, url: str) -> None: ...
    async def evaluate(self, expression: str) -> Any: ...
    async def screenshot(self, path: Path) -> None: ...
    async def close(self) -> None: ...


class CallPage:
    """The page of the server, in a call, under a name."""

    def __init__(self, page: BrowserPage, name: str) -> None:
        self.page = page
        self.name = name

    @classmethod
    async def join(cls, page: BrowserPage, url: str, room: str, name: str, **parameters: str | int) -> CallPage:
        """With `passphrase` everything is encrypted end to end; it stands in the address's fragment."""
        call = cls(page, name)
        # Pictures in full, whatever the window's size, unless the test is about just that.
        fixed = {"room": room, "name": name, "autojoin": 1, "statistics": 1, "adapt": 0}
        passphrase = parameters.pop("passphrase", "")
        query = urlencode({**fixed, **parameters})
        fragment = "#" + urlencode({"e2ee": passphrase}) if passphrase else ""
        await page.goto(f"{url.rstrip('/')}/?{query}{fragment}")
        await call.look_in()
        return call

    async def look_in(self) -> None:
        """After the page has loaded: once it is in the call."""
        await self.page.evaluate(f"(() => {{ {PROBE} return true; }})()")
        await self.until("globalThis.room?.state === 'connected'", "has joined")

    async def until(self, expression: str, what: str, within_s: float = PATIENCE_S) -> Any:
        """The value of a JavaScript expression as soon as it is true."""
        deadline = time.monotonic() + within_s
        while True:
            value = await self.page.evaluate(expression)
            if value:
                return value
            if time.monotonic() > deadline:
                raise AssertionError(await self._report(what, within_s))
            await asyncio.sleep(LOOK_EVERY_S)

    async def received(self, name: str, source: str = "camera") -> dict[str, Any]:
        """Statistics of what is received of somebody; empty while nothing is."""
        return await self.page.evaluate(f"probe.received({name!r}, {source!r})") or {}

    async def sees(self, name: str, width: int, within_s: float = PATIENCE_S) -> dict[str, Any]:
        """Once pictures of that width are decoded, one after another."""
        value = await self.until(
            f"probe.received({name!r}).then((it) => it?.frameWidth === {width} && it.framesDecoded > 10 && it)",
            f"sees {name} {width} pixels wide",
            within_s,
        )
        assert isinstance(value, dict)
        return value

    async def hears(self, name: str) -> dict[str, Any]:
        """Once sound that is not silence is played."""
        value = await self.until(
            f"probe.received({name!r}, 'microphone').then((it) => it?.totalAudioEnergy > 0 && it)", f"hears {name}"
        )
        assert isinstance(value, dict)
        return value

    async def others(self, *names: str, within_s: float = PATIENCE_S) -> None:
        """Once the tiles of exactly these are on the page."""
        wanted = json.dumps(sorted(names), separators=(",", ":"))
        await self.until(f"JSON.stringify(probe.names()) === {wanted!r}", f"has tiles of {names}", within_s)

    async def force(self, name: str, control: str, value: str) -> None:
        await self.page.evaluate(f"probe.choose({name!r}, {control!r}, {value!r})")

    async def summary(self) -> Any:
        return await self.page.evaluate("probe.summary()")

    async def keep_screenshot(self, title: str) -> None:
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        await self.page.screenshot(ARTEFACTS / f"{title}.png")

    async def close(self) -> None:
        await self.page.close()

    async def _report(self, what: str, within_s: float) -> str:
        try:
            state = json.dumps(await self.summary(), indent=1)
        except Exception as error:  # the page may be the very thing that is broken
            state = f"the page does not answer: {error}"
        return f"{self.name} never came so far, in {within_s:g} s: {what}\n{state}"
