# SPDX-License-Identifier: Apache-2.0
"""Virtual time: events run in order of time, then in order of scheduling, so that a run is the same each time."""

from __future__ import annotations

import heapq
from collections.abc import Callable


class VirtualClock:
    """A clock that stands still until it is told to run."""

    def __init__(self, now_us: int = 0) -> None:
        self.now_us = now_us
        self._scheduled = 0
        self._events: list[tuple[int, int, Callable[[], None]]] = []

    def call_at(self, at_us: int, callback: Callable[[], None]) -> None:
        """Run `callback` at that time, or at once when the clock runs next if it has passed."""
        self._scheduled += 1
        heapq.heappush(self._events, (max(at_us, self.now_us), self._scheduled, callback))

    def call_later(self, delay_us: int, callback: Callable[[], None]) -> None:
        """Run `callback` after that time."""
        self.call_at(self.now_us + delay_us, callback)

    def every(self, period_us: int, callback: Callable[[], None]) -> None:
        """Run `callback` each period, the first time after one period."""

        def repeat() -> None:
            callback()
            self.call_later(period_us, repeat)

        self.call_later(period_us, repeat)

    def next_us(self) -> int | None:
        """Time of the next event."""
        return self._events[0][0] if self._events else None

    def run_until(self, until_us: int) -> None:
        """Run all events up to and including that time, and stand there."""
        while self._events and self._events[0][0] <= until_us:
            self.now_us, _, callback = heapq.heappop(self._events)
            callback()
        self.now_us = max(self.now_us, until_us)

    def run_for(self, duration_us: int) -> None:
        """Run for that long."""
        self.run_until(self.now_us + duration_us)
