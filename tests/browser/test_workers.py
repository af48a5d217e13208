# SPDX-License-Identifier: Apache-2.0
"""Two Chromium pages in one room, each on a worker of its own: what one sends is relayed to the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
import pytest_asyncio

from tests.browser.calls import ARTEFACTS, HD, SMALL, CallPage
from tests.browser.chromium import ChromiumPage
from tests.browser.serving import Server
from tests.browser.test_call import LISTEN_S, MAX_CONCEALED

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

# A relay that did not carry its layers would show here: the publishers send about 60 packets a second each.
MIN_RELAYED = 200


@pytest_asyncio.fixture(loop_scope="session")
async def two_workers() -> AsyncIterator[Server]:
    running = await Server.start(ARTEFACTS / "server-workers.log", flags=("--workers", "2", "--room-spread", "1"))
    yield running
    assert await running.stop() == 0


async def relayed(url: str) -> dict[str, float]:
    """Packets from other workers, by worker."""
    async with aiohttp.ClientSession() as http, http.get(f"{url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    wanted = 'pysfu_relay_packets_total{direction="in"'
    return {line.split('worker="')[1][0]: float(line.split()[-1]) for line in lines if line.startswith(wanted)}


async def test_pages_on_different_workers_see_and_hear_each_other(
    open_page: Callable[..., Awaitable[ChromiumPage]], two_workers: Server, room: str
) -> None:
    url = two_workers.url
    ada = await CallPage.join(await open_page(), url, room, "Ada", **HD)
    ben = await CallPage.join(await open_page(), url, room, "Ben", **SMALL)
    await ben.sees("Ada", HD["width"])
    await ada.sees("Ben", SMALL["width"])
    for listener, speaker in ((ada, "Ben"), (ben, "Ada")):
        first = await listener.hears(speaker)
        await asyncio.sleep(LISTEN_S)
        then = await listener.received(speaker, "microphone")
        played = then["totalSamplesReceived"] - first["totalSamplesReceived"]
        assert played > 0
        assert (then["concealedSamples"] - first["concealedSamples"]) / played < MAX_CONCEALED
    counts = await relayed(url)
    assert sorted(counts) == ["0", "1"]
    assert min(counts.values()) > MIN_RELAYED, counts
    # Ben comes back: a new transport, new legs.
    assert isinstance(ben.page, ChromiumPage)
    await ben.page.reload()
    await ben.look_in()
    await ben.sees("Ada", HD["width"])
    await ada.sees("Ben", SMALL["width"])
