# SPDX-License-Identifier: Apache-2.0
"""The layer selector against its twin, in each of its cases."""

from itertools import product

from sfu.engine.probes import select_layer
from tests.reference.selector import Verdict, select


def test_every_case_of_simulcast() -> None:
    flags = (False, True)
    layers = range(4)
    cases = product(range(-1, 4), layers, range(-1, 4), layers, layers, layers, flags, flags)
    for spatial, temporal, now, reached, layer, frame_temporal, key, sync in cases:
        target, current = (spatial, temporal), (now, reached)
        found = select_layer(target, current, layer, frame_temporal, key, sync)
        assert found == select(target, current, layer, frame_temporal, key=key, sync=sync), (target, current, layer)


def test_what_flows_never_exceeds_the_target_for_long() -> None:
    """From any state a keyframe of the target layer brings exactly the target."""
    for spatial, temporal, now, reached in product(range(4), range(3), range(-1, 4), range(3)):
        verdict, wanted, after = select_layer((spatial, temporal), (now, reached), spatial, 0, True, False)
        assert after == (spatial, temporal)
        assert not wanted
        assert verdict == (Verdict.FORWARD if now == spatial else Verdict.SWITCH)
