# SPDX-License-Identifier: Apache-2.0
"""A room of ten with people coming and going: every stream that leaves the server is legal, and nothing is left."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Callable
from pathlib import Path

from sfu.load.media import AudioSpec, VideoLayer, VideoSpec
from sfu.load.peer import LightPeer, LightSpec
from sfu.server import Server
from sfu.transport.certificate import Certificate
from tests.load.conftest import until
from tests.load.watching import Watcher, tag_packet
from tests.simulation.stream_rules import Report

PARTICIPANTS = 10
PAIRS = 4  # fewer than there are publishers, so that slots are bound anew as people speak
SECONDS = 20
STEP_S = 0.5
CAMERA = VideoSpec(
    (VideoLayer("q", 160, 90, 40_000), VideoLayer("h", 320, 180, 90_000), VideoLayer("f", 640, 360, 200_000)), fps=10
)


class Crowd:
    """Bots with watchers; what the watchers of those who left have seen is kept."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.certificate = Certificate()
        self.inside: list[tuple[LightPeer, Watcher]] = []
        self.reports: list[tuple[str, Report]] = []
        self.joined = 0

    async def enter(self) -> None:
        self.joined += 1
        watcher = Watcher()
        spec = LightSpec(
            room="ten",
            name=f"Bot {self.joined}",
            audio=AudioSpec(level=20 + self.joined % 60),
            video=CAMERA,
            video_slots=PAIRS,
            audio_slots=1,
            stamp=tag_packet,
            seed=self.joined,
        )
        peer = await LightPeer.join(self.url, spec, certificate=self.certificate, on_packet=watcher)
        self.inside.append((peer, watcher))

    async def leave(self, index: int, *, silently: bool) -> None:
        peer, watcher = self.inside.pop(index)
        assert peer.disconnected is None
        assert peer.malformed == peer.connection.statistics.srtp_errors == 0
        await peer.close(silently=silently)
        self.reports += [(f"{peer.spec.name} {mid}", report) for mid, report in watcher.reports().items()]

    async def live(self, seconds: float, rng: random.Random) -> None:
        """Someone comes, goes, dies, turns louder or wishes for something, twice a second."""
        for _ in range(round(seconds / STEP_S)):
            await asyncio.sleep(STEP_S)
            peer, _ = rng.choice(self.inside)
            match rng.randrange(5):
                case 0:
                    await self.leave(rng.randrange(len(self.inside)), silently=rng.random() < 0.3)
                case 1:
                    peer.publisher.audio = AudioSpec(level=rng.choice((5, 30, 60, 120)))
                case 2 | 3 if videos := [p for p in peer.roster.publications.values() if p.kind == "video"]:
                    await peer.set_wish(rng.choice(videos).id, max_spatial=rng.choice((0, 1, 2, None)))
                case _:
                    peer.publisher.set_active_layers(rng.choice(([0], [0, 1], [0, 1, 2])))
            while len(self.inside) < PARTICIPANTS:
                await self.enter()


async def test_ten_come_and_go(server: Server, scaled: Callable[[int], int]) -> None:
    crowd = Crowd(server.url)
    for _ in range(PARTICIPANTS):
        await crowd.enter()
    await crowd.live(scaled(SECONDS), random.Random(10))
    while crowd.inside:
        await crowd.leave(0, silently=False)

    assert sum(report.frames for _, report in crowd.reports) > PARTICIPANTS * PAIRS * 10
    assert sum(report.binds for _, report in crowd.reports) > 0
    broken = {name: report for name, report in crowd.reports if report.violations}
    text = "\n".join(f"{name}: {violation}" for name, report in broken.items() for violation in report.violations[:3])
    assert not broken, text


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_nothing_is_left_of_a_crowd(server: Server) -> None:
    crowd = Crowd(server.url)
    await crowd.enter()
    await crowd.leave(0, silently=False)
    await until(lambda: server.workers[0].commands.live_handles == (0, 0, 0))
    gc.collect()
    files, tasks = open_files(), len(asyncio.all_tasks())
    for _ in range(PARTICIPANTS):
        await crowd.enter()
    await asyncio.sleep(1)
    while crowd.inside:
        await crowd.leave(0, silently=False)
    await until(lambda: server.workers[0].commands.live_handles == (0, 0, 0))
    await until(lambda: len(asyncio.all_tasks()) <= tasks)
    gc.collect()
    assert open_files() <= files
