# SPDX-License-Identifier: Apache-2.0
"""The asyncio side of a worker: commands leave in batches, events find their handlers."""

import asyncio
import logging
from collections.abc import Callable

import pytest

from sfu.engine.events import TransportPath
from sfu.transport.engine_port import TransportEvent
from tests.transport.conftest import Engine, Remote, until

PASSWORD = b"a password of twenty-four"


async def test_commands_of_one_tick_are_applied_together(engine: Engine) -> None:
    handles = [engine.port.commands.add_transport(PASSWORD)[0] for _ in range(5)]
    assert len(engine.worker.commands) == 5
    await asyncio.sleep(0)
    assert len(engine.worker.commands) == 0
    for handle in handles:
        engine.port.commands.remove_transport(handle)
    await until(lambda: engine.live_transports == 0)


async def test_stop_applies_what_is_left(engine: Engine) -> None:
    engine.port.commands.add_transport(PASSWORD)
    engine.port.stop()
    assert len(engine.worker.commands) == 0
    engine.port.stop()


async def test_a_handler_that_fails_costs_only_its_own_event(
    engine: Engine, remotes: Callable[..., Remote], caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[TransportEvent] = []

    def fail(_: TransportEvent) -> None:
        raise RuntimeError("meant to fail")

    broken, whole = engine.peer(), engine.peer()
    engine.port.watch_transport(broken.handle, fail)
    engine.port.watch_transport(whole.handle, heard.append)
    with caplog.at_level(logging.CRITICAL, logger="sfu.transport.engine_port"):
        for peer in (broken, whole):
            remotes().start(peer)
        await until(lambda: heard)
    assert isinstance(heard[0], TransportPath)
    assert heard[0].transport == whole.handle


async def test_what_nobody_watches_is_dropped(engine: Engine, remotes: Callable[..., Remote]) -> None:
    unwatched, watched = engine.peer(), engine.peer()
    engine.port.unwatch_transport(unwatched.handle)
    engine.port.unwatch_transport(unwatched.handle)
    for peer in (unwatched, watched):
        remotes().start(peer)
    await until(lambda: watched.path)
    assert unwatched.path is None
    assert engine.port.watched == 1
