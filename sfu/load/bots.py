# SPDX-License-Identifier: Apache-2.0
"""What the runner knows of a bot, light or full."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sfu.load.figures import Counters, Score
from sfu.load.histogram import Histogram
from sfu.load.network import Impairment
from sfu.load.scenarios import Seat
from sfu.load.spec import LoadSpec
from sfu.load.tokens import ask, mint, read_key
from sfu.transport.certificate import Certificate


@dataclass(frozen=True)
class Surroundings:
    """What the bots of one process share."""

    spec: LoadSpec
    certificate: Certificate
    latency: Histogram
    on_first_frame: Callable[[Bot, float], None]
    """And how many seconds ago it came."""
    on_lost: Callable[[Bot, str], None]
    """The connection of a bot that was inside ended by itself, and why."""

    async def token_for(self, seat: Seat) -> str | None:
        """None: the server is open to everybody."""
        if self.spec.key is not None:
            return mint(read_key(self.spec.key), seat.room, seat.name)
        if self.spec.token_url is not None:
            return await ask(self.spec.token_url, seat.room, seat.name)
        return None

    def impairment_for(self, seat: Seat) -> Impairment:
        spec = self.spec
        if not seat.impaired:
            return Impairment()
        return Impairment(
            inbound_loss=spec.loss / 100,
            outbound_loss=spec.loss / 100,
            delay_us=round(spec.delay * 1000),
            jitter_us=round(spec.jitter * 1000),
            rate_bps=round(spec.rate * 1000),
            seed=spec.seed + seat.number,
        )


class Bot(Protocol):
    """`join` raises what went wrong; after `leave` nothing is left but the counters."""

    @property
    def seat(self) -> Seat: ...

    @property
    def score(self) -> Score | None:
        """Of a full bot."""
        ...

    async def join(self) -> None: ...

    async def leave(self, *, silently: bool) -> None: ...

    def speak(self, level: int) -> None: ...

    async def wish(self, max_spatial: int) -> None: ...

    def counters(self) -> Counters:
        """Cumulative, up to now."""
        ...
