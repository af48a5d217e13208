# SPDX-License-Identifier: Apache-2.0
"""All rooms of this process: finds or opens a room, places it on a worker, and gives every room the time of day."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from sfu.engine.statistics import Statistics
from sfu.rooms.conductor import Conductor
from sfu.rooms.media import MediaPlane
from sfu.rooms.member import Listener, Member
from sfu.rooms.model import LeaveReason, Permissions
from sfu.rooms.speakers import SAMPLE_US

logger = logging.getLogger(__name__)

# Of the sizes of layers that no publisher declared.
MEASURE_EVERY_TICKS: Final = 10


def monotonic_us() -> int:
    return time.monotonic_ns() // 1000


class Directory:
    def __init__(self, planes: Sequence[MediaPlane], clock: Callable[[], int] = monotonic_us) -> None:
        """One plane per worker."""
        self._planes = tuple(planes)
        self._clock = clock
        self._ticks = 0
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
        conductor = self.conductors.get(room)
        if conductor is None:
            plane = self._least_busy()
            conductor = Conductor(room, plane.port, plane.open_transport, self._clock, self._on_empty)
            self.conductors[room] = conductor
        member = conductor.join(identity, name, permissions, listener, metadata=metadata, attributes=attributes)
        return conductor, member

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(SAMPLE_US / 1e6)
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

    def close(self) -> None:
        """Everybody out, with a DTLS goodbye each; the engine ports still have to flush it."""
        for conductor in list(self.conductors.values()):
            for member in list(conductor.members.values()):
                conductor.leave(member, LeaveReason.SHUTDOWN)

    def _on_empty(self, conductor: Conductor) -> None:
        if self.conductors.get(conductor.room.name) is conductor:
            del self.conductors[conductor.room.name]

    def _least_busy(self) -> MediaPlane:
        load = {id(plane.port): 0 for plane in self._planes}
        for conductor in self.conductors.values():
            load[id(conductor.port)] += len(conductor.members)
        return min(self._planes, key=lambda plane: load[id(plane.port)])
