# SPDX-License-Identifier: Apache-2.0
"""A bad network inside a bot: loss, delay, jitter and a narrow link, each way, on what carries media."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

# What waits longer for a narrow link is lost, as in a router with a buffer of that length.
MAX_QUEUE_US: Final = 300_000
# Datagrams on their way in one direction of one bot; further ones are lost.
MAX_UNDER_WAY: Final = 20_000


@dataclass(frozen=True, slots=True)
class Impairment:
    """Of media datagrams: each is lost with this probability, the others come later. The seed makes it repeatable."""

    inbound_loss: float = 0.0
    outbound_loss: float = 0.0
    delay_us: int = 0
    """Each way."""
    jitter_us: int = 0
    """The delay varies by up to this, evenly. The order stays."""
    rate_bps: int = 0
    """Each way; 0: no limit."""
    seed: int = 0


class Link:
    """One way. Says when a datagram comes out of it; it has no clock and holds nothing."""

    def __init__(self, impairment: Impairment, loss: float, rng: random.Random) -> None:
        self._loss = loss
        self._delay_us = impairment.delay_us
        self._jitter_us = impairment.jitter_us
        self._rate_bps = impairment.rate_bps
        self._rng = rng
        self._free_us = 0
        self._last_us = 0
        self.is_clear: Final = not (loss or impairment.delay_us or impairment.jitter_us or impairment.rate_bps)

    def leaves_us(self, size_bytes: int, now_us: int) -> int | None:
        """When a datagram that enters now comes out; None: it is lost."""
        if self._loss > 0 and self._rng.random() < self._loss:
            return None
        out_us = now_us
        if self._rate_bps:
            starts_us = max(now_us, self._free_us)
            if starts_us - now_us > MAX_QUEUE_US:
                return None
            self._free_us = out_us = starts_us + size_bytes * 8_000_000 // self._rate_bps
        out_us += self._delay_us
        if self._jitter_us:
            out_us += self._rng.randrange(self._jitter_us + 1)
        self._last_us = max(self._last_us, out_us)
        return self._last_us


class DelayLine:
    """Datagrams on their way, in their order: one timer for all of them. Times are those of `now_us` of the caller."""

    def __init__(self, loop: asyncio.AbstractEventLoop, now_us: Callable[[], int]) -> None:
        self._loop = loop
        self._now_us = now_us
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def put(self, at_us: int, act: Callable[[], None]) -> bool:
        """False: too many are under way."""
        if len(self._waiting) >= MAX_UNDER_WAY:
            return False
        self._waiting.append((at_us, act))
        if self._timer is None:
            self._run()
        return True

    def close(self) -> None:
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _run(self) -> None:
        self._timer = None
        while self._waiting and self._waiting[0][0] <= self._now_us():
            self._waiting.popleft()[1]()
        if self._waiting and self._timer is None:
            wait_s = (self._waiting[0][0] - self._now_us()) / 1e6
            self._timer = self._loop.call_later(max(0.001, wait_s), self._run)
