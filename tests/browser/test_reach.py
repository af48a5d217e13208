# SPDX-License-Identifier: Apache-2.0
"""Who reaches the server by a browser, and who must not: foreign pages, another device, a server with keys."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from sfu.config import DEV_KEY_ID, DEV_SECRET
from signaling.tokens import mint
from tests.browser.calls import ARTEFACTS, SMALL, BrowserPage, CallPage
from tests.browser.chromium import Chromium, ChromiumPage
from tests.browser.firefox import Firefox
from tests.browser.serving import Server, own_address

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

EVERYWHERE = ("--http-host", "0.0.0.0")

# What a page can try: the websocket, a token that it could read, the same without being able to read it.
TRIES = """
Promise.all([
  new Promise((done) => {
    const socket = new WebSocket("URL/ws".replace("http", "ws"));
    socket.onopen = () => done("open");
    socket.onerror = () => done("refused");
  }),
  fetch("URL/token?room=tea").then((answer) => answer.text(), () => "refused"),
  fetch("URL/token?room=tea", { mode: "no-cors" }).then((answer) => `${answer.type} ${answer.status}`, () => "refused"),
  fetch("URL/admin/v1/rooms", { headers: { Authorization: "Bearer TOKEN" } })
    .then((answer) => answer.text(), () => "refused"),
])
"""


@pytest_asyncio.fixture(loop_scope="session")
async def foreign_site() -> AsyncIterator[str]:
    """A page of somebody else's, here on another port of the same machine: another origin."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>elsewhere</title>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


async def tries_of(page: BrowserPage, site: str, server: Server) -> Any:
    await page.goto(site)
    token = mint((DEV_KEY_ID, DEV_SECRET), {"roomList": True})
    return await page.evaluate(TRIES.replace("URL", server.url).replace("TOKEN", token))


async def test_a_foreign_page_in_chromium(
    open_page: Callable[..., Awaitable[ChromiumPage]], foreign_site: str, server: Server
) -> None:
    assert await tries_of(await open_page(), foreign_site, server) == ["refused", "refused", "opaque 0", "refused"]
    own = await tries_of(await open_page(), server.url, server)
    assert own[0] == "open", "the same tries, of the server's own page"
    assert "token" in own[1]
    assert "rooms" in own[3]


@pytest.mark.browser("firefox")
async def test_a_foreign_page_in_firefox(firefox_browser: Firefox, foreign_site: str, server: Server) -> None:
    page = await firefox_browser.new_page()
    assert await tries_of(page, foreign_site, server) == ["refused", "refused", "opaque 0", "refused"]
    await page.close()


async def test_another_device_by_a_certificate_made_at_the_start(chromium_browser: Chromium, room: str) -> None:
    address = own_address()
    if address is None:
        pytest.skip("no network: no address that another device could use")
    server = await Server.start(ARTEFACTS / "server-tls.log", flags=(*EVERYWHERE, "--tls", "self"))
    pages = [await chromium_browser.new_page(any_certificate=True) for _ in range(2)]
    try:
        shown = re.findall(r"https://\S+", server.log.read_text())
        url = next(one for one in shown if f"//{address}:" in one)
        ada = await CallPage.join(pages[0], url, room, "Ada", **SMALL)
        ben = await CallPage.join(pages[1], url, room, "Ben", **SMALL)
        assert await ada.page.evaluate("isSecureContext") is True
        await ada.sees("Ben", SMALL["width"])
        await ben.sees("Ada", SMALL["width"])
    finally:
        for page in pages:
            await page.close()
        assert await server.stop() == 0


async def test_plain_http_for_another_device_has_no_camera(chromium_browser: Chromium) -> None:
    """Why the above is needed."""
    address = own_address()
    if address is None:
        pytest.skip("no network: no address that another device could use")
    server = await Server.start(ARTEFACTS / "server-plain.log", flags=EVERYWHERE)
    page = await chromium_browser.new_page()
    try:
        await page.goto(server.url.replace("localhost", address))
        assert await page.evaluate("[isSecureContext, Boolean(navigator.mediaDevices)]") == [False, False]
        assert "--tls self" in server.log.read_text()
    finally:
        await page.close()
        assert await server.stop() == 0
