# SPDX-License-Identifier: Apache-2.0
"""The impairment relay: datagrams pass both ways, and its links lose, delay and limit as they are told to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from tests.integration.impairment import CLEAN, LOOPBACK, MAXIMUM_CLIENT_ADDRESSES, ImpairedRelay
from tests.simulation.links import DropCause, LinkModel

PATIENCE_S = 5.0


async def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not reached() and time.monotonic() < deadline:
        await asyncio.sleep(0.005)


class Echo(asyncio.DatagramProtocol):
    """Sends everything back, and remembers it."""

    def __init__(self, *, answers: bool = True) -> None:
        self.answers = answers
        self.got: list[tuple[float, bytes, Any]] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.got.append((time.monotonic(), data, addr))
        if self.answers:
            self.transport.sendto(data, addr)

    async def has(self, count: int) -> list[bytes]:
        """Once so many have come."""
        await until(lambda: len(self.got) >= count)
        return [data for _, data, _ in self.got]


class Scene:
    """A server that echoes, and clients of the relay before it."""

    def __init__(self) -> None:
        self.server = Echo()
        self.closing: list[Any] = []

    async def open(self, echo: Echo) -> Echo:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: echo, local_addr=(LOOPBACK, 0))
        self.closing.append(transport)
        return echo

    async def relay(self, up: LinkModel = CLEAN, down: LinkModel = CLEAN) -> ImpairedRelay:
        await self.open(self.server)
        port = self.server.transport.get_extra_info("sockname")[1]
        relay = await ImpairedRelay.start(port, up=up, down=down)
        self.closing.append(relay)
        return relay

    async def client(self) -> Echo:
        return await self.open(Echo(answers=False))


@pytest_asyncio.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    yield made
    for one in made.closing:
        closing = one.close()
        if closing is not None:
            await closing


@pytest.mark.asyncio
async def test_datagrams_pass_both_ways_and_come_back_to_who_sent_them(scene: Scene) -> None:
    relay = await scene.relay()
    ada, ben = await scene.client(), await scene.client()
    for number in range(20):
        ada.transport.sendto(b"ada %d" % number, relay.address)
        ben.transport.sendto(b"ben %d" % number, relay.address)
    assert sorted(await ada.has(20)) == sorted(b"ada %d" % number for number in range(20))
    assert sorted(await ben.has(20)) == sorted(b"ben %d" % number for number in range(20))
    assert len({address for _, _, address in scene.server.got}) == 2, "the server sees an address for each client"


@pytest.mark.asyncio
async def test_delay_is_that_of_both_directions(scene: Scene) -> None:
    relay = await scene.relay(LinkModel(delay_us=60_000), LinkModel(delay_us=40_000))
    client = await scene.client()
    began = time.monotonic()
    client.transport.sendto(b"x", relay.address)
    await client.has(1)
    assert time.monotonic() - began >= 0.1


@pytest.mark.asyncio
async def test_a_share_is_lost_and_counted(scene: Scene) -> None:
    relay = await scene.relay(LinkModel(delay_us=0, loss=0.5))
    client = await scene.client()
    for number in range(200):
        client.transport.sendto(b"%d" % number, relay.address)
        await asyncio.sleep(0)
    await until(lambda: relay.up.link.sent == 200)
    lost = relay.up.link.drops[DropCause.LOSS]
    await scene.server.has(200 - lost)
    assert 60 < lost < 140
    assert len(scene.server.got) == 200 - lost == relay.up.arrived


@pytest.mark.asyncio
async def test_a_rate_is_kept_and_what_the_queue_does_not_hold_is_lost(scene: Scene) -> None:
    """100 datagrams of 972 bytes and headers: 8 ms each at 1 Mbit/s; the queue holds 200 ms of them."""
    relay = await scene.relay(LinkModel(capacity_bps=1_000_000, queue_us=200_000, delay_us=0))
    client = await scene.client()
    began = time.monotonic()
    for _ in range(100):
        client.transport.sendto(bytes(972), relay.address)
    await until(lambda: relay.up.link.sent == 100)
    dropped = relay.up.link.drops[DropCause.QUEUE]
    assert 40 <= dropped <= 80
    await scene.server.has(100 - dropped)
    assert len(scene.server.got) == 100 - dropped
    assert time.monotonic() - began >= (100 - dropped - 1) * 0.008


@pytest.mark.asyncio
async def test_reordering_and_duplicates(scene: Scene) -> None:
    relay = await scene.relay(LinkModel(delay_us=1_000, reorder=0.2, reorder_us=20_000, duplicate=0.2))
    client = await scene.client()
    for number in range(100):
        client.transport.sendto(b"%03d" % number, relay.address)
        await asyncio.sleep(0.001)
    await until(lambda: relay.up.link.sent == 100 and relay.up.link.next_us() is None)
    got = await scene.server.has(relay.up.arrived)
    assert len(got) > 100
    assert sorted(set(got)) == [b"%03d" % number for number in range(100)]
    assert got != sorted(got)


@pytest.mark.asyncio
async def test_a_link_changes_while_it_is_used(scene: Scene) -> None:
    relay = await scene.relay(LinkModel(delay_us=0, loss=1.0))
    client = await scene.client()
    client.transport.sendto(b"lost", relay.address)
    await asyncio.sleep(0.05)
    assert scene.server.got == []
    relay.change(up={"loss": 0.0})
    client.transport.sendto(b"passes", relay.address)
    assert await client.has(1) == [b"passes"]


@pytest.mark.asyncio
async def test_it_serves_no_more_addresses_than_it_says(scene: Scene) -> None:
    relay = await scene.relay()
    clients = [await scene.client() for _ in range(MAXIMUM_CLIENT_ADDRESSES + 3)]
    for client in clients:
        client.transport.sendto(b"x", relay.address)
    await scene.server.has(MAXIMUM_CLIENT_ADDRESSES)
    assert len(scene.server.got) == MAXIMUM_CLIENT_ADDRESSES
    assert relay.refused == 3
