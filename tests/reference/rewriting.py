# SPDX-License-Identifier: Apache-2.0
"""The rewriter in plain Python, with a memory that never runs out: which number each packet and frame gets."""

from __future__ import annotations

from dataclasses import dataclass, field

CLOSED = None
PICTURE_IDS, TL0_INDEXES = 1 << 15, 1 << 8


@dataclass
class Fate:
    """What was decided on a frame."""

    order: tuple[int, int]
    forwarded: bool
    reason: str
    picture_offset: int = 0
    picture_offset_after: int = 0
    temporal_limit: int = 0
    spatial_limit: int = 0
    mask: int | None = None


@dataclass
class Numbering:
    """Of one outbound stream. Sequence numbers are unwrapped on both sides; a place is an outbound number."""

    next_out: int = 0
    places: dict[int, int | None] = field(default_factory=dict)
    """Inbound sequence number → its place, or CLOSED. What is not here lies before the stream that flows began."""
    highest_in: int = -1
    highest_frame: object = None
    last_sent: int = -1
    last_marker: bool = True
    frames: dict[object, Fate] = field(default_factory=dict)

    def begin(self, sequence: int) -> None:
        """Another stream flows from this packet on. A frame that was cut off leaves a number out."""
        if not self.last_marker:
            self.next_out += 1
        self.places, self.frames = {}, {}
        self.highest_in, self.highest_frame = sequence - 1, None

    def advance(self, sequence: int, frame: object, *, forwarded: bool) -> int | None:
        """A packet that is newer than all before: its place, and that of those that are missing before it."""
        closed = not forwarded and frame == self.highest_frame and self.places.get(self.highest_in) is CLOSED
        for missing in range(self.highest_in + 1, sequence):
            self.places[missing] = CLOSED if closed else self._next()
        self.places[sequence] = self._next() if forwarded else CLOSED
        self.highest_in, self.highest_frame = sequence, frame
        return self.places[sequence]

    def _next(self) -> int:
        self.next_out += 1
        return self.next_out - 1

    def before(self, order: tuple[int, int]) -> Fate | None:
        """The newest frame that is older than this one."""
        older = [fate for fate in self.frames.values() if fate.order < order]
        return max(older, key=lambda fate: fate.order, default=None)
