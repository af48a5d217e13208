# SPDX-License-Identifier: Apache-2.0
"""A server at several addresses answers from the one that was asked, checks as well as media.

A bot's socket is connected: the kernel gives it nothing that comes from another address.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest

from sfu.config import Settings
from sfu.load.description import Answer, read_answer
from sfu.load.media import VideoLayer, VideoSpec
from sfu.load.peer import LightPeer, LightSpec
from sfu.server import Server
from sfu.transport.certificate import Certificate
from tests.integration.bare_peer import MAX_DATAGRAM, connectivity_check, is_success
from tests.load.conftest import until
from tests.sdp.descriptions import captured
from tests.signaling.websocket import Clients

CAMERA = VideoSpec((VideoLayer("", 160, 90, 50_000),), temporal_layers=1)
WITHIN_S = 5.0
ROUNDS = 3


def can_bind(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind((address, 0))
    except OSError:
        return False
    return True


ADDRESSES = [address for address in ("127.0.0.1", "127.0.0.2", "::1") if can_bind(address)]
needs_two = pytest.mark.skipif(len(ADDRESSES) < 2, reason=f"this machine has only {ADDRESSES}")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """On all addresses, those of the loopback interface announced."""
    settings = {"dev": True, "http_port": 0, "udp_port": 0, "announce_ip": tuple(ADDRESSES)}
    server = Server(Settings.model_validate(settings))
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@needs_two
async def test_bots_at_each_address_hear_and_see_each_other(server: Server) -> None:
    certificate = Certificate()

    async def join(address: str) -> LightPeer:
        spec = LightSpec(room="house", name=address, video=CAMERA, accept_address=address.__eq__)
        return await LightPeer.join(server.url, spec, certificate=certificate)

    bots = await asyncio.gather(*(join(address) for address in ADDRESSES))
    try:
        others = len(bots) - 1
        for bot in bots:
            assert bot.connection.ice.selected == (bot.spec.name, server.workers[0].port)

        def flowing(bot: LightPeer) -> int:
            return sum(slot.statistics.packets > 20 for slot in bot.slots.values())

        await until(lambda: all(flowing(bot) == 2 * others for bot in bots))
        # Consent goes on: the checks of a connected socket are answered from where they were sent to.
        answers = [bot.connection.ice.answers for bot in bots]
        for bot in bots:
            bot.connection.ice.check_now()
        await until(lambda: all(bot.connection.ice.answers > n for bot, n in zip(bots, answers, strict=True)))
        assert all(bot.connection.ice.nominated for bot in bots)
    finally:
        for bot in bots:
            await bot.close()


async def ask_each_address(family: socket.AddressFamily, port: int, answer: Answer) -> None:
    """A socket of IPv6 asks all, those of IPv4 in mapped form."""
    password = answer.password.encode()
    if family is socket.AF_INET6:
        targets = [address if ":" in address else f"::ffff:{address}" for address in ADDRESSES]
    else:
        targets = [address for address in ADDRESSES if ":" not in address]
    if family is socket.AF_INET6 and "::1" not in ADDRESSES:
        return
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        for target in targets * ROUNDS:
            sock.sendto(connectivity_check(answer.ufrag, password, nominate=False), (target, port))
            async with asyncio.timeout(WITHIN_S):
                datagram, source = await asyncio.get_running_loop().sock_recvfrom(sock, MAX_DATAGRAM)
            assert is_success(datagram, password)
            assert source[:2] == (target, port)


@needs_two
async def test_one_socket_is_answered_by_each_address_that_it_asks(server: Server) -> None:
    """As a browser gathers: one unconnected socket asks all candidates in turn."""
    port = server.workers[0].port
    async with aiohttp.ClientSession() as http:
        clients = Clients(http, server.url)
        client = await clients.join()
        answer = read_answer((await client.request("offer", sdp=captured("chromium-156-slots-offer")))["sdp"])
        offered = {line.split()[4] for line in answer.candidates}
        assert offered == set(ADDRESSES)
        for family in (socket.AF_INET, socket.AF_INET6):
            await ask_each_address(family, port, answer)
        await clients.close()
