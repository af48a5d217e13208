# SPDX-License-Identifier: Apache-2.0
"""Which layers a publisher has to send: those that somebody receives, and those below them.

What nobody has wanted for a while rests; what is wanted flows at once. Layers below the highest wanted one go on: they
are cheap, and who falls behind falls to them without waiting. No clock, no I/O.
"""

from __future__ import annotations

from typing import Final

# Pages change their layout more often than a layer's end and beginning (with a keyframe) are worth it.
REST_AFTER_US: Final = 1_500_000
# Who publishes is about to be seen: the first receivers may be a moment behind.
FRESH_US: Final = 5_000_000
# A layer that was called back and does not come within this time is not coming.
WAKING_US: Final = 3_000_000


class TrackDemand:
    """Of one video track. Bit i of a mask stands for layer i."""

    def __init__(self, count: int, now_us: int) -> None:
        self._all = (1 << count) - 1
        self._unused_since_us = [now_us + FRESH_US - REST_AFTER_US] * count
        self._woken_us = 0
        self._waking = 0
        self.resting = 0
        """What its publisher has been told not to send."""

    def update(self, highest: int, live: int, now_us: int) -> bool:
        """`highest`: the highest layer that somebody receives, or should; -1: none. True when `resting` changed."""
        wanted = (1 << highest + 1) - 1
        before = self.resting
        for index in range(len(self._unused_since_us)):
            if wanted >> index & 1:
                self._unused_since_us[index] = max(self._unused_since_us[index], now_us)
            elif now_us - self._unused_since_us[index] >= REST_AFTER_US:
                self.resting |= 1 << index
        if self.resting & wanted:
            self._woken_us = now_us
            self._waking |= self.resting & wanted
            self.resting &= ~wanted
        self._waking &= ~live & ~self.resting
        if now_us - self._woken_us > WAKING_US:
            self._waking = 0
        return self.resting != before

    def available(self, live: int) -> int:
        """What flows, and what would if it were asked for."""
        return live | ((self.resting | self._waking) & self._all)

    def active(self, index: int) -> bool:
        return not self.resting >> index & 1
