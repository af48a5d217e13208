# SPDX-License-Identifier: Apache-2.0
"""What the load client's native thread has counted, as plain data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from sfu.load.reception_log import bucket_upper_us


class StreamCounts(NamedTuple):
    """One received stream. Times are the wall clock in microseconds, 0 before the first packet."""

    ssrc: int
    group: int
    packets: int
    """All that came, with duplicates, without retransmissions."""
    bytes: int
    """Of these, as SRTP."""
    frames: int
    """Markers."""
    lost: int
    """Between the first and the highest sequence number, what never came."""
    duplicates: int
    late: int
    recovered: int
    """By retransmission."""
    retransmissions: int
    """Packets on the retransmission SSRC, probes of padding among them."""
    nacks: int
    """Sequence numbers that were asked for."""
    given_up: int
    verified: int
    """Sampled packets that were decrypted."""
    forged: int
    """Sampled packets that could not be."""
    first_us: int
    last_us: int
    jitter_ms: float
    first_frame_us: int = 0
    """When the first frame was there."""
    freezes: int = 0
    frozen_us: int = 0
    """Of freezes that are over."""
    watched_us: int = 0
    """From frame to frame, without what was paused."""


class SenderCounts(NamedTuple):
    """One stream that is sent."""

    ssrc: int
    packets: int
    octets: int
    frames: int
    keyframes: int
    keyframe_requests: int
    skipped: int
    """Times that the thread was half a second late, and went on from there."""
    failed: int


class TrafficTotals(NamedTuple):
    """Of a load client."""

    received: int
    """Packets of RTP."""
    received_bytes: int
    sent: int
    send_failures: int
    unknown: int
    """Packets of SSRCs that nobody announced."""
    bad_rtcp: int
    kernel_dropped: int
    """By full receive buffers of ours: the load client was too slow."""
    control_lost: int
    cpu_ns: int
    """Of the thread."""
    latest_us: int
    """How late a frame was sent at worst."""


class FrameArrival(NamedTuple):
    """When the first and the last receiver had a frame's last packet, after it was sent."""

    frame: int
    receivers: int
    first_us: float
    last_us: float


class Latency(NamedTuple):
    """A histogram: `counts` by bucket (sfu.load.reception_log.bucket_upper_us), at most 3 % wide."""

    counts: Sequence[int]
    total: int
    highest_us: int

    def percentile_us(self, percent: float) -> float:
        """By nearest rank; NaN without samples."""
        if self.total == 0:
            return math.nan
        rank = max(1, math.ceil(percent / 100 * self.total))
        seen = 0
        for bucket, count in enumerate(self.counts):
            seen += count
            if seen >= rank:
                return float(min(bucket_upper_us(bucket), self.highest_us))
        return float(self.highest_us)
