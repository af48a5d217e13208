# SPDX-License-Identifier: Apache-2.0
"""On which worker a participant goes: a pure function of how busy the workers are and where its room is.

A room stays on one worker while it fits there: what crosses from one worker to another costs both of them. Of a room
that has outgrown its workers the newcomers go to the least busy one, and their media is relayed (docs/relay.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

# What a participant is taken to cost until the next measurement shows it; Jitsi's bridge selection assumes the same.
JOIN_SHARE: Final = 0.01
# Workers whose load differs by less than this are equally busy: a measurement is no better than that.
BUSY_STEP: Final = 0.05
# A room of fewer members is not the reason why its worker is busy, and stays on it.
SMALL_ROOM: Final = 10
# How much less busy another worker has to be before a room that fits by number goes on to it.
WORTH_MOVING: Final = 0.15


@dataclass(frozen=True, slots=True)
class WorkerLoad:
    """Of one worker."""

    busy: float
    """Share of its time that its thread works, 0 to 1, smoothed."""
    participants: int
    """Of all rooms."""
    recent: int = 0
    """Of these, joined since `busy` was last measured."""
    members: int = 0
    """Of the room in question."""

    @property
    def expected(self) -> float:
        """How busy it will be when those who have just joined send and receive."""
        return self.busy + self.recent * JOIN_SHARE


@dataclass(frozen=True, slots=True)
class Spread:
    """When a room has outgrown a worker."""

    participants: int
    """So many of one room are on it already."""
    busy: float = 0.6
    """Or it is so busy, 0 to 1, and the room is not a small one."""

    def outgrown(self, load: WorkerLoad) -> bool:
        large = load.members >= SMALL_ROOM
        return load.members >= self.participants or (large and load.expected >= self.busy)


def place(loads: Sequence[WorkerLoad], spread: Spread) -> int:
    """The index of the worker that the next participant of a room goes to."""
    home = [index for index, load in enumerate(loads) if load.members and not spread.outgrown(load)]
    if home:
        # The fullest: a room that shrinks and grows again does not spread over more workers than it needs.
        return max(home, key=lambda index: (loads[index].members, -index))
    best = min(range(len(loads)), key=lambda index: (*_rank(loads[index], spread), index))
    stay = [
        index
        for index, load in enumerate(loads)
        if 0 < load.members < spread.participants and load.expected < loads[best].expected + WORTH_MOVING
    ]
    return min(stay, key=lambda index: (loads[index].expected, index), default=best)


def _rank(load: WorkerLoad, spread: Spread) -> tuple[int, int, int]:
    """Lowest first. A worker that has its share of this room comes after those that have not."""
    full = int(load.members >= spread.participants) * load.members
    return (full, int(load.expected / BUSY_STEP), load.participants)
