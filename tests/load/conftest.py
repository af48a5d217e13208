# SPDX-License-Identifier: Apache-2.0
"""A real server, and bots that leave when the test is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from sfu.config import Settings
from sfu.load.peer import LightPeer, LightSpec
from sfu.server import Server
from sfu.transport.certificate import Certificate

POLL_S = 0.01
LIMIT_S = 45.0

Join = Callable[..., Awaitable[LightPeer]]


async def until(condition: Callable[[], object]) -> None:
    """Wait until it holds; fail if it does not for too long."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(POLL_S)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    # Bots and server share a loop here: its lateness says nothing about the server's load.
    settings = {"dev": True, "http_port": 0, "udp_port": 0, "udp_host": "127.0.0.1", "shed_load": False}
    server = Server(Settings.model_validate(settings))
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@pytest.fixture
async def join(server: Server) -> AsyncIterator[Join]:
    """`await join("Ada", video=None)`: a bot in the room `tea`, with keywords of `LightSpec` and `LightPeer.join`."""
    certificate = Certificate()
    joined: list[LightPeer] = []

    async def one(name: str, **wishes: Any) -> LightPeer:
        observers = {key: wishes.pop(key) for key in ("on_packet", "on_event") if key in wishes}
        spec = LightSpec(room="tea", name=name, **wishes)
        peer = await LightPeer.join(server.url, spec, certificate=certificate, **observers)
        joined.append(peer)
        return peer

    yield one
    for peer in joined:
        await peer.close()
