# SPDX-License-Identifier: Apache-2.0
"""What a load client does in a measurement, as data: it runs in a process of its own."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

Camera = Literal["none", "burst", "recorded", "simulcast"]
Service = Literal["pysfu", "janus", "aiortc"]


@dataclass(frozen=True)
class Group:
    """Participants of one room that are alike."""

    room: str
    count: int
    camera: Camera = "none"
    microphone: bool = False
    video_slots: int = 0
    audio_slots: int = 0
    """Beside the one that each video slot has."""
    video_group: int = 0
    audio_group: int = 1
    """Histograms of what they receive."""


@dataclass(frozen=True)
class Scenario:
    groups: tuple[Group, ...]
    service: Service = "pysfu"
    url: str = ""
    server_pid: int = 0
    windows: int = 3
    window_s: float = 5.0
    warm_up_s: float = 3.0
    """At least; then until the rate is steady, or `expected_pps` was reached."""
    settle_limit_s: float = 40.0
    expected_pps: float = 0.0
    gro: bool = False
    gcm: bool = True
    sample_every: int = 16
    burst_packets: int = 9
    burst_payload: int = 1140
    fps: float = 30.0
    joins_per_s: float = 0.0
    """During the windows somebody joins a room of his own and leaves, so often."""
    room_id: int = 0
    """Of a service that has numbers for rooms."""

    def dump(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> Self:
        told = json.loads(text)
        return cls(**told | {"groups": tuple(Group(**group) for group in told["groups"])})


@dataclass(frozen=True)
class Latencies:
    """In microseconds, of sampled packets."""

    total: int
    p50_us: float
    p99_us: float
    p999_us: float
    highest_us: float


@dataclass(frozen=True)
class Spread:
    """Of the frames of one publisher that all receivers got: medians in microseconds, after the frame was sent."""

    frames: int
    receivers: int
    first_us: float
    last_us: float
    last_p99_us: float


@dataclass(frozen=True)
class Window:
    """What happened in a few seconds."""

    seconds: float
    sent: int
    received: int
    received_bytes: int
    lost: int
    silent: int
    """Streams that should flow and did not."""
    server_ns: int
    media_ns: int
    """Of the server's busiest thread but the first."""
    client_ns: int
    """Of the load client's native thread."""
    client_dropped: int
    """By our own full buffers: then the client was too slow, and the figures are void."""
    joins: int
    control_waits: Mapping[str, int] = field(default_factory=dict)
    """How many of the server's control calls waited for the media thread no longer than so many seconds, cumulative."""
    latencies: Mapping[int, Latencies] = field(default_factory=dict)
    spreads: Mapping[int, Spread] = field(default_factory=dict)

    @property
    def server_us_a_packet(self) -> float:
        return self.server_ns / 1000 / max(1, self.received)

    @property
    def media_us_a_packet(self) -> float:
        return self.media_ns / 1000 / max(1, self.received)

    @property
    def client_us_a_packet(self) -> float:
        return self.client_ns / 1000 / max(1, self.received + self.sent)

    @property
    def loss(self) -> float:
        return self.lost / max(1, self.lost + self.received)

    @property
    def control_calls(self) -> int:
        return self.control_waits.get("+Inf", 0)

    def control_wait_us(self, percent: float) -> float:
        """An upper bound of the percentile: the end of its bucket."""
        bounds = sorted((float(bound), calls) for bound, calls in self.control_waits.items())
        return next((1e6 * bound for bound, calls in bounds if calls >= percent / 100 * self.control_calls), math.nan)

    @property
    def server_load(self) -> float:
        """Of one core."""
        return self.server_ns / 1e9 / self.seconds

    @classmethod
    def parse(cls, told: Mapping[str, Any]) -> Self:
        latencies = {int(group): Latencies(**found) for group, found in told["latencies"].items()}
        spreads = {int(group): Spread(**found) for group, found in told["spreads"].items()}
        return cls(**dict(told) | {"latencies": latencies, "spreads": spreads})
