# SPDX-License-Identifier: Apache-2.0
"""Which sequence numbers of one SSRC were sent, in order of sending: holes, fills, duplicates."""

from __future__ import annotations

from collections.abc import Iterator

from tests.simulation.rtp_packets import RtpPacket, extend
from tests.simulation.stream_rules import Report, Rule

START_BOUND = 1 << 15
"""RFC 3711 §3.3.1: a first number in the lower half keeps sender and receiver from disagreeing on the roll-over."""
REMEMBERED_PACKETS = 8192
LARGEST_GAP = 1000
"""A longer jump is reported as one breach and starts over behind it."""

Entry = tuple[int, int, int]
"""Hash of all bytes, hash of what a retransmission must repeat, payload type."""


class SequenceLedger:
    """Extended sequence numbers of one SSRC."""

    def __init__(self, report: Report, *, impaired: bool, patience_us: int) -> None:
        self._report = report
        self.impaired = impaired
        self._patience_us = patience_us
        self.first = -1
        self.highest = -1
        self._holes: dict[int, int] = {}
        self._lost: set[int] = set()
        self._blamed: set[int] = set()
        self._credits = 0
        self._entries: dict[int, Entry] = {}

    def add(self, packet: RtpPacket, entry: Entry, at_us: int) -> int | None:
        """Record a packet; its extended number if it is the first with that number, else None."""
        sequence = packet.sequence
        if self.highest < 0:
            if sequence >= START_BOUND:
                self._report.add(Rule.SEQUENCE_START, at_us, sequence, f"SSRC {packet.ssrc:#x}")
            self.first = self.highest = sequence
            self._remember(sequence, entry)
            return sequence
        index = extend(sequence, self.highest, 16)
        if index > self.highest:
            self._advance(index, at_us)
        elif not self._fill(index, entry, at_us):
            return None
        self._remember(index, entry)
        return index

    def _advance(self, index: int, at_us: int) -> None:
        gap = range(self.highest + 1, index)
        if len(gap) > LARGEST_GAP:
            self._report.add(Rule.SEQUENCE_GAP, at_us, index & 0xFFFF, f"jump by {len(gap) + 1}")
            self._holes.clear()
            self.first = index
        elif gap:
            if not self.impaired:
                self._report.add(Rule.SEQUENCE_GAP, at_us, index & 0xFFFF, f"{len(gap)} numbers left out")
                self._blamed.update(gap)
            self._holes.update(dict.fromkeys(gap, at_us))
        self.highest = index

    def _fill(self, index: int, entry: Entry, at_us: int) -> bool:
        sequence = index & 0xFFFF
        if index in self._holes:
            del self._holes[index]
        elif index in self._lost:
            self._lost.remove(index)
        elif index < self.first:
            self._report.add(Rule.SEQUENCE_ORDER, at_us, sequence, "before the stream's first packet")
            return False
        else:
            same = self._entries.get(index, (None,))[0] == entry[0]
            rule = Rule.SEQUENCE_DUPLICATE if same else Rule.INDEX_REUSED
            self._report.add(rule, at_us, sequence, "sent before")
            return False
        self._report.holes_filled += 1
        if index in self._blamed:
            self._report.add(Rule.SEQUENCE_ORDER, at_us, sequence, "sent late")
        return True

    def _remember(self, index: int, entry: Entry) -> None:
        self._entries[index] = entry
        if len(self._entries) > REMEMBERED_PACKETS:
            del self._entries[next(iter(self._entries))]

    def expect_losses(self, packets: int) -> None:
        """So many packets of what is forwarded were lost on the way in."""
        self.impaired = True
        self._credits += packets

    def declare_hole(self, sequence: int) -> None:
        """This number will not be sent (it may be, later)."""
        self.impaired = True
        index = extend(sequence, self.highest, 16)
        if self._holes.pop(index, None) is not None:
            self._lost.add(index)
            self._report.holes_lost += 1
        else:
            self._credits += 1

    def give_up(self, now_us: int | None) -> None:
        """Judge the holes that are open for longer than the patience (None = all of them)."""
        for index, opened_us in list(self._holes.items()):
            if now_us is not None and now_us - opened_us < self._patience_us:
                break
            del self._holes[index]
            self._lost.add(index)
            if index in self._blamed:
                continue
            if self._credits:
                self._credits -= 1
                self._report.holes_lost += 1
            else:
                self._report.add(Rule.SEQUENCE_GAP, opened_us, index & 0xFFFF, "never filled, not lost on the way in")

    def awaits(self, index: int) -> bool:
        """Whether that number is a hole that may still be filled."""
        return index in self._holes

    def was_sent(self, index: int) -> bool:
        """Whether that number was sent."""
        return self.first <= index <= self.highest and index not in self._holes and index not in self._lost

    def entry(self, index: int) -> Entry | None:
        """What is remembered of it."""
        return self._entries.get(index)


class SequenceOrder:
    """Gives packets out in order of their extended numbers; a hole that is not waited for comes out as None."""

    def __init__(self, ledger: SequenceLedger) -> None:
        self._ledger = ledger
        self._waiting: dict[int, tuple[RtpPacket, int, bool]] = {}
        self._next = -1

    def add(self, index: int, packet: RtpPacket, at_us: int) -> None:
        """A packet that the ledger accepted."""
        if self._next < 0:
            self._next = index
        if index >= self._next:
            self._waiting[index] = (packet, at_us, index < self._ledger.highest)

    def take(self) -> Iterator[tuple[RtpPacket, int, bool] | None]:
        """(packet, time of sending, sent late), or None for each number that is given up."""
        while self._next <= self._ledger.highest:
            item = self._waiting.pop(self._next, None)
            if item is None and self._ledger.awaits(self._next):
                return
            self._next = self._next + 1 if item or self._next >= self._ledger.first else self._ledger.first
            yield item
