# SPDX-License-Identifier: Apache-2.0
"""The end of a server with calls on it, and what a second one says that wants the same ports."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from sfu.client.messages import Closing, Event
from sfu.config import ConfigError, Settings
from sfu.load.media import VideoLayer, VideoSpec
from sfu.load.peer import LightPeer, LightSpec
from sfu.server import Server
from sfu.transport.certificate import Certificate
from sfu.transport.dtls import TransportState
from tests.integration.leftovers import assert_nothing_left, census
from tests.integration.processes import ROOT
from tests.load.conftest import until

CAMERA = VideoSpec((VideoLayer("", 160, 90, 50_000),), temporal_layers=1)
START_WITHIN_S = 20.0
GRACE_S = 3.0
BUSY_S = 10.0  # what the machine's other work may add
SETTLE_S = 0.5
KEYS = {"key": "a secret that is as long as it has to be"}
BOTS = 4


@asynccontextmanager
async def serving(*arguments: str) -> AsyncIterator[tuple[Process, str]]:
    """`sfu serve` in a process of its own, and its address."""
    command = (sys.executable, "-m", "sfu", "serve", "--dev", "--http-port", "0", "--udp-host", "127.0.0.1")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SFU_")}
    process = await asyncio.create_subprocess_exec(
        *command, "--udp-port", "0", *arguments, stdout=PIPE, stderr=PIPE, cwd=ROOT, env=environment
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(START_WITHIN_S):
            line = (await process.stdout.readline()).decode()
        assert line.startswith("pysfu is ready: "), (await process.communicate())[1].decode()
        yield process, line.removeprefix("pysfu is ready: ").strip()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def ended(process: Process, within_s: float) -> tuple[bytes, bytes]:
    """What it said."""
    late = asyncio.get_running_loop().call_later(within_s, process.kill)
    said = await process.communicate()
    late.cancel()
    return said


async def call(url: str, told: list[Event]) -> Sequence[LightPeer]:
    """Bots that hear each other."""
    certificate = Certificate()
    bots = await asyncio.gather(
        *(
            LightPeer.join(
                url, LightSpec(room="tea", name=f"bot {n}", video=CAMERA), certificate=certificate, on_event=told.append
            )
            for n in range(BOTS)
        )
    )

    def heard(bot: LightPeer) -> int:
        return sum(slot.kind == "audio" and slot.statistics.packets > 5 for slot in bot.slots.values())

    await until(lambda: all(heard(bot) == BOTS - 1 for bot in bots))
    return bots


async def test_sigterm_during_a_call(measured: Callable[[str, float, str], None]) -> None:
    told: list[Event] = []
    async with serving("--grace-seconds", str(GRACE_S)) as (process, url):
        bots = await call(url, told)
        asked_s = time.monotonic()
        process.send_signal(signal.SIGTERM)
        errors = (await ended(process, GRACE_S + BUSY_S))[1].decode()
        measured("from SIGTERM to the end of the process", round((time.monotonic() - asked_s) * 1000), "ms")
        assert process.returncode == 0, errors
        assert "Traceback" not in errors
        assert "ERROR" not in errors
    await until(lambda: all(bot.disconnected for bot in bots))
    closing = [event for event in told if isinstance(event, Closing)]
    assert [event.reason for event in closing] == ["shutdown"] * BOTS
    assert all(event.retry_after_ms for event in closing)
    # By a DTLS goodbye: consent would have taken 30 s to end.
    await until(lambda: all(bot.connection.state is TransportState.FAILED for bot in bots))
    assert {bot.connection.failure for bot in bots} == {"the server closed the connection"}
    for bot in bots:
        await bot.close()


def settings(**changes: object) -> Settings:
    values = {"dev": True, "http_port": 0, "udp_port": 0, "udp_host": "127.0.0.1"} | changes
    return Settings.model_validate(values)


async def test_a_second_server_names_the_port_that_is_taken_and_leaves_nothing() -> None:
    first = Server(settings())
    await first.start()
    try:
        http_port = int(first.url.rstrip("/").rpartition(":")[2])
        udp_port = first.workers[0].port
        before = census()
        for name, port in (("http_port", http_port), ("udp_port", udp_port)):
            with pytest.raises(ConfigError, match=f"^{name} = {port} "):
                # With --dev it would take the next free one.
                await Server(settings(dev=False, keys=KEYS, **{name: port})).start()
        await assert_nothing_left(before)
        bots = await call(first.url, [])
        for bot in bots:
            await bot.close()
    finally:
        await first.stop()


async def test_ports_are_free_again_when_a_server_has_stopped() -> None:
    first = Server(settings())
    await first.start()
    http_port = int(first.url.rstrip("/").rpartition(":")[2])
    udp_port = first.workers[0].port
    bots = await call(first.url, [])
    await first.stop()
    second = Server(settings(http_port=http_port, udp_port=udp_port))
    await second.start()
    await second.stop()
    for bot in bots:
        await bot.close()


async def test_nothing_is_left_of_a_server_that_has_stopped() -> None:
    """Twice: the first one also makes what a process makes once."""
    before: Counter[str] = Counter()
    for _ in range(2):
        server = Server(settings())
        await server.start()
        bots = await call(server.url, [])
        await server.stop()
        for bot in bots:
            await bot.close()
        del server, bots, bot
        if before:
            await assert_nothing_left(before)
        await asyncio.sleep(SETTLE_S)
        before = census()
