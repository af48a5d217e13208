# SPDX-License-Identifier: Apache-2.0
"""What the bandwidth estimator tells Python: the enums of estimator.pxd, and the shapes of its structs."""

from __future__ import annotations

from enum import IntEnum
from typing import TypedDict


class CongestionState(IntEnum):
    """May layers be added?"""

    NORMAL = 0
    WARNING = 1
    """A queue is building, or has not drained yet: hold."""
    CONGESTED = 2
    """The estimate was lowered just now because of delay, loss or missing feedback."""


class EstimateBasis(IntEnum):
    """What the present estimate rests on."""

    START = 0
    DELAY = 1
    LOSS = 2
    REPORTS = 3
    REMB = 4
    TIMEOUT = 5


class RateState(IntEnum):
    """What the delay-based part is doing."""

    HOLD = 0
    INCREASE = 1
    DRAIN = 2
    COMPETE = 3


class Snapshot(TypedDict):
    """EstimatorSnapshot."""

    rate_bps: int
    pacing_bps: int
    delay_rate_bps: int
    loss_rate_bps: int
    acknowledged_bps: int
    remb_bps: int
    rtt_us: int
    queue_us: int
    trend_ms: float
    threshold_ms: float
    loss: float
    inherent_loss: float
    state: int
    basis: int
    rate_state: int
    application_limited: bool
    probes: int
    probe_results: int
    probe_bps: int


class Plan(TypedDict):
    """ProbePlan."""

    cluster: int
    rate_bps: int
    min_packets: int
    min_bytes: int
