# SPDX-License-Identifier: Apache-2.0
"""The media does not feel Python: with the GIL held on the asyncio thread, packets go on as if nothing were.

Server, sender and receiver are processes of their own. Beside each stall there is an undisturbed time of the same
length, on the same connections: both are seen in the same weather of the machine.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest

from tests.integration.processes import Child, Message

SHORT_STALL_S = 2.0
LONG_STALL_S = 40.0
SETTLE_S = 1.0
DRAIN_WITHIN_S = 10.0
# What a stall may add to any delay, on a machine that does other things besides; felt, it would be the whole stall.
MOST_ADDED_MS = 250.0
MOST_DELAY_MS = 500.0
ANSWERS_PER_S = 2  # of ten checks a second: the asking process may be slow, but not the server

Note = Callable[[str, float, str], None]


@dataclass(frozen=True, slots=True)
class Window:
    from_us: int
    to_us: int

    @property
    def seconds(self) -> float:
        return (self.to_us - self.from_us) / 1e6

    def holds(self, at_us: int) -> bool:
        return self.from_us <= at_us < self.to_us


@dataclass(frozen=True, slots=True)
class Delays:
    """Of the packets made in some windows, in ms."""

    median: float
    p99: float
    longest: float
    count: int

    @classmethod
    def of(cls, packets: Sequence[Sequence[int]], windows: Sequence[Window]) -> Delays:
        ordered = sorted(
            (came_us - made_us) / 1000
            for _, _, made_us, came_us in packets
            if any(window.holds(made_us) for window in windows)
        )
        count = len(ordered)
        assert count > 0
        return cls(ordered[count // 2], ordered[count * 99 // 100], ordered[-1], count)

    def note(self, measured: Note, when: str) -> None:
        for name, value in (("median", self.median), ("99 %", self.p99), ("longest", self.longest)):
            measured(f"delay {when}, {name} of {self.count}", round(value, 3), "ms")


@asynccontextmanager
async def started(module: str, *arguments: str) -> AsyncIterator[tuple[Child, Message]]:
    child = await Child.start(module, *arguments)
    try:
        yield child, await child.hear()
    finally:
        await child.stop()


async def stall(server: Child, url: str, seconds: float) -> Window:
    """Hold the server's GIL, and see to it that this is what happens."""
    async with aiohttp.ClientSession() as http:
        asked = time.monotonic()
        held = asyncio.create_task(server.ask(seconds + 30, stall_us=round(seconds * 1e6)))
        await asyncio.sleep(min(0.5, seconds / 4))
        async with http.get(url + "healthz", timeout=aiohttp.ClientTimeout(seconds + 30)) as response:
            assert response.status == 200
        assert time.monotonic() - asked > seconds * 0.9, "HTTP was answered: the loop was not held"
        told = await held
    window = Window(told["from_us"], told["to_us"])
    assert window.seconds >= seconds * 0.99
    assert told["witnessed_us"] >= seconds * 0.99e6, "another thread of the server ran Python: the GIL was not held"
    return window


async def drained(receiver: Child, made: dict[str, int]) -> Message:
    """The receiver's report, once the last packets are in it."""
    deadline = time.monotonic() + DRAIN_WITHIN_S
    while True:
        report = await receiver.ask(report=True)
        last = {kind: max((n for k, n, _, _ in report["packets"] if k == kind), default=-1) for kind in made}
        if all(last[kind] == made[kind] - 1 for kind in made) or time.monotonic() > deadline:
            return report
        await asyncio.sleep(0.1)


def assert_nothing_lost(packets: Sequence[tuple[str, int, int, int]], made: dict[str, int]) -> None:
    """From the first packet that a receiver got on, it got each one, once, and in order."""
    for kind, count in made.items():
        numbers = [number for k, number, _, _ in packets if k == kind]
        assert numbers, f"no {kind} came"
        assert numbers == list(range(numbers[0], count)), f"{kind}: {len(numbers)} packets, {count - numbers[0]} sent"


async def compare(stall_s: float, rounds: int, measured: Note) -> None:
    async with (
        started("tests.integration.stallable_server", "127.0.0.1") as (server, told),
        started("tests.integration.timed_bot", "send", told["url"]) as (sender, _),
        started("tests.integration.timed_bot", "receive", told["url"]) as (receiver, _),
    ):
        await asyncio.sleep(SETTLE_S)
        quiet: list[Window] = []
        stalled: list[Window] = []
        for _ in range(rounds):
            from_us = time.monotonic_ns() // 1000
            await asyncio.sleep(stall_s)
            quiet.append(Window(from_us, time.monotonic_ns() // 1000))
            stalled.append(await stall(server, told["url"], stall_s))
        await asyncio.sleep(SETTLE_S)
        sent = await sender.ask(stop=True)
        made: dict[str, int] = sent["made"]
        report = await drained(receiver, made)

    for bot in (sent, report):
        assert bot["connected"], bot["failure"]
    assert report["repeated"] == report["srtp_errors"] == 0
    if report["paused"]:  # its link estimate suffered from what else this machine does: only audio is sure to flow
        made = {"audio": made["audio"]}
    assert_nothing_lost(report["packets"], made)
    answered = sum(any(window.holds(at_us) for window in stalled) for at_us in report["answered_us"])
    measured("times with checks answered while Python stood still", answered, "")
    assert answered >= ANSWERS_PER_S * stall_s * rounds
    without, within = Delays.of(report["packets"], quiet), Delays.of(report["packets"], stalled)
    without.note(measured, "undisturbed")
    within.note(measured, "while Python stood still")
    assert within.count > without.count / 2
    for ours, control in ((within.median, without.median), (within.p99, without.p99)):
        assert ours < control + MOST_ADDED_MS
    assert within.longest < max(MOST_DELAY_MS, without.longest + MOST_ADDED_MS)
    assert within.longest < stall_s * 1000 / 2


async def test_media_does_not_feel_a_stall_of_python(scaled: Callable[[int], int], measured: Note) -> None:
    await compare(SHORT_STALL_S, scaled(1), measured)


@pytest.mark.slow
async def test_media_outlives_a_stall_beyond_ice_consent(measured: Note) -> None:
    """40 s: longer than the 30 s for which consent holds without an answer (RFC 7675)."""
    await compare(LONG_STALL_S, 1, measured)
