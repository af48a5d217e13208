# SPDX-License-Identifier: Apache-2.0
"""Statistics of one worker, as of the moment of its last snapshot. Counters count from the object's beginning."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class TransportStatistics:
    packets_received: int
    bytes_received: int
    packets_sent: int
    bytes_sent: int
    rtt_ms: float | None
    """Round-trip time from receiver reports; None before the first."""
    remb_bps: int
    """The receiver's last REMB; 0 = none."""
    estimate_bps: int = 0
    """What the link to this receiver is estimated to carry; 0 = it receives nothing."""
    congestion: int = 0
    """0 normal, 1 a queue is building, 2 the estimate was lowered just now."""
    paced: int = 0
    """Packets that had to wait for the pacer."""
    probe_padding: int = 0
    """Padding packets sent for bandwidth probes."""
    relay: bool = False
    """It is the end of a relay leg, whose other end is on another worker (docs/relay.md)."""


@dataclass(frozen=True, slots=True)
class LayerStatistics:
    active: bool
    packets: int
    bytes: int
    lost: int
    """Missing now; what came by retransmission is not lost."""
    recovered: int
    bitrate_bps: int
    frames_per_second: float
    jitter_ms: float
    keyframes: int
    width: int
    """Of the last keyframe; 0 = unknown."""
    height: int


@dataclass(frozen=True, slots=True)
class TrackStatistics:
    audio_level: int
    """RFC 6464: 0 (loudest) to 127 (silent), smoothed."""
    layers: tuple[LayerStatistics, ...]
    receivers: int


@dataclass(frozen=True, slots=True)
class ForwarderStatistics:
    packets: int
    bytes: int
    spatial: int
    """-1: nothing flows."""
    temporal: int
    bitrate_bps: int
    frames_per_second: float
    resent: int
    nack_unanswered: int
    keyframe_requests: int
    switches: int
    fraction_lost: float
    """Of the last receiver report, 0 to 1."""


LATENCY_STEP_BITS: Final = 5
LATENCY_BUCKETS: Final = 640


def latency_bucket_end_us(bucket: int) -> int:
    """The duration, in µs, that is just too long for this bucket (0 to LATENCY_BUCKETS - 1)."""
    octave, step = divmod(bucket, 1 << LATENCY_STEP_BITS)
    if octave == 0:
        return step + 1
    return ((1 << LATENCY_STEP_BITS) + step + 1) << (octave - 1)


@dataclass(frozen=True, slots=True)
class LatencyStatistics:
    """A histogram of durations, exact below 32 µs, else to 3.1 %; see sfu/engine/latency.pxd."""

    counts: tuple[int, ...] = (0,) * LATENCY_BUCKETS
    sum_us: int = 0

    @property
    def count(self) -> int:
        return sum(self.counts)

    def since(self, earlier: LatencyStatistics) -> LatencyStatistics:
        """What was counted after `earlier`."""
        counts = tuple(now - then for now, then in zip(self.counts, earlier.counts, strict=True))
        return LatencyStatistics(counts, self.sum_us - earlier.sum_us)

    def percentile_us(self, percent: float) -> float:
        """By nearest rank, the middle of its bucket; nan where nothing was counted."""
        count = self.count
        rank, seen = max(1, math.ceil(percent / 100 * count)), 0
        for bucket, here in enumerate(self.counts):
            seen += here
            if count and seen >= rank:
                begin_us = latency_bucket_end_us(bucket - 1) if bucket else 0
                return (begin_us + latency_bucket_end_us(bucket) - 1) / 2
        return math.nan

    def shorter_than(self, bounds_us: Sequence[int]) -> list[int]:
        """How many were shorter than each of the ascending bounds; a bucket that reaches beyond one is left out."""
        found, bucket, seen = [], 0, 0
        for bound_us in bounds_us:
            while bucket < LATENCY_BUCKETS and latency_bucket_end_us(bucket) <= bound_us:
                seen += self.counts[bucket]
                bucket += 1
            found.append(seen)
        return found


@dataclass(frozen=True, slots=True)
class Statistics:
    packets_received: int = 0
    bytes_received: int = 0
    packets_sent: int = 0
    bytes_sent: int = 0
    media_received: int = 0
    """Media packets given to fan-out."""
    media_offered: int = 0
    """(packet, receiver) pairs offered: each was forwarded, or dropped under a name."""
    media_forwarded: int = 0
    resent: int = 0
    nacks_sent: int = 0
    switches: int = 0
    """Of layer, of all forwarders that there ever were."""
    nacks_received: int = 0
    keyframes_asked: int = 0
    stun_received: int = 0
    dtls_received: int = 0
    dtls_sent: int = 0
    rtcp_received: int = 0
    rtcp_sent: int = 0
    padded_packets: int = 0
    """Media packets that were made as long as the others of their frame (sfu/engine/equaliser.pxd)."""
    padding_bytes: int = 0
    busy_us: int = 0
    """Time the worker thread has spent working, not waiting."""
    relay_packets_received: int = 0
    """Datagrams that came from other workers; they and the following are contained in the totals above."""
    relay_bytes_received: int = 0
    relay_packets_sent: int = 0
    relay_bytes_sent: int = 0
    drops: dict[str, int] = field(default_factory=dict)
    socket: dict[str, int] = field(default_factory=dict)
    """The UDP socket's own counters (sfu.engine.udp); empty without a socket."""
    latency_audio: LatencyStatistics = LatencyStatistics()
    """From the kernel's receive timestamp to the return of the send call. Not: what waited for its receiver's link."""
    latency_video: LatencyStatistics = LatencyStatistics()
    control_wait: LatencyStatistics = LatencyStatistics()
    """How long Python's calls waited for the worker's slice to end."""
    transports: Mapping[int, TransportStatistics] = field(default_factory=dict)
    """By handle, as the next two. An object is made when it is looked up: taking statistics costs a copy of memory."""
    tracks: Mapping[int, TrackStatistics] = field(default_factory=dict)
    forwarders: Mapping[int, ForwarderStatistics] = field(default_factory=dict)
