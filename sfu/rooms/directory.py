# SPDX-License-Identifier: Apache-2.0
"""All rooms of this process: finds or opens a room, places it on a worker, and gives every room the time of day."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from sfu.engine.statistics import Statistics
from sfu.rooms.conductor import Conductor
from sfu.rooms.errors import RoomError
from sfu.rooms.journal import Journal
from sfu.rooms.media import MediaPlane, Readings
from sfu.rooms.member import Listener, Member
from sfu.rooms.model import LeaveReason, Permissions
from sfu.rooms.placement import Spread, WorkerLoad, place
from sfu.rooms.relays import OpenLeg
from sfu.rooms.rules import PublishRules
from sfu.rooms.shedding import LEVELS, LoadMeter, Shedding
from sfu.rooms.speakers import SAMPLE_US
from sfu.transport.engine_port import EnginePort

logger = logging.getLogger(__name__)

# Of the sizes of layers that no publisher declared.
MEASURE_EVERY_TICKS: Final = 10
# Workers publish their statistics every 200 ms: over less than this their load cannot be told.
LOAD_EVERY_TICKS: Final = 5
# Weight of the newest measurement of how busy a worker is: placement follows within two seconds.
BUSY_SMOOTHING: Final = 0.4


def monotonic_us() -> int:
    return time.monotonic_ns() // 1000


class Directory:
    def __init__(
        self,
        planes: Sequence[MediaPlane],
        open_leg: OpenLeg,
        clock: Callable[[], int] = monotonic_us,
        *,
        shed_load: bool = True,
        spread: Spread,
        rules: PublishRules,
    ) -> None:
        """One plane per worker, and how media gets from one to another. `shed_load=False`: stress is measured, and
        nothing follows from it. `spread`: when a room goes on to another worker. `rules`: what participants may send.
        """
        self._planes = tuple(planes)
        self._open_leg = open_leg
        self._clock = clock
        self._shed_load = shed_load
        self._ticks = 0
        self._spread = spread
        self._rules = rules
        self._meters = [LoadMeter() for _ in planes]
        self._busy = [0.0 for _ in planes]
        self._recent: Counter[EnginePort] = Counter()
        self._crowd: Counter[EnginePort] = Counter()
        self.shedding: Final = tuple(Shedding() for _ in planes)
        """Of each worker."""
        self._lags_ms: deque[float] = deque(maxlen=LOAD_EVERY_TICKS)
        self.journal: Final = Journal(clock)
        self.conductors: Final[dict[str, Conductor]] = {}

    @property
    def rooms(self) -> int:
        return len(self.conductors)

    @property
    def publications(self) -> int:
        return sum(len(conductor.room.publications) for conductor in self.conductors.values())

    @property
    def loop_lag_s(self) -> float:
        """How late the event loop was of late, at the most."""
        return max(self._lags_ms, default=0.0) / 1e3

    @property
    def participants(self) -> int:
        return sum(len(conductor.members) for conductor in self.conductors.values())

    def join(
        self,
        room: str,
        identity: str,
        name: str,
        permissions: Permissions,
        listener: Listener,
        *,
        metadata: str = "",
        attributes: Mapping[str, str] | None = None,
    ) -> tuple[Conductor, Member]:
        """RoomError while the worker it would go to is overloaded. Who comes back is let in all the same."""
        conductor = self.conductors.get(room)
        index = place(self.loads(conductor), self._spread)
        plane = self._planes[index]
        known = conductor is not None and conductor.room.find_identity(identity) is not None
        if not known and self.shedding[index].caps.refuse_joins:
            raise RoomError("overloaded", "the server is at its limit", "try again in a minute, or another server")
        if conductor is None:
            conductor = Conductor(
                room,
                plane.port.loop,
                self._clock,
                self._on_empty,
                self._crowd,
                self.journal,
                self._open_leg,
                self._rules,
            )
            self.conductors[room] = conductor
        self._recent[plane.port] += 1
        member = conductor.join(identity, name, permissions, listener, plane, metadata=metadata, attributes=attributes)
        return conductor, member

    def loads(self, conductor: Conductor | None = None) -> list[WorkerLoad]:
        """Of each worker, as one of that room's members would find them."""
        members: Mapping[EnginePort, int] = {} if conductor is None else conductor.headcount
        return [
            WorkerLoad(busy, self._crowd[plane.port], self._recent[plane.port], members.get(plane.port, 0))
            for plane, busy in zip(self._planes, self._busy, strict=True)
        ]

    async def run(self) -> None:
        """Until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            due_s = clock() + SAMPLE_US / 1e6
            await asyncio.sleep(SAMPLE_US / 1e6)
            self._lags_ms.append(max(0.0, clock() - due_s) * 1e3)
            try:
                self.tick()
            except Exception:  # one bad sample must not stop the clock of all rooms
                logger.exception("the rooms' tick failed")

    def tick(self) -> None:
        self._ticks += 1
        now_us = self._clock()
        readings: dict[EnginePort, Statistics] = {}
        for conductor in list(self.conductors.values()):
            for port in conductor.headcount:
                if port not in readings:
                    readings[port] = port.worker.statistics()
            conductor.tick(readings, now_us)
            if self._ticks % MEASURE_EVERY_TICKS == 0:
                conductor.measure_layers(readings)
        if self._ticks % LOAD_EVERY_TICKS == 0:
            self._shed(readings, now_us)

    def _shed(self, readings: Readings, now_us: int) -> None:
        lag_ms = sum(self._lags_ms) / len(self._lags_ms) if self._lags_ms else 0.0
        for index, (plane, meter, shedding) in enumerate(zip(self._planes, self._meters, self.shedding, strict=True)):
            measured = readings.get(plane.port) or plane.port.worker.statistics()
            before = shedding.level
            load = meter.read(measured, lag_ms, now_us)
            self._busy[index] += BUSY_SMOOTHING * (min(load.busy, 1.0) - self._busy[index])
            if shedding.sample(load, now_us, act=self._shed_load):
                level = logging.WARNING if shedding.level > before else logging.INFO
                logger.log(level, "worker %d sheds load: %s (stress %.2f)", index, shedding.caps.name, shedding.stress)
        self._recent.clear()
        levels = {plane.port: shedding.level for plane, shedding in zip(self._planes, self.shedding, strict=True)}
        for conductor in self.conductors.values():
            # A room on several workers is shed as the worst of them: each of them carries the same pictures.
            level = max((levels[port] for port in conductor.headcount), default=0)
            conductor.regulator.set_caps(LEVELS[level], now_us)

    def close(self) -> None:
        """Everybody out, with a DTLS goodbye each; the engine ports still have to flush it."""
        for conductor in list(self.conductors.values()):
            for member in list(conductor.members.values()):
                conductor.leave(member, LeaveReason.SHUTDOWN)

    def _on_empty(self, conductor: Conductor) -> None:
        if self.conductors.get(conductor.room.name) is conductor:
            del self.conductors[conductor.room.name]
