# SPDX-License-Identifier: Apache-2.0
"""When a picture stands still, as browsers count it (W3C webrtc-stats, freezeCount)."""

from __future__ import annotations

from collections import deque
from typing import Final

KEPT_INTERVALS: Final = 30
FREEZE_FACTOR: Final = 3
FREEZE_ADDED_US: Final = 150_000


class PictureWatch:
    """One slot. `frame` at each complete frame, `pause` when none is expected any more, `look` now and then."""

    __slots__ = ("_frozen", "_intervals", "_last_us", "_sum_us", "frames", "freezes", "frozen_us", "watched_us")

    def __init__(self) -> None:
        self._intervals: deque[int] = deque(maxlen=KEPT_INTERVALS)
        self._sum_us = 0
        self._last_us: int | None = None
        self._frozen = False
        self.frames = 0
        self.freezes = 0
        self.frozen_us = 0
        """Of freezes that are over."""
        self.watched_us = 0

    def frame(self, now_us: int) -> None:
        self.frames += 1
        if self._last_us is not None:
            self.look(now_us)
            interval_us = max(0, now_us - self._last_us)
            self.watched_us += interval_us
            if self._frozen:
                self.frozen_us += interval_us
            else:  # a freeze does not make the next one shorter than it looks
                self._remember(interval_us)
        self._last_us, self._frozen = now_us, False

    def look(self, now_us: int) -> None:
        """Count a freeze that is still going on; once."""
        if self._last_us is None or self._frozen or not self._intervals:
            return
        average_us = self._sum_us / len(self._intervals)
        if now_us - self._last_us > max(FREEZE_FACTOR * average_us, average_us + FREEZE_ADDED_US):
            self._frozen = True
            self.freezes += 1

    def pause(self) -> None:
        """The next frame begins anew: what lies before it is no freeze."""
        self._intervals.clear()
        self._sum_us = 0
        self._last_us = None
        self._frozen = False

    def _remember(self, interval_us: int) -> None:
        if len(self._intervals) == KEPT_INTERVALS:
            self._sum_us -= self._intervals[0]
        self._intervals.append(interval_us)
        self._sum_us += interval_us
