# SPDX-License-Identifier: Apache-2.0
"""sfu.load.reception_log in plain Python: a set of all that came, and a list of latencies' buckets by search."""

from dataclasses import dataclass, field

SEEN_WINDOW = 1024
NEW, LATE, DUPLICATE = 0, 1, 2


@dataclass
class ReceptionReference:
    seen: set[int] = field(default_factory=set)
    first: int | None = None
    highest: int = 0
    packets: int = 0
    late: int = 0
    duplicates: int = 0
    recovered: int = 0

    def add(self, sequence: int) -> int:
        self.packets += 1
        if self.first is None:
            self.first = self.highest = sequence
            self.seen.add(sequence)
            return NEW
        extended = self._extend(sequence)
        if extended > self.highest:
            self.highest = extended
            self.seen.add(extended)
            return NEW
        if not self._fills(extended):
            self.duplicates += 1
            return DUPLICATE
        self.seen.add(extended)
        self.late += 1
        return LATE

    def recover(self, sequence: int) -> None:
        extended = self._extend(sequence)
        if self.first is not None and extended <= self.highest and self._fills(extended):
            self.seen.add(extended)
            self.recovered += 1

    @property
    def lost(self) -> int:
        return 0 if self.first is None else self.highest - self.first + 1 - len(self.seen)

    def _extend(self, sequence: int) -> int:
        step = (sequence - self.highest + (1 << 15)) % (1 << 16) - (1 << 15)
        return self.highest + step

    def _fills(self, extended: int) -> bool:
        assert self.first is not None
        return self.first <= extended and extended > self.highest - SEEN_WINDOW and extended not in self.seen
