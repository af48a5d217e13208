# SPDX-License-Identifier: Apache-2.0
"""A room's membership: who is there, who publishes what, who wishes what. No I/O, no clock, no media.

Every change is told to `emit` at once, after the room has changed; nothing about hidden participants is.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import count
from typing import Final

from sfu.rooms.errors import RoomError
from sfu.rooms.events import (
    ParticipantJoined,
    ParticipantLeft,
    ParticipantUpdated,
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
        self._by_identity: dict[str, Participant] = {}
        self._emit = emit
        self._numbers: set[int] = set()
        self._order = count(1)

    def find_identity(self, identity: str) -> Participant | None:
        return self._by_identity.get(identity)

    def join(
        self,
        identity: str,
        name: str,
        permissions: Permissions,
        *,
        metadata: str = "",
        attributes: Mapping[str, str] | None = None,
    ) -> Participant:
        """The caller has removed an older participant with this identity."""
        participant = Participant(
            id="pa_" + secrets.token_hex(ID_BYTES),
            identity=identity,
            name=name,
            permissions=permissions,
            order=next(self._order),
            metadata=metadata,
            attributes=dict(attributes or {}),
        )
        self.participants[participant.id] = participant
        self._by_identity[identity] = participant
        self._tell(participant, ParticipantJoined(participant))
        return participant

    def visible(self, participant: Participant) -> Iterator[Participant]:
        """Those whom this participant may know of."""
        return (one for one in self.participants.values() if one is not participant and not one.permissions.hidden)

    def leave(self, participant: Participant, reason: LeaveReason) -> None:
        """With all it published. One event: who is told that somebody left knows that the publications went along."""
        if self.participants.pop(participant.id, None) is None:
            return
        if self._by_identity.get(participant.identity) is participant:
            del self._by_identity[participant.identity]
        for publication in participant.publications.values():
            self._forget(publication)
        self._tell(participant, ParticipantLeft(participant, reason))

    def set_permissions(self, participant: Participant, permissions: Permissions) -> None:
        """The caller has withdrawn what may no longer be published."""
        before = participant.permissions
        if permissions.hidden and not before.hidden:
            self._tell(participant, ParticipantLeft(participant, LeaveReason.LEFT))
        participant.permissions = permissions
        if not permissions.can_subscribe:
            participant.wishes.clear()
        if before.hidden and not permissions.hidden:
            self._tell(participant, ParticipantJoined(participant))

    def describe(
        self,
        participant: Participant,
        *,
        name: str | None = None,
        metadata: str | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> None:
        """What a participant says of itself. None leaves it as it is."""
        if not participant.permissions.can_update_metadata:
            raise RoomError(
                "forbidden",
                "this participant may not change its name or metadata",
                "join with a token that grants canUpdateOwnMetadata",
            )
        before = (participant.name, participant.metadata, participant.attributes)
        participant.name = before[0] if name is None else name
        participant.metadata = before[1] if metadata is None else metadata
        participant.attributes = before[2] if attributes is None else dict(attributes)
        if before != (participant.name, participant.metadata, participant.attributes):
            participant.described = None
            self._tell(participant, ParticipantUpdated(participant))

    def publish(
        self,
        participant: Participant,
        source: Source,
        *,
        name: str = "",
        muted: bool = False,
        layers: Iterable[Layer] = (),
    ) -> Publication:
        self.check_may_publish(participant, (source,))
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
        participant.described = None
        self.publications[publication.id] = publication
        self._tell(participant, Published(publication))
        return publication

    def check_may_publish(self, participant: Participant, sources: Iterable[Source], more: int = 1) -> None:
        """RoomError if one of the sources, or `more` further publications, are not allowed."""
        permissions = participant.permissions
        if permissions.hidden:
            raise RoomError("forbidden", "a hidden participant may not publish", "offer no sending sections")
        if not permissions.can_publish:
            raise RoomError(
                "forbidden", "this participant may not publish", "offer no sending sections, or join with canPublish"
            )
        refused = sorted({source for source in sources if not permissions.may_publish(source)})
        if refused:
            raise RoomError(
                "forbidden",
                f"this participant may not publish: {', '.join(refused)}",
                "offer only what the token's canPublishSources names",
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
        publication.participant.described = None
        self._forget(publication)
        self._tell(publication.participant, Unpublished(publication))

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
            publication.participant.described = None
            self._tell(publication.participant, PublicationUpdated(publication))

    def own_publication(self, participant: Participant, publication: PublicationId) -> Publication:
        """RoomError if it is not the participant's own."""
        found = participant.publications.get(publication)
        if found is None:
            raise _unknown_publication(publication, "name one of your own, as `answer` listed them")
        return found

    def set_wish(self, participant: Participant, publication: PublicationId, wish: Wish) -> None:
        """The wish replaces the last one as a whole. A slot is wished for one publication: the latest."""
        if not participant.permissions.can_subscribe:
            raise RoomError("forbidden", "this participant may not subscribe", "join with canSubscribe")
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

    def _tell(self, about: Participant, event: RoomEvent) -> None:
        if not about.permissions.hidden:
            self._emit(event)

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
