# SPDX-License-Identifier: Apache-2.0
"""The stream checker's rules by ground truth: the marks that synthetic publishers leave in their payloads."""

from __future__ import annotations

from tests.simulation.codec_checker import Breach
from tests.simulation.stream_rules import Report, Rule
from tests.simulation.tags import FrameTag

REMEMBERED_FRAMES = 512


class OriginChecker:
    """Judges frames in order of sequence numbers: whole, in order, of the source that the CSRC names, decodable."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._source: tuple[int, int] | None = None
        self._tag: FrameTag | None = None
        self._next_index = 0
        self._sent: set[int] = set()
        self._excused: set[int] = set()
        self._keyframe = 0
        self._undecodable = False
        self._lost = 0
        self._publications: dict[int, int] = {}

    def lose(self, packets: int) -> None:
        """Packets are missing before the next one."""
        self._lost += packets

    def packet(self, tag: FrameTag, csrc: int, *, first: bool, lost: int) -> list[Breach]:
        """A packet of the open frame; `lost` packets are missing directly before it."""
        if first:
            return self._open(tag, csrc, lost)
        if self._tag is None:
            return []
        breaches: list[Breach] = []
        if (tag.publication, tag.layer, tag.frame) != (self._tag.publication, self._tag.layer, self._tag.frame):
            breaches.append((Rule.ORIGIN_MIXED_FRAME, f"{tag} in {self._tag}"))
        elif not self._next_index <= tag.index <= self._next_index + lost:
            breaches.append((Rule.ORIGIN_INCOMPLETE, f"{tag}, expected packet {self._next_index}"))
        self._next_index = tag.index + 1
        return breaches

    def _open(self, tag: FrameTag, csrc: int, lost: int) -> list[Breach]:
        breaches = self._judge_name(tag, csrc)
        previous, self._tag = self._tag, tag
        source = (tag.publication, tag.layer)
        if source != self._source:
            if not tag.keyframe:
                breaches.append((Rule.ORIGIN_SWITCH, f"{self._source} to {source} on {tag}"))
            if self._source is not None and self._source[0] == tag.publication:
                self._report.switches += 1
            self._source = self._report.layer = source
            self._sent.clear()
            self._excused.clear()
        elif previous is not None:
            if tag.frame <= previous.frame:
                breaches.append((Rule.ORIGIN_ORDER, f"{tag} after frame {previous.frame}"))
            if self._lost:
                self._excused.update(range(previous.frame + 1, tag.frame))
        breaches += self._judge_references(tag)
        if tag.index > lost:
            breaches.append((Rule.ORIGIN_INCOMPLETE, f"begins with {tag}"))
        self._next_index = tag.index + 1
        self._lost = 0
        return breaches

    def _judge_name(self, tag: FrameTag, csrc: int) -> list[Breach]:
        named = self._publications.get(csrc, tag.publication)
        self._publications[csrc] = tag.publication
        if named == tag.publication:
            return []
        return [(Rule.ORIGIN_CSRC, f"{csrc:#x} named {named}, now {tag.publication}")]

    def _judge_references(self, tag: FrameTag) -> list[Breach]:
        missing = [frame for frame in tag.references if frame not in self._sent]
        self._undecodable = bool(missing)
        wrong = [frame for frame in missing if frame not in self._excused]
        return [(Rule.ORIGIN_REFERENCE, f"{tag} needs {wrong}")] if wrong else []

    def close(self, *, damaged: bool) -> list[Breach]:
        """The open frame ended."""
        tag = self._tag
        if tag is None:
            return []
        breaches: list[Breach] = []
        if self._next_index != tag.count and not damaged:
            breaches.append((Rule.ORIGIN_INCOMPLETE, f"{tag} ends with packet {self._next_index - 1}"))
        if damaged or self._undecodable:
            self._excused.add(tag.frame)
            self._report.undecodable_frames += not damaged
        else:
            self._sent.add(tag.frame)
            if tag.keyframe:
                self._keyframe = tag.frame
        if len(self._sent) > REMEMBERED_FRAMES:
            oldest = tag.frame - REMEMBERED_FRAMES // 2
            self._sent = {frame for frame in self._sent if frame >= oldest or frame == self._keyframe}
        return breaches

    def audio(self, tag: FrameTag, csrc: int) -> list[Breach]:
        """An audio packet: a frame by itself, which needs no other."""
        breaches = self._judge_name(tag, csrc)
        same = self._tag is not None and self._tag.publication == tag.publication
        if same and self._tag is not None and tag.frame <= self._tag.frame:
            breaches.append((Rule.ORIGIN_ORDER, f"{tag} after frame {self._tag.frame}"))
        self._tag = tag
        self._report.layer = (tag.publication, tag.layer)
        return breaches
