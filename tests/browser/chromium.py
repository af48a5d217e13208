# SPDX-License-Identifier: Apache-2.0
"""Drives Chromium by Playwright: one browser, one context per page, so that pages share nothing but the process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, TypeVar

from playwright.async_api import Browser, ConsoleMessage, Page, ViewportSize, async_playwright
from playwright.async_api import Playwright as PlaywrightDriver

ARGUMENTS = [
    "--no-sandbox",  # containers and CI have no user namespaces
    "--use-fake-device-for-media-stream=fps=30",
    "--use-fake-ui-for-media-stream",
    "--allow-loopback-in-peer-connection",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    # Several pages in one headless browser: each is in the background of the others.
    "--disable-backgrounding-occluded-windows",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
]
DESKTOP = (1280, 720)
PHONE = (360, 740)
CRASH_WITHIN_S = 10
# Playwright waits for an expression, a new page or a closing one for as long as it takes.
COMMAND_WITHIN_S = 60
CLOSE_WITHIN_S = 30

Value = TypeVar("Value")


class ChromiumError(Exception):
    """Chromium, or the page in it, does not answer."""


async def answered(what: str, command: Awaitable[Value], within_s: float = COMMAND_WITHIN_S) -> Value:
    try:
        async with asyncio.timeout(within_s):
            return await command
    except TimeoutError:
        raise ChromiumError(f"no answer from Chromium within {within_s:g} s: {what[:300]}") from None


class Chromium:
    def __init__(self, driver: PlaywrightDriver, browser: Browser) -> None:
        self._driver = driver
        self._browser = browser

    @classmethod
    async def launch(cls, executable: str) -> Chromium:
        driver = await async_playwright().start()
        try:
            browser = await driver.chromium.launch(executable_path=executable, args=ARGUMENTS)
        except BaseException:
            await driver.stop()
            raise
        return cls(driver, browser)

    async def new_page(self, size: tuple[int, int] = DESKTOP, *, any_certificate: bool = False) -> ChromiumPage:
        """`any_certificate`: as when the user goes on past the warning."""
        viewport = ViewportSize(width=size[0], height=size[1])
        context = await answered(
            "a new context", self._browser.new_context(viewport=viewport, ignore_https_errors=any_certificate)
        )
        return ChromiumPage(await answered("a new page", context.new_page()))

    async def close(self) -> None:
        try:
            await answered("the browser's end", self._browser.close(), CLOSE_WITHIN_S)
        finally:
            await self._driver.stop()


class ChromiumPage:
    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        """Uncaught errors and console errors of the page."""
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._on_console)

    async def goto(self, url: str) -> None:
        await self.page.goto(url)

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression, awaited, by way of JSON."""
        wrapped = f"(async () => JSON.stringify((await ({expression})) ?? null))()"
        text = await answered(expression, self.page.evaluate(wrapped))
        return json.loads(text)

    async def screenshot(self, path: Path) -> None:
        await self.page.screenshot(path=path)

    async def reload(self) -> None:
        await self.page.reload()

    async def kill(self) -> None:
        """As when the tab's process runs out of memory: nothing of the page runs any more, no goodbye."""
        session = await self.page.context.new_cdp_session(self.page)
        crashed = asyncio.get_running_loop().create_future()
        self.page.once("crash", lambda _: crashed.set_result(None))
        # Its answer never comes: there is nobody left to give it.
        command = asyncio.ensure_future(session.send("Page.crash"))
        await asyncio.wait_for(crashed, CRASH_WITHIN_S)
        command.cancel()

    async def close(self) -> None:
        await answered("the page's end", self.page.context.close(), CLOSE_WITHIN_S)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(message.text)
