# SPDX-License-Identifier: Apache-2.0
"""sfu.engine.transport_cc in plain Python, and a reader of its feedback that shares no code with sfu.wire."""

from dataclasses import dataclass, field

WINDOW = 2048
MAX_SIZE = 1100
DELTA_US = 250
REFERENCE_US = 64_000


@dataclass
class Feedback:
    """One packet: arrival times by 16-bit sequence number, None = not received."""

    sender: int
    media: int
    base: int
    count: int
    arrivals: list[tuple[int, int | None]]


def _symbols(data: bytes, at: int, count: int) -> tuple[list[int], int]:
    """Packet status chunks, draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1.1–3.1.4."""
    symbols: list[int] = []
    while len(symbols) < count:
        chunk = int.from_bytes(data[at : at + 2], "big")
        at += 2
        if not chunk & 0x8000:
            symbols += [chunk >> 13 & 3] * (chunk & 0x1FFF)
        elif chunk & 0x4000:
            symbols += [chunk >> shift & 3 for shift in range(12, -1, -2)]
        else:
            symbols += [chunk >> shift & 1 for shift in range(13, -1, -1)]
    return symbols[:count], at


def read_feedback(data: bytes, reference_wraps: int = 0) -> tuple[Feedback, int]:
    """The packet and its feedback count; `reference_wraps` × 2^24 × 64 ms are added to the times."""
    assert data[0] & 0xDF == 0x80 | 15
    assert data[1] == 205
    assert len(data) == 4 * (int.from_bytes(data[2:4], "big") + 1)
    body = data[: -data[-1]] if data[0] & 0x20 else data
    base, count = int.from_bytes(body[12:14], "big"), int.from_bytes(body[14:16], "big")
    time_us = (int.from_bytes(body[16:19], "big") + (reference_wraps << 24)) * REFERENCE_US
    symbols, at = _symbols(body, 20, count)
    arrivals: list[tuple[int, int | None]] = []
    for offset, symbol in enumerate(symbols):
        assert symbol in (0, 1, 2), "3 is reserved"
        if symbol:
            time_us += int.from_bytes(body[at : at + symbol], "big", signed=symbol == 2) * DELTA_US
            at += symbol
        arrivals.append(((base + offset) & 0xFFFF, time_us if symbol else None))
    assert len(body) - at < 4, "nothing but padding may follow"
    sender, media = int.from_bytes(body[4:8], "big"), int.from_bytes(body[8:12], "big")
    return Feedback(sender, media, base, count, arrivals), body[19]


@dataclass
class ArrivalReference:
    """Keeps every arrival it ever saw; the window only decides what is taken in and reported."""

    arrivals: dict[int, int] = field(default_factory=dict)
    highest: int | None = None
    first_unreported: int = 0

    def add(self, sequence: int, now_us: int) -> None:
        if self.highest is None:
            self.highest = self.first_unreported = sequence
            self.arrivals[sequence] = now_us
            return
        ahead = (sequence - self.highest) & 0xFFFF
        extended = self.highest + (ahead if ahead < 0x8000 else ahead - 0x10000)
        if extended <= self.highest - WINDOW or extended in self.arrivals:
            return
        self.arrivals[extended] = now_us
        if extended > self.highest:
            self.highest = extended
            self.first_unreported = max(self.first_unreported, extended - WINDOW + 1)
        else:
            self.first_unreported = min(self.first_unreported, extended)

    def report(self) -> list[tuple[int, int | None]]:
        """All that the next feedback packets say together."""
        if self.highest is None:
            return []
        extended = range(self.first_unreported, self.highest + 1)
        self.first_unreported = self.highest + 1
        return [(sequence & 0xFFFF, self.arrivals.get(sequence)) for sequence in extended]
