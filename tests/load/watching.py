# SPDX-License-Identifier: Apache-2.0
"""A stream checker for each slot of a bot, and marks in what bots send."""

from __future__ import annotations

from dataclasses import dataclass, field

from sfu.load.description import CLOCK_RATE_HZ
from sfu.load.media import PacketMark
from sfu.load.receiving import LightSlot, ReceivedPacket
from tests.simulation.stream_checker import StreamChecker
from tests.simulation.stream_rules import PayloadFormat, Report, SlotDescription
from tests.simulation.tags import FrameTag, write_tag

# Bots that share a process, and cores with the server, send late when they are not scheduled; timestamps are not.
TIMESTAMP_TOLERANCE_US = 5_000_000


def tag_packet(mark: PacketMark) -> bytes:
    """The stamp of bots that are watched."""
    return write_tag(
        FrameTag(
            publication=mark.publication,
            layer=mark.layer,
            temporal=mark.temporal,
            keyframe=mark.keyframe,
            frame=mark.frame,
            index=mark.index,
            count=mark.count,
            references=mark.references,
        )
    )


@dataclass(slots=True)
class Watcher:
    """Feeds a bot's packets to one checker per slot, in the order in which they arrive."""

    checkers: dict[str, StreamChecker] = field(default_factory=dict)
    last_us: int = 0

    def __call__(self, received: ReceivedPacket) -> None:
        slot = received.slot
        checker = self.checkers.get(slot.mid)
        if checker is None:
            checker = self.checkers[slot.mid] = StreamChecker(describe(slot))
        # Two clock readings lie between the kernel's time and ours: they may differ by a few microseconds.
        self.last_us = max(self.last_us, received.arrived_us)
        checker.on_packet(received.data, self.last_us)

    def reports(self) -> dict[str, Report]:
        return {mid: checker.finish(self.last_us) for mid, checker in self.checkers.items()}


def describe(slot: LightSlot) -> SlotDescription:
    """What the server's answer says of a slot, in the checker's words."""
    section = slot.section
    return SlotDescription(
        ssrc=slot.ssrc,
        rtx_ssrc=slot.rtx_ssrc or None,
        mid=slot.mid.encode(),
        payloads={
            number: PayloadFormat(name, CLOCK_RATE_HZ[slot.kind], section.repairs.get(number))
            for number, name in section.codecs.items()
            if name.lower() != "rtx"
        },
        extensions=dict(section.extensions),
        timestamp_tolerance_us=TIMESTAMP_TOLERANCE_US,
    )
