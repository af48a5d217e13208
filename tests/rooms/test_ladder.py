# SPDX-License-Identifier: Apache-2.0
"""The steps of a video's quality, and what is believed of their cost."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.engine.statistics import LayerStatistics
from sfu.rooms.ladder import ONE_TEMPORAL, THREE_TEMPORAL, Ladder, Rates, make_ladder
from sfu.rooms.layers import ALL_TEMPORAL, Target, limit_target
from sfu.rooms.model import Layer
from sfu.rooms.rates import ASSUMED_BPS, TrackRates

LAYERS = (Layer("q", 320, 180, 150_000), Layer("h", 640, 360, 500_000), Layer("f", 1280, 720, 1_500_000))
RATES = Rates((150_000, 500_000, 1_500_000), THREE_TEMPORAL)
FULL = ALL_TEMPORAL


def steps(ladder: Ladder) -> list[tuple[int, int, int]]:
    return [(*step.target, step.rate_bps) for step in ladder.steps]


def test_a_camera_gets_larger_before_it_gets_slow() -> None:
    ladder = make_ladder(LAYERS, 0b111, RATES, screen=False)
    assert steps(ladder) == [
        (0, 0, 60_000),
        (0, 1, 90_000),
        (0, FULL, 150_000),
        (1, 1, 300_000),
        (1, FULL, 500_000),
        (2, 1, 900_000),
        (2, FULL, 1_500_000),
    ]
    assert ladder.steps[ladder.goal].target == (1, FULL), "360 lines and all frames"


def test_a_screen_is_whole_before_it_moves() -> None:
    ladder = make_ladder(LAYERS, 0b111, RATES, screen=True)
    assert [target for target, _ in ladder.steps] == [(0, 0), (1, 0), (2, 0), (2, 1), (2, FULL)]
    assert ladder.steps[ladder.goal].target == (2, 0)


def test_without_temporal_layers_there_are_no_steps_between() -> None:
    ladder = make_ladder(LAYERS, 0b101, Rates(RATES.layers_bps, ONE_TEMPORAL), screen=False)
    assert steps(ladder) == [(0, FULL, 150_000), (2, FULL, 1_500_000)]


def test_nothing_there_is_no_step() -> None:
    assert make_ladder(LAYERS, 0, RATES, screen=False) == Ladder()


@settings(deadline=None)
@given(
    st.lists(st.floats(0, 1e7), min_size=1, max_size=4),
    st.integers(0, 15),
    st.sampled_from((ONE_TEMPORAL, THREE_TEMPORAL, (0.5, 0.5, 1.0))),
    st.booleans(),
)
def test_costs_and_targets_rise(
    rates: list[float], available: int, shares: tuple[float, float, float], screen: bool
) -> None:
    layers = tuple(Layer(str(index)) for index in range(len(rates)))
    ladder = make_ladder(layers, available, Rates(tuple(rates), shares), screen=screen)
    targets = [step.target for step in ladder.steps]
    costs = [step.rate_bps for step in ladder.steps]
    assert targets == sorted(set(targets))
    assert costs == sorted(costs)
    assert all(available >> target.spatial & 1 for target in targets)
    for level, target in enumerate(targets):
        assert ladder.level_of(target) == level
        assert ladder.cap(target) == level
    assert not targets or 0 <= ladder.goal < len(targets)


@pytest.mark.parametrize(
    ("target", "cap", "level"),
    [
        (Target(2, FULL), 6, 6),
        (Target(2, 1), 5, 5),
        (
            Target(2, 0),
            5,
            4,
        ),  # the layer comes with half of its frames: of these the engine leaves out what is too much
        (Target(1, 2), 4, 3),
        (Target(0, 0), 0, 0),
        (Target(3, FULL), 6, 6),
        (Target(-1, FULL), -1, -1),
    ],
)
def test_a_target_that_is_no_step(target: Target, cap: int, level: int) -> None:
    ladder = make_ladder(LAYERS, 0b111, RATES, screen=False)
    assert (ladder.cap(target), ladder.level_of(target)) == (cap, level)


def measured(*rates: int) -> tuple[LayerStatistics, ...]:
    return tuple(LayerStatistics(rate > 0, 1, 1, 0, 0, rate, 30.0, 0.0, 1, 0, 0) for rate in rates)


def test_rates_are_declared_then_measured_and_remembered_while_a_layer_rests() -> None:
    track = TrackRates(scalable=False, temporal=True)
    track.observe(LAYERS, (), 0)
    assert track.rates().layers_bps == (150_000, 500_000, 1_500_000)
    track.observe(LAYERS, measured(100_000, 400_000, 1_000_000), 200_000)
    assert track.rates().layers_bps == (100_000, 400_000, 1_000_000)
    track.observe(LAYERS, measured(100_000, 400_000, 0), 60_000_000)
    assert track.rates().layers_bps[2] == 1_000_000


def test_rates_rise_faster_than_they_fall() -> None:
    track = TrackRates(scalable=False, temporal=False)
    track.observe(LAYERS[:1], measured(100_000), 0)
    track.observe(LAYERS[:1], measured(200_000), 500_000)
    risen = track.rates().layers_bps[0]
    assert risen > 180_000
    track.observe(LAYERS[:1], measured(100_000), 1_000_000)
    assert track.rates().layers_bps[0] > 165_000


def test_layers_of_one_stream_add_up_and_may_be_found_by_measuring() -> None:
    track = TrackRates(scalable=True, temporal=False)
    track.observe((Layer(),), (), 0)
    assert track.rates().layers_bps == (ASSUMED_BPS,)
    track.observe((Layer(),), measured(100_000, 200_000, 400_000), 200_000)
    assert track.rates().layers_bps == (100_000, 300_000, 700_000)


def test_what_a_temporal_layer_saves_is_learnt() -> None:
    """A publisher without temporal layers: what was believed to save more than half saves nothing."""
    track = TrackRates(scalable=False, temporal=True)
    track.observe(LAYERS, measured(150_000, 500_000, 1_500_000), 0)
    for _ in range(60):
        track.observe_receiver(1, 0, 500_000)
        track.observe_receiver(1, 1, 500_000)
    ladder = make_ladder(LAYERS, 0b111, track.rates(), screen=False)
    assert [target.temporal for target, _ in ladder.steps] == [FULL, FULL, FULL]


@pytest.mark.parametrize(
    ("layers", "max_height", "max_temporal", "expected"),
    [
        (LAYERS, None, None, (2, FULL)),
        (LAYERS, 360, None, (1, FULL)),
        (LAYERS, 180, 1, (0, 1)),
        (LAYERS, 90, None, (0, FULL)),
        ((Layer("q", 180, 320), Layer("h", 360, 640), Layer("f", 720, 1280)), 360, None, (1, FULL)),
        ((Layer("q"), Layer("h"), Layer("f")), 360, None, (1, FULL)),
        ((Layer("q"), Layer("h"), Layer("f")), 180, None, (0, FULL)),
    ],
)
def test_limits_of_the_server(
    layers: tuple[Layer, ...], max_height: int | None, max_temporal: int | None, expected: tuple[int, int]
) -> None:
    assert limit_target(Target(2, FULL), layers, max_height, max_temporal) == expected
