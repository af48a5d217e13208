# SPDX-License-Identifier: Apache-2.0
"""How fast one client may talk. A token bucket that is asked, not a timer that runs."""

from __future__ import annotations

from collections.abc import Callable


class TokenBucket:
    """Holds `burst` at most and refills at `rate` per second; `clock` is in seconds."""

    __slots__ = ("_burst", "_clock", "_filled_at", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._tokens = burst
        self._filled_at = clock()

    def take(self, cost: float = 1) -> bool:
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._tokens < cost:
            return False
        self._tokens -= cost
        return True
