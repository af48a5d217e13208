# SPDX-License-Identifier: Apache-2.0
"""A receiver's side of one stream, as far as it talks back: what it misses, when it gives up, what it reports."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.simulation import rtcp_packets as rtcp
from tests.simulation.rtp_packets import extend

REORDER_PATIENCE_US = 10_000
RETRY_US = 60_000
MAXIMUM_TRIES = 10
MAXIMUM_MISSING = 500


@dataclass
class ReceivedStream:
    """One media SSRC."""

    ssrc: int
    nack: bool
    highest: int = -1
    received: int = 0
    missing: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Extended number → (ask at, tries)."""
    given_up: int = 0
    reports: list[tuple[int, rtcp.SenderReport]] = field(default_factory=list)
    wants_keyframe: bool = False

    def on_packet(self, sequence: int, at_us: int) -> None:
        """A packet with this number arrived, in whichever way."""
        if self.highest < 0:
            self.highest = sequence - 1
        index = extend(sequence, self.highest, 16)
        self.received += 1
        if index <= self.highest:
            self.missing.pop(index, None)
            return
        for lost in range(self.highest + 1, index):
            self.missing[lost] = (at_us + REORDER_PATIENCE_US, 0)
        self.highest = index
        if len(self.missing) > MAXIMUM_MISSING:
            self.missing.clear()
            self.wants_keyframe = True

    def on_report(self, report: rtcp.SenderReport, at_us: int) -> None:
        """A sender report arrived."""
        if report.ssrc == self.ssrc:
            self.reports.append((at_us, report))

    def feedback(self, now_us: int) -> bytes:
        """What it asks for now."""
        if not self.nack:
            return b""
        asked = []
        for index, (due_us, tries) in list(self.missing.items()):
            if due_us > now_us:
                continue
            if tries == MAXIMUM_TRIES:
                del self.missing[index]
                self.given_up += 1
                self.wants_keyframe = True
            else:
                self.missing[index] = (now_us + RETRY_US, tries + 1)
                asked.append(index & 0xFFFF)
        compound = rtcp.build_nack(1, self.ssrc, asked) if asked else b""
        if self.wants_keyframe:
            self.wants_keyframe = False
            compound += rtcp.build_pli(1, self.ssrc)
        return compound

    def report_blocks(self, now_us: int) -> list[rtcp.ReportBlock]:
        """Its block of a receiver report."""
        if not self.reports or self.highest < 0:
            return []
        at_us, report = self.reports[-1]
        delay = (now_us - at_us) * 65_536 // 1_000_000
        return [
            rtcp.ReportBlock(
                self.ssrc,
                highest_sequence=self.highest & 0xFFFFFFFF,
                last_sr=(report.ntp >> 16) & 0xFFFFFFFF,
                delay_since_last_sr=delay,
            )
        ]
