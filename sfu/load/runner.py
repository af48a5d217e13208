# SPDX-License-Identifier: Apache-2.0
"""Runs a scenario: lets bots join and act when they should, and notes each second what they count."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from sfu.client.signal import ClientError
from sfu.load.bots import Bot, Surroundings
from sfu.load.figures import Arrival, Counters, Failure, Figures, FirstFrame, Record, Sample, figures
from sfu.load.histogram import Histogram
from sfu.load.light import LightBot
from sfu.load.native import AUDIO_GROUP, VIDEO_GROUP, TrafficHub
from sfu.load.native_bot import NativeBot
from sfu.load.reception_log import bucket_upper_us
from sfu.load.scenarios import Action, Join, Leave, Seat, Speak, Wish, due, steady_from_s
from sfu.load.server_metrics import MetricsReader, metrics_address
from sfu.load.spec import LoadSpec
from sfu.load.verdict import judge_step
from sfu.transport.certificate import Certificate

logger = logging.getLogger(__name__)

TICK_S: Final = 0.05
SAMPLE_S: Final = 1.0
# After the last join, until what is measured is the call and no longer its beginning.
SETTLE_S: Final = 2.0
REACH_WITHIN_S: Final = 5.0
LEAVING_AT_ONCE: Final = 64
# When so many joins failed and none succeeded, going on shows nothing new.
HOPELESS_AFTER: Final = 10
# Whoever began to join so long ago and sees nothing will not.
FIRST_FRAME_WITHIN_S: Final = 5.0
MAX_NOTED: Final = 100_000

Noted = TypeVar("Noted")


class LoadError(Exception):
    """The test cannot begin. The message says what to do."""


@dataclass(frozen=True, slots=True)
class RampStep:
    """One step of a ramp."""

    participants: int
    holds: bool
    broken: tuple[str, ...]
    figures: Figures


@dataclass(slots=True)
class Outcome:
    """What a run has shown."""

    record: Record = field(default_factory=Record)
    ended: str = ""
    """Why it ended before its time; empty: it did not."""
    steady_from_s: float | None = None
    """Since when all were inside; None: never."""
    ended_s: float = 0.0
    steps: list[RampStep] = field(default_factory=list)
    metrics_problem: str | None = None

    def overall(self) -> Figures | None:
        return figures(self.record, 0.0, self.ended_s)

    def steady(self) -> Figures | None:
        return None if self.steady_from_s is None else figures(self.record, self.steady_from_s, self.ended_s)


class Runner:
    """`run` once. `stop` ends it early, and what was seen so far is the outcome."""

    def __init__(self, spec: LoadSpec, on_sample: Callable[[Runner], None]) -> None:
        self.spec: Final = spec
        self.outcome: Final = Outcome()
        self._on_sample = on_sample
        self._latency = Histogram()
        self._around = Surroundings(
            spec=spec,
            certificate=Certificate(),
            latency=self._latency,
            on_first_frame=self._on_first_frame,
            on_lost=self._on_lost,
        )
        self._started_s = 0.0
        self._begun = 0
        self._joining: dict[int, asyncio.Task[None]] = {}
        self._inside: dict[int, Bot] = {}
        self._join_began_s: dict[Seat, float] = {}
        self._receiving: set[Seat] = set()
        self._gone = Counters()
        self._tasks: set[asyncio.Task[None]] = set()
        self._joins = asyncio.Semaphore(spec.joining)
        self._stopped = asyncio.Event()
        # A bad network is made in Python, where each packet passes by.
        self._hub = None if spec.scenario == "network" else TrafficHub()
        self._metrics = MetricsReader(metrics_address(spec.url, spec.metrics_url))

    @property
    def now_s(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._started_s

    @property
    def waiting(self) -> int:
        """Joins that have begun and are not over."""
        return len(self._joining)

    @property
    def inside(self) -> int:
        return len(self._inside)

    def stop(self, reason: str) -> None:
        if not self._stopped.is_set():
            self.outcome.ended = reason
            self._stopped.set()

    async def run(self) -> Outcome:
        """`LoadError` if the server cannot be reached."""
        self._started_s = time.monotonic()
        try:
            await _reach(self.spec.url)
            self._started_s = time.monotonic()
            await self._sample()
            await self._play()
        finally:
            self.outcome.metrics_problem = self._metrics.problem
            await self._leave_all()
            await self._metrics.close()
            if self._hub is not None:
                self._hub.close()
        return self.outcome

    def _make(self, seat: Seat) -> Bot:
        if seat.full:
            from sfu.load.full import FullBot  # with its codecs, for those who want them

            return FullBot(seat, self._around)
        if self._hub is not None:
            return NativeBot(seat, self._around, self._hub)
        return LightBot(seat, self._around)

    # The course of it

    async def _play(self) -> None:
        done_s, next_sample_s, step = 0.0, SAMPLE_S, 1
        while not self._stopped.is_set():
            now_s = min(self.now_s, self.spec.duration)
            for action in due(self.spec, done_s, now_s):
                self._act(action)
            done_s = now_s
            if now_s >= next_sample_s:
                next_sample_s = max(next_sample_s + SAMPLE_S, now_s)
                await self._sample()
                if self.spec.scenario == "ramp" and now_s >= step * self.spec.step_seconds:
                    self._judge_step(step)
                    step += 1
            if now_s >= self.spec.duration:
                break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), TICK_S)
        if not self.outcome.record.samples or self.now_s - self.outcome.record.samples[-1].at_s > SAMPLE_S / 2:
            await self._sample()
        self.outcome.ended_s = self.outcome.record.samples[-1].at_s

    def _judge_step(self, step: int) -> None:
        """Ends the ramp where a bound is crossed, or the target was carried for a whole step."""
        ended_s = self.outcome.record.samples[-1].at_s
        seen = figures(self.outcome.record, (step - 1) * self.spec.step_seconds, ended_s)
        if seen is None:
            return
        # The media is judged in the second half, when the joins of the step are over.
        settled = figures(self.outcome.record, (step - 0.5) * self.spec.step_seconds, ended_s)
        verdict = judge_step(self.spec, seen, settled)
        broken = tuple(str(check) for check in verdict.broken)
        self.outcome.steps.append(RampStep(self.inside, verdict.holds, broken, seen))
        if not verdict.holds:
            self.stop("a bound was crossed")
        elif self.spec.target and self.inside >= self.spec.target:
            self.stop(f"the target of {self.spec.target} participants was reached")

    def _act(self, action: Action) -> None:
        match action:
            case Join(seat=seat):
                self._begun += 1
                self._joining[seat.number] = self._spawn(self._join(seat))
            case Leave(seat_number=number, silently=silently):
                joining = self._joining.pop(number, None)
                if joining is not None:
                    joining.cancel()
                bot = self._inside.pop(number, None)
                if bot is not None:
                    self._spawn(self._leave(bot, silently=silently))
            case Speak(seat_number=number, level=level):
                if number in self._inside:
                    self._inside[number].speak(level)
            case Wish(seat_number=number, max_spatial=spatial):
                if number in self._inside:
                    self._spawn(self._inside[number].wish(spatial))

    def _spawn(self, work: Awaitable[None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(self._guard(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guard(self, work: Awaitable[None]) -> None:
        """A fault of one bot ends that bot's action, not the test."""
        try:
            await work
        except (ClientError, ConnectionError, TimeoutError) as error:
            self._fail(error)
        except Exception as error:
            logger.exception("a bot failed")
            self._fail(error)

    async def _join(self, seat: Seat) -> None:
        task = asyncio.current_task()
        try:
            async with self._joins:
                bot = self._make(seat)
                began_s = self.now_s
                self._join_began_s[seat] = began_s
                await bot.join()
        finally:
            if self._joining.get(seat.number) is task:
                del self._joining[seat.number]
        self._inside[seat.number] = bot
        self._note(self.outcome.record.arrivals, Arrival(self.now_s, (self.now_s - began_s) * 1000))

    async def _leave(self, bot: Bot, *, silently: bool) -> None:
        try:
            await bot.leave(silently=silently)
        finally:
            self._receiving.discard(bot.seat)
            self._join_began_s.pop(bot.seat, None)
            counters = bot.counters()
            self._gone.add(counters)
            if bot.score is not None:
                self._note(self.outcome.record.scored, (bot.score, counters))

    async def _leave_all(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        at_once = asyncio.Semaphore(LEAVING_AT_ONCE)

        async def leave(bot: Bot) -> None:
            async with at_once:
                await self._leave(bot, silently=False)

        bots, self._inside = list(self._inside.values()), {}
        await asyncio.gather(*(leave(bot) for bot in bots), return_exceptions=True)

    # What is noted

    def _on_first_frame(self, bot: Bot, ago_s: float) -> None:
        began_s = self._join_began_s.get(bot.seat)
        if began_s is None:
            return
        self._receiving.add(bot.seat)
        came_s = self.now_s - ago_s
        self._note(self.outcome.record.first_frames, FirstFrame(came_s, (came_s - began_s) * 1000))

    def _on_lost(self, bot: Bot, reason: str) -> None:
        if self._inside.get(bot.seat.number) is not bot:
            return
        del self._inside[bot.seat.number]
        self._note(self.outcome.record.lost_bots, Failure(self.now_s, "disconnected", reason))
        self._spawn(self._leave(bot, silently=True))

    def _fail(self, error: Exception) -> None:
        code = error.code if isinstance(error, ClientError) else type(error).__name__
        message = str(error)
        if isinstance(error, ClientError):
            message = error.message + (f" ({error.advice})" if error.advice else "")
        record = self.outcome.record
        self._note(record.failures, Failure(self.now_s, code, message))
        if len(record.failures) >= min(HOPELESS_AFTER, self.spec.bots) and not record.arrivals:
            self.stop(f"no join succeeded: {code}: {message}")

    @staticmethod
    def _note(notes: list[Noted], one: Noted) -> None:
        if len(notes) < MAX_NOTED:
            notes.append(one)

    async def _sample(self) -> None:
        server = await self._metrics.read()
        counters = Counters()
        counters.add(self._gone)
        for bot in self._inside.values():
            counters.add(bot.counters())
        totals = None if self._hub is None else self._hub.traffic.totals()
        sample = Sample(
            at_s=self.now_s,
            begun=self._begun,
            inside=len(self._inside),
            receiving=len(self._receiving),
            expecting=self._expecting(),
            counters=counters,
            latency=self._latency_so_far(),
            own_cpu_s=time.process_time(),
            server=server,
            own_drops=0 if totals is None else totals.kernel_dropped,
            lateness_us=0 if totals is None else totals.latest_us,
        )
        self.outcome.record.samples.append(sample)
        all_in = self._begun > 0 and not self._joining and sample.at_s >= steady_from_s(self.spec)
        if self.outcome.steady_from_s is None and all_in:
            self.outcome.steady_from_s = sample.at_s + SETTLE_S
        self._on_sample(self)

    def _expecting(self) -> int:
        """Who receives at all, and had time for it."""
        before_s = self.now_s - FIRST_FRAME_WITHIN_S
        return sum(
            1
            for bot in self._inside.values()
            if bot.seat.slots and self._join_began_s.get(bot.seat, before_s) <= before_s
        )

    def _latency_so_far(self) -> Histogram:
        """Of both kinds of light bots."""
        latency = self._latency.copy()
        if self._hub is not None:
            for group in (VIDEO_GROUP, AUDIO_GROUP):
                for bucket, count in enumerate(self._hub.traffic.latency(group).counts):
                    if count:
                        latency.add(bucket_upper_us(bucket), count)
        return latency


async def _reach(url: str) -> None:
    """Is there a server that takes joins?"""
    parts = urlsplit(url)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    address = urlunsplit((scheme, parts.netloc, "/readyz", "", ""))
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=REACH_WITHIN_S)) as http,
            http.get(address) as response,
        ):
            if response.status == 503:
                raise LoadError(f"the server at {url} takes no joins: it is starting or about to stop ({address})")
    except TimeoutError:
        raise LoadError(f"no answer from {url} within {REACH_WITHIN_S:.0f} s: is a firewall in between?") from None
    except (aiohttp.ClientError, OSError) as error:
        raise LoadError(
            f"no server answers at {url}: {error}. Start one (sfu serve --dev), or give its address by --url"
        ) from None
