# SPDX-License-Identifier: Apache-2.0
"""Measures the connections of a room's participants and lets everybody know how good they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sfu.engine.statistics import Statistics
from sfu.rooms.events import QualityChanged
from sfu.rooms.media import Readings
from sfu.rooms.member import Member
from sfu.rooms.model import ParticipantId
from sfu.rooms.quality import Link, grade, opinion

SAMPLE_INTERVAL_US: Final = 2_000_000
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


class QualityMeter:
    def __init__(self) -> None:
        self._meters: dict[ParticipantId, _Meter] = {}
        self._due_us = 0

    def forget(self, participant: ParticipantId) -> None:
        self._meters.pop(participant, None)

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
        """Call it often; it looks every `SAMPLE_INTERVAL_US`."""
        if now_us < self._due_us:
            return
        self._due_us = now_us + SAMPLE_INTERVAL_US
        changed = [one for one in members if self._measure(one, readings[one.media.port], satisfaction(one))]
        for receiver in members:
            meter = self._meters.setdefault(receiver.participant.id, _Meter())
            self._tell(receiver, changed if meter.greeted else members)
            meter.greeted = True

    def _tell(self, receiver: Member, about: Iterable[Member]) -> None:
        scores = tuple(
            (one.participant, grade)
            for one in about
            if (grade := self.grade_of(one.participant.id)) is not None
            and (one is receiver or not one.participant.permissions.hidden)
        )
        if scores:
            receiver.tell(QualityChanged(scores))

    def _measure(self, member: Member, statistics: Statistics, satisfaction: float) -> bool:
        """True when the grade changed."""
        transport = member.media.transport
        measured = None if transport is None else statistics.transports.get(transport)
        if not member.media.connected or measured is None:
            return False
        meter = self._meters.setdefault(member.participant.id, _Meter())
        first = meter.sent is None
        rtt_ms = measured.rtt_ms or 0.0
        up = self._uplink(member, meter, statistics, rtt_ms)
        down = self._downlink(member, meter, statistics, rtt_ms, satisfaction)
        if first:
            return False
        score = min(opinion(up), opinion(down))
        meter.score = score if meter.score is None else meter.score + SMOOTHING * (score - meter.score)
        before, meter.grade = meter.grade, grade(meter.score, meter.grade)
        return meter.grade != before

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
