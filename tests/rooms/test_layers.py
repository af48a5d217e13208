# SPDX-License-Identifier: Apache-2.0
"""The target layer: the highest that is live and within the wish."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.rooms.layers import ALL_TEMPORAL, PAUSED, choose_target, order_layers
from sfu.rooms.model import Layer, Wish

LAYERS = (Layer("q", 320, 180, max_fps=30), Layer("h", 640, 360, max_fps=30), Layer("f", 1280, 720, max_fps=30))
ALL = 0b111


@pytest.mark.parametrize(
    ("wish", "live", "spatial"),
    [
        (Wish(), ALL, 2),
        (Wish(), 0b011, 1),
        (Wish(), 0, 0),
        (Wish(max_spatial=1), ALL, 1),
        (Wish(max_spatial=9), ALL, 2),
        (Wish(max_spatial=0), 0b110, 0),  # strict: waits for the lowest
        (Wish(max_width=640, max_height=360), ALL, 1),
        (Wish(max_width=639), ALL, 0),
        (Wish(max_height=100), ALL, 0),  # the smallest is better than none
        (Wish(max_height=100), 0b110, 1),
        (Wish(max_width=640, max_spatial=0), ALL, 0),
        (Wish(paused=True), ALL, PAUSED),
    ],
)
def test_spatial(wish: Wish, live: int, spatial: int) -> None:
    assert choose_target(LAYERS, live, wish).spatial == spatial


@pytest.mark.parametrize(
    ("wish", "temporal"),
    [
        (Wish(), ALL_TEMPORAL),
        (Wish(max_temporal=1), 1),
        (Wish(max_fps=30), ALL_TEMPORAL),
        (Wish(max_fps=29), 1),
        (Wish(max_fps=15), 1),
        (Wish(max_fps=8), 0),
        (Wish(max_fps=1), 0),
        (Wish(max_fps=15, max_temporal=0), 0),
    ],
)
def test_temporal(wish: Wish, temporal: int) -> None:
    assert choose_target(LAYERS, ALL, wish).temporal == temporal


def test_without_declared_layers_everything_fits() -> None:
    assert choose_target((Layer("a"), Layer("b")), 0b11, Wish(max_width=1)).spatial == 1
    assert choose_target((), 0, Wish()).spatial == 0


@given(
    live=st.integers(0, 7),
    wish=st.builds(
        Wish,
        max_width=st.none() | st.integers(1, 2000),
        max_height=st.none() | st.integers(1, 2000),
        max_spatial=st.none() | st.integers(0, 7),
        max_fps=st.none() | st.floats(0, 100),
    ),
)
def test_the_target_exists_is_within_the_strict_wish_and_live_if_any_such_is(live: int, wish: Wish) -> None:
    target = choose_target(LAYERS, live, wish)
    top = 2 if wish.max_spatial is None else min(2, wish.max_spatial)
    assert 0 <= target.spatial <= top
    assert 0 <= target.temporal <= ALL_TEMPORAL
    if live & ((2 << top) - 1):
        assert live >> target.spatial & 1


def test_the_order_of_the_sdp_holds() -> None:
    assert order_layers(("a", "b"), {}) == (Layer("a"), Layer("b"))
    assert [one.rid for one in order_layers(("f", "q"), {"f": LAYERS[2]})] == ["f", "q"]


def test_declared_sizes_correct_the_order() -> None:
    declared = {layer.rid: layer for layer in LAYERS}
    assert order_layers(("f", "h", "q"), declared) == LAYERS
