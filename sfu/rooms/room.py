# SPDX-License-Identifier: Apache-2.0
"""A room's membership: who is there, who publishes what, who wishes what. No I/O, no clock, no media.

Every change is told to `emit` at once, after the room has changed.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import count
from typing import Final

from sfu.rooms.errors import RoomError
from sfu.rooms.events import (
    ParticipantJoined,
    ParticipantLeft,
    PublicationUpdated,
    Published,
    RoomEvent,
    Unpublished,
)
from sfu.rooms.model import (
    NO_WISH,
    Layer,
    LeaveReason,
    Participant,
    ParticipantId,
    Permissions,
    Publication,
    PublicationId,
    Source,
    Wish,
)

# Random bytes of an id: enough that ids of all rooms and servers never meet.
ID_BYTES: Final = 8

# Of one participant. A browser shows a handful; the SDP's bound of 128 sections is not meant to be filled.
MAX_PUBLICATIONS: Final = 32


class Room:
    def __init__(self, name: str, emit: Callable[[RoomEvent], None]) -> None:
        self.name: Final = name
        self.participants: Final[dict[ParticipantId, Participant]] = {}
        self.publications: Final[dict[PublicationId, Publication]] = {}
        self._emit = emit
        self._numbers: set[int] = set()
        self._order = count(1)

    def find_identity(self, identity: str) -> Participant | None:
        return next((one for one in self.participants.values() if one.identity == identity), None)

    def join(self, identity: str, name: str, permissions: Permissions) -> Participant:
        """The caller has removed an older participant with this identity."""
        participant = Participant(
            id="pa_" + secrets.token_hex(ID_BYTES),
            identity=identity,
            name=name,
            permissions=permissions,
            order=next(self._order),
        )
        self.participants[participant.id] = participant
        self._emit(ParticipantJoined(participant))
        return participant

    def leave(self, participant: Participant, reason: LeaveReason) -> None:
        """With all it published. One event: who is told that somebody left knows that the publications went along."""
        if self.participants.pop(participant.id, None) is None:
            return
        for publication in participant.publications.values():
            self._forget(publication)
        self._emit(ParticipantLeft(participant, reason))

    def publish(
        self,
        participant: Participant,
        source: Source,
        *,
        name: str = "",
        muted: bool = False,
        layers: Iterable[Layer] = (),
    ) -> Publication:
        self.check_may_publish(participant)
        publication = Publication(
            id="pu_" + secrets.token_hex(ID_BYTES),
            number=self._new_number(),
            participant=participant,
            source=source,
            order=next(self._order),
            name=name,
            muted=muted,
            layers=tuple(layers),
        )
        participant.publications[publication.id] = publication
        self.publications[publication.id] = publication
        self._emit(Published(publication))
        return publication

    def check_may_publish(self, participant: Participant, more: int = 1) -> None:
        """RoomError if `more` further publications are not allowed."""
        if not participant.permissions.can_publish:
            raise RoomError(
                "forbidden", "this participant may not publish", "offer no sending sections, or join with canPublish"
            )
        if len(participant.publications) + more > MAX_PUBLICATIONS:
            raise RoomError(
                "too_many_publications",
                f"a participant has at most {MAX_PUBLICATIONS} publications",
                "unpublish what is no longer shown",
            )

    def unpublish(self, publication: Publication) -> None:
        if publication.participant.publications.pop(publication.id, None) is None:
            return
        self._forget(publication)
        self._emit(Unpublished(publication))

    def update(
        self,
        publication: Publication,
        *,
        name: str | None = None,
        muted: bool | None = None,
        layers: tuple[Layer, ...] | None = None,
    ) -> None:
        """None leaves it as it is; what changes nothing is not told."""
        before = (publication.name, publication.muted, publication.layers)
        publication.name = before[0] if name is None else name
        publication.muted = before[1] if muted is None else muted
        publication.layers = before[2] if layers is None else layers
        if before != (publication.name, publication.muted, publication.layers):
            self._emit(PublicationUpdated(publication))

    def own_publication(self, participant: Participant, publication: PublicationId) -> Publication:
        """RoomError if it is not the participant's own."""
        found = participant.publications.get(publication)
        if found is None:
            raise _unknown_publication(publication, "name one of your own, as `answer` listed them")
        return found

    def set_wish(self, participant: Participant, publication: PublicationId, wish: Wish) -> None:
        """The wish replaces the last one as a whole. A slot is wished for one publication: the latest."""
        if publication not in self.publications or publication in participant.publications:
            raise _unknown_publication(publication, "name a living publication of another participant")
        if wish.slot is not None:
            for other, its in list(participant.wishes.items()):
                if its.slot == wish.slot and other != publication:
                    self._store_wish(participant, other, replace(its, slot=None))
        self._store_wish(participant, publication, wish)

    def others(self, participant: Participant) -> Iterator[Publication]:
        """What there is to subscribe to, in the order of publishing."""
        return (one for one in self.publications.values() if one.participant is not participant)

    @staticmethod
    def _store_wish(participant: Participant, publication: PublicationId, wish: Wish) -> None:
        if wish == NO_WISH:
            participant.wishes.pop(publication, None)
        else:
            participant.wishes[publication] = wish

    def _forget(self, publication: Publication) -> None:
        self._numbers.discard(publication.number)
        self.publications.pop(publication.id, None)
        for participant in self.participants.values():
            participant.wishes.pop(publication.id, None)

    def _new_number(self) -> int:
        while True:
            number = secrets.randbits(32)
            if number and number not in self._numbers:
                self._numbers.add(number)
                return number


def _unknown_publication(publication: PublicationId, advice: str) -> RoomError:
    return RoomError("not_found", f"there is no publication {publication[:40]!r}", advice)
