# SPDX-License-Identifier: Apache-2.0
"""People in a room who come and go, wish for other layers, speak up, mute themselves and lose packets."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from sfu.load.media import AudioSpec, VideoLayer, VideoSpec
from sfu.load.network import Impairment
from sfu.transport.certificate import Certificate
from tests.integration.watched_bot import Uplinks, WatchedBot, WatchedSpec
from tests.load.watching import tag_packet
from tests.simulation.stream_rules import Report

CAMERA = VideoSpec(
    (VideoLayer("q", 160, 90, 50_000), VideoLayer("h", 320, 180, 100_000), VideoLayer("f", 640, 360, 250_000)), fps=10
)
VIDEO_SLOTS = 4
LEVELS = (5, 20, 50, 127)  # -dBov
UPLINK_LOSS = 0.02
DOWNLINK_LOSS = 0.03
LOSSY_EVERY = 3  # one of so many bots has a bad way up, another one a bad way down
ACTION_EVERY_S = 0.15

Action = Callable[[], Awaitable[None]]


@dataclass
class Departed:
    """What is kept of somebody who left."""

    reports: list[Report] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    contexts: list[str] = field(default_factory=list)
    """The packets around each."""
    retransmitted: int = 0
    """By bots, on the way up."""
    recovered: int = 0
    """By the server, on the way down."""
    impaired: int = 0
    overrun: int = 0
    """Packets that this process was too slow for."""

    def total(self, name: str) -> int:
        """Of a count that each report has."""
        return sum(getattr(report, name) for report in self.reports)


class Crowd:
    """`enter` everybody, `live` for a while, `settle`, `leave`."""

    def __init__(self, url: str, seed: int) -> None:
        self.inside: list[WatchedBot] = []
        self.departed = Departed()
        self.joins = 0
        self._url = url
        self._random = random.Random(seed)
        self._certificate = Certificate()
        self._uplinks = Uplinks()
        self._turns: list[Action] = []

    async def enter(self, identity: str | None = None) -> None:
        self.joins += 1
        number = self.joins
        loss = UPLINK_LOSS if number % LOSSY_EVERY == 0 else 0.0
        spec = WatchedSpec(
            room="ten",
            name=f"bot {number}",
            identity=identity or f"identity {number}",
            audio=AudioSpec(level=self._random.choice(LEVELS)),
            video=CAMERA,
            video_slots=VIDEO_SLOTS,
            audio_slots=1,
            seed=number,
            stamp=tag_packet,
            impairment=Impairment(outbound_loss=loss, seed=number),
            uplinks=self._uplinks,
            downlink_loss=DOWNLINK_LOSS if number % LOSSY_EVERY == 1 else 0.0,
        )
        bot = await WatchedBot.join(self._url, spec, certificate=self._certificate)
        for publication in bot.publications.values():
            self._uplinks.statistics[publication.number] = bot.connection.statistics
        self.inside.append(bot)

    async def enter_all(self, count: int) -> None:
        await asyncio.gather(*(self.enter() for _ in range(count)))

    async def leave(self, bot: WatchedBot, *, silently: bool = False) -> None:
        self.inside.remove(bot)
        assert bot.disconnected is None, f"{bot.spec.name}: {bot.disconnected}"
        assert bot.connection.failure is None, f"{bot.spec.name}: {bot.connection.failure}"
        assert bot.malformed == bot.connection.statistics.srtp_errors == 0
        gone = self.departed
        gone.overrun += bot.overrun()
        await bot.close(silently=silently)
        for mid, report in bot.finish().items():
            name = f"{bot.spec.name}, slot {mid}"
            gone.reports.append(report)
            gone.violations += [f"{name}: {violation}" for violation in report.violations]
            gone.contexts += [f"{name}:\n{context}" for context in bot.watches[mid].contexts]
        gone.retransmitted += sum(stream.statistics.retransmitted for stream in bot.publisher.streams)
        gone.recovered += sum(slot.statistics.recovered for slot in bot.slots.values())
        gone.impaired += bot.connection.statistics.impaired

    async def leave_all(self) -> None:
        for bot in list(self.inside):
            await self.leave(bot)

    async def live(self, seconds: float) -> None:
        """One thing after another happens, each kind of them as often as any other."""
        until_s = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < until_s:
            if not self._turns:
                self._turns = [
                    self._replace_somebody,
                    self._come_back,
                    self._wish_for_layers,
                    self._wish_for_slot,
                    self._pause,
                    self._change_encodings,
                    self._speak,
                    self._mute,
                ]
                self._random.shuffle(self._turns)
            await self._turns.pop()()
            await asyncio.sleep(ACTION_EVERY_S)

    async def settle(self) -> None:
        """Everybody sends everything, and wants everything."""
        for bot in self.inside:
            bot.publisher.set_active_layers(range(len(CAMERA.layers)))
            for mid in bot.publications:
                await bot.mute(mid, muted=False)
            for publication in bot.roster.publications:
                await bot.set_wish(publication)

    # What happens

    async def _replace_somebody(self) -> None:
        await self.leave(self._somebody())
        await self.enter()

    async def _come_back(self) -> None:
        """A tab is killed and opened again."""
        bot = self._somebody()
        await self.leave(bot, silently=True)
        await self.enter(bot.spec.identity)

    async def _wish_for_layers(self) -> None:
        for bot in self._some():
            limits = {"max_spatial": self._random.choice((0, 1, 2)), "max_temporal": self._random.choice((0, 1, 2))}
            await bot.set_wish(self._publication(bot, "video"), **limits)

    async def _wish_for_slot(self) -> None:
        bot = self._somebody()
        publication = self._publication(bot, "video")
        await bot.set_wish(publication, slot=f"v{self._random.randrange(VIDEO_SLOTS)}")

    async def _pause(self) -> None:
        bot = self._somebody()
        for kind in ("audio", "video"):
            await bot.set_wish(self._publication(bot, kind), paused=self._random.random() < 0.7)

    async def _change_encodings(self) -> None:
        layers = range(len(CAMERA.layers))
        self._somebody().publisher.set_active_layers(self._random.sample(layers, self._random.randint(1, len(layers))))

    async def _speak(self) -> None:
        for bot in self._some():
            bot.publisher.audio = AudioSpec(level=self._random.choice(LEVELS))

    async def _mute(self) -> None:
        bot = self._somebody()
        mid = self._random.choice(list(bot.publications))
        await bot.mute(mid, muted=self._random.random() < 0.5)

    def _somebody(self) -> WatchedBot:
        return self._random.choice(self.inside)

    def _some(self) -> list[WatchedBot]:
        return self._random.sample(self.inside, len(self.inside) // 2)

    def _publication(self, bot: WatchedBot, kind: str) -> str:
        return self._random.choice([one.id for one in bot.roster.publications.values() if one.kind == kind])
