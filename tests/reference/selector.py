# SPDX-License-Identifier: Apache-2.0
"""sfu.engine.selector in plain Python, for simulcast tracks whose temporal layers VP8's descriptor tells."""

from enum import IntEnum


class Verdict(IntEnum):
    """As in selector.pxd."""

    FORWARD = 0
    SWITCH = 1
    DROP_SPATIAL = 2
    DROP_TEMPORAL = 3
    AWAITING_KEYFRAME = 4
    PAUSED = 5


def select(
    target: tuple[int, int], current: tuple[int, int], layer: int, temporal: int, *, key: bool, sync: bool
) -> tuple[Verdict, bool, tuple[int, int]]:
    """(verdict, whether a keyframe of the target layer is wanted, (spatial, temporal) that flow after the frame)."""
    wanted, wanted_temporal = target
    flowing, reached = current
    if wanted == -1:
        return Verdict.PAUSED, False, current
    if layer == flowing:
        reached = _reach(wanted_temporal, reached, temporal, key=key, sync=sync)
        verdict = Verdict.FORWARD if temporal <= reached else Verdict.DROP_TEMPORAL
        return verdict, False, (flowing, reached)
    may_start = layer == wanted if flowing != -1 else layer <= wanted
    if not may_start:
        return Verdict.DROP_SPATIAL, False, current
    if key:
        return Verdict.SWITCH, False, (layer, wanted_temporal)
    return Verdict.AWAITING_KEYFRAME, layer == wanted, current


def _reach(wanted: int, reached: int, temporal: int, *, key: bool, sync: bool) -> int:
    """The highest temporal layer that can be decoded from this frame on, and is wanted."""
    if key:
        return wanted
    if wanted <= reached:
        return wanted
    # RFC 7741 §4.2: a frame with Y set needs frames of layer 0 only. One step at a time, for those above need it, too.
    return temporal if sync and temporal == reached + 1 else reached
