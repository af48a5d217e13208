# SPDX-License-Identifier: Apache-2.0
"""What is sent over a bwe_path: an encoder that follows the estimate, simulcast layers to choose from, a Reno flow."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from tests.simulation.bwe_path import CROSS, MEDIA, PACKET_BYTES, Path
from tests.simulation.links import OVERHEAD_BYTES, Arrival, Link, LinkModel

FRAME_US = 33_333
FRAME_NOISE = 0.2
"""Standard deviation of a frame's size, as a share."""
QUEUE_LIMIT_US = 250_000
"""An encoder skips frames while the pacer holds more than this."""


class ElasticSource:
    """An encoder at 30 frames per second that makes use of the whole estimate, up to a limit."""

    layer = -1

    def __init__(self, limit_bps: float = 1e9) -> None:
        self.limit_bps = limit_bps

    def start(self, path: Path) -> None:
        """Begin."""
        self.path = path
        path.clock.call_later(path.random.randrange(FRAME_US), self._frame)

    def _frame(self) -> None:
        path = self.path
        path.clock.call_later(FRAME_US, self._frame)
        rate_bps = min(path.estimator.rate_bps, self.limit_bps)
        if path.queued_bytes * 8e6 > rate_bps * QUEUE_LIMIT_US:
            return
        size = rate_bps * FRAME_US / 8e6 * max(0.3, path.random.gauss(1.0, FRAME_NOISE))
        packets = max(1, round(size / (PACKET_BYTES + OVERHEAD_BYTES) + 0.5))
        path.push_frame(max(60, round(size - packets * OVERHEAD_BYTES)))


