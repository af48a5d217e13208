# SPDX-License-Identifier: Apache-2.0
"""A real server on ports that the system chooses, and clients that speak the protocol by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from sfu.config import Settings
from sfu.server import Server
from tests.signaling.signed import SECRET
from tests.signaling.websocket import Clients


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """Open to everyone, as `--dev` is."""
    settings = Settings(dev=True, http_port=0, udp_port=0, udp_host="127.0.0.1", announce_ip=("127.0.0.1",))
    async for one in running(settings):
        yield one


@pytest.fixture
async def guarded_server() -> AsyncIterator[Server]:
    """As in production: every join needs a token."""
    settings = Settings.model_validate(
        {
            "http_host": "127.0.0.1",
            "http_port": 0,
            "udp_port": 0,
            "udp_host": "127.0.0.1",
            "announce_ip": ("127.0.0.1",),
            "keys": {"backend": SECRET},
        }
    )
    async for one in running(settings):
        yield one


@pytest.fixture
async def guests(http: aiohttp.ClientSession, guarded_server: Server) -> AsyncIterator[Clients]:
    """Clients of the guarded server."""
    some = Clients(http, guarded_server.url)
    yield some
    await some.close()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def clients(http: aiohttp.ClientSession, server: Server) -> AsyncIterator[Clients]:
    some = Clients(http, server.url)
    yield some
    await some.close()


async def running(settings: Settings) -> AsyncIterator[Server]:
    server = Server(settings)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
