# SPDX-License-Identifier: Apache-2.0
"""Which frames of a scalable stream a receiver gets, in plain Python after docs/layer-selection.md.

`DependencySelector` knows a stream by its dependency descriptors only, `Vp9Selector` by its payload descriptors only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sfu.wire.dependencies import Dependency, Structure, UnknownTemplateError
from sfu.wire.payloads import Vp9
from tests.reference.layer_graph import NOT_PRESENT, SWITCH
from tests.reference.wire_dependency_descriptor import ReferenceReader
from tests.reference.wire_vp9 import parse_vp9

NUMBERS = 1 << 16


@dataclass
class DependencySelector:
    wish: tuple[int, int] = (0, 0)
    """Highest spatial (-1: paused) and temporal layer wanted."""
    target: int | None = None
    """The decode target that flows."""
    dropped: set[int] = field(default_factory=set)
    """Frame numbers of this sequence that were held back."""
    reader: ReferenceReader = field(default_factory=ReferenceReader)
    closed: int = -1
    """The last picture whose end was forwarded, marked as such."""

    def take(self, descriptor: bytes, picture: int) -> bool:
        """Whether the frame is forwarded."""
        try:
            frame = self.reader.read(descriptor)
        except UnknownTemplateError:
            return False
        structure = self.reader.structure
        assert structure is not None
        if self.wish[0] < 0:
            self.target = None
            return False
        forwarded = self._decide(frame, structure, picture)
        if not forwarded:
            self.dropped.add(frame.frame_number)
        elif self.target is not None and frame.spatial == structure.target_layers[self.target][0]:
            self.closed = picture
        return forwarded

    def _decide(self, frame: Dependency, structure: Structure, picture: int) -> bool:
        wanted = self._wanted(structure)
        if frame.structure is not None:
            self.target, self.dropped = wanted, set()
            return True
        if self.target is None:
            return False
        kept = not any((frame.frame_number - fdiff) % NUMBERS in self.dropped for fdiff in frame.fdiffs)
        rises = structure.target_layers[wanted][0] > structure.target_layers[self.target][0]
        if kept and self._may_switch(frame, structure, wanted) and not (rises and self.closed == picture):
            self.target = wanted
        return kept and frame.indications[self.target] != NOT_PRESENT

    def _wanted(self, structure: Structure) -> int:
        """Within the wish: the highest spatial layer, then the highest temporal one. Else the lowest of all."""
        layers = structure.target_layers
        within = [at for at, (s, t) in enumerate(layers) if s <= self.wish[0] and t <= self.wish[1]]
        return max(within, key=lambda at: layers[at]) if within else min(range(len(layers)), key=lambda at: layers[at])

    def _may_switch(self, frame: Dependency, structure: Structure, wanted: int) -> bool:
        if frame.indications[wanted] == NOT_PRESENT:
            return False
        if frame.indications[wanted] == SWITCH:
            return True
        assert self.target is not None
        now, then = structure.target_layers[self.target], structure.target_layers[wanted]
        chain_fdiff = frame.chain_fdiffs[structure.protected_by[wanted]]
        intact = chain_fdiff == 0 or (frame.frame_number - chain_fdiff) % NUMBERS not in self.dropped
        return then < now and then[1] <= now[1] and intact


@dataclass
class Vp9Selector:
    wish: tuple[int, int] = (0, 0)
    spatial: int = -1
    temporal: int = 0
    may_rise: bool = False
    """A switching-up point was forwarded, and nothing was held back for its temporal layer since."""
    picture: int = -1

    def take(self, payload: bytes, picture: int) -> bool:
        frame = parse_vp9(payload)
        begins, self.picture = picture != self.picture, picture
        if self.wish[0] < 0:
            self.spatial = -1
            return False
        if frame.keyframe:
            (self.spatial, self.temporal), self.may_rise = self.wish, False
            return True
        if self.spatial < 0:
            return False
        return self._within(frame, begins)

    def _within(self, frame: Vp9, begins: bool) -> bool:
        temporal, spatial = frame.temporal or 0, frame.spatial or 0
        if begins:
            self.spatial = min(self.spatial, self.wish[0])
            if self.wish[1] < self.temporal:
                self.temporal = self.wish[1]
            elif temporal > self.temporal and self.may_rise:
                self.temporal = min(temporal, self.wish[1])
        if temporal > self.temporal:
            self.may_rise = False
            return False
        if spatial > self.spatial:
            return False
        self.may_rise = self.may_rise or frame.switching_up
        return True
