# SPDX-License-Identifier: Apache-2.0
"""What one receiver may be sent: its estimate now, the least it was of late, and what it was last told to find out."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from sfu.rooms.allocation import NORMAL, UNLIMITED

# An upgrade counts on what the estimate has been for so long: a rate control's swing is longer, a single high is not.
STEADY_US: Final = 1_000_000
# No other one has followed yet.
IN_FORCE: Final = 2**63

# In a link's first seconds its estimate is mostly ignorance, and grows with each probe: it is followed up without
# waiting.
START_US: Final = 3_000_000

# Of an estimate, at most so much is kept for retransmissions; beyond that it is the estimate that is wrong.
MAX_RESERVE: Final = 0.15

# A fall by so much does not wait for the next tick.
SUDDEN_FALL: Final = 0.95

# goog_cc probes an idle link that often as well; soon again when a probe found more (here: so much), or more is wanted.
PROBE_INTERVAL_US: Final = 5_000_000
PROBE_AGAIN_US: Final = 1_000_000
FRUITFUL: Final = 1.05

# Telling the estimator of each kilobit more would be for nothing.
WANTED_CHANGE: Final = 0.05


@dataclass(slots=True)
class Budget:
    estimate_bps: int | None = None
    """None: there is no estimate, and no limit."""
    congestion: int = NORMAL
    loss: float = 0.0
    """Share of packets that are sent again."""
    _began_us: int | None = None
    _recent: deque[tuple[int, int]] = field(default_factory=deque)
    """Estimates that none after them was as low as, rising, each with when the next one followed: the first is the
    least of those in force since the window's beginning."""
    _spent_on_bps: int = 0
    _wanted_bps: int | None = None
    _probed_us: int | None = None
    _probed_at_bps: int = 0
    _probed_for_bps: int = 0

    def take(self, rate_bps: int, congestion: int, now_us: int) -> bool:
        """True: it should be acted upon at once."""
        worse = congestion > self.congestion or rate_bps < SUDDEN_FALL * self._spent_on_bps or self.estimate_bps is None
        if self._began_us is None:
            self._began_us = now_us
        self.estimate_bps, self.congestion = rate_bps, congestion
        if self._recent:
            self._recent[-1] = (self._recent[-1][0], now_us)
            while self._recent and self._recent[-1][0] >= rate_bps:
                self._recent.pop()
        self._recent.append((rate_bps, IN_FORCE))
        return worse

    def starting(self, now_us: int) -> bool:
        return self._began_us is not None and now_us - self._began_us < START_US

    def present(self, now_us: int) -> tuple[int, int]:
        """(now, and the least of late)"""
        if self.estimate_bps is None:
            return UNLIMITED, UNLIMITED
        while self._recent and self._recent[0][1] <= now_us - STEADY_US:
            self._recent.popleft()
        self._spent_on_bps = self.estimate_bps
        least = self.estimate_bps
        if not self.starting(now_us):
            least = self._recent[0][0]
        share = 1 - min(self.loss, MAX_RESERVE)
        return int(self.estimate_bps * share), int(least * share)

    def wants(self, wanted_bps: int) -> bool:
        """Whether the estimator should be told so."""
        before = self._wanted_bps
        if before is not None and abs(wanted_bps - before) <= WANTED_CHANGE * before:
            return False
        self._wanted_bps = wanted_bps
        return True

    def may_probe(self, target_bps: int, now_us: int) -> bool:
        """Whether it is time to look for so much; True only if it is then done."""
        estimate_bps = self.estimate_bps or 0
        news = estimate_bps > FRUITFUL * self._probed_at_bps or target_bps > FRUITFUL * self._probed_for_bps
        interval_us = PROBE_AGAIN_US if news else PROBE_INTERVAL_US
        if self._probed_us is not None and now_us - self._probed_us < interval_us:
            return False
        self._probed_us, self._probed_at_bps, self._probed_for_bps = now_us, estimate_bps, target_bps
        return True
