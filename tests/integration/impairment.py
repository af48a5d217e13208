# SPDX-License-Identifier: Apache-2.0
"""A UDP relay that behaves like a bad network, between one client and the server, in real time.

It is the simulation's `Link` (rate with a queue, delay, jitter, loss in bursts, reordering) for each direction, behind
real sockets. What a link does can be changed at any time; times are those of the event loop that it runs in.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from typing import Any, Final

from tests.simulation.links import Link, LinkModel

LOOPBACK: Final = "127.0.0.1"
Address = tuple[str, int]

CLEAN: Final = LinkModel(delay_us=0)
MAXIMUM_CLIENT_ADDRESSES: Final = 64
# Only the links lose: the default holds 92 large datagrams.
RECEIVE_BUFFER_BYTES: Final = 4 << 20


async def _open_socket(
    loop: asyncio.AbstractEventLoop, protocol: asyncio.DatagramProtocol
) -> asyncio.DatagramTransport:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.setblocking(False)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    opened.bind((LOOPBACK, 0))
    transport, _ = await loop.create_datagram_endpoint(lambda: protocol, sock=opened)
    return transport


class _Socket(asyncio.DatagramProtocol):
    """One end: hands over what comes."""

    def __init__(self, relay: ImpairedRelay, client: Address | None) -> None:
        self.relay = relay
        self.client = client

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if self.client is None:
            self.relay.from_client(data, (addr[0], addr[1]))
        else:
            self.relay.from_server(data, self.client)


class ImpairedRelay:
    """Clients send to `address`; the server sees one socket of the relay for each address of theirs.

    `up` is from the clients to the server, `down` the other way; all clients of a relay share both links.
    """

    def __init__(self, server: Address, up: LinkModel, down: LinkModel, seed: int) -> None:
        self.server = server
        self.loop = asyncio.get_running_loop()
        self.up = _Direction(self, Link(up, seed=2 * seed))
        self.down = _Direction(self, Link(down, seed=2 * seed + 1))
        self.refused = 0
        """Datagrams from more client addresses than there may be."""
        self._front: asyncio.DatagramTransport | None = None
        self._towards_server: dict[Address, asyncio.DatagramTransport | None] = {}
        self._waiting: dict[Address, list[bytes]] = {}
        self._opening: set[asyncio.Task[None]] = set()

    @classmethod
    async def start(
        cls, server_port: int, *, up: LinkModel = CLEAN, down: LinkModel = CLEAN, seed: int = 1, host: str = LOOPBACK
    ) -> ImpairedRelay:
        """Listening on a free port."""
        relay = cls((host, server_port), up, down, seed)
        relay._front = await _open_socket(relay.loop, _Socket(relay, None))
        return relay

    @property
    def address(self) -> Address:
        """Where clients send to."""
        assert self._front is not None
        host, port = self._front.get_extra_info("sockname")[:2]
        return str(host), int(port)

    def change(self, *, up: dict[str, Any] | None = None, down: dict[str, Any] | None = None) -> None:
        """Other values of the links' models from now on."""
        for direction, changes in ((self.up, up), (self.down, down)):
            if changes:
                direction.link.change(replace(direction.link.model, **changes), self.now_us())
                direction.pump()

    def now_us(self) -> int:
        """The event loop's time."""
        return int(self.loop.time() * 1e6)

    async def close(self) -> None:
        """Nothing passes any more."""
        for task in self._opening:
            task.cancel()
        for direction in (self.up, self.down):
            direction.stop()
        for one in (self._front, *self._towards_server.values()):
            if one is not None:
                one.close()
        await asyncio.sleep(0)

    def from_client(self, data: bytes, client: Address) -> None:
        """Upwards."""
        if client not in self._towards_server:
            if len(self._towards_server) == MAXIMUM_CLIENT_ADDRESSES:
                self.refused += 1
                return
            self._towards_server[client] = None
            task = self.loop.create_task(self._open(client))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)
        self.up.offer(data, client)

    def from_server(self, data: bytes, client: Address) -> None:
        """Downwards."""
        self.down.offer(data, client)

    def deliver(self, direction: _Direction, data: bytes, client: Address) -> None:
        """At the far end of a link."""
        if direction is self.down:
            assert self._front is not None
            self._front.sendto(data, client)
            return
        upstream = self._towards_server[client]
        if upstream is None:
            self._waiting.setdefault(client, []).append(data)
        else:
            upstream.sendto(data, self.server)

    async def _open(self, client: Address) -> None:
        upstream = await _open_socket(self.loop, _Socket(self, client))
        self._towards_server[client] = upstream
        for data in self._waiting.pop(client, []):
            upstream.sendto(data, self.server)


class _Direction:
    """A link in real time."""

    def __init__(self, relay: ImpairedRelay, link: Link) -> None:
        self.relay = relay
        self.link = link
        self.arrived = 0
        self.arrived_bytes = 0
        self._clients: list[Address] = []
        self._timer: asyncio.TimerHandle | None = None

    def offer(self, data: bytes, client: Address) -> None:
        if client not in self._clients:
            self._clients.append(client)
        self.link.send(_Tagged(data, self._clients.index(client)), self.relay.now_us())
        self.pump()

    def pump(self) -> None:
        """Deliver what is due, and come back for the rest."""
        self.stop()
        for arrival in self.link.receive_until(self.relay.now_us()):
            assert isinstance(arrival.data, _Tagged)
            self.arrived += 1
            self.arrived_bytes += len(arrival.data)
            self.relay.deliver(self, arrival.data, self._clients[arrival.data.client])
        next_us = self.link.next_us()
        if next_us is not None:
            self._timer = self.relay.loop.call_at(next_us / 1e6, self.pump)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Tagged(bytes):
    """A datagram that knows whose it is."""

    client: int

    def __new__(cls, data: bytes, client: int) -> _Tagged:
        made = super().__new__(cls, data)
        made.client = client
        return made
