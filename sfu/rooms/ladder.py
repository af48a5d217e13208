# SPDX-License-Identifier: Apache-2.0
"""The steps in which a video's quality can be lowered, and what each costs.

Temporal layers make the steps between spatial layers. A face at a quarter of its frame rate is worse than a smaller
face in motion, so a camera's upper layers come with half of the frames at the least. A shared screen is the other way
round: to be read it needs all its pixels, at whatever rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from sfu.rooms.layers import ALL_TEMPORAL, Target
from sfu.rooms.model import Layer

# What of a layer's rate the temporal layers up to each index carry: libwebrtc's allocation for three of them
# (modules/video_coding/utility/simulcast_rate_allocator.cc, kLayerRateAllocation).
THREE_TEMPORAL: Final = (0.4, 0.6, 1.0)
ONE_TEMPORAL: Final = (1.0, 1.0, 1.0)
# What saves less than this is no step.
MIN_SAVING: Final = 0.95

# A picture on stage is good enough to be seen at this height (Jitsi: 360p at 30 frames a second is what is preferred).
PREFERRED_HEIGHT: Final = 360


class Step(NamedTuple):
    target: Target
    rate_bps: int


@dataclass(frozen=True, slots=True)
class Ladder:
    """Lowest step first; costs do not fall. Empty where nothing is known to flow."""

    steps: tuple[Step, ...] = ()
    goal: int = 0
    """The step that is preferred when on stage."""
    targets: tuple[Target, ...] = ()
    """Those of the steps."""

    def level_of(self, target: Target) -> int:
        """The highest step that is not above the target; -1: below the lowest."""
        level = len(self.steps) - 1
        while level >= 0 and self.steps[level].target > target:
            level -= 1
        return level

    def cap(self, target: Target) -> int:
        """The lowest step that gives all of the target that there is."""
        best = -1
        for index, ((spatial, temporal), _) in enumerate(self.steps):
            if spatial == target.spatial:
                best = index
                if temporal >= target.temporal:
                    break
        return best if best >= 0 else self.level_of(target)


@dataclass(frozen=True, slots=True)
class Rates:
    """Of one track."""

    layers_bps: tuple[float, ...]
    """Of each layer in full: with all that it needs, which for a scalable stream are the layers below it."""
    shares: tuple[float, float, float] = ONE_TEMPORAL
    """What of it remains with one and with two temporal layers."""


def make_ladder(layers: Sequence[Layer], available: int, rates: Rates, *, screen: bool) -> Ladder:
    """Bit i of `available` says that layer i can be had."""
    steps: list[Step] = []
    cost_bps = 0
    indexes = [index for index in range(len(rates.layers_bps)) if available >> index & 1]
    for index in indexes:
        lowest, highest = index == indexes[0], index == indexes[-1]
        for temporal in _temporals(rates.shares, lowest=lowest, highest=highest, screen=screen):
            share = rates.shares[min(temporal, len(rates.shares) - 1)]
            # A layer that for the moment sends less than a lower one is no cheaper for it: it would not stay so.
            cost_bps = max(cost_bps, round(rates.layers_bps[index] * share))
            steps.append(Step(Target(index, temporal), cost_bps))
    return Ladder(tuple(steps), _goal(layers, steps, screen=screen), tuple(step.target for step in steps))


def _temporals(shares: Sequence[float], *, lowest: bool, highest: bool, screen: bool) -> list[int]:
    saving = [index for index, share in enumerate(shares[:-1]) if share < MIN_SAVING * shares[index + 1]]
    if screen and not highest:
        return saving[:1] or [ALL_TEMPORAL]
    return [index for index in saving if index or lowest or screen] + [ALL_TEMPORAL]


def _goal(layers: Sequence[Layer], steps: Sequence[Step], *, screen: bool) -> int:
    if not steps:
        return 0
    top = steps[-1].target.spatial
    if screen:
        return next(index for index, step in enumerate(steps) if step.target.spatial == top)
    full = [index for index, step in enumerate(steps) if step.target.temporal == ALL_TEMPORAL]
    large = (index for index in full if _height(layers, steps[index].target.spatial) >= PREFERRED_HEIGHT)
    return next(large, full[-1])


def _height(layers: Sequence[Layer], index: int) -> int:
    """The shorter side: a camera may be held upright."""
    return min(layers[index].width, layers[index].height) if index < len(layers) else 0
