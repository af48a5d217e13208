# SPDX-License-Identifier: Apache-2.0
"""All rooms of this process: finds or opens a room, places it on a worker, and gives every room the time of day."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from sfu.engine.statistics import Statistics
from sfu.rooms.conductor import Conductor
from sfu.rooms.errors import RoomError
from sfu.rooms.media import MediaPlane
from sfu.rooms.member import Listener, Member
from sfu.rooms.model import LeaveReason, Permissions
from sfu.rooms.shedding import NO_CAPS, Caps, LoadMeter, Shedding
from sfu.rooms.speakers import SAMPLE_US
from sfu.transport.engine_port import EnginePort

logger = logging.getLogger(__name__)

# Of the sizes of layers that no publisher declared.
MEASURE_EVERY_TICKS: Final = 10
# Workers publish their statistics every 200 ms: over less than this their load cannot be told.
LOAD_EVERY_TICKS: Final = 5


def monotonic_us() -> int:
    return time.monotonic_ns() // 1000


class Directory:
    def __init__(
        self, planes: Sequence[MediaPlane], clock: Callable[[], int] = monotonic_us, *, shed_load: bool = True
    ) -> None:
        """One plane per worker. `shed_load=False`: stress is measured, and nothing follows from it."""
        self._planes = tuple(planes)
        self._clock = clock
        self._shed_load = shed_load
        self._ticks = 0
        self._meters = [LoadMeter() for _ in planes]
        self.shedding: Final = tuple(Shedding() for _ in planes)
        """Of each worker."""
        self._lags_ms: deque[float] = deque(maxlen=LOAD_EVERY_TICKS)
        self.conductors: Final[dict[str, Conductor]] = {}

    @property
    def rooms(self) -> int:
        return len(self.conductors)

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
        """RoomError while the room's worker is overloaded. Who comes back is let in all the same."""
        conductor = self.conductors.get(room)
        plane = self._least_busy()
        known = conductor is not None and conductor.room.find_identity(identity) is not None
        if not known and self._caps_of(plane.port if conductor is None else conductor.port).refuse_joins:
            raise RoomError("overloaded", "the server is at its limit", "try again in a minute, or another server")
        if conductor is None:
            conductor = Conductor(room, plane.port, plane.open_transport, self._clock, self._on_empty)
            self.conductors[room] = conductor
        member = conductor.join(identity, name, permissions, listener, metadata=metadata, attributes=attributes)
        return conductor, member

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
        statistics: dict[int, Statistics] = {}
        for conductor in list(self.conductors.values()):
            key = id(conductor.port)
            if key not in statistics:
                statistics[key] = conductor.port.worker.statistics()
            conductor.tick(statistics[key], now_us)
            if self._ticks % MEASURE_EVERY_TICKS == 0:
                conductor.measure_layers(statistics[key])
        if self._ticks % LOAD_EVERY_TICKS == 0:
            self._shed(statistics, now_us)

    def _shed(self, statistics: Mapping[int, Statistics], now_us: int) -> None:
        lag_ms = sum(self._lags_ms) / len(self._lags_ms) if self._lags_ms else 0.0
        for index, (plane, meter, shedding) in enumerate(zip(self._planes, self._meters, self.shedding, strict=True)):
            key = id(plane.port)
            measured = statistics[key] if key in statistics else plane.port.worker.statistics()
            before = shedding.level
            if shedding.sample(meter.read(measured, lag_ms, now_us), now_us, act=self._shed_load):
                level = logging.WARNING if shedding.level > before else logging.INFO
                logger.log(level, "worker %d sheds load: %s (stress %.2f)", index, shedding.caps.name, shedding.stress)
        for conductor in self.conductors.values():
            conductor.regulator.set_caps(self._caps_of(conductor.port), now_us)

    def close(self) -> None:
        """Everybody out, with a DTLS goodbye each; the engine ports still have to flush it."""
        for conductor in list(self.conductors.values()):
            for member in list(conductor.members.values()):
                conductor.leave(member, LeaveReason.SHUTDOWN)

    def _on_empty(self, conductor: Conductor) -> None:
        if self.conductors.get(conductor.room.name) is conductor:
            del self.conductors[conductor.room.name]

    def _caps_of(self, port: EnginePort) -> Caps:
        found = (one.caps for plane, one in zip(self._planes, self.shedding, strict=True) if plane.port is port)
        return next(found, NO_CAPS)

    def _least_busy(self) -> MediaPlane:
        load = {id(plane.port): 0 for plane in self._planes}
        for conductor in self.conductors.values():
            load[id(conductor.port)] += len(conductor.members)
        return min(self._planes, key=lambda plane: load[id(plane.port)])
