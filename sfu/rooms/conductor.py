# SPDX-License-Identifier: Apache-2.0
"""Runs one room: takes the requests of its participants, and keeps everybody's slots in line with what there is.

A change marks the receivers it touches; they are planned once, at the end of the loop's tick, however many changes
there were.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from sfu.engine.statistics import LayerStatistics, Statistics
from sfu.rooms import binder
from sfu.rooms.backups import backup_codec
from sfu.rooms.errors import RoomError
from sfu.rooms.events import (
    BackupWanted,
    MediaLost,
    ParticipantJoined,
    ParticipantLeft,
    ParticipantUpdated,
    PermissionsChanged,
    PublicationUpdated,
    Published,
    Removed,
    RoomEvent,
    SpeakersChanged,
    Unpublished,
)
from sfu.rooms.journal import Journal
from sfu.rooms.media import ENDED, MediaPlane, ParticipantMedia, Readings, SentTrack, SlotState
from sfu.rooms.member import Listener, Member
from sfu.rooms.model import (
    Kind,
    Layer,
    LeaveReason,
    Mid,
    Participant,
    ParticipantId,
    Permissions,
    Publication,
    PublicationId,
    Source,
    Wish,
)
from sfu.rooms.regulator import Regulator
from sfu.rooms.relays import OpenLeg, Relays
from sfu.rooms.room import Room
from sfu.rooms.roster import Roster, is_crowd
from sfu.rooms.rules import PublishRules, common_codecs, publish_limit_bps
from sfu.rooms.speakers import SILENT, Speakers
from sfu.sdp.negotiation import MediaSection, parse_offer
from sfu.transport.dtls import TransportState
from sfu.transport.engine_port import EnginePort

# How long a participant without signalling, or without media, may come back: as long as ICE consent lasts (RFC 7675).
CONSENT_US: Final = 30_000_000

# A worker's statistics are renewed less often than they are sampled, and a microphone in DTX sends each 400 ms only.
STALLED_US: Final = 600_000

# Receivers that are planned in one go: a few milliseconds in a room of a hundred, in which the loop serves nobody else.
PLAN_SLICE: Final = 16

DEFAULT_SOURCES: Final = {Kind.AUDIO: Source.MICROPHONE, Kind.VIDEO: Source.CAMERA}


@dataclass(frozen=True, slots=True)
class OfferedTrack:
    """What a client says of one of its sending sections."""

    source: Source
    name: str = ""
    muted: bool = False
    layers: tuple[Layer, ...] = ()
    backup_of: PublicationId | None = None
    """It is no publication of its own: the same picture in another codec."""


@dataclass(frozen=True, slots=True)
class Answer:
    sdp: str
    publications: tuple[tuple[Mid, Publication], ...]
    slots: tuple[SlotState, ...]


class _Levels:
    """Audio levels outlast their packets: a track that sends nothing is silent, whatever its last level was."""

    def __init__(self) -> None:
        self._seen: dict[ParticipantId, tuple[int, int, int]] = {}
        """Track, its packets, and when there was one more."""

    def read(self, participant: ParticipantId, handle: int, statistics: Statistics, now_us: int) -> int:
        track = statistics.tracks.get(handle)
        if track is None:
            return SILENT
        packets = sum(layer.packets for layer in track.layers)
        before = self._seen.get(participant)
        if before is None or before[:2] != (handle, packets):
            self._seen[participant] = (handle, packets, now_us)
            return track.audio_level
        return track.audio_level if now_us - before[2] < STALLED_US else SILENT

    def forget(self, participant: ParticipantId) -> None:
        self._seen.pop(participant, None)


class Conductor:
    def __init__(
        self,
        name: str,
        loop: AbstractEventLoop,
        clock: Callable[[], int],
        on_empty: Callable[[Conductor], None],
        crowd: Counter[EnginePort],
        journal: Journal,
        open_leg: OpenLeg,
        rules: PublishRules,
    ) -> None:
        """`clock` is monotonic, in microseconds. `on_empty` is called when the last participant has left. `crowd`
        counts the participants of all rooms on each worker. `open_leg` takes media from one of them to another.
        `rules`: what participants may send."""
        self.room: Final = Room(name, self._on_room_event)
        self.members: Final[dict[ParticipantId, Member]] = {}
        self.rules: Final = rules
        self.relays: Final = Relays(open_leg, clock)
        self.headcount: Final[Counter[EnginePort]] = Counter()
        """Members on each worker."""
        self._crowd = crowd
        self._journal = journal
        self._loop = loop
        self._clock = clock
        self._on_empty = on_empty
        self._receivable: Counter[frozenset[str]] = Counter()
        """Members by the video codecs that they play: of a crowd most the same."""
        self._roster = Roster()
        self._speakers = Speakers()
        self._levels = _Levels()
        self.regulator: Final = Regulator(self.members, self._speakers, self._publishers)
        self._to_plan: dict[ParticipantId, None] = {}  # ordered sets
        self._to_run: dict[ParticipantId, None] = {}
        self._plan_scheduled = False

    @property
    def video_codecs(self) -> tuple[str, ...]:
        """What everybody present can receive, of what may be sent; the preferred first."""
        return common_codecs(self._receivable, self.rules)

    def _publishers(self) -> list[Member]:
        """In the order in which they joined. In a crowd there are few."""
        found = {one.participant.id for one in self.room.publications.values()}
        members = [member for key in found if (member := self.members.get(key)) is not None]
        return sorted(members, key=lambda member: member.participant.order)

    # --- requests

    def join(
        self,
        identity: str,
        name: str,
        permissions: Permissions,
        listener: Listener,
        plane: MediaPlane,
        *,
        metadata: str = "",
        attributes: Mapping[str, str] | None = None,
    ) -> Member:
        """On the worker of `plane`. An older participant with this identity is replaced."""
        older = self.room.find_identity(identity)
        if older is not None:
            self.leave(self.members[older.id], LeaveReason.REPLACED, keep_room=True)
        participant = self.room.join(identity, name, permissions, metadata=metadata, attributes=attributes)
        member = Member(participant, listener, self._on_transport, self._on_live, self._on_estimate)
        member.media = ParticipantMedia(plane.port, plane.open_transport, member)
        self._count(plane.port, 1)
        self.members[participant.id] = member
        self._roster.entered(participant)
        self._journal.joined(self.room.name, participant)
        return member

    def leave(self, member: Member, reason: LeaveReason, *, keep_room: bool = False) -> None:
        """Idempotent. `keep_room`: somebody else is about to join."""
        if self.members.pop(member.participant.id, None) is None:
            return
        self._count(member.media.port, -1)
        self._count_codecs(member.media.receivable, frozenset())
        self._levels.forget(member.participant.id)
        self.regulator.forget(member.participant)
        member.media.close()
        self.room.leave(member.participant, reason)
        self._journal.left(self.room.name, member.participant, reason)
        member.tell(Removed(reason))
        if not self.members and not keep_room:
            self.relays.close()
            self._on_empty(self)

    def _count(self, port: EnginePort, more: int) -> None:
        for counter in (self.headcount, self._crowd):
            counter[port] += more
            if not counter[port]:
                del counter[port]

    def _count_codecs(self, before: frozenset[str], now: frozenset[str]) -> None:
        """Of one member. Empty: it receives no video, or is not there."""
        if before:
            self._receivable[before] -= 1
            if not self._receivable[before]:
                del self._receivable[before]
        if now:
            self._receivable[now] += 1

    def offer(self, member: Member, sdp: str, described: Mapping[Mid, OfferedTrack]) -> Answer:
        """SdpError or RoomError if it is not acceptable; then nothing has changed."""
        offer = parse_offer(sdp, self.rules.video_codecs)
        continues = member.media.continues(offer)
        sections = {section.mid: section for section in offer.sections if not section.rejected}
        sending = {mid: section for mid, section in sections.items() if section.direction == "publish"}
        _check_described(described, offer.sections, member.published if continues else {})
        backups = _check_backups(described, member, continues=continues)
        silenced = {mid for mid in member.silenced if mid not in described} if continues else set()
        known = member.published.keys() if continues else set()
        more = len(sending.keys() - silenced - known - backups.keys()) - (0 if continues else len(member.published))
        sources = {
            told.source if (told := described.get(mid)) else DEFAULT_SOURCES[Kind(section.kind)]
            for mid, section in sending.items()
            if mid not in silenced and mid not in backups and (mid not in known or mid in described)
        }
        if sources:
            self.room.check_may_publish(member.participant, sources, more)
        member.silenced = silenced
        declared = {mid: track.layers for mid, track in described.items()}
        played = member.media.receivable
        try:
            answer = member.media.negotiate(offer, declared, skip=silenced)
        finally:
            self._count_codecs(played, member.media.receivable)
        member.bound = {mid: one for mid, one in member.bound.items() if continues and mid in member.media.slots}
        member.deadline_us = None
        member.undecodable.clear()
        member.backups_asked.clear()
        member.backups = {mid: one for mid, one in backups.items() if mid in member.media.tracks}
        for mid in member.backups:
            member.media.tracks[mid].backup = True
        self._reconcile(member, described, continues)
        # In a crowd most only look on: then nobody else has to be planned for.
        self.plan_soon(None if member.media.tracks else member)
        return Answer(answer, tuple(member.published.items()), tuple(member.media.slots.values()))

    def set_muted(self, member: Member, publication: PublicationId, muted: bool) -> None:
        """One's own. Of others an administrator may do it, but only they themselves undo it."""
        of_another = publication in self.room.publications and publication not in member.participant.publications
        if of_another:
            if not member.participant.permissions.room_admin:
                raise RoomError("forbidden", "only an administrator may mute others", "join with roomAdmin")
            if not muted:
                raise RoomError("forbidden", "nobody may unmute another participant", "ask them to do it")
            self.mute(publication)
            return
        found = self.room.own_publication(member.participant, publication)
        if found.stopped and not muted:
            found.stopped = False
            self.plan_soon(None)
        self.room.update(found, muted=muted)

    def mute(self, publication: PublicationId) -> None:
        """By an administrator: it is not forwarded any more, whatever its publisher goes on to send."""
        found = self.room.publications.get(publication)
        if found is None:
            raise RoomError("not_found", f"there is no publication {publication[:40]!r}", "name a living one")
        if not found.stopped:
            found.stopped = True
            self.room.update(found, muted=True)
            self.plan_soon(None)
            self.members[found.participant.id].tell(PublicationUpdated(found))

    def set_permissions(self, member: Member, permissions: Permissions) -> None:
        """At once: what may no longer be published is withdrawn, and who may no longer subscribe gets nothing more."""
        participant = member.participant
        if permissions == participant.permissions:
            return
        withdrawn = [one for one in participant.publications.values() if not permissions.may_publish(one.source)]
        for publication in withdrawn:
            self.unpublish(member, publication.id)
        self.room.set_permissions(participant, permissions)
        member.tell(PermissionsChanged(permissions))
        for publication in withdrawn:
            member.tell(Unpublished(publication))
        self.plan_soon(member)

    def unpublish(self, member: Member, publication: PublicationId) -> None:
        found = self.room.own_publication(member.participant, publication)
        for mid, one in list(member.published.items()):
            if one is found:
                del member.published[mid]
                member.silenced.add(mid)
                member.media.remove_track(mid)
        self._drop_backups(member, found)
        self.room.unpublish(found)
        self._limit(member)

    def set_wish(self, member: Member, publication: PublicationId, wish: Wish) -> None:
        self.room.set_wish(member.participant, publication, wish)
        self.plan_soon(member)

    def signalling_lost(self, member: Member) -> None:
        """Its door closed without a word. While its media may still flow it stays, up to the consent time."""
        member.signalled = False
        if member.media.alive:
            member.deadline_us = self._clock() + CONSENT_US
        else:
            self.leave(member, LeaveReason.LOST)

    # --- time

    def tick(self, readings: Readings, now_us: int) -> None:
        """At the sampling rate of `speakers`, with the latest statistics of the room's workers."""
        for member in list(self.members.values()):
            if member.deadline_us is not None and now_us >= member.deadline_us:
                self.leave(member, LeaveReason.LOST)
        self._tell_roster()
        self._sample_speakers(readings, now_us)
        self.regulator.tick(readings, now_us)
        self.relays.settle(self.members.values())

    def measure_layers(self, readings: Readings) -> None:
        """Fill in the sizes of layers whose publisher declared none. Much less often than `tick`."""
        for member in self._publishers():
            for mid, publication in member.published.items():
                track = member.media.tracks.get(mid)
                measured = None if track is None else readings[member.media.port].tracks.get(track.handle)
                if measured is not None and any(not layer.pixels for layer in publication.layers):
                    self.room.update(publication, layers=_with_sizes(publication.layers, measured.layers))

    def _sample_speakers(self, readings: Readings, now_us: int) -> None:
        levels: dict[ParticipantId, int] = {}
        for member in self._publishers():
            for mid, publication in member.published.items():
                track = member.media.tracks.get(mid)
                if publication.source is Source.MICROPHONE and track is not None:
                    key = member.participant.id
                    if not publication.muted:
                        levels[key] = self._levels.read(key, track.handle, readings[member.media.port], now_us)
                    else:
                        levels.setdefault(key, SILENT)
        if self._speakers.sample(levels, now_us):
            members = [self.members[one] for one in self._speakers.active if one in self.members]
            self._tell_all(SpeakersChanged(tuple(member.participant for member in members)))
            self.plan_soon(None)

    # --- what happens

    def _on_room_event(self, event: RoomEvent) -> None:
        origin = _origin(event)
        self._note(event)
        if is_crowd(len(self.members)) and self._roster.takes(event):
            return
        self._tell_roster()
        for member in list(self.members.values()):
            if member.participant is not origin:
                member.tell(event)
        if _changes_what_is_offered(event):
            self.plan_soon(None)

    def _tell_roster(self) -> None:
        """Before anything else that follows from it."""
        self._roster.tell(list(self.members.values()))

    def _note(self, event: RoomEvent) -> None:
        if isinstance(event, Published):
            self._journal.published(self.room.name, event.publication)
        elif isinstance(event, Unpublished):
            self._journal.unpublished(self.room.name, event.publication)

    def _tell_all(self, event: SpeakersChanged) -> None:
        for member in list(self.members.values()):
            member.tell(event)

    def _on_transport(self, member: Member, state: TransportState) -> None:
        if state is TransportState.CONNECTED:
            self.regulator.allocator.connected(member, self._clock())
            self._journal.connected(self.room.name, member.participant)
        if state not in ENDED or member.participant.id not in self.members:
            return
        self.regulator.forget(member.participant)
        member.bound.clear()
        self.plan_soon(None)
        if not member.signalled:
            self.leave(member, LeaveReason.LOST)
            return
        member.deadline_us = self._clock() + CONSENT_US
        if state is TransportState.FAILED:
            self._journal.media_failed(self.room.name, member.participant, member.media.failure)
            member.tell(MediaLost())

    def _on_live(self, member: Member, track: SentTrack) -> None:
        """Its layers came or went: who receives it gets another one."""
        for receiver in self.members.values():
            if any(state.track is track for state in receiver.media.slots.values()):
                self._run_soon(receiver)

    def _on_estimate(self, member: Member, rate_bps: int, congestion: int) -> None:
        if self.regulator.allocator.take_estimate(member, rate_bps, congestion, self._clock()):
            self._to_run[member.participant.id] = None
            self._schedule_plan()

    # --- publications and slots

    def _reconcile(self, member: Member, described: Mapping[Mid, OfferedTrack], continues: bool) -> None:
        """Publications follow the tracks that were negotiated. Over a change of PeerConnection the same source stays
        the same publication."""
        tracks = member.media.tracks
        before = dict(member.published)
        spare = [one for mid, one in before.items() if not (continues and mid in tracks)]
        member.published = {}
        for mid, track in tracks.items():
            if mid in member.backups:
                continue
            told = described.get(mid) or OfferedTrack(DEFAULT_SOURCES[Kind(track.section.kind)])
            publication = before.get(mid) if continues else None
            if publication is None:
                publication = next((one for one in spare if (one.source, one.name) == (told.source, told.name)), None)
                if publication is not None:
                    spare.remove(publication)
            if publication is None:
                # First who is there, as it was until now: else the newcomer would come with it, and it once more.
                self._tell_roster()
                publication = self.room.publish(
                    member.participant, told.source, name=told.name, muted=told.muted, layers=track.layers
                )
            elif mid in described or not continues:
                muted = told.muted or publication.stopped
                self.room.update(publication, name=told.name, muted=muted, layers=track.layers)
            member.published[mid] = publication
            for receiver in self.members.values():
                receiver.undecodable.discard(publication.id)
        for publication in spare:
            self._drop_backups(member, publication)
            self.room.unpublish(publication)
        self._limit(member)

    def _limit(self, member: Member) -> None:
        sources = [publication.source for publication in member.published.values()]
        member.media.set_publish_limit(publish_limit_bps(sources, self.rules))

    @staticmethod
    def _drop_backups(member: Member, publication: Publication) -> None:
        for mid, one in list(member.backups.items()):
            if one is publication:
                del member.backups[mid]
                member.silenced.add(mid)
                member.media.remove_track(mid)

    def _ask_for_backups(self, receiver: Member) -> None:
        """Of what it cannot decode, from whoever could send it in another codec."""
        for identifier in receiver.undecodable:
            publication = self.room.publications.get(identifier)
            owner = None if publication is None else self.members.get(publication.participant.id)
            if publication is None or owner is None or identifier in owner.backups_asked:
                continue
            track = owner.track_of(publication)
            codec = None if track is None or owner.backups_of(publication) else backup_codec(track, receiver.media)
            if codec is not None:
                owner.backups_asked.add(identifier)
                owner.tell(BackupWanted(publication, codec))

    def plan_soon(self, member: Member | None) -> None:
        """None: everybody."""
        self._to_plan.update(dict.fromkeys(self.members if member is None else (member.participant.id,)))
        self._schedule_plan()

    def _run_soon(self, member: Member) -> None:
        """Its slots show what they should, but perhaps not as they should."""
        if self.regulator.allocator.may_run(member, self._clock()):
            self._to_run[member.participant.id] = None
            self._schedule_plan()

    def _schedule_plan(self) -> None:
        if not self._plan_scheduled:
            self._plan_scheduled = True
            self._loop.call_soon(self._plan)

    def _plan(self) -> None:
        self._plan_scheduled = False
        offered = binder.offered_by(self._publishers())
        everything = binder.candidates(offered, self._speakers)
        todo = list(islice(self._to_plan, PLAN_SLICE))
        for participant in todo:
            del self._to_plan[participant]
            member = self.members.get(participant)
            if member is not None:
                binder.plan(member, offered, everything, self.relays.handle_on)
                if member.undecodable:
                    self._ask_for_backups(member)
        now_us = self._clock()
        todo += islice((one for one in self._to_run if one not in todo), PLAN_SLICE)
        for participant in todo:
            self._to_run.pop(participant, None)
        self.regulator.run([self.members[one] for one in todo if one in self.members], now_us)
        if self._to_plan or self._to_run:
            self._schedule_plan()
        else:
            self.regulator.settle_demand(now_us)
            self.relays.settle(self.members.values())


