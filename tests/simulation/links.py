# SPDX-License-Identifier: Apache-2.0
"""A one-way link in virtual time: a bottleneck with a drop-tail queue, then delay, loss and reordering."""

from __future__ import annotations

import heapq
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

OVERHEAD_BYTES = 28
"""IPv4 and UDP headers of a datagram."""


class DropCause(StrEnum):
    """Why a link lost a datagram."""

    LOSS = "loss"
    QUEUE = "queue"


class Arrival(NamedTuple):
    """A datagram at the far end."""

    at_us: int
    data: bytes


@dataclass(frozen=True, slots=True)
class LinkModel:
    """How a link behaves."""

    capacity_bps: int | None = None
    """None = no bottleneck."""
    queue_us: int = 200_000
    """What the queue holds, as time at the present capacity; more is dropped."""
    delay_us: int = 20_000
    jitter_us: int = 0
    """Added uniformly from 0; does not reorder."""
    loss: float = 0.0
    """Share of datagrams lost."""
    loss_burst: float = 1.0
    """Mean number of datagrams lost in a row; 1 = independent losses, above it a Gilbert model."""
    reorder: float = 0.0
    """Share of datagrams that are held back by `reorder_us` and overtaken."""
    reorder_us: int = 15_000
    duplicate: float = 0.0
    """Share of datagrams that arrive twice."""
    overhead_bytes: int = OVERHEAD_BYTES


class Link:
    """One direction of a path. Give times that do not decrease."""

    def __init__(
        self,
        model: LinkModel | None = None,
        *,
        seed: int = 0,
        on_drop: Callable[[bytes, DropCause], None] | None = None,
    ) -> None:
        self.model = model or LinkModel()
        self.drops: Counter[DropCause] = Counter()
        self.sent = 0
        self._random = random.Random(seed)
        self._on_drop = on_drop
        self._queue: deque[tuple[int, bytes]] = deque()
        self._head_bits_left = 0.0
        self._bits_behind_head = 0.0
        self._served_us = 0.0
        self._flying: list[tuple[int, int, bytes]] = []
        self._launched = 0
        self._last_arrival_us = 0
        self._losing = False

    def change(self, model: LinkModel, now_us: int) -> None:
        """Behave so from now on (what has left the bottleneck keeps its time of arrival)."""
        self._serve(now_us)
        self.model = model

    def send(self, data: bytes, now_us: int) -> bool:
        """Offer a datagram; False if it is lost."""
        self._serve(now_us)
        self.sent += 1
        if self._loses():
            return self._drop(data, DropCause.LOSS)
        if self.model.capacity_bps is None:
            self._launch(data, now_us)
            return True
        if self.backlog_us() >= self.model.queue_us:
            return self._drop(data, DropCause.QUEUE)
        if self._queue:
            self._bits_behind_head += self._bits(data)
        else:
            self._head_bits_left = self._bits(data)
        self._queue.append((now_us, data))
        return True

    def receive_until(self, now_us: int) -> list[Arrival]:
        """What arrives up to and including that time, in order of arrival."""
        self._serve(now_us)
        arrivals = []
        while self._flying and self._flying[0][0] <= now_us:
            at_us, _, data = heapq.heappop(self._flying)
            arrivals.append(Arrival(at_us, data))
        return arrivals

    def next_us(self) -> int | None:
        """When something next arrives, or leaves the bottleneck; None = the link is empty."""
        times = [self._flying[0][0]] if self._flying else []
        if self._queue and self.model.capacity_bps:
            times.append(int(max(self._served_us, self._queue[0][0]) + self._service_us(self._head_bits_left)) + 1)
        return min(times, default=None)

    def backlog_us(self) -> float:
        """Time that the queue's content needs at the present capacity."""
        return self._service_us(self._bits_behind_head + self._head_bits_left)

    def _drop(self, data: bytes, cause: DropCause) -> bool:
        self.drops[cause] += 1
        if self._on_drop is not None:
            self._on_drop(data, cause)
        return False

    def _bits(self, data: bytes) -> float:
        return 8.0 * (len(data) + self.model.overhead_bytes)

    def _service_us(self, bits: float) -> float:
        return bits * 1e6 / self.model.capacity_bps if self.model.capacity_bps else 0.0

    def _loses(self) -> bool:
        loss, burst = self.model.loss, self.model.loss_burst
        if burst <= 1.0 or loss <= 0.0:
            return loss > 0.0 and self._random.random() < loss
        # Gilbert: leave the losing state with 1/burst, enter it so often that the mean share is `loss`.
        enter = loss / (burst * (1.0 - loss))
        self._losing = self._random.random() < (1.0 - 1.0 / burst if self._losing else enter)
        return self._losing

    def _serve(self, now_us: int) -> None:
        """Move through the bottleneck what has passed it by now."""
        while self._queue:
            enqueued_us, data = self._queue[0]
            start_us = max(self._served_us, enqueued_us)
            finish_us = start_us + self._service_us(self._head_bits_left)
            if finish_us > now_us:
                if start_us < now_us and self.model.capacity_bps:
                    self._head_bits_left -= (now_us - start_us) * self.model.capacity_bps / 1e6
                    self._served_us = now_us
                return
            self._queue.popleft()
            self._served_us = finish_us
            self._head_bits_left = self._bits(self._queue[0][1]) if self._queue else 0.0
            self._bits_behind_head -= self._head_bits_left
            self._launch(data, round(finish_us))

    def _launch(self, data: bytes, at_us: int) -> None:
        model = self.model
        arrival_us = at_us + model.delay_us
        if model.jitter_us:
            arrival_us += self._random.randrange(model.jitter_us + 1)
        if model.reorder and self._random.random() < model.reorder:
            arrival_us += model.reorder_us
        else:
            arrival_us = self._last_arrival_us = max(arrival_us, self._last_arrival_us)
        copies = 2 if model.duplicate and self._random.random() < model.duplicate else 1
        for _ in range(copies):
            self._launched += 1
            heapq.heappush(self._flying, (arrival_us, self._launched, data))
