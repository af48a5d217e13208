# SPDX-License-Identifier: Apache-2.0
"""What a receiver of VP9 (RFC 9628) or of dependency descriptors (AV1 RTP specification, appendix A) relies on.

Judges the whole output of one slot, bound to one track without loss; reads it by the twins in tests/reference.
Pictures named as cut, by timestamp, may lack their end: the publisher's encoder or a switch took it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from enum import StrEnum

from sfu.wire.dependencies import Dependency, Structure, UnknownTemplateError
from sfu.wire.payloads import Vp9
from tests.captures.depacketize import Picture, pictures
from tests.reference.wire_dependency_descriptor import ReferenceReader
from tests.reference.wire_vp9 import parse_vp9
from tests.simulation.rtp_packets import RtpPacket

PICTURE_IDS, TL0_INDICES, FRAME_NUMBERS = 1 << 15, 1 << 8, 1 << 16


class Broken(StrEnum):
    """Each rule."""

    MARKER = "not the last packet of a picture, and it alone, has the marker"
    START = "the stream does not begin with a keyframe"
    FRAME = "a layer frame without its begin or its end, or its fields change within"
    VP9_PICTURE_ID = "a picture id that is not after its predecessor's, of 7 bits, or not the same in all of a picture"
    VP9_TL0 = "TL0PICIDX does not count the base pictures that were sent"
    VP9_SPATIAL = "a layer frame predicted from a lower one that was not sent, or layers not in order"
    VP9_REFERENCE = "a picture difference to a picture that was not sent"
    DD_STRUCTURE = "a descriptor that cannot be read with what was sent before"
    DD_NUMBER = "a frame number that is not after its predecessor's"
    DD_REFERENCE = "a frame difference to a frame that was not sent"
    DD_CHAIN = "a chain of an active decode target whose last frame was not sent"
    DD_INACTIVE = "a frame of no decode target that was announced as active"


def marker_is_wrong(picture: Picture, *, cut: bool) -> bool:
    """Pictures end with a marker."""
    *others, last = [packet.marker for packet in picture.packets]
    return any(others) or not (last or cut)


def _vp9_frames(found: Sequence[Vp9], *, cut: bool) -> list[list[Vp9]] | None:
    """One picture's packets by layer frame; None where one lacks its begin or end."""
    frames: list[list[Vp9]] = []
    for at, one in enumerate(found):
        if one.start_of_frame != (at == 0 or found[at - 1].end_of_frame):
            return None
        if one.start_of_frame:
            frames.append([])
        frames[-1].append(one)
    fields = [{(one.spatial, one.temporal, one.inter_layer, one.p_diffs) for one in frame} for frame in frames]
    return frames if (cut or found[-1].end_of_frame) and all(len(one) == 1 for one in fields) else None


