# SPDX-License-Identifier: Apache-2.0
"""What a join costs the server: CPU time from the websocket to connected media, in rooms of 10, 100 and 1,000.

The server's CPU time alone, whoever else runs; media that flows meanwhile is the worker's, and in the first figure
only. The joining bots are another process (`python -m benchmarks.joins`). The first few of a room publish a small
camera, the others watch. Then rooms of four who all publish, with sound.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import uvloop

from benchmarks.figures import Figure
from benchmarks.namespaces import Place, place
from benchmarks.processes import ROOT, cpu_ns, environment, server, stop, thread_cpu_ns
from sfu.load.media import AudioSpec, VideoLayer, VideoSpec
from sfu.load.native import NativePeer, TrafficHub
from sfu.load.peer import LightSpec
from sfu.load.traffic import Traffic
from sfu.transport.certificate import Certificate

SIZES: Final = (10, 100, 1000)
PUBLISHERS: Final = 2
SMALL_ROOM: Final = 4
AT_ONCE: Final = 4
SMALL_VIDEO: Final = VideoSpec((VideoLayer("", 160, 90, 30_000),), fps=5)
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def run(arguments: Sequence[str]) -> list[Figure]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks joins")
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="of one room, ascending")
    parser.add_argument("--rooms", type=int, default=50, help="of four")
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--client-core", type=int, default=min(1, (os.cpu_count() or 1) - 1))
    options = parser.parse_args(arguments)
    figures: list[Figure] = []
    with (
        place("loopback") as where,
        server(where, options.server_core) as (pid, url),
        Crowd(where, options.client_core, url) as crowd,
    ):
        crowd.join("warm", 8, 4)
        before = 0
        for size in options.sizes:
            spent = Spent(pid)
            crowd.join("one", PUBLISHERS, size - before)
            what = f"one room, {before + 1} to {size} people"
            figures += spent.figures(what, size - before, "one room", size, "people")
            before = size
        spent = Spent(pid)
        for room in range(options.rooms):
            crowd.join(f"small{room}", SMALL_ROOM, SMALL_ROOM)
        figures += spent.figures(f"{options.rooms} rooms of {SMALL_ROOM} who publish", options.rooms * SMALL_ROOM)
    return figures


class Spent:
    """What the server has used since this was made."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._began_s = time.monotonic()
        self._cpu_ns, self._main_ns, self._resident = cpu_ns(pid), thread_cpu_ns(pid)[pid], resident_bytes(pid)

    def figures(self, what: str, joins: int, series: str = "", x: float | None = None, axis: str = "") -> list[Figure]:
        spent_ms = (cpu_ns(self._pid) - self._cpu_ns) / 1e6 / joins
        main_ms = (thread_cpu_ns(self._pid)[self._pid] - self._main_ns) / 1e6 / joins
        grown = (resident_bytes(self._pid) - self._resident) / joins
        return [
            Figure(f"{what}: server's CPU time", spent_ms, "ms a join", series, x, axis),
            Figure(f"{what}: of it Python's", main_ms, "ms a join"),
            Figure(f"{what}: joins", joins / (time.monotonic() - self._began_s), "a second"),
            Figure(f"{what}: joins a second of Python", 1e3 / main_ms, "joins"),
            Figure(f"{what}: resident memory", grown / 1e3, "kB a participant"),
        ]


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES


class Crowd:
    """The bots' process: takes a line `ROOM PUBLISHERS COUNT`, answers one when they are in."""

    def __init__(self, place: Place, core: int, url: str) -> None:
        command = [*place.command(place.client, core), sys.executable, "-m", "benchmarks.joins", url]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment()
        )

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        stop(self._process)

    def join(self, room: str, publishers: int, count: int) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{room} {publishers} {count}\n")
        self._process.stdin.flush()
        if not self._process.stdout.readline():
            raise RuntimeError("the bots gave up: see their error above")


async def bots(url: str) -> None:
    certificate = Certificate()
    # Their media runs in a native thread: else the bots would be what is waited for.
    hub = TrafficHub(Traffic())
    inside: list[NativePeer] = []
    rooms: dict[str, int] = {}
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        room, publishers, count = line.split()
        waiting = iter(range(int(count)))

        async def enter(room: str, publishers: int, waiting: Iterator[int]) -> None:
            for _ in waiting:
                number = rooms.get(room, 0)
                rooms[room] = number + 1
                publishes = number < publishers
                small = publishers == SMALL_ROOM
                spec = LightSpec(
                    room,
                    f"bot {number}",
                    # A thousand ears cost more than their joins.
                    audio=AudioSpec() if publishes and small else None,
                    video=SMALL_VIDEO if publishes else None,
                )
                inside.append(await NativePeer.enter(url, spec, hub, certificate=certificate))

        await asyncio.gather(*(enter(room, int(publishers), waiting) for _ in range(AT_ONCE)))
        print(len(inside), flush=True)


if __name__ == "__main__":
    uvloop.run(bots(sys.argv[1]))
