# SPDX-License-Identifier: Apache-2.0
"""The layer selector in plain Python, from the rules of docs/layer-selection.md: for each frame, does it flow?

A selector is asked once a frame, in the order in which their first packets come. What it says is a verdict; a switch
or start is a forward with `begins` set: numbers join there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from sfu.wire.dependencies import Dependency, Structure

NOT_PRESENT, DISCARDABLE, SWITCH, REQUIRED = range(4)
REMEMBERED_FRAMES = 64
FRAME_NUMBERS = 1 << 16


class Verdict(Enum):
    """What becomes of a frame; the names of drops are the counters'."""

    FORWARD = "forward"
    BEGIN = "begin"
    SPATIAL = "not_selected_spatial"
    TEMPORAL = "not_selected_temporal"
    KEYFRAME = "awaiting_keyframe"
    PAUSED = "paused"

    @property
    def forwards(self) -> bool:
        return self in (Verdict.FORWARD, Verdict.BEGIN)


class Layers(NamedTuple):
    """Spatial -1 = none."""

    spatial: int
    temporal: int


NOTHING = Layers(-1, -1)


@dataclass(frozen=True)
class FrameFacts:
    """What the first packet of a frame that came tells of it."""

    layer: int = 0
    """Simulcast layer."""
    spatial: int = 0
    temporal: int = 0
    key: bool = False
    sync: bool = False
    """VP8's Y."""
    up: bool = False
    """VP9's U."""
    picture: object = None
    """Names the picture that the frame is of."""
    dependency: Dependency | None = None


