# SPDX-License-Identifier: Apache-2.0
"""Carries the decisions of `slots` out: for one receiver at a time, only what differs from what is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from sfu.rooms.media import HandleOn, SentTrack, SlotState
from sfu.rooms.member import Member
from sfu.rooms.model import Publication, PublicationId
from sfu.rooms.slots import Candidate, assign, split
from sfu.rooms.speakers import Speakers
from sfu.sdp.negotiation import MediaSection

Offered = Mapping[PublicationId, tuple[Publication, tuple[SentTrack, ...]]]
"""All that can be received in a room: each publication with its track, and those that back it up."""

Candidates = tuple[list[Candidate], list[Candidate]]
"""Videos and audios."""


def offered_by(members: Iterable[Member]) -> dict[PublicationId, tuple[Publication, tuple[SentTrack, ...]]]:
    return {
        publication.id: (publication, (member.media.tracks[mid], *member.backups_of(publication)))
        for member in members
        for mid, publication in member.published.items()
        if mid in member.media.tracks and not publication.stopped
    }


def candidates(offered: Offered, speakers: Speakers) -> Candidates:
    """The same for every receiver, but for its wishes."""
    return split(
        Candidate(
            publication=publication.id,
            participant=publication.participant.id,
            source=publication.source,
            order=publication.order,
            muted=publication.muted,
            dominant=speakers.dominant == publication.participant.id,
            active=speakers.is_active(publication.participant.id),
            dominant_us=speakers.dominant_us(publication.participant.id),
            active_us=speakers.active_us(publication.participant.id),
        )
        for publication, _ in offered.values()
    )


def plan(member: Member, offered: Offered, everything: Candidates, handle_on: HandleOn) -> None:
    """Bind, unbind and re-bind this member's slots; their targets are the regulator's. Silent where nothing changes."""
    videos, audios = everything
    # A publication that turns out to be undecodable leaves its place to another: each round rules one out at least.
    while not _bind_all(member, offered, _wanted(member, videos), _wanted(member, audios), handle_on):
        pass


def _wanted(member: Member, everything: Iterable[Candidate]) -> list[Candidate]:
    participant = member.participant
    if not participant.permissions.can_subscribe:
        return []
    wanted = []
    for one in everything:
        if one.participant == participant.id or one.publication in member.undecodable:
            continue
        wish = participant.wishes.get(one.publication)
        if wish is None:
            wanted.append(one)
        elif not wish.paused:
            wanted.append(one if wish.slot is None else replace(one, wished_slot=wish.slot))
    return wanted


def _bind_all(
    member: Member,
    offered: Offered,
    videos: Sequence[Candidate],
    audios: Sequence[Candidate],
    handle_on: HandleOn,
) -> bool:
    """False: something could not be decoded, and the choice has to be made again without it."""
    slots = [state.slot for state in member.media.slots.values()]
    previous = {mid: publication.id for mid, publication in member.bound.items() if mid in member.media.slots}
    assignment = assign(slots, videos, audios, previous)
    for mid, state in member.media.slots.items():
        chosen = offered.get(assignment.get(mid, ""))
        if chosen is None:
            if member.bound.pop(mid, None) is not None:
                member.media.unbind(state)
                member.tell_slot(state)
        elif not _bind(member, state, *chosen, handle_on):
            return False
    return True


def _bind(
    member: Member,
    state: SlotState,
    publication: Publication,
    tracks: tuple[SentTrack, ...],
    handle_on: HandleOn,
) -> bool:
    mid = state.slot.mid
    shown = member.bound.get(mid) is publication and state.track in tracks
    if shown and _same(state.weighed, tracks):
        return True
    track = next((one for one in tracks if member.media.plays(state, one)), None)
    if track is None:
        member.undecodable.add(publication.id)
        return False
    state.weighed = tuple(one.section for one in tracks)
    if shown and state.track is track:
        return True
    member.media.bind(state, track, publication.number, handle_on)
    member.bound[mid] = publication
    member.tell_slot(state)
    return True


def _same(weighed: Sequence[MediaSection], tracks: Sequence[SentTrack]) -> bool:
    """Whether nothing was offered anew since. By identity: comparing sections in full for every slot would be dear."""
    return len(weighed) == len(tracks) and all(one is track.section for one, track in zip(weighed, tracks, strict=True))
