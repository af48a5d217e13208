# SPDX-License-Identifier: Apache-2.0
"""What receivers ask of the allocation and what they have, and the answer where there is nothing to weigh.

Most receivers of most rooms have all that they wish for, with room to spare. For one of them numpy's arrays cost a
hundred times what the decision is worth, so `settled` takes it in plain Python; all others go to `allocate` together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sfu.rooms.allocation import (
    AMPLE_PERCENT,
    HEADROOM_PERCENT,
    NEVER_US,
    NEW,
    NO_STEP,
    PAUSED,
    Allocation,
    Course,
    Receivers,
    Sources,
    allocate,
)
from sfu.rooms.ladder import Ladder
from sfu.rooms.layers import Target
from sfu.rooms.media import SlotState
from sfu.rooms.model import Publication, PublicationId, Source


@dataclass(slots=True)
class Standing:
    """What one receiver has of one publication."""

    target: Target
    """Of the ladder's steps: a wish may ask for fewer of its frames."""
    priority: int
    downgraded_us: int
    upgraded_us: int


@dataclass(frozen=True, slots=True)
class Seat:
    """A slot that shows a video."""

    state: SlotState
    publication: Publication
    ladder: Ladder
    target: Target
    """What is wished for, and there."""
    cap: int
    """The ladder's step for it; `PAUSED` where there is nothing to choose."""
    priority: int
    desired: int
    """The layer that would be wished for if all were there."""
    age: tuple[int, int]
    """Among equals the latest speaker comes first, then who was there first."""
    missing_bps: int = 0
    """What `desired` takes beyond `cap`: layers that have not begun, or that their publisher cannot send."""
    shed: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """Of one receiver that has a limit."""

    seats: Sequence[Seat]
    standings: Mapping[PublicationId, Standing]
    audio_bps: int
    budget_bps: int
    steady_bps: int
    """The least that the budget was lately."""
    congestion: int
    starting: bool
    """Upgrades of before do not make it wait."""

    def upgraded_us(self, standing: Standing) -> int:
        return NEVER_US if self.starting else standing.upgraded_us


class Verdict(NamedTuple):
    """What a seat gets: a level of its ladder, and when it last changed."""

    level: int
    downgraded_us: int
    upgraded_us: int


NO_CHOICE = Verdict(PAUSED, NEVER_US, NEVER_US)


@dataclass(frozen=True, slots=True)
class Ruling:
    verdicts: Sequence[Verdict]
    """One for each seat."""
    wanted_bps: int
    probe_bps: int = 0


def settled(claim: Claim) -> Ruling | None:
    """As `allocate` would rule, where everything wished for fits amply and nothing has to climb for it; else None."""
    verdicts = []
    wanted_bps = claim.audio_bps
    for seat in claim.seats:
        if seat.cap == PAUSED:
            verdicts.append(NO_CHOICE)
            continue
        wanted_bps += seat.ladder.steps[seat.cap].rate_bps
        standing = claim.standings.get(seat.publication.id)
        if standing is None:
            verdicts.append(Verdict(seat.cap, NEVER_US, NEVER_US))
            continue
        if seat.ladder.level_of(standing.target) < seat.cap:
            return None
        downgraded_us = NEVER_US if seat.priority > standing.priority else standing.downgraded_us
        verdicts.append(Verdict(seat.cap, downgraded_us, claim.upgraded_us(standing)))
    return Ruling(verdicts, wanted_bps) if fits_amply(wanted_bps, claim.budget_bps, claim.steady_bps) else None


def fits_amply(wanted_bps: int, budget_bps: int, steady_bps: int) -> bool:
    likely_bps = min(budget_bps, steady_bps) * 100 // (100 + HEADROOM_PERCENT)
    return wanted_bps <= likely_bps and wanted_bps <= budget_bps * 100 // (100 + AMPLE_PERCENT)


def weighed(claims: Sequence[Claim], now_us: int) -> list[Ruling]:
    """Between receivers and sources that there is too little for."""
    found = {
        id(seat.ladder): (seat.age, seat.publication, seat.ladder)
        for claim in claims
        for seat in claim.seats
        if seat.ladder.steps
    }
    # Columns are in the order in which equals are served. A publication's backup has one of its own.
    columns = sorted(found.values(), key=lambda column: column[0])
    index = {id(ladder): column for column, (_, _, ladder) in enumerate(columns)}
    allocation = allocate(_sources(columns), *_receivers(claims, index), now_us)
    return [_ruling(claim, row, index, allocation) for row, claim in enumerate(claims)]


def _ruling(claim: Claim, row: int, index: Mapping[int, int], allocation: Allocation) -> Ruling:
    course = allocation.course
    level, down, up = course.level[row].tolist(), course.downgraded_us[row].tolist(), course.upgraded_us[row].tolist()
    verdicts = []
    for seat in claim.seats:
        if seat.cap == PAUSED:
            verdicts.append(NO_CHOICE)
        else:
            column = index[id(seat.ladder)]
            verdicts.append(Verdict(level[column], down[column], up[column]))
    return Ruling(verdicts, int(allocation.wanted_bps[row]), int(allocation.probe_bps[row]))


def _sources(columns: Sequence[tuple[tuple[int, int], Publication, Ladder]]) -> Sources:
    width = max((len(ladder.steps) for *_, ladder in columns), default=1)
    costs = np.full((len(columns), width), NO_STEP, np.int64)
    for column, (*_, ladder) in enumerate(columns):
        costs[column, : len(ladder.steps)] = [step.rate_bps for step in ladder.steps]
    return Sources(
        costs,
        np.array([ladder.goal for *_, ladder in columns], np.int8),
        np.array([publication.source is Source.SCREEN_SHARE for _, publication, _ in columns], np.bool_),
    )


def _receivers(claims: Sequence[Claim], index: Mapping[int, int]) -> tuple[Receivers, Course]:
    shape = (len(claims), len(index))
    receivers = Receivers(
        np.array([claim.budget_bps for claim in claims], np.int64),
        np.array([claim.steady_bps for claim in claims], np.int64),
        np.array([claim.audio_bps for claim in claims], np.int64),
        np.array([claim.congestion for claim in claims], np.int8),
        np.full(shape, PAUSED, np.int8),
        np.zeros(shape, np.int8),
    )
    before = Course(
        np.full(shape, NEW, np.int8), np.zeros(shape, np.int8), np.full(shape, NEVER_US), np.full(shape, NEVER_US)
    )
    for row, claim in enumerate(claims):
        for seat in claim.seats:
            column = index.get(id(seat.ladder), -1)
            if column < 0:
                continue
            receivers.caps[row, column] = seat.cap
            receivers.priority[row, column] = seat.priority
            standing = claim.standings.get(seat.publication.id)
            if standing is not None:
                before.level[row, column] = seat.ladder.level_of(standing.target)
                before.priority[row, column] = standing.priority
                before.downgraded_us[row, column] = standing.downgraded_us
                before.upgraded_us[row, column] = claim.upgraded_us(standing)
    return receivers, before
