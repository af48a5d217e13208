# SPDX-License-Identifier: Apache-2.0
"""What the egress log of an outbound stream tells (`sfu serve --egress-log`)."""

from dataclasses import dataclass
from enum import IntEnum


class EgressEvent(IntEnum):
    """`egress_log.pxd` holds the same numbers."""

    BOUND = 0
    """A track is wanted; what flowed goes on until it can start."""
    UNBOUND = 1
    TARGET = 2
    """Another layer is wanted; spatial -1: none."""
    SWITCHED = 3
    """The first packet of another source has left: of another simulcast layer, or another track."""
    KEYFRAME = 4
    """A keyframe has begun to leave."""
    GAP = 5
    """`count` sequence numbers were left out: lost on the way in, or of a frame that stayed incomplete."""
    PAUSE = 6
    """Nothing had left for `count` ms before the next packet did."""
    DROPPED = 7
    """`count` packets were dropped for `reason`, from `now_us` to `until_us`."""
    RESENT = 8
    """The receiver asked for `sequence`, and got it again."""
    UNANSWERED = 9
    """The receiver asked for `sequence`, which cannot be had any more."""
    KEYFRAME_REQUEST = 10
    """The receiver could not decode, and asked for a keyframe (PLI, FIR)."""


@dataclass(frozen=True, slots=True)
class EgressRecord:
    """One event. Times are the engine's monotonic clock; `sequence` is extended, its low 16 bits are on the wire."""

    now_us: int
    until_us: int
    event: EgressEvent
    count: int
    sequence: int
    timestamp: int
    csrc: int
    spatial: int
    temporal: int
    reason: int | None
    """DropReason of a drop."""
