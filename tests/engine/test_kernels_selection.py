# SPDX-License-Identifier: Apache-2.0
"""The layer selector against its twin, in each of its cases."""

from itertools import product

from sfu.engine.probes import select_layer
from tests.reference.selection import Flow, FrameFacts, Layers, Verdict

NUMBERS = {
    Verdict.FORWARD: 0,
    Verdict.BEGIN: 1,
    Verdict.SPATIAL: 2,
    Verdict.TEMPORAL: 3,
    Verdict.KEYFRAME: 4,
    Verdict.PAUSED: 5,
}
"""As in selector.pxd."""


def test_every_case_of_simulcast() -> None:
    flags = (False, True)
    layers = range(4)
    cases = product(range(-1, 4), layers, range(-1, 4), layers, layers, layers, flags, flags)
    for spatial, temporal, now, reached, layer, frame_temporal, key, sync in cases:
        if key and frame_temporal:
            continue  # a keyframe is of temporal layer 0
        target, current = (spatial, temporal), (now, reached)
        flow = Flow(Layers(*target), Layers(*current))
        verdict = flow.simulcast(FrameFacts(layer, 0, frame_temporal, key, sync))
        # A keyframe is asked for where it would be waited for, of the wanted layer only.
        wanted = verdict is Verdict.KEYFRAME and layer == spatial
        after = current if verdict is Verdict.PAUSED else flow.current
        found = select_layer(target, current, layer, frame_temporal, key, sync)
        assert found == (NUMBERS[verdict], wanted, after), (target, current, layer)


def test_what_flows_never_exceeds_the_target_for_long() -> None:
    """From any state a keyframe of the target layer brings exactly the target."""
    for spatial, temporal, now, reached in product(range(4), range(3), range(-1, 4), range(3)):
        verdict, wanted, after = select_layer((spatial, temporal), (now, reached), spatial, 0, True, False)
        assert after == (spatial, temporal)
        assert not wanted
        assert verdict == NUMBERS[Verdict.FORWARD if now == spatial else Verdict.BEGIN]
