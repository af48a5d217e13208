# SPDX-License-Identifier: Apache-2.0
"""sfu.engine.rewriter in plain Python: what became of each single number and frame, without ranges or offsets."""

from dataclasses import dataclass, field

LATE, CLOSED = -1, -2
RANGES = 64
FRAMES = 32
HALF = 1 << 31


def newer(timestamp: int, than: int) -> bool:
    """RTP timestamps wrap."""
    return 0 < (timestamp - than) & 0xFFFFFFFF < HALF


@dataclass
class Frame:
    """One decision."""

    timestamp: int
    forwarded: bool
    limit: int
    dropped_before: int
    """Frames closed up before it, and before whatever comes behind it."""
    dropped_after: int


@dataclass
class RewriterReference:
    """One outbound stream."""

    first_sequence: int
    last_marker: bool = True
    picture_id: int | None = None
    tl0: int | None = None
    outs: dict[int, int | None] = field(default_factory=dict)
    """Source number → outbound number; None: closed up."""
    frames: list[Frame] = field(default_factory=list)
    """In order of decision."""

    def __post_init__(self) -> None:
        self.next_out = 65_536 + self.first_sequence
        self.highest_in = -1
        self._newest_was: tuple[bool, int] = (False, -1)
        self._turns: list[int] = []
        self._picture_base = 0
        self._frames_dropped = 0
        self.tl0_offset = 0

    def switch(self, sequence: int, picture_id: int | None = None, tl0: int | None = None) -> None:
        """Another source flows, from this packet on."""
        if not self.last_marker:
            self.next_out += 1
        self.outs.clear()
        self.frames.clear()
        self._turns = [sequence]
        self._frames_dropped = 0
        self.highest_in = sequence - 1
        self._newest_was = (False, -1)
        if picture_id is not None:
            self._picture_base = self.picture_id + 1 - picture_id if self.picture_id is not None else 0
        if tl0 is not None:
            self.tl0_offset = (self.tl0 + 1 - tl0) % 256 if self.tl0 is not None else 0

    def sent(self, marker: bool, picture_id: int | None, tl0: int | None) -> None:
        """So the newest packet left."""
        self.last_marker = marker
        self.picture_id = picture_id if picture_id is not None else self.picture_id
        self.tl0 = tl0 if tl0 is not None else self.tl0

    def advance(self, sequence: int, timestamp: int) -> int:
        """The next packet goes out."""
        self._skip(sequence, keep=True)
        self._take(sequence)
        self._newest_was = (False, timestamp)
        self.highest_in = sequence
        return self.next_out - 1

    def drop(self, sequence: int, timestamp: int) -> None:
        """The next packet does not go out; what is missing inside its frame neither will."""
        self._skip(sequence, keep=self._newest_was != (True, timestamp))
        if not self._newest_was[0] or self.outs.get(sequence - 1) is not None:
            self._turns.append(sequence)
        self.outs[sequence] = None
        self._newest_was = (True, timestamp)
        self.highest_in = sequence

    def _skip(self, sequence: int, *, keep: bool) -> None:
        for missing in range(self.highest_in + 1, sequence):
            if keep:
                self._take(missing)
            else:
                self.outs[missing] = None

    def _take(self, sequence: int) -> None:
        if self.outs.get(sequence - 1, 0) is None:
            self._turns.append(sequence)
        self.outs[sequence] = self.next_out
        self.next_out += 1

    def map(self, sequence: int) -> int:
        """Where that packet goes, now or later."""
        out = self.outs.get(sequence, LATE)
        return CLOSED if out is None else out

    def unmap(self, out: int) -> int:
        """Whose number that is."""
        return next((sequence for sequence, given in self.outs.items() if given == out), -1)

    def remembers(self, sequence: int) -> bool:
        """Whether so few turns between dropping and forwarding came after it that the kernel must still know it."""
        return sum(turn > sequence for turn in self._turns) < RANGES

    def new_frame(self, timestamp: int, picture_id: int, limit: int, *, forwarded: bool) -> int:
        """A frame newer than all before; its picture id as sent."""
        before = self._frames_dropped
        self._frames_dropped += not forwarded
        self.frames.append(Frame(timestamp, forwarded, limit, before, self._frames_dropped))
        return self._sent_id(picture_id, before)

    def late_frame(self, timestamp: int, picture_id: int, temporal: int) -> tuple[bool, int] | None:
        """A frame that was overtaken: its place lies behind the nearest older one that is known.

        If it is dropped, and nothing behind it was sent so far, its picture id is closed up after all.
        """
        older = [frame for frame in self.frames[-FRAMES:] if not newer(frame.timestamp, timestamp)]
        if not older:
            return None
        nearest = older[0]
        for frame in older:
            if newer(frame.timestamp, nearest.timestamp):
                nearest = frame
        dropped = nearest.dropped_after
        forwarded = temporal <= nearest.limit
        behind = [frame for frame in self.frames[-FRAMES:] if newer(frame.timestamp, timestamp)]
        self.frames.append(Frame(timestamp, forwarded, nearest.limit, dropped, dropped))
        if not forwarded and not any(frame.forwarded for frame in behind):
            for frame in [*behind, self.frames[-1]]:
                frame.dropped_before += 1
                frame.dropped_after += 1
            self._frames_dropped += 1
        return forwarded, self._sent_id(picture_id, dropped)

    def frame(self, timestamp: int, picture_id: int) -> tuple[bool, int] | None:
        """What was decided on it, if it was among the last ones."""
        for frame in reversed(self.frames[-FRAMES:]):
            if frame.timestamp == timestamp:
                return frame.forwarded, self._sent_id(picture_id, frame.dropped_before)
        return None

    def _sent_id(self, picture_id: int, dropped: int) -> int:
        return (picture_id + self._picture_base - dropped) & 0x7FFF
