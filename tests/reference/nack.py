# SPDX-License-Identifier: Apache-2.0
"""sfu.engine.nack in plain Python: a dictionary instead of a sorted array, no shortcut anywhere."""

from dataclasses import dataclass, field

CAPACITY = 256
REORDER_DELAY_US = 10_000
RETRY_MIN_US = 20_000
RETRY_MAX_US = 400_000
RTT_DEFAULT_US = 70_000
MAX_TRIES = 10
MAX_AGE = 10_000


@dataclass
class Missing:
    due_us: int
    tries: int = 0


@dataclass
class NackReference:
    packets: dict[int, Missing] = field(default_factory=dict)
    highest: int | None = None
    keyframe: int | None = None
    keyframe_wanted: bool = False

    @property
    def missing(self) -> list[int]:
        return sorted(self.packets)

    @property
    def next_us(self) -> int | None:
        return min((packet.due_us for packet in self.packets.values()), default=None)

    def on_packet(self, sequence: int, now_us: int, keyframe_start: bool = False) -> None:
        if keyframe_start and (self.keyframe is None or sequence > self.keyframe):
            self.keyframe = sequence
            self.keyframe_wanted = False
        if self.highest is None:
            self.highest = sequence
        elif sequence > self.highest:
            self._add(range(self.highest + 1, sequence), now_us)
            self.highest = sequence
            for old in [s for s in self.packets if s < sequence - MAX_AGE]:
                self._give_up(old)
        else:
            self.packets.pop(sequence, None)

    def due(self, now_us: int, rtt_us: int = 0, capacity: int = CAPACITY) -> list[int]:
        interval_us = min(max(rtt_us if rtt_us > 0 else RTT_DEFAULT_US, RETRY_MIN_US), RETRY_MAX_US)
        asked: list[int] = []
        for sequence in self.missing:
            packet = self.packets[sequence]
            if packet.due_us > now_us:
                continue
            if packet.tries == MAX_TRIES:
                self._give_up(sequence)
            elif len(asked) < capacity:
                packet.tries += 1
                packet.due_us = now_us + interval_us
                asked.append(sequence & 0xFFFF)
        return asked

    def take_keyframe_wanted(self) -> bool:
        wanted, self.keyframe_wanted = self.keyframe_wanted, False
        return wanted

    def _healed(self, sequence: int) -> bool:
        return self.keyframe is not None and sequence < self.keyframe

    def _give_up(self, sequence: int) -> None:
        del self.packets[sequence]
        if not self._healed(sequence):
            self.keyframe_wanted = True

    def _add(self, gap: range, now_us: int) -> None:
        if len(self.packets) + len(gap) > CAPACITY:
            for sequence in [s for s in self.packets if self._healed(s)]:
                del self.packets[sequence]
            if self.keyframe is not None:
                gap = range(min(max(gap.start, self.keyframe), gap.stop), gap.stop)
        if len(self.packets) + len(gap) > CAPACITY:
            self.packets.clear()
            self.keyframe_wanted = True
            return
        for sequence in gap:
            self.packets[sequence] = Missing(now_us + REORDER_DELAY_US)
