# SPDX-License-Identifier: Apache-2.0
"""Measures the connections of a room's participants and lets everybody know how good they are."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sfu.engine.statistics import Statistics
from sfu.rooms.events import QualityChanged
from sfu.rooms.media import Readings
from sfu.rooms.member import Member
from sfu.rooms.model import Participant, ParticipantId
from sfu.rooms.quality import Link, grade, opinion
from sfu.rooms.roster import CROWD, is_crowd

SAMPLE_INTERVAL_US: Final = 2_000_000
# Calls within it: so many pieces a crowd is measured in.
ROUND_TICKS: Final = 20
# Weight of the newest sample: a second of trouble is seen, and not forgotten at once.
SMOOTHING: Final = 0.5


@dataclass(slots=True)
class _Meter:
    received: int = 0
    missed: int = 0
    """Of what it publishes, also what was sent again."""
    sent: dict[int, int] | None = None
    """Packets by forwarder; None before the first sample."""
    score: float | None = None
    grade: int | None = None
    greeted: bool = False
    """It knows the others' grades."""
    told: int | None = None
    """The grade that it was told itself."""


class QualityMeter:
    def __init__(self) -> None:
        self._meters: dict[ParticipantId, _Meter] = {}
        self._told: dict[ParticipantId, int] = {}
        """What everybody knows who has been greeted."""
        self._waiting: deque[Member] = deque()
        """Who is still to be measured in this round."""
        self._slice = 0
        self._due_us = 0

    def forget(self, participant: ParticipantId) -> None:
        self._meters.pop(participant, None)
        self._told.pop(participant, None)

    def grade_of(self, participant: ParticipantId) -> int | None:
        meter = self._meters.get(participant)
        return None if meter is None else meter.grade

    def sample(
        self,
        members: Sequence[Member],
        readings: Readings,
        satisfaction: Callable[[Member], float],
        now_us: int,
    ) -> None:
        """Call it at each tick; it measures everybody once in each `SAMPLE_INTERVAL_US`, a crowd piece by piece."""
        if now_us >= self._due_us and not self._waiting:
            self._due_us = now_us + SAMPLE_INTERVAL_US
            self._waiting.extend(members)
            self._slice = max(CROWD, -(-len(members) // ROUND_TICKS))
        elif not self._waiting:
            return
        for _ in range(min(self._slice, len(self._waiting))):
            one = self._waiting.popleft()
            statistics = readings.get(one.media.port)
            if statistics is not None:  # of who was the last one there, and has left meanwhile, there are none
                self._measure(one, statistics, satisfaction(one))
        if not self._waiting:
            self._tell(members)

    def _tell(self, members: Sequence[Member]) -> None:
        """One message for all, and one for all who come; what is nobody else's business to each by itself."""
        subjects = _subjects(members)
        news = self._news(members, subjects)
        everything = tuple((one.participant, self._told[key]) for key, one in subjects.items() if key in self._told)
        meters = [(one, self._meters.setdefault(one.participant.id, _Meter())) for one in members]
        for scores, greeted in ((news, True), (everything, False)):
            if scores:
                event = QualityChanged(scores)
                for receiver, meter in meters:
                    if meter.greeted is greeted:
                        receiver.tell(event)
        withdrawn = {one.id for one, score in news if score is None}
        for receiver, meter in meters:
            meter.greeted = True
            key = receiver.participant.id
            if key not in subjects and (meter.told != meter.grade or key in withdrawn):
                receiver.tell(QualityChanged(((receiver.participant, meter.grade),)))
            meter.told = meter.grade

    def _news(
        self, members: Sequence[Member], subjects: Mapping[ParticipantId, Member]
    ) -> tuple[tuple[Participant, int | None], ...]:
        """And what everybody should forget: it would grow old."""
        news: list[tuple[Participant, int | None]] = []
        for one in members:
            key = one.participant.id
            before = self._told.get(key)
            now = self.grade_of(key) if key in subjects else None
            if now == before:
                continue
            if now is None:
                self._told.pop(key)
            else:
                self._told[key] = now
            if not one.participant.permissions.hidden:
                news.append((one.participant, now))
        return tuple(news)

    def _measure(self, member: Member, statistics: Statistics, satisfaction: float) -> None:
        transport = member.media.transport
        measured = None if transport is None else statistics.transports.get(transport)
        if not member.media.connected or measured is None:
            return
        meter = self._meters.setdefault(member.participant.id, _Meter())
        first = meter.sent is None
        rtt_ms = measured.rtt_ms or 0.0
        up = self._uplink(member, meter, statistics, rtt_ms)
        down = self._downlink(member, meter, statistics, rtt_ms, satisfaction)
        if first:
            return
        score = min(opinion(up), opinion(down))
        meter.score = score if meter.score is None else meter.score + SMOOTHING * (score - meter.score)
        meter.grade = grade(meter.score, meter.grade)

    @staticmethod
    def _uplink(member: Member, meter: _Meter, statistics: Statistics, rtt_ms: float) -> Link:
        received = missed = 0
        jitter_ms = 0.0
        for track in member.media.tracks.values():
            measured = statistics.tracks.get(track.handle)
            for layer in () if measured is None else measured.layers:
                received += layer.packets
                missed += layer.lost + layer.recovered
                # Video comes in bursts: what its packets differ by is no fault of the network.
                if track.section.kind == "audio" and layer.active:
                    jitter_ms = max(jitter_ms, layer.jitter_ms)
        # Layers come and go with their counters.
        more, gone = max(0, received - meter.received), max(0, missed - meter.missed)
        meter.received, meter.missed = received, missed
        loss = min(1.0, gone / (more + gone)) if more else 0.0
        return Link(loss, rtt_ms, jitter_ms)

    @staticmethod
    def _downlink(member: Member, meter: _Meter, statistics: Statistics, rtt_ms: float, satisfaction: float) -> Link:
        before, now = meter.sent or {}, {}
        packets = lost = 0.0
        for state in member.media.slots.values():
            sent = statistics.forwarders.get(state.forwarder)
            if sent is None:
                continue
            now[state.forwarder] = sent.packets
            more = sent.packets - before.get(state.forwarder, 0)
            packets += more
            lost += more * sent.fraction_lost
        meter.sent = now
        return Link(lost / packets if packets else 0.0, rtt_ms, 0.0, satisfaction)


def _subjects(members: Sequence[Member]) -> dict[ParticipantId, Member]:
    """Those of whom all are told: in a crowd, who publishes something."""
    crowd = is_crowd(len(members))
    return {
        one.participant.id: one
        for one in members
        if not one.participant.permissions.hidden and (one.published or not crowd)
    }
