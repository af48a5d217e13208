# SPDX-License-Identifier: Apache-2.0
"""One server and one browser of each make for all tests of this folder; each test has a room of its own."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from tests.browser.calls import ARTEFACTS, CallPage
from tests.browser.chromium import Chromium, ChromiumPage
from tests.browser.firefox import Firefox
from tests.browser.serving import Server, own_address

Join = Callable[..., Awaitable[CallPage]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server() -> AsyncIterator[Server]:
    running = await Server.start(ARTEFACTS / "server.log")
    yield running
    assert await running.stop() == 0


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium_browser(chromium: str) -> AsyncIterator[Chromium]:
    browser = await Chromium.launch(chromium)
    yield browser
    await browser.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def firefox_browser(firefox: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Firefox]:
    if own_address() is None:
        pytest.skip("Firefox gathers no candidates on a machine without a route (and none on loopback)")
    browser = await Firefox.launch(firefox, tmp_path_factory.mktemp("firefox"))
    yield browser
    await browser.close()


# As make test-full runs it.
FULL_TIER = 10.0


@pytest.fixture
def room(request: pytest.FixtureRequest) -> str:
    return f"{request.node.name[:40]}-{secrets.token_hex(3)}"


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(chromium_browser: Chromium) -> AsyncIterator[Callable[..., Awaitable[ChromiumPage]]]:
    """Opens Chromium pages that are closed after the test."""
    pages: list[ChromiumPage] = []

    async def open_one(**options: Any) -> ChromiumPage:
        pages.append(await chromium_browser.new_page(**options))
        return pages[-1]

    yield open_one
    for page in pages:
        await page.close()


@pytest_asyncio.fixture(loop_scope="session")
async def join(open_page: Callable[..., Awaitable[ChromiumPage]], server: Server, room: str) -> Join:
    """`await join("Ada", width=640, …)`: one more Chromium page in the test's room."""

    async def join_one(name: str, **parameters: str | int) -> CallPage:
        return await CallPage.join(await open_page(), server.url, room, name, **parameters)

    return join_one


@pytest.fixture(scope="session")
def judged(scale: float) -> bool:
    """Whether freezes, losses and delays are asserted: in the full tier only, on a machine that does nothing else."""
    return scale >= FULL_TIER
