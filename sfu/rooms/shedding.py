# SPDX-License-Identifier: Apache-2.0
"""What a worker leaves out when it is overloaded: a state machine on measured stress. No clock, no I/O.

In this order: spatial layers, temporal layers, all but the last speakers' videos, and only then newcomers. Audio is
never touched. A level follows the other only when that one has had its effect; coming back takes longer than going,
after Jitsi Videobridge (load manager: limit 0.9, recovery 0.72).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sfu.engine.statistics import Statistics

# What the engine drops for want of time or of room in the socket.
OVERLOAD_DROPS: Final = ("fanout_full", "egress_full")

# Share of its time that a worker's thread works: the load at which its queue begins to grow without end.
BUSY_LIMIT: Final = 0.9
# Packets per second that found the fan-out or the egress queue full. A single burst is not an overload.
DROPS_LIMIT: Final = 200.0
# Lateness of the event loop. It forwards nothing, but joins and layer switches wait for it.
LAG_LIMIT_MS: Final = 400.0

# Stress below which a level is taken back. 1 is the limit.
RECOVERED: Final = 0.8

RISE_AFTER_US: Final = 2_000_000
FALL_AFTER_US: Final = 15_000_000

# What is measured is the mean of about this span.
SMOOTHING_US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Caps:
    """None: no limit."""

    name: str
    max_height: int | None = None
    """Of cameras; shared screens are left as they are, they could not be read."""
    max_temporal: int | None = None
    last_n: int | None = None
    """Videos per receiver. Who is selected, screens and the latest speakers come first."""
    refuse_joins: bool = False


LEVELS: Final = (
    Caps("none"),
    Caps("half_pictures", max_height=360),
    Caps("small_pictures", max_height=180),
    Caps("half_rate", max_height=180, max_temporal=1),
    Caps("quarter_rate", max_height=180, max_temporal=0),
    Caps("last_8", max_height=180, max_temporal=0, last_n=8),
    Caps("last_4", max_height=180, max_temporal=0, last_n=4),
    Caps("last_2", max_height=180, max_temporal=0, last_n=2),
    Caps("refuse_joins", max_height=180, max_temporal=0, last_n=2, refuse_joins=True),
)
NO_CAPS: Final = LEVELS[0]


@dataclass(frozen=True, slots=True)
class Load:
    """Of one worker since the last reading, and of the event loop."""

    busy: float = 0.0
    drops_per_s: float = 0.0
    lag_ms: float = 0.0

    @property
    def stress(self) -> float:
        """1: at the limit."""
        return max(self.busy / BUSY_LIMIT, self.drops_per_s / DROPS_LIMIT, self.lag_ms / LAG_LIMIT_MS)


class LoadMeter:
    """Turns one worker's counters into its load."""

    def __init__(self) -> None:
        self._before: tuple[int, int, int] | None = None
        """Time, busy time, drops."""

    def read(self, statistics: Statistics, lag_ms: float, now_us: int) -> Load:
        drops = sum(statistics.drops.get(reason, 0) for reason in OVERLOAD_DROPS)
        before, self._before = self._before, (now_us, statistics.busy_us, drops)
        if before is None or now_us <= before[0]:
            return Load(lag_ms=lag_ms)
        passed_us = now_us - before[0]
        return Load((statistics.busy_us - before[1]) / passed_us, (drops - before[2]) * 1e6 / passed_us, lag_ms)


class Shedding:
    def __init__(self) -> None:
        self.level = 0
        self.stress = 0.0
        """Smoothed."""
        self._sampled_us: int | None = None
        self._over_us: int | None = None
        self._under_us: int | None = None

    @property
    def caps(self) -> Caps:
        return LEVELS[self.level]

    def sample(self, load: Load, now_us: int, *, act: bool = True) -> bool:
        """True when the level changed: by one. Without `act` only the stress is measured."""
        passed_us = 0 if self._sampled_us is None else now_us - self._sampled_us
        self._sampled_us = now_us
        weight = min(1.0, passed_us / SMOOTHING_US)
        # One measurement may be off by any factor; more than twice the limit says no more than twice.
        self.stress += weight * (min(load.stress, 2.0) - self.stress)
        self._over_us = _since(self._over_us, self.stress > 1, now_us)
        self._under_us = _since(self._under_us, self.stress < RECOVERED, now_us)
        if not act:
            return False
        if self._over_us is not None and now_us - self._over_us >= RISE_AFTER_US:
            return self._go(min(self.level + 1, len(LEVELS) - 1), now_us)
        if self._under_us is not None and now_us - self._under_us >= FALL_AFTER_US:
            return self._go(max(self.level - 1, 0), now_us)
        return False

    def _go(self, level: int, now_us: int) -> bool:
        self._over_us = now_us if self._over_us is not None else None
        self._under_us = now_us if self._under_us is not None else None
        changed = level != self.level
        self.level = level
        return changed


def _since(began_us: int | None, holds: bool, now_us: int) -> int | None:
    if not holds:
        return None
    return now_us if began_us is None else began_us
