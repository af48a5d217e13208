# SPDX-License-Identifier: Apache-2.0
"""The smallest client: one websocket, requests with ids, and everything else kept in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp

WITHIN_S = 10

Json = dict[str, Any]


class Client:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.told: list[Json] = []
        """What came without being asked for, in its order."""
        self.id = ""
        self._next_id = 1

    async def request(self, type: str, **fields: Any) -> Json:
        """The response, whatever it is."""
        identifier = self._next_id
        self._next_id += 1
        await self.socket.send_json({"type": type, "id": identifier, **fields})
        return await self.response(identifier)

    async def response(self, identifier: int) -> Json:
        while True:
            message = await self._receive()
            if message.get("id") == identifier:
                return message
            self.told.append(message)

    async def join(self, room: str = "tea", name: str = "Ada", **more: Any) -> Json:
        joined = await self.request("join", version=1, room=room, name=name, **more)
        assert joined["type"] == "joined", joined
        self.id = joined["participant"]
        return joined

    async def hears(self, type: str, where: Callable[[Json], bool] = lambda message: True) -> Json:
        """The next message of that type; what comes before it stays in `told`."""
        for index, message in enumerate(self.told):
            if message["type"] == type and where(message):
                return self.told.pop(index)
        while True:
            message = await self._receive()
            if message["type"] == type and where(message):
                return message
            self.told.append(message)

    async def raw(self, text: str) -> Json:
        """The error for something that is no proper request."""
        await self.socket.send_str(text)
        return await self.hears("error")

    async def closed(self) -> int | None:
        """The close code, once the server has ended the session; what came before is in `told`."""
        async with asyncio.timeout(WITHIN_S):
            async for frame in self.socket:
                self.told.append(frame.json())
        return self.socket.close_code

    async def still_works(self) -> bool:
        return bool((await self.request("ping"))["type"] == "pong")

    def vanish(self) -> None:
        """As when the network goes, or a tab is killed: no close frame."""
        transport = self.socket._response.connection.transport  # type: ignore[union-attr]
        assert transport is not None
        transport.abort()

    async def _receive(self) -> Json:
        async with asyncio.timeout(WITHIN_S):
            frame = await self.socket.receive()
        assert frame.type is aiohttp.WSMsgType.TEXT, f"the session ended: {frame}, told {self.told}"
        message: Json = frame.json()
        return message


class Clients:
    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = url
        self._open: list[Client] = []

    async def connect(self) -> Client:
        client = Client(await self._http.ws_connect(self._url + "ws"))
        self._open.append(client)
        return client

    async def join(self, name: str = "Ada", room: str = "tea", **more: Any) -> Client:
        client = await self.connect()
        await client.join(room, name, **more)
        return client

    async def close(self) -> None:
        for client in self._open:
            await client.socket.close()
