# SPDX-License-Identifier: Apache-2.0
"""Who comes and goes in a crowd is told a few times a second, together: else a thousand who join at once are a million
wake-ups."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sfu.rooms.events import (
    ParticipantJoined,
    ParticipantLeft,
    ParticipantUpdated,
    RoomEvent,
    RosterChange,
    RosterChanged,
)
from sfu.rooms.member import Member
from sfu.rooms.model import Participant, ParticipantId

# A room with more people is a crowd: most of them only look on, and nobody looks at all of them.
CROWD: Final = 30


def is_crowd(people: int) -> bool:
    return people > CROWD


class Roster:
    """What a crowd has not been told yet."""

    def __init__(self) -> None:
        self._changes: list[tuple[Participant, RosterChange]] = []
        self._entered: dict[ParticipantId, int] = {}
        """Who came meanwhile knows of what was before: from which change on it is told."""

    def takes(self, event: RoomEvent) -> bool:
        """Keeps it for later, if nothing else depends on it: onlookers only, whom no slot shows."""
        match event:
            case ParticipantJoined(participant) | ParticipantUpdated(participant):
                pass
            case ParticipantLeft(participant) if not participant.publications:
                pass
            case _:
                return False
        self._changes.append((participant, event))
        return True

    def entered(self, participant: Participant) -> None:
        """It has just been told who is there."""
        if self._changes:
            self._entered[participant.id] = len(self._changes)

    def tell(self, members: Iterable[Member]) -> None:
        """Everybody, in order, what there was; nobody of itself."""
        if not self._changes:
            return
        changes, self._changes = self._changes, []
        entered, self._entered = self._entered, {}
        concerned = {participant.id for participant, _ in changes} | entered.keys()
        # One object for nearly all: doors encode it once.
        everything = RosterChanged(tuple(event for _, event in changes))
        apart = []
        for member in members:
            if member.participant.id in concerned:
                apart.append(member)
            else:
                member.tell(everything)
        for member in apart:
            rest = changes[entered.get(member.participant.id, 0) :]
            events = tuple(event for participant, event in rest if participant is not member.participant)
            if events:
                member.tell(RosterChanged(events))