@dataclass
class Flow:
    """What flows to one receiver, and what decides on it."""

    target: Layers = NOTHING
    current: Layers = NOTHING
    # VP9
    open_above: bool = False
    picture: object = None
    # dependency descriptor
    decode_target: int | None = None
    structure: Structure | None = None
    active: int = 0
    newest: int | None = None
    held_back: set[int] = field(default_factory=set)
    first: int = 0

    def stop(self) -> None:
        """Nothing flows any more."""
        self.current = NOTHING
        self.decode_target = None

    # -- one stream for each spatial layer

    def simulcast(self, frame: FrameFacts, *, by_u: bool = False) -> Verdict:
        """VP8, H.264 and whatever has no layers of its own but temporal ones; `by_u` = these are VP9's."""
        target = self.target
        if target.spatial < 0:
            self.stop()
            return Verdict.PAUSED
        if self.begins(frame):
            begun = frame.layer != self.current.spatial
            self.current, self.open_above = Layers(frame.layer, target.temporal), True
            return Verdict.BEGIN if begun else Verdict.FORWARD
        if frame.layer != self.current.spatial:
            waits = frame.layer == target.spatial or (self.current.spatial < 0 and frame.layer < target.spatial)
            return Verdict.KEYFRAME if waits else Verdict.SPATIAL
        reached = min(self.current.temporal, target.temporal)
        if by_u and self.open_above and frame.temporal <= target.temporal:
            reached = max(reached, frame.temporal)
        elif frame.sync and frame.temporal == reached + 1 <= target.temporal:
            reached += 1
        self.current = Layers(frame.layer, reached)
        if frame.temporal > reached:
            self.open_above = False
            return Verdict.TEMPORAL
        self.open_above = self.open_above or frame.up
        return Verdict.FORWARD

    def begins(self, frame: FrameFacts) -> bool:
        """A keyframe of the wanted layer, of the layer that flows, or, while nothing flows, of a lower one."""
        if not frame.key:
            return False
        if frame.layer in (self.target.spatial, self.current.spatial):
            return True
        return self.current.spatial < 0 and frame.layer < self.target.spatial

    # -- VP9 without a dependency descriptor, all layers in one stream

    def vp9(self, frame: FrameFacts) -> Verdict:
        """Spatial layers up at a keyframe and down at the next picture; temporal ones up behind a U picture."""
        target = self.target
        if target.spatial < 0:
            self.stop()
            return Verdict.PAUSED
        new_picture = frame.picture != self.picture
        if frame.key:
            begun = self.current.spatial < 0
            self.current, self.picture, self.open_above = target, frame.picture, True
            return Verdict.BEGIN if begun else Verdict.FORWARD
        if self.current.spatial < 0:
            return Verdict.KEYFRAME
        if new_picture:
            self.picture = frame.picture
            spatial = min(self.current.spatial, target.spatial)
            temporal = min(self.current.temporal, target.temporal)
            if self.open_above:
                temporal = min(max(temporal, frame.temporal), target.temporal)
            self.current = Layers(spatial, temporal)
        if frame.temporal > self.current.temporal:
            self.open_above = False
            return Verdict.TEMPORAL
        if frame.spatial > self.current.spatial:
            return Verdict.SPATIAL
        if frame.up:
            self.open_above = True
        return Verdict.FORWARD

    # -- dependency descriptor

    def wanted(self, structure: Structure, active: int, spatial: int, temporal: int) -> int:
        """The highest active decode target within these layers, spatial before temporal; else the lowest active one."""
        offered = [(layers, -at) for at, layers in enumerate(structure.target_layers) if active >> at & 1]
        within = [one for one in offered if one[0][0] <= spatial and one[0][1] <= temporal]
        if within:
            return -max(within)[1]
        return min((layers, -at) for layers, at in offered)[1] if offered else 0

    def dependent(
        self, dependency: Dependency, structure: Structure, active: int, spatial: int, *, closed: bool = False
    ) -> Verdict:
        """Not for late frames. `spatial` = the highest layer that is wanted of this stream."""
        if self.target.spatial < 0:
            self.stop()
            return Verdict.PAUSED
        number = dependency.frame_number
        wanted = self.wanted(structure, active, spatial, self.target.temporal)
        at = self.decode_target
        if at is None and not (dependency.structure is not None and dependency.start_of_frame):
            return Verdict.KEYFRAME
        if at is None or dependency.structure is not None:
            begun = at is None
            self.held_back, self.first, self.newest = set(), number, number
            self.structure, self.decode_target = structure, wanted
            return Verdict.BEGIN if begun else Verdict.FORWARD
        self.newest = number
        intact = self._intact(dependency)
        if wanted != at and self._may_switch(dependency, structure, wanted, intact, closed=closed):
            at = self.decode_target = wanted
        present = dependency.indications[at] != NOT_PRESENT
        if present and intact:
            return Verdict.FORWARD
        self.held_back.add(number)
        if len(self.held_back) > 2 * REMEMBERED_FRAMES:
            self.held_back = {one for one in self.held_back if (number - one) % FRAME_NUMBERS < REMEMBERED_FRAMES}
        if present:
            return Verdict.KEYFRAME
        return Verdict.SPATIAL if dependency.spatial != structure.target_layers[at][0] else Verdict.TEMPORAL

    def carries(self, dependency: Dependency) -> bool:
        """Whether a late frame belongs to what flows, and all that it refers to was forwarded."""
        at = self.decode_target
        return at is not None and dependency.indications[at] != NOT_PRESENT and self._intact(dependency)

    def _intact(self, dependency: Dependency) -> bool:
        number = dependency.frame_number
        return not any((number - fdiff) % FRAME_NUMBERS in self.held_back for fdiff in dependency.fdiffs)

    def _may_switch(
        self, dependency: Dependency, structure: Structure, wanted: int, intact: bool, *, closed: bool
    ) -> bool:
        indication = dependency.indications[wanted]
        if indication == NOT_PRESENT or not intact:
            return False
        now = structure.target_layers[self.decode_target or 0]
        goal = structure.target_layers[wanted]
        if closed and goal[0] > now[0]:
            return False
        if indication == SWITCH:
            return True
        if goal[0] > now[0] or goal[1] > now[1]:
            return False
        if not structure.chains:
            return True
        fdiff = dependency.chain_fdiffs[structure.protected_by[wanted]]
        return fdiff == 0 or (dependency.frame_number - fdiff) % FRAME_NUMBERS not in self.held_back
