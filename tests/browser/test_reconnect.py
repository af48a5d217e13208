# SPDX-License-Identifier: Apache-2.0
"""A call outlives its server, as far as the client can help it."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import pytest

from tests.browser.calls import ARTEFACTS, SMALL, CallPage
from tests.browser.chromium import ChromiumPage
from tests.browser.serving import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
async def test_the_call_comes_back_with_the_server(
    open_page: Callable[..., Awaitable[ChromiumPage]], room: str, end: signal.Signals
) -> None:
    server = await Server.start(ARTEFACTS / "server-before.log")
    try:
        ada = await CallPage.join(await open_page(), server.url, room, "Ada", **SMALL)
        ben = await CallPage.join(await open_page(), server.url, room, "Ben", **SMALL)
        await ada.sees("Ben", SMALL["width"])
        await ben.sees("Ada", SMALL["width"])
        server.process.send_signal(end)
        await ada.until("room.state === 'reconnecting'", "notices that the server is gone")
        await ada.until("!document.getElementById('connection').hidden", "says so")
        await server.process.wait()
        port = urlsplit(server.url).port
        assert port
        server = await Server.start(ARTEFACTS / "server-after.log", http_port=port)
        for page, other in ((ada, "Ben"), (ben, "Ada")):
            await page.until("room.state === 'connected'", "is back")
            await page.others(other)
            await page.sees(other, SMALL["width"])
            await page.hears(other)
            await page.until("document.getElementById('connection').hidden", "no longer complains")
    finally:
        await server.stop()
