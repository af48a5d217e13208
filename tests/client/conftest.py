# SPDX-License-Identifier: Apache-2.0
"""A real server, and clients that leave when the test is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from sfu.client.client import Client
from sfu.config import Settings
from sfu.server import Server

POLL_S = 0.02
LIMIT_S = 30.0

Connect = Callable[..., Awaitable[Client]]


async def until(condition: Callable[[], object]) -> None:
    """Wait until it holds; fail if it does not for too long."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(POLL_S)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    # Bots and server share a loop here: its lateness says nothing about the server's load.
    settings = {"dev": True, "http_port": 0, "udp_port": 0, "shed_load": False}
    server = Server(Settings.model_validate(settings))
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@pytest.fixture
async def connect(server: Server) -> AsyncIterator[Connect]:
    """`await connect("Ada", publish=[...])`: a client in the room `tea`, with keywords of `Client.connect`."""
    connected: list[Client] = []

    async def one(name: str, **wishes: Any) -> Client:
        client = await Client.connect(server.url, room="tea", name=name, **wishes)
        connected.append(client)
        return client

    yield one
    await asyncio.gather(*(client.close() for client in connected))