@dataclass(frozen=True)
class LayerRate:
    """One simulcast layer."""

    mean_frame_bytes: int
    keyframe_bytes: int

    @property
    def rate_bps(self) -> float:
        """With headers."""
        packets = -(-self.mean_frame_bytes // PACKET_BYTES)
        return (self.mean_frame_bytes + packets * OVERHEAD_BYTES) * 8e6 / FRAME_US


LAYERS = (LayerRate(680, 4_000), LayerRate(1_750, 12_000), LayerRate(4_100, 30_000))
"""320×180, 640×360, 1280×720 as measured of Chromium: 0.17, 0.43 and 1.01 Mbit/s."""


class LayeredSource:
    """What an SFU has: the highest of some layers that fits, a probe before each step up, an audio stream always."""

    HOLD_US = 2_000_000
    MARGIN = 1.05
    AUDIO_BYTES = 120
    AUDIO_US = 20_000

    def __init__(self, layers: tuple[LayerRate, ...] = LAYERS) -> None:
        self.layers = layers
        self.layer = -1
        self.switches = 0
        self._keyframe = False
        self._changed_us = 0

    def start(self, path: Path) -> None:
        """Begin."""
        self.path = path
        path.estimator.set_wanted(round(self._needed(len(self.layers) - 1)), path.now_us)
        path.clock.every(self.AUDIO_US, lambda: path.push_frame(self.AUDIO_BYTES))
        path.clock.call_later(path.random.randrange(FRAME_US), self._frame)
        path.clock.every(100_000, self._allocate)

    def _needed(self, layer: int) -> float:
        audio_bps = (self.AUDIO_BYTES + OVERHEAD_BYTES) * 8e6 / self.AUDIO_US
        return audio_bps + (self.layers[layer].rate_bps if layer >= 0 else 0.0)

    def _allocate(self) -> None:
        path, top = self.path, len(self.layers) - 1
        budget_bps, now_us = path.estimator.rate_bps, path.now_us
        fits = max((layer for layer in range(top + 1) if self._needed(layer) <= budget_bps), default=-1)
        if fits < self.layer:
            self._switch(fits)
        elif self.layer < top and now_us - self._changed_us > (self.HOLD_US if self.layer >= 0 else 0):
            next_bps = self._needed(self.layer + 1) * self.MARGIN
            if path.estimator.state == 0 and next_bps <= budget_bps:
                self._switch(self.layer + 1)
            elif next_bps > budget_bps:
                path.estimator.request_probe(round(next_bps), now_us)

    def _switch(self, layer: int) -> None:
        self.layer = layer
        self.switches += 1
        self._keyframe = True
        self._changed_us = self.path.now_us

    def _frame(self) -> None:
        path = self.path
        path.clock.call_later(FRAME_US, self._frame)
        if self.layer < 0:
            return
        layer = self.layers[self.layer]
        size = layer.keyframe_bytes if self._keyframe else layer.mean_frame_bytes
        self._keyframe = False
        path.push_frame(round(size * max(0.3, path.random.gauss(1.0, FRAME_NOISE))))


class _SharedLink:
    """The bottleneck of another path, seen by one that shares it."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._arrived: list[Arrival] = []

    @property
    def model(self) -> LinkModel:
        return self._link.model

    def send(self, data: bytes, now_us: int) -> bool:
        return self._link.send(bytes([CROSS]) + data[1:], now_us)

    def arrive(self, data: bytes, at_us: int) -> None:
        self._arrived.append(Arrival(at_us, bytes([MEDIA]) + data[1:]))

    def receive_until(self, now_us: int) -> list[Arrival]:
        arrived, self._arrived = self._arrived, []
        return arrived

    def backlog_us(self) -> float:
        return self._link.backlog_us()


class SecondSender:
    """A flow with an estimator of its own that joins later."""

    def __init__(self, start_us: int, seed: int = 1) -> None:
        self.start_us = start_us
        self.seed = seed
        self.path: Path | None = None

    def start(self, path: Path) -> None:
        """Begin, later."""
        self._outer = path
        path.clock.call_later(self.start_us, self._begin)

    def on_arrival(self, data: bytes, at_us: int) -> None:
        """Its datagram came out at the far end."""
        self._link.arrive(data, at_us)

    def _begin(self) -> None:
        outer = self._outer
        self.path = Path(outer.model, ElasticSource(), self.seed, outer.parameters, clock=outer.clock)
        self._link = _SharedLink(outer.forward)
        self.path.forward = self._link  # type: ignore[assignment]
        self.path.before_collect = outer.collect
        self.path.begin()


@dataclass
class RenoFlow:
    """A greedy TCP-like flow: slow start, congestion avoidance, halving at a loss, one second of timeout."""

    start_us: int = 0
    stop_us: int | None = None
    PACKET: int = 1472
    POLL_US: int = 2_000
    TIMEOUT_US: int = 1_000_000
    arrived: list[tuple[int, int]] = field(default_factory=list)
    """(time, bytes with headers)"""

    def start(self, path: Path) -> None:
        """Begin."""
        self.path = path
        self.window = 10.0
        self.threshold = 1e9
        self._next = 0
        self._acknowledged = -1
        self._recover = -1
        self._acks: deque[tuple[int, int]] = deque()
        self._progress_us = 0
        self._back_us = path.model.backward.delay_us
        path.clock.call_later(self.start_us, self._begin)

    def _begin(self) -> None:
        self._stop_us = self.path.now_us + self.stop_us - self.start_us if self.stop_us is not None else None
        self._progress_us = self.path.now_us
        self._turn()

    def on_arrival(self, data: bytes, at_us: int) -> None:
        """Acknowledged one backward delay later."""
        self.arrived.append((at_us, len(data) + OVERHEAD_BYTES))
        self._acks.append((at_us + self._back_us, int.from_bytes(data[1:9], "big")))

    def _turn(self) -> None:
        path, now_us = self.path, self.path.now_us
        path.collect()
        while self._acks and self._acks[0][0] <= now_us:
            self._acknowledge(self._acks.popleft()[1])
        if now_us - self._progress_us > self.TIMEOUT_US and self._next > self._acknowledged + 1:
            self.threshold = max(self.window / 2, 2.0)
            self.window = 1.0
            self._acknowledged = self._recover = self._next - 1
            self._progress_us = now_us
        if self._stop_us is None or now_us < self._stop_us:
            while self._next - self._acknowledged - 1 < int(self.window):
                head = bytes([CROSS]) + self._next.to_bytes(8, "big")
                path.forward.send(head + bytes(self.PACKET - len(head)), now_us)
                self._next += 1
        path.clock.call_later(self.POLL_US, self._turn)

    def _acknowledge(self, number: int) -> None:
        if number <= self._acknowledged:
            return
        lost = number - self._acknowledged - 1
        self._acknowledged = number
        self._progress_us = self.path.now_us
        if lost and number > self._recover:
            self.threshold = self.window = max(self.window / 2, 2.0)
            self._recover = self._next
        elif self.window < self.threshold:
            self.window += 1
        else:
            self.window += 1 / self.window
