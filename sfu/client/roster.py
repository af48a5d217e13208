# SPDX-License-Identifier: Apache-2.0
"""Who is in the room and what is published, as the server's events tell it."""

from __future__ import annotations

from dataclasses import dataclass, field

from sfu.client.messages import (
    Event,
    Joined,
    Participant,
    ParticipantJoined,
    ParticipantLeft,
    Publication,
    PublicationUpdated,
    Published,
    Speakers,
    Unpublished,
)


@dataclass(slots=True)
class Member:
    """Another participant."""

    id: str
    name: str
    identity: str
    publications: dict[str, Publication] = field(default_factory=dict)


class Roster:
    """The other participants, by id. Kept current by `take`."""

    def __init__(self) -> None:
        self.own_id = ""
        self.members: dict[str, Member] = {}
        self.speakers: tuple[str, ...] = ()

    def join(self, joined: Joined) -> None:
        self.own_id = joined.participant
        self.members = {participant.id: _member(participant) for participant in joined.participants}

    def take(self, event: Event) -> None:
        """Learn from an event; those that say nothing about the room are ignored."""
        match event:
            case ParticipantJoined(participant=participant):
                self.members[participant.id] = _member(participant)
            case ParticipantLeft(participant=participant_id):
                self.members.pop(participant_id, None)
            case Published(participant=participant_id, publication=publication):
                if participant_id in self.members:
                    self.members[participant_id].publications[publication.id] = publication
            case Unpublished(publication=publication_id):
                for member in self.members.values():
                    member.publications.pop(publication_id, None)
            case PublicationUpdated(publication=publication):
                for member in self.members.values():
                    if publication.id in member.publications:
                        member.publications[publication.id] = publication
            case Speakers(participants=speakers):
                self.speakers = speakers
            case _:
                pass

    @property
    def publications(self) -> dict[str, Publication]:
        """What the others publish, by id."""
        return {id_: found for member in self.members.values() for id_, found in member.publications.items()}

    def publisher_of(self, publication_id: str) -> Member | None:
        return next((member for member in self.members.values() if publication_id in member.publications), None)


def _member(participant: Participant) -> Member:
    publications = {publication.id: publication for publication in participant.publications}
    return Member(participant.id, participant.name, participant.identity, publications)
