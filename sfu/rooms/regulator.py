# SPDX-License-Identifier: Apache-2.0
"""What of a room's media flows, and how good it is: allocation, rest for unused layers, connection quality."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sfu.rooms.allocator import Allocator
from sfu.rooms.dynacast import TrackDemand
from sfu.rooms.events import PublishLayers
from sfu.rooms.media import Readings, SentTrack
from sfu.rooms.member import Member
from sfu.rooms.model import Participant, ParticipantId
from sfu.rooms.quality_meter import QualityMeter
from sfu.rooms.shedding import Caps
from sfu.rooms.speakers import Speakers

# A pause is a matter of seconds; what is wanted again is seen at once, for it begins with a run.
DEMAND_INTERVAL_US: Final = 300_000
OBSERVE_INTERVAL_US: Final = 200_000


@dataclass(slots=True)
class _Published:
    """A video track and what has been asked of its publisher."""

    member: Member
    track: SentTrack
    demand: TrackDemand
    highest: int = -1
    """The layer that somebody needs, when last looked at."""


@dataclass(slots=True)
class Regulator:
    """For one room. `members` is the room's own, which changes under it. `publishers`: those who publish something."""

    members: Mapping[ParticipantId, Member]
    speakers: Speakers
    publishers: Callable[[], Iterable[Member]]
    allocator: Allocator = field(init=False)
    _quality: QualityMeter = field(default_factory=QualityMeter)
    _published: dict[SentTrack, _Published] = field(default_factory=dict)
    _demand_due_us: int = 0
    _observe_due_us: int = 0

    def __post_init__(self) -> None:
        self.allocator = Allocator(self.speakers, self._available)

    def run(self, members: Iterable[Member], now_us: int) -> None:
        """At once: their slots, wishes, layers or estimates have changed."""
        self.allocator.run(members, now_us)

    def set_caps(self, caps: Caps, now_us: int) -> None:
        if caps != self.allocator.caps:
            self.allocator.caps = caps
            self.run(self.members.values(), now_us)
            self.settle_demand(now_us)

    def forget(self, participant: Participant) -> None:
        """It has left, or lost its transport."""
        self.allocator.forget(participant)
        self._quality.forget(participant.id)

    def tick(self, readings: Readings, now_us: int) -> None:
        """Ten times a second."""
        members = list(self.members.values())
        if now_us >= self._observe_due_us:
            self._observe_due_us = now_us + OBSERVE_INTERVAL_US
            self.allocator.observe(self.publishers(), members, readings, now_us)
        due = self.allocator.due(members, now_us)
        if due:
            self.allocator.run(due, now_us, due=True)
        self.settle_demand(now_us)
        self._quality.sample(members, readings, self.allocator.satisfaction, now_us)

    def settle_demand(self, now_us: int) -> None:
        """Let publishers know what to send. What is needed no more is looked at now and then, what is needed again at
        once."""
        risen, self.allocator.risen = self.allocator.risen, {}
        if now_us >= self._demand_due_us or risen.keys() - self._published.keys():
            self._demand_due_us = now_us + DEMAND_INTERVAL_US
            self._find_published(now_us)
            self._find_highest()
            asked: Iterable[SentTrack] = self._published
        else:
            asked = [track for track, needed in risen.items() if needed > self._published[track].highest]
            for track in asked:
                self._published[track].highest = risen[track]
        for track in asked:
            one = self._published[track]
            if one.demand.update(one.highest, track.live, now_us):
                self._tell_publisher(one)

    def _find_highest(self) -> None:
        for one in self._published.values():
            one.highest = -1
        for member in self.members.values():
            for mid in member.bound:
                state = member.media.slots.get(mid)
                if state is None:
                    continue
                seen = None if state.track is None else self._published.get(state.track)
                if seen is not None and state.needed > seen.highest:
                    seen.highest = state.needed

    def _available(self, track: SentTrack) -> int:
        one = self._published.get(track)
        return track.live if one is None else one.demand.available(track.live)

    def _find_published(self, now_us: int) -> None:
        present = {
            track: member
            for member in self.publishers()
            for mid, track in member.media.tracks.items()
            if track.section.kind == "video" and (mid in member.published or mid in member.backups)
        }
        for track in self._published.keys() - present.keys():
            del self._published[track]
        for track in present.keys() - self._published.keys():
            # Of a scalable stream only the whole can rest.
            demand = TrackDemand(max(1, len(track.section.rids)), now_us)
            self._published[track] = _Published(present[track], track, demand)

    @staticmethod
    def _tell_publisher(one: _Published) -> None:
        publication = one.member.publication_of(one.track)
        if publication is None:
            return
        rids = [layer.rid for layer in one.track.layers] if one.track.section.rids else [""]
        layers = tuple((rid, one.demand.active(index)) for index, rid in enumerate(rids))
        one.member.tell(PublishLayers(publication, layers, one.track.backup))
