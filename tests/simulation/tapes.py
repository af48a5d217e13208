# SPDX-License-Identifier: Apache-2.0
"""Cutting recorded streams: what the checker's tests break them with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import dataclass, field, replace

from tests.simulation.recordings import Stage, Stream
from tests.simulation.rtp_packets import RtpPacket, build_rtp, parse_rtp
from tests.simulation.stream_checker import StreamChecker
from tests.simulation.stream_rules import Report, SlotDescription
from tests.simulation.tags import MAGIC, TAG_BYTES, FrameTag, read_tag, write_tag
from tests.simulation.vp8_payload import Vp8Descriptor, build_vp8_descriptor, parse_vp8


@dataclass(slots=True)
class Item:
    """One packet on a tape; `raw` is sent instead of the packet."""

    at_us: int
    packet: RtpPacket
    raw: bytes | None = None

    def copy(self) -> Item:
        """One that can be changed."""
        return Item(self.at_us, copy(self.packet), self.raw)


@dataclass
class Tape:
    """A recorded stream that can be cut."""

    slot: SlotDescription
    items: list[Item]
    binds: list[int] = field(default_factory=list)
    losses: int = 0

    @classmethod
    def of(cls, stage: Stage) -> Tape:
        """What that stage sent."""
        items = [Item(at_us, parse_rtp(data)) for at_us, data in stage.stream]
        return cls(stage.slot, items, list(stage.binds))

    def copy(self) -> Tape:
        """One that can be changed."""
        return Tape(self.slot, [item.copy() for item in self.items], list(self.binds), self.losses)

    def stream(self) -> Stream:
        """As bytes."""
        return [(item.at_us, item.raw if item.raw is not None else build_rtp(item.packet)) for item in self.items]

    def check(self) -> Report:
        """The checker's verdict."""
        checker = StreamChecker(self.slot)
        for csrc in self.binds:
            checker.expect_bind(csrc)
        if self.losses:
            checker.lost_upstream(self.losses)
        for at_us, data in self.stream():
            checker.on_packet(data, at_us)
        return checker.finish(self.items[-1].at_us)

    def set_slot(self, **changes: object) -> None:
        """Another negotiation."""
        self.slot = replace(self.slot, **changes)  # type: ignore[arg-type]

    def media(self) -> list[Item]:
        """The packets on the media SSRC."""
        return [item for item in self.items if item.packet.ssrc == self.slot.ssrc]

    def rtx(self) -> list[Item]:
        """The packets on the RTX SSRC."""
        return [item for item in self.items if item.packet.ssrc == self.slot.rtx_ssrc]

    def frames(self, codec: str | None = None) -> list[list[Item]]:
        """The media packets frame by frame, of all codecs or of one."""
        found: list[list[Item]] = []
        for item in self.media():
            if codec is not None and self.slot.payloads[item.packet.payload_type].codec != codec:
                continue
            if found and found[-1][0].packet.timestamp == item.packet.timestamp:
                found[-1].append(item)
            else:
                found.append([item])
        return found

    def find(self, wanted: Callable[[list[Item]], bool], codec: str = "VP8", after: int = 8) -> list[Item]:
        """The first such frame, not among the very first."""
        return next(frame for frame in self.frames(codec)[after:] if wanted(frame))

    def from_item(self, item: Item) -> list[Item]:
        """The media packets from that one on."""
        media = self.media()
        return media[next(at for at, other in enumerate(media) if other is item) :]

    def shift(self, items: Iterable[Item], *, sequence: int = 0, timestamp: int = 0, picture: int = 0) -> None:
        """Add to counters."""
        for item in items:
            packet = item.packet
            packet.sequence = (packet.sequence + sequence) & 0xFFFF
            packet.timestamp = (packet.timestamp + timestamp) & 0xFFFFFFFF
            if picture and self.slot.payloads[packet.payload_type].codec == "VP8":
                shift_vp8(item, picture=picture)

    def without_marks(self) -> Tape:
        """As a stream of real encoders would be."""
        unmarked = self.copy()
        for item in unmarked.items:
            item.packet.payload = item.packet.payload.replace(MAGIC, b"real")
        return unmarked

    def remove(self, gone: list[Item]) -> None:
        """Take packets out and close the gap in the sequence numbers."""
        for item in gone:
            self.shift(self.from_item(item), sequence=-1)
            self.items = [other for other in self.items if other is not item]

    def remove_frame(self, frame: list[Item]) -> None:
        """Take a VP8 frame out and close the gaps in sequence numbers and picture ids."""
        later = [item for item in self.from_item(frame[0]) if item not in frame]
        self.remove(frame)
        self.shift(later, picture=-1)

    def insert(self, before: Item, new: Item) -> None:
        """Put a media packet in and make room in the sequence numbers."""
        new.packet.sequence = before.packet.sequence
        self.shift(self.from_item(before), sequence=1)
        self.items.insert(next(at for at, item in enumerate(self.items) if item is before), new)


def vp8(item: Item) -> Vp8Descriptor:
    """Its descriptor."""
    return parse_vp8(item.packet.payload)


def edit_vp8(items: Iterable[Item], **changes: object) -> None:
    """Write descriptors with other fields."""
    for item in items:
        found = vp8(item)
        size = found.size
        head = build_vp8_descriptor(replace(found, **changes))  # type: ignore[arg-type]
        item.packet.payload = head + item.packet.payload[size:]


def shift_vp8(item: Item, *, picture: int = 0, tl0: int = 0) -> None:
    """Add to a packet's picture id and TL0PICIDX."""
    found = vp8(item)
    if found.picture_id is not None:
        edit_vp8([item], picture_id=(found.picture_id + picture) % (1 << 15))
    if found.tl0_picture_index is not None:
        edit_vp8([item], tl0_picture_index=(found.tl0_picture_index + tl0) % 256)


def mark(item: Item) -> FrameTag:
    """Its publisher's mark."""
    found = read_tag(item.packet.payload)
    assert found is not None
    return found


def edit_mark(items: Iterable[Item], **changes: object) -> None:
    """Write other marks."""
    for item in items:
        payload = item.packet.payload
        at = payload.find(MAGIC)
        new = write_tag(replace(mark(item), **changes))  # type: ignore[arg-type]
        item.packet.payload = payload[:at] + new + payload[at + TAG_BYTES :]
