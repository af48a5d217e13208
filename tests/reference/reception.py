# SPDX-License-Identifier: Apache-2.0
"""sfu.engine.reception in plain Python, after RFC 3550 §6.4.1 and appendix A: sets of numbers and fractions."""

from dataclasses import dataclass, field
from fractions import Fraction

MAX_DROPOUT = 3000
MAX_MISORDER = 2000
OK, RESTART, REJECTED = 0, 1, 2
RATE_WINDOW_US = 500_000


@dataclass
class ReceptionReference:
    """One stream."""

    highest: int = -1
    received: set[int] = field(default_factory=set)
    """By themselves, not by retransmission."""
    recovered: set[int] = field(default_factory=set)
    first: int = 0
    jitter: float = 0.0
    _transit: int | None = None
    _awaited: int = -1
    _reported_expected: int = 0
    _reported_received: int = 0

    def sequence(self, number: int) -> tuple[int, int]:
        """(verdict, 64-bit number); the first cycle is number 1, so that nothing is negative."""
        if self.highest < 0:
            return OK, self._begin(number)
        ahead = (number - self.highest) % 65_536
        distance = ahead if ahead < 32_768 else ahead - 65_536
        if -MAX_MISORDER < distance < MAX_DROPOUT:
            self.highest = max(self.highest, self.highest + distance)
            self._awaited = -1
            return OK, self.highest - max(0, distance) + distance
        if number == self._awaited:
            self.__init__()  # type: ignore[misc]
            return RESTART, self._begin(number)
        self._awaited = (number + 1) % 65_536
        return REJECTED, -1

    def _begin(self, number: int) -> int:
        self.highest = self.first = 65_536 + number
        return self.highest

    def packet(self, extended: int, timestamp: int, clock_rate: int, now_us: int, *, recovered: bool) -> None:
        """Count one that is new."""
        self.first = min(self.first, extended)
        if recovered:
            self.recovered.add(extended)
            return
        self.received.add(extended)
        transit = (now_us * clock_rate // 1_000_000 - timestamp) % (1 << 32)
        if self._transit is not None:
            difference = (transit - self._transit) % (1 << 32)
            difference = min(difference, (1 << 32) - difference)
            if difference < 5 * clock_rate:
                self.jitter += (difference - self.jitter) / 16
        self._transit = transit

    @property
    def expected(self) -> int:
        """From the first to the highest."""
        return self.highest - self.first + 1 if self.highest >= 0 else 0

    @property
    def lost(self) -> int:
        """Still missing."""
        return max(0, self.expected - len(self.received) - len(self.recovered))

    def report(self) -> tuple[int, int, int]:
        """(fraction lost in 1/256 since the last report, cumulative lost, extended highest sequence number)."""
        expected = self.expected - self._reported_expected
        lost = expected - (len(self.received) - self._reported_received)
        fraction = Fraction(lost, expected) if expected > 0 and lost > 0 else Fraction(0)
        self._reported_expected, self._reported_received = self.expected, len(self.received)
        cumulative = max(0, self.expected - len(self.received))
        return min(255, int(fraction * 256)), cumulative, self.highest - 65_536


@dataclass
class RateReference:
    """Rates over the last window that is over: it ends with the first look after half a second."""

    begun_us: int = 0
    packets: list[tuple[int, bool]] = field(default_factory=list)
    bits_per_second: int = 0
    frames_per_second: float = 0.0

    def look(self, now_us: int) -> None:
        """Time passes."""
        if not self.begun_us:
            self.begun_us = now_us
        elapsed = now_us - self.begun_us
        if elapsed >= RATE_WINDOW_US:
            self.bits_per_second = sum(size for size, _ in self.packets) * 8_000_000 // elapsed
            self.frames_per_second = sum(frame for _, frame in self.packets) * 256_000_000 // elapsed / 256
            self.packets.clear()
            self.begun_us = now_us

    def add(self, size: int, now_us: int, *, frame: bool) -> None:
        """A packet came."""
        self.look(now_us)
        self.packets.append((size, frame))
