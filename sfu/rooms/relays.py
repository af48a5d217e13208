# SPDX-License-Identifier: Apache-2.0
"""Where else than on its publisher's worker a track is received, and which layers cross for that (docs/relay.md).

Legs are opened when a slot is bound, and follow what the slots need: no wish, no clock of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from sfu.rooms.media import MAX_LAYERS, SentTrack, engine_payloads
from sfu.rooms.member import Member
from sfu.transport.engine_port import EnginePort
from sfu.transport.relay import Content, RelayLeg

# So long what is no longer needed goes on: a receiver that is re-bound keeps what it had until the new one begins (the
# engine's make before break takes 1.5 s at most), and pages change their minds.
LINGER_US: Final = 2_000_000

OpenLeg = Callable[[EnginePort, EnginePort, int, Content], RelayLeg]
"""(origin, far worker, track on the origin, what crosses)"""


@dataclass(slots=True)
class Demand:
    """What one leg is needed for. Bit i of a mask stands for layer i."""

    count: int
    """Layers of the track."""
    bound_us: int
    """When a slot was last bound to it."""
    crossing: int = 0
    _wanted_us: list[int] = field(default_factory=list)

    def update(self, wanted: int, *, bound: bool, now_us: int) -> bool:
        """False: nobody has needed the leg for a while, it may go."""
        if not self._wanted_us:
            self._wanted_us = [now_us - LINGER_US - 1] * self.count
        if bound:
            self.bound_us = now_us
        self.crossing = 0
        for index in range(self.count):
            if wanted >> index & 1:
                self._wanted_us[index] = now_us
            if now_us - self._wanted_us[index] <= LINGER_US:
                self.crossing |= 1 << index
        return now_us - self.bound_us <= LINGER_US


@dataclass(frozen=True, slots=True)
class _Crossing:
    leg: RelayLeg
    demand: Demand


class Relays:
    """Of one room."""

    def __init__(self, open_leg: OpenLeg, clock: Callable[[], int]) -> None:
        self._open_leg = open_leg
        self._clock = clock
        self._crossings: dict[tuple[SentTrack, EnginePort], _Crossing] = {}

    def __len__(self) -> int:
        """Legs that are open."""
        return len(self._crossings)

    def handle_on(self, port: EnginePort, track: SentTrack, number: int) -> int:
        """The engine's handle of a living track on that worker; a leg is opened if there is none."""
        if track.port is port:
            return track.handle
        crossing = self._crossings.get((track, port))
        if crossing is None:
            count = min(MAX_LAYERS, max(1, len(track.section.rids)))
            content = Content(track.section.kind, engine_payloads(track.section), count, number)
            leg = self._open_leg(track.port, port, track.handle, content)
            crossing = self._crossings[track, port] = _Crossing(leg, Demand(count, self._clock()))
        return crossing.leg.track

    def settle(self, members: Iterable[Member]) -> None:
        """Let cross what is needed, and close what nobody needs any more or whose publisher has gone."""
        if not self._crossings:
            return
        now_us = self._clock()
        present: set[SentTrack] = set()
        wanted: dict[tuple[SentTrack, EnginePort], int] = {}
        for member in members:
            port = member.media.port
            present.update(member.media.tracks.values())
            for state in member.media.slots.values():
                if state.track is not None and state.track.port is not port:
                    key = (state.track, port)
                    wanted[key] = wanted.get(key, 0) | state.layers
        for key, crossing in list(self._crossings.items()):
            needed = wanted.get(key)
            mask = needed or 0
            if crossing.demand.count == 1 and mask:
                mask = 1  # of a scalable stream only the whole crosses
            keep = crossing.demand.update(mask, bound=needed is not None, now_us=now_us)
            if keep and key[0] in present:
                crossing.leg.set_layers(crossing.demand.crossing)
            else:
                crossing.leg.close()
                del self._crossings[key]

    def close(self) -> None:
        """The room is empty."""
        for crossing in self._crossings.values():
            crossing.leg.close()
        self._crossings.clear()
