# SPDX-License-Identifier: Apache-2.0
"""Random streams with spatial and temporal layers, and what their descriptors must say of them, worked out from the
definitions (AV1 RTP specification appendix A.3 and A.4, RFC 9628 §4.2) by looking at the whole graph, future included.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from sfu.wire.dependencies import Structure, Template
from sfu.wire.payloads import Vp9
from tests.reference.wire_dependency_descriptor import Descriptor, write_descriptor
from tests.reference.wire_vp9 import write_vp9

NOT_PRESENT, DISCARDABLE, SWITCH, REQUIRED = range(4)
TEMPORAL_PATTERNS = {1: (0,), 2: (0, 1), 3: (0, 2, 1, 2)}
TEMPLATE_IDS = 64

Mode = Literal["full", "key", "none"]
"""In which pictures a spatial layer refers to the one below: all, keyframes only (k-SVC), none (S modes)."""


@dataclass(eq=False)
class Frame:
    """One spatial layer of one picture."""

    number: int
    picture: int
    spatial: int
    temporal: int
    key: bool
    """Of a picture that refers to nothing before it."""
    refs: list[Frame] = field(default_factory=list)

    @cached_property
    def needs(self) -> frozenset[Frame]:
        """Itself and all that it cannot be decoded without."""
        return frozenset({self}).union(*(one.needs for one in self.refs))


@dataclass
class Graph:
    spatial: int
    temporal: int
    mode: Mode
    frames: list[Frame]

    @classmethod
    def build(cls, spatial: int, temporal: int, mode: Mode, keys: frozenset[int], sticky: list[bool]) -> Graph:
        """One picture for each entry of `sticky`: whether it also refers to the last one of its own temporal layer."""
        graph = cls(spatial, temporal, mode, [])
        pattern = TEMPORAL_PATTERNS[temporal]
        last: list[list[Frame]] = []  # of each temporal layer the last picture's frames
        since_key = 0
        for picture, clings in enumerate(sticky):
            key = picture == 0 or picture in keys
            since_key = 0 if key else since_key + 1
            layer = pattern[since_key % len(pattern)]
            if key:
                last = []
            own = [Frame(len(graph.frames) + n, picture, n, layer, key) for n in range(spatial)]
            for frame in own:
                below = [frames for frames in last[: max(layer, 1)] if frames]
                if below:
                    frame.refs.append(max((frames[frame.spatial] for frames in below), key=lambda one: one.number))
                if clings and layer < len(last) and last[layer] and last[layer][frame.spatial] not in frame.refs:
                    frame.refs.append(last[layer][frame.spatial])
                if frame.spatial and (mode == "full" or (mode == "key" and key)):
                    frame.refs.append(own[frame.spatial - 1])
            last += [[] for _ in range(layer + 1 - len(last))]
            last[layer] = own
            graph.frames += own
        return graph

    @property
    def targets(self) -> list[tuple[int, int]]:
        """Decode targets, the highest first, as encoders list them."""
        return [(s, t) for s in reversed(range(self.spatial)) for t in reversed(range(self.temporal))]

    def members(self, target: tuple[int, int]) -> frozenset[Frame]:
        """The frames that the decode target consists of."""
        shown = (frame for frame in self.frames if frame.spatial == target[0] and frame.temporal <= target[1])
        return frozenset().union(*(frame.needs for frame in shown))

    @cached_property
    def _members(self) -> dict[tuple[int, int], frozenset[Frame]]:
        return {target: self.members(target) for target in self.targets}

    def _later(self, frame: Frame) -> Iterator[Frame]:
        """Of the same coded video sequence."""
        for one in self.frames[frame.number + 1 :]:
            if one.key and one.picture != frame.picture:
                return
            yield one

    def indication(self, frame: Frame, target: tuple[int, int]) -> int:
        members = self._members[target]
        if frame not in members:
            return NOT_PRESENT
        later = [one for one in self._later(frame) if one in members]
        if not any(frame in one.refs for one in later):
            return DISCARDABLE
        before = [one for one in self.frames[: frame.number] if one not in frame.needs]
        return REQUIRED if any(one.needs.intersection(before) for one in later) else SWITCH

    def chain_fdiff(self, frame: Frame, spatial: int) -> int:
        """To the last frame before it of the chain that protects this spatial layer; 0 where that begins."""
        chain = self._members[spatial, 0]
        for one in reversed(self.frames[: frame.number]):
            if frame.key and one.picture != frame.picture:
                return 0
            if one in chain:
                return frame.number - one.number
        return 0

    def structure(self, offset: int) -> Structure:
        """Templates tell the layers only: each frame brings the rest along."""
        layers = [(s, t) for s in range(self.spatial) for t in range(self.temporal)]
        indications = {
            layer: tuple(SWITCH if layer[0] <= s and layer[1] <= t else NOT_PRESENT for s, t in self.targets)
            for layer in layers
        }
        return Structure(
            template_id_offset=offset % TEMPLATE_IDS,
            decode_targets=len(self.targets),
            chains=self.spatial,
            templates=tuple(Template(*layer, indications[layer], (), (0,) * self.spatial) for layer in layers),
            protected_by=tuple(spatial for spatial, _ in self.targets),
        )

    def descriptors(self, first_number: int, offset: int = 0) -> list[bytes]:
        """The dependency descriptor of each frame."""
        written = []
        generation = -1
        structure = self.structure(offset)
        for frame in self.frames:
            opens = frame.key and frame.spatial == 0
            if opens:
                generation += 1
                structure = self.structure(offset + generation * self.spatial * self.temporal)
            template = structure.template_id_offset + frame.spatial * self.temporal + frame.temporal
            descriptor = Descriptor(
                template_id=template % TEMPLATE_IDS,
                frame_number=(first_number + frame.number) & 0xFFFF,
                structure=structure if opens else None,
                indications=tuple(self.indication(frame, target) for target in self.targets),
                fdiffs=tuple((2, frame.number - one.number) for one in frame.refs),
                chain_fdiffs=tuple(self.chain_fdiff(frame, spatial) for spatial in range(self.spatial)),
            )
            written.append(write_descriptor(descriptor, structure))
        return written

    def switching_up(self, frame: Frame) -> bool:
        """VP9's U: no later picture of a higher temporal layer depends on an earlier one above this one's layer."""
        old = {one for one in self.frames if one.picture < frame.picture and one.temporal > frame.temporal}
        return not any(one.temporal > frame.temporal and one.needs & old for one in self._later(frame))

    def vp9_descriptors(self, first_picture: int) -> list[bytes]:
        """The VP9 payload descriptor of each frame, flexible mode."""
        return [
            write_vp9(
                Vp9(
                    start_of_frame=True,
                    end_of_frame=True,
                    inter_picture_predicted=any(one.picture != frame.picture for one in frame.refs),
                    flexible=True,
                    picture_id=(first_picture + frame.picture) & 0x7FFF,
                    long_picture_id=True,
                    temporal=frame.temporal,
                    spatial=frame.spatial,
                    switching_up=self.switching_up(frame),
                    inter_layer=any(one.picture == frame.picture for one in frame.refs),
                    p_diffs=tuple(frame.picture - one.picture for one in frame.refs if one.picture != frame.picture),
                )
            )
            for frame in self.frames
        ]
