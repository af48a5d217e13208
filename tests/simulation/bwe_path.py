# SPDX-License-Identifier: Apache-2.0
"""A closed loop around the bandwidth estimator: source → pacer → bottleneck → receiver → feedback → estimator.

Everything is in virtual time; the estimator, the receiver's arrival log and the feedback packets are the real ones.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

from sfu.engine.bwe.bandwidth import BandwidthEstimator
from sfu.engine.bwe.results import Plan
from sfu.engine.transport_cc import ArrivalTracker
from tests.simulation.clock import VirtualClock
from tests.simulation.links import OVERHEAD_BYTES, Link, LinkModel

PACKET_BYTES = 1172
"""UDP payload of a full packet: 1,200 bytes with the headers that a link counts."""
SAMPLE_US = 10_000
TICK_US = 50_000
PADDING_BYTES = 900
"""A retransmission of a typical packet, or padding, in a probe."""
MEDIA, CROSS = 0, 1
"""First byte of a datagram: whose it is."""
HEADER_BYTES = 9
BURST_US = 2_000
"""The pacer lets go what is due within this."""
PROBE_GIVE_UP_US = 200_000


class Sample(NamedTuple):
    """What was seen at one time."""

    at_us: int
    estimate_bps: int
    sent_bps: float
    queue_us: float
    capacity_bps: float
    state: int
    application_limited: bool
    layer: int


class Source(Protocol):
    """What makes packets. It asks the path for its estimate and gives it frames."""

    layer: int

    def start(self, path: Path) -> None:
        """Begin to call path.push_frame."""


class Cross(Protocol):
    """Another flow through the same bottleneck."""

    def start(self, path: Path) -> None:
        """Begin to send."""

    def on_arrival(self, data: bytes, at_us: int) -> None:
        """Its datagram came out at the far end."""


@dataclass(frozen=True)
class PathModel:
    """The network, and how the receiver reports."""

    forward: LinkModel
    backward: LinkModel
    feedback_us: int = 50_000


@dataclass
class Path:
    """One sender's view of one network path, with everything on it."""

    model: PathModel
    source: Source
    seed: int = 0
    parameters: Mapping[str, Any] = field(default_factory=dict)
    cross: Cross | None = None
    clock: VirtualClock = field(default_factory=lambda: VirtualClock(1_000_000))

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.forward = Link(self.model.forward, seed=self.random.getrandbits(32))
        self.backward = Link(self.model.backward, seed=self.random.getrandbits(32))
        self.estimator = BandwidthEstimator(self.clock.now_us, dict(self.parameters))
        self.tracker = ArrivalTracker()
        self.samples: list[Sample] = []
        self.delays_us: list[tuple[int, int]] = []
        """(time of arrival, one-way delay without the link's own) of the media packets."""
        self.sent_bytes = 0
        self.padding_bytes = 0
        self.arrived_bytes = 0
        self._sampled_bytes = 0
        self._queue: deque[int] = deque()
        self._queued_bytes = 0
        self._free_us = 0
        self._waking = False
        self._probe: Plan | None = None
        self._probe_packets = 0
        self._probe_bytes = 0
        self._probe_began_us = 0
        self._sent_at: dict[int, int] = {}
        self._numbered = 0
        self._begun = False
        self.before_collect: Callable[[], None] = lambda: None

    @property
    def now_us(self) -> int:
        """Virtual time."""
        return self.clock.now_us

    def run(self, seconds: float) -> None:
        """From the beginning, or on."""
        if not self._begun:
            self.begin()
        self.clock.run_for(round(seconds * 1e6))

    def begin(self) -> None:
        """Schedule everything; `run` does so by itself."""
        self._begun = True
        self.source.start(self)
        if self.cross is not None:
            self.cross.start(self)
        self.clock.call_later(self.random.randrange(self.model.feedback_us), self._report)
        self.clock.every(SAMPLE_US, self._sample)
        self.clock.every(TICK_US, self._tick)

    def change(self, **changes: Any) -> None:
        """Change the bottleneck's model now."""
        self.forward.change(replace(self.forward.model, **changes), self.now_us)

    # --- sending

    def push_frame(self, size: int) -> None:
        """Queue a frame of so many bytes of UDP payload."""
        packets = max(1, -(-size // PACKET_BYTES))
        for index in range(packets):
            part = size * (index + 1) // packets - size * index // packets
            self._queue.append(max(part, 40))
            self._queued_bytes += part
        self._wake()

    @property
    def queued_bytes(self) -> int:
        """In the pacer."""
        return self._queued_bytes

    def _wake(self) -> None:
        if not self._waking:
            self._waking = True
            self.clock.call_at(max(self.now_us, self._free_us - BURST_US), self._pace)

    def _pace(self) -> None:
        self._waking = False
        while self._free_us <= self.now_us + BURST_US:
            if self._probe is None:
                self._begin_probe()
            if self._queue:
                size, padding = self._queue.popleft(), False
                self._queued_bytes -= size
            elif self._probe is not None:
                size, padding = PADDING_BYTES, True
            else:
                return
            self._transmit(size, padding)
        self._wake()

    def _begin_probe(self) -> None:
        self._probe = self.estimator.probe(self.now_us)
        self._probe_packets = self._probe_bytes = 0
        self._probe_began_us = self.now_us
        if self._probe is not None:
            self._free_us = self.now_us

    def _transmit(self, size: int, padding: bool) -> None:
        estimator, now_us = self.estimator, self.now_us
        rate_bps, cluster = estimator.pacing_bps, -1
        if self._probe is not None:
            rate_bps, cluster = self._probe["rate_bps"], self._probe["cluster"]
            self._probe_packets += 1
            self._probe_bytes += size + OVERHEAD_BYTES
            if (
                self._probe_packets >= self._probe["min_packets"] and self._probe_bytes >= self._probe["min_bytes"]
            ) or now_us - self._probe_began_us > PROBE_GIVE_UP_US:
                self._probe = None
        sequence = estimator.next_sequence()
        estimator.sent(sequence, size, now_us, cluster)
        self._numbered += 1
        self._sent_at[self._numbered] = now_us
        head = bytes([MEDIA]) + self._numbered.to_bytes(6, "big") + sequence.to_bytes(2, "big")
        self.forward.send(head + bytes(size - HEADER_BYTES), now_us)
        self.sent_bytes += size + OVERHEAD_BYTES
        self.padding_bytes += size + OVERHEAD_BYTES if padding else 0
        self._free_us = max(self._free_us, now_us - BURST_US) + round((size + OVERHEAD_BYTES) * 8e6 / rate_bps)

    # --- the far end

    def collect(self) -> None:
        """Take what has arrived by now."""
        self.before_collect()
        for at_us, data in self.forward.receive_until(self.now_us):
            if data[0] == CROSS:
                if self.cross is not None:
                    self.cross.on_arrival(data, at_us)
                continue
            number = int.from_bytes(data[1:7], "big")
            self.tracker.add(int.from_bytes(data[7:9], "big"), at_us)
            self.arrived_bytes += len(data) + OVERHEAD_BYTES
            sent_us = self._sent_at.pop(number, None)
            if sent_us is not None:
                self.delays_us.append((at_us, at_us - sent_us - self.forward.model.delay_us))

    def _report(self) -> None:
        self.collect()
        for packet in self.tracker.feedback(1, 2):
            self.backward.send(packet, self.now_us)
        arrives_us = self.backward.next_us()
        if arrives_us is not None:
            self.clock.call_at(arrives_us, self._hear)
        self.clock.call_later(self.model.feedback_us, self._report)

    def _hear(self) -> None:
        for _, packet in self.backward.receive_until(self.now_us):
            self.estimator.feedback(packet, self.now_us)
        later_us = self.backward.next_us()
        if later_us is not None:
            self.clock.call_at(later_us, self._hear)
        self._wake_for_probe()

    def _tick(self) -> None:
        self.estimator.tick(self.now_us)
        self._wake_for_probe()

    def _wake_for_probe(self) -> None:
        if self._probe is None and not self._queue:
            self._begin_probe()
            self._wake_if_probing()

    def _wake_if_probing(self) -> None:
        if self._probe is not None:
            self._wake()

    def _sample(self) -> None:
        snapshot = self.estimator.snapshot()
        sent_bps = (self.sent_bytes - self._sampled_bytes) * 8e6 / SAMPLE_US
        self._sampled_bytes = self.sent_bytes
        self.samples.append(
            Sample(
                self.now_us,
                snapshot["rate_bps"],
                sent_bps,
                self.forward.backlog_us() if self.forward.model.capacity_bps else 0.0,
                float(self.forward.model.capacity_bps or 0),
                snapshot["state"],
                bool(snapshot["application_limited"]),
                self.source.layer,
            )
        )