class Vp9Stream:
    """Judges picture after picture."""

    def __init__(self) -> None:
        self.broken: set[Broken] = set()
        self._picture_id: int | None = None
        self._tl0: int | None = None
        self._sent: set[tuple[int, int]] = set()

    def picture(self, found: Sequence[Vp9], *, cut: bool) -> None:
        """All packets of the next one."""
        head = found[0]
        frames = _vp9_frames(found, cut=cut)
        if frames is None:
            self.broken.add(Broken.FRAME)
            frames = [[one] for one in found if one.start_of_frame]
        self._judge_numbers(found)
        if not self._sent and not head.keyframe:
            self.broken.add(Broken.START)
        below = -1
        for frame in frames:
            self._judge_layer(frame[0], below)
            below = frame[0].spatial or 0
            self._sent.add(((head.picture_id or 0), below))

    def _judge_numbers(self, found: Sequence[Vp9]) -> None:
        head = found[0]
        number, previous = head.picture_id, self._picture_id
        alike = all(one.picture_id == number and one.long_picture_id for one in found)
        if (
            number is None
            or not alike
            or (previous is not None and not 0 < (number - previous) % PICTURE_IDS < PICTURE_IDS // 2)
        ):
            self.broken.add(Broken.VP9_PICTURE_ID)
        self._picture_id = number
        if head.tl0_picture_index is None:
            return
        step = 0 if head.temporal else 1
        wanted = head.tl0_picture_index if self._tl0 is None else (self._tl0 + step) % TL0_INDICES
        if any(one.tl0_picture_index != wanted for one in found):
            self.broken.add(Broken.VP9_TL0)
        self._tl0 = head.tl0_picture_index

    def _judge_layer(self, frame: Vp9, below: int) -> None:
        spatial, number = frame.spatial or 0, frame.picture_id or 0
        if spatial <= below or (frame.inter_layer and spatial - 1 != below):
            self.broken.add(Broken.VP9_SPATIAL)
        if any(((number - diff) % PICTURE_IDS, spatial) not in self._sent for diff in frame.p_diffs):
            self.broken.add(Broken.VP9_REFERENCE)


def check_vp9(packets: Sequence[RtpPacket], cut: Collection[int] = ()) -> set[Broken]:
    """The rules that a VP9 stream breaks."""
    stream = Vp9Stream()
    for picture in pictures(packets, []):
        is_cut = picture.timestamp in cut
        stream.picture([parse_vp9(packet.payload) for packet in picture.packets], cut=is_cut)
        if marker_is_wrong(picture, cut=is_cut):
            stream.broken.add(Broken.MARKER)
    return stream.broken


class DescriptorStream:
    """Judges packet after packet."""

    def __init__(self) -> None:
        self.broken: set[Broken] = set()
        self._reader = ReferenceReader()
        self._structure: Structure | None = None
        self._active = 0
        self._last: Dependency | None = None
        self._sent: set[int] = set()

    def end_picture(self, *, cut: bool) -> None:
        """All its packets were there."""
        if self._last is not None and not self._last.end_of_frame:
            if not cut:
                self.broken.add(Broken.FRAME)
            self._last = replace(self._last, end_of_frame=True)

    def packet(self, descriptor: bytes) -> None:
        """The next one's descriptor."""
        try:
            found = self._reader.read(descriptor)
        except (UnknownTemplateError, ValueError):
            self.broken.add(Broken.DD_STRUCTURE if self._sent else Broken.START)
            return
        self._structure = self._reader.structure
        if found.active_targets is not None:
            self._active = found.active_targets
        last, self._last = self._last, found
        if found.start_of_frame != (last is None or last.end_of_frame):
            self.broken.add(Broken.FRAME)
        if found.start_of_frame:
            self._frame(found, last)
        elif last is not None and last.frame_number != found.frame_number:
            self.broken.add(Broken.FRAME)

    def _frame(self, found: Dependency, last: Dependency | None) -> None:
        number = found.frame_number
        if last is not None and not 0 < (number - last.frame_number) % FRAME_NUMBERS < FRAME_NUMBERS // 2:
            self.broken.add(Broken.DD_NUMBER)
        if any((number - diff) % FRAME_NUMBERS not in self._sent for diff in found.fdiffs):
            self.broken.add(Broken.DD_REFERENCE)
        mine = [at for at, told in enumerate(found.indications) if told and self._active >> at & 1]
        if not mine:
            self.broken.add(Broken.DD_INACTIVE)
        protected_by = self._structure.protected_by if self._structure is not None else ()
        for diff in {found.chain_fdiffs[protected_by[at]] for at in mine if protected_by}:
            if diff and (number - diff) % FRAME_NUMBERS not in self._sent:
                self.broken.add(Broken.DD_CHAIN)
        self._sent.add(number)


def check_descriptors(packets: Sequence[RtpPacket], identifier: int, cut: Collection[int] = ()) -> set[Broken]:
    """The rules that a stream with dependency descriptors, under that extension id, breaks."""
    stream = DescriptorStream()
    for picture in pictures(packets, []):
        for packet in picture.packets:
            stream.packet(dict(packet.extensions).get(identifier, b""))
        is_cut = picture.timestamp in cut
        stream.end_picture(cut=is_cut)
        if marker_is_wrong(picture, cut=is_cut):
            stream.broken.add(Broken.MARKER)
    return stream.broken