def _changes_what_is_offered(event: RoomEvent) -> bool:
    match event:
        case Published() | Unpublished() | PublicationUpdated():
            return True
        case ParticipantLeft(participant):
            return bool(participant.publications)
        case _:
            return False


def _origin(event: RoomEvent) -> Participant:
    match event:
        case ParticipantJoined(participant) | ParticipantLeft(participant) | ParticipantUpdated(participant):
            return participant
        case Published(publication) | Unpublished(publication) | PublicationUpdated(publication):
            return publication.participant


def _check_described(
    described: Mapping[Mid, OfferedTrack], sections: Sequence[MediaSection], published: Mapping[Mid, Publication]
) -> None:
    kinds = {section.mid: section.kind for section in sections}
    for mid, track in described.items():
        if mid not in kinds:
            raise RoomError(
                "bad_track", f"there is no media section with the mid {mid[:40]!r}", "describe only what the SDP has"
            )
        if kinds[mid] != track.source.kind:
            raise RoomError(
                "bad_track",
                f"the section {mid!r} is {kinds[mid]}, and a {track.source} is {track.source.kind}",
                "give each track the source that it is",
            )
        if mid in published and published[mid].source is not track.source:
            raise RoomError(
                "bad_track",
                f"the section {mid!r} is published as {published[mid].source}, not as {track.source}",
                "a section keeps its source: unpublish it and send the other one in a section of its own",
            )


def _check_backups(described: Mapping[Mid, OfferedTrack], member: Member, *, continues: bool) -> dict[Mid, Publication]:
    """By mid, those of the same connection that are not described again included."""
    backups = {mid: one for mid, one in member.backups.items() if continues and mid not in described}
    for mid, track in described.items():
        if track.backup_of is None:
            continue
        backed = member.participant.publications.get(track.backup_of)
        if backed is None or backed.source is not track.source or (continues and mid in member.published):
            raise RoomError(
                "bad_track",
                f"the section {mid!r} cannot back up {track.backup_of[:40]!r}",
                "name a living video publication of your own, of the same source, in a section of its own",
            )
        backups[mid] = backed
    return backups


def _with_sizes(layers: Sequence[Layer], measured: Sequence[LayerStatistics]) -> tuple[Layer, ...]:
    """An engine's layer has the same index as ours. Of a scalable stream it may have found more than it was told of."""
    filled = [*layers, *(Layer() for _ in measured[len(layers) :])]
    for index, (layer, seen) in enumerate(zip(layers, measured, strict=False)):
        if not layer.pixels and seen.width and seen.height:
            filled[index] = replace(layer, width=seen.width, height=seen.height)
    return tuple(filled)
