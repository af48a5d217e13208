# SPDX-License-Identifier: Apache-2.0
"""What happens in all rooms of a process: a line in the log each, with ids to search for, and a count for the metrics.

Nothing here decides anything. Levels: what an operator would want to see of one call afterwards is `info`.
"""

from __future__ import annotations

import bisect
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from sfu.rooms.model import LeaveReason, Participant, ParticipantId, Publication

logger = logging.getLogger(__name__)

# From the join to media that can flow. A good one takes 0.1 to 0.5 s; a lost DTLS flight costs a second.
CONNECT_BOUNDS_S: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0)


class Durations:
    """A histogram in the form that Prometheus wants: how many were at most that long, for each bound."""

    def __init__(self, bounds_s: Sequence[float]) -> None:
        self.bounds_s: Final = tuple(bounds_s)
        self._counts = [0] * (len(self.bounds_s) + 1)
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect.bisect_left(self.bounds_s, seconds)] += 1
        self.sum_s += seconds

    @property
    def cumulative(self) -> list[int]:
        """One more than there are bounds: the last counts all."""
        total = 0
        return [total := total + count for count in self._counts]


class Journal:
    def __init__(self, clock: Callable[[], int]) -> None:
        """`clock` is monotonic, in microseconds."""
        self._clock = clock
        self._waiting: dict[ParticipantId, int] = {}
        """Who has joined and not yet connected, and when it joined."""
        self.joins = 0
        self.media_failures = 0
        self.leaves: Final[Counter[LeaveReason]] = Counter()
        self.connect_times: Final = Durations(CONNECT_BOUNDS_S)

    def joined(self, room: str, participant: Participant) -> None:
        self.joins += 1
        self._waiting[participant.id] = self._clock()
        _note("joined", room, participant, identity=participant.identity)

    def connected(self, room: str, participant: Participant) -> None:
        """Its media can flow. Only the first time after a join is a join's time."""
        since_us = self._waiting.pop(participant.id, None)
        if since_us is None:
            _note("media is back", room, participant)
            return
        seconds = (self._clock() - since_us) / 1e6
        self.connect_times.add(seconds)
        _note("media connected", room, participant, after_ms=round(seconds * 1e3))

    def media_failed(self, room: str, participant: Participant, why: str | None) -> None:
        self.media_failures += 1
        _note("media failed", room, participant, reason=why or "unknown")

    def left(self, room: str, participant: Participant, reason: LeaveReason) -> None:
        self.leaves[reason] += 1
        never_connected = self._waiting.pop(participant.id, None) is not None
        _note("left", room, participant, reason=reason.value, **({"media": "never"} if never_connected else {}))

    def published(self, room: str, publication: Publication) -> None:
        _note("published", room, publication.participant, publication=publication.id, source=publication.source.value)

    def unpublished(self, room: str, publication: Publication) -> None:
        _note("unpublished", room, publication.participant, publication=publication.id)


def _note(what: str, room: str, participant: Participant, **more: object) -> None:
    if logger.isEnabledFor(logging.INFO):
        logger.info(what, extra={"fields": {"room": room, "participant": participant.id, **more}})
