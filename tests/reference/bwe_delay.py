# SPDX-License-Identifier: Apache-2.0
"""Plain twin of sfu.engine.bwe.trendline: from the description in docs/congestion.md, in no hurry."""

from __future__ import annotations

from dataclasses import dataclass

NORMAL, UNDERUSING, OVERUSING = range(3)


@dataclass
class Group:
    """Packets sent, or delivered, together."""

    first_sent: int
    last_sent: int
    first_arrival: int
    last_arrival: int
    heard: int


class ReferenceDetector:
    """Grouping, linear fit, adaptive threshold."""

    def __init__(self) -> None:
        self.current: Group | None = None
        self.previous: Group | None = None
        self.reordered = 0
        self.points: list[tuple[float, float]] = []
        self.samples = 0
        self.accumulated = self.smoothed = 0.0
        self.first_arrival: int | None = None
        self.trend = self.modified_ms = 0.0
        self.threshold_ms = 12.5
        self.adapted_ms: float | None = None
        self.above_ms: float | None = None
        self.above_count = 0
        self.usage = NORMAL

    def packet(self, sent: int, arrival: int, heard: int) -> tuple[int, int] | None:
        """Distances between the two last groups, when this packet has completed one."""
        group = self.current
        if group is None:
            self.current = Group(sent, sent, arrival, arrival, heard)
            return None
        if sent < group.first_sent:
            return None
        arrival_gap, sent_gap = arrival - group.last_arrival, sent - group.last_sent
        in_burst = sent_gap == 0 or (
            arrival_gap < sent_gap and arrival_gap <= 5_000 and arrival - group.first_arrival < 100_000
        )
        if in_burst or sent - group.first_sent <= 5_000:
            group.last_sent = max(group.last_sent, sent)
            group.last_arrival, group.heard = arrival, heard
            return None
        deltas = None
        if self.previous is not None:
            deltas = group.last_sent - self.previous.last_sent, group.last_arrival - self.previous.last_arrival
            if deltas[1] - (group.heard - self.previous.heard) >= 3_000_000:
                self._forget()
                return None
            if deltas[1] < 0:
                self.reordered += 1
                if self.reordered >= 3:
                    self._forget()
                return None
            self.reordered = 0
        self.previous, self.current = group, Group(sent, sent, arrival, arrival, heard)
        if deltas is not None:
            self._sample(deltas[0] / 1000, deltas[1] / 1000, arrival)
        return deltas

    def _forget(self) -> None:
        self.current = self.previous = None
        self.reordered = 0

    def _sample(self, sent_ms: float, arrival_ms: float, arrival: int) -> None:
        if self.first_arrival is None:
            self.first_arrival = arrival
        self.samples = min(self.samples + 1, 1000)
        self.accumulated += arrival_ms - sent_ms
        self.smoothed = 0.9 * self.smoothed + 0.1 * self.accumulated
        now_ms = (arrival - self.first_arrival) / 1000
        self.points = [*self.points, (now_ms, self.smoothed)][-20:]
        trend = self.trend
        if len(self.points) == 20:
            mean_x = sum(x for x, _ in self.points) / 20
            mean_y = sum(y for _, y in self.points) / 20
            spread = sum((x - mean_x) ** 2 for x, _ in self.points)
            if spread:
                trend = sum((x - mean_x) * (y - mean_y) for x, y in self.points) / spread
        if self.samples < 2:
            return
        self.modified_ms = min(self.samples, 60) * trend * 4
        self._judge(trend, sent_ms)
        self.trend = trend
        self._adapt(now_ms)

    def _judge(self, trend: float, sent_ms: float) -> None:
        if self.modified_ms <= self.threshold_ms:
            self.above_ms, self.above_count = None, 0
            self.usage = UNDERUSING if self.modified_ms < -self.threshold_ms else NORMAL
            return
        self.above_ms = sent_ms / 2 if self.above_ms is None else self.above_ms + sent_ms
        self.above_count += 1
        if self.above_ms > 10 and self.above_count > 1 and trend >= self.trend:
            self.above_ms, self.above_count = 0.0, 0
            self.usage = OVERUSING

    def _adapt(self, now_ms: float) -> None:
        size = abs(self.modified_ms)
        before_ms = now_ms if self.adapted_ms is None else self.adapted_ms
        if size <= self.threshold_ms + 15:
            speed = 0.039 if size < self.threshold_ms else 0.0087
            moved = self.threshold_ms + speed * (size - self.threshold_ms) * min(now_ms - before_ms, 100)
            self.threshold_ms = min(max(moved, 6.0), 600.0)
        self.adapted_ms = now_ms
