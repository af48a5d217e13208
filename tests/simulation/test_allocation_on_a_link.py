# SPDX-License-Identifier: Apache-2.0
"""The allocation and the estimator on one link: what a receiver gets, and that it does not flap."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from sfu.rooms.allocation import PAUSED
from tests.simulation.allocated_source import AllocatedSource, Camera
from tests.simulation.bwe_path import Path
from tests.simulation.bwe_scenarios import MBIT, between, make_path, queue_ms

Measured = Callable[[str, float, str], None]

SETTLED_S = 15.0
WINDOW_US = 10_000_000
MOST_SWITCHES = 2
SEEDS = 2
TOP = 6


def busiest(times: Sequence[int], from_us: int) -> int:
    """The most switches within ten seconds."""
    late = [time for time in times if time >= from_us]
    return max((sum(first <= time < first + WINDOW_US for time in late) for first in late), default=0)


@pytest.mark.parametrize(
    ("name", "options"),
    [("clean", {}), ("2 % loss, 10 ms jitter", {"loss": 0.02, "jitter_us": 10_000}), ("150 ms", {"rtt_us": 150_000})],
)
def test_eight_on_a_megabit_and_a_half(
    name: str, options: dict[str, float], scaled: Callable[[int], int], measured: Measured
) -> None:
    worst, queues, used = 0, [], []
    for seed in range(scaled(SEEDS)):
        source = AllocatedSource([Camera() for _ in range(8)])
        path: Path = make_path(seed, 1.5 * MBIT, source=source, **options)  # type: ignore[arg-type]
        path.run(45)
        began_us = path.samples[0].at_us
        worst = max(worst, *(busiest(one.switches, began_us + round(SETTLED_S * 1e6)) for one in source.cameras))
        assert all(camera.level > PAUSED for camera in source.cameras), f"seed {seed}"
        late = between(path, SETTLED_S, 45)
        queues.append(queue_ms(late, 95))
        used.append(float(np.mean([sample.sent_bps for sample in late])) / (1.5 * MBIT))
    measured(f"{name}: switches of one track within 10 s, worst", worst, "")
    measured(f"{name}: queue, 95th percentile, worst", max(queues), "ms")
    measured(f"{name}: link used, median", float(np.median(used)), "")
    assert worst <= MOST_SWITCHES


def test_a_link_that_narrows_lowers_the_layer_and_one_that_widens_brings_it_back(
    scaled: Callable[[int], int], measured: Measured
) -> None:
    down_s, up_s = zip(*(narrow_and_widen(seed) for seed in range(scaled(SEEDS))), strict=True)
    measured("3 Mbit/s → 600 kbit/s: lower layer after, worst", max(down_s), "s")
    measured("600 kbit/s → 3 Mbit/s: top layer after, median", float(np.median(up_s)), "s")
    measured("600 kbit/s → 3 Mbit/s: top layer after, worst", max(up_s), "s")
    assert max(down_s) < 3


def narrow_and_widen(seed: int) -> tuple[float, float]:
    """Seconds until a lower layer, and until the top layer again."""
    source = AllocatedSource([Camera()])
    (camera,) = source.cameras
    path = make_path(seed, 3 * MBIT, source=source)
    path.run(20)
    assert camera.level == TOP
    path.change(capacity_bps=600_000)
    down_s = until(path, lambda: camera.spatial < 2)
    path.run(20)
    assert camera.level > PAUSED
    assert busiest(camera.switches, path.now_us - WINDOW_US) <= MOST_SWITCHES
    path.change(capacity_bps=3 * MBIT)
    return down_s, until(path, lambda: camera.level == TOP)


@pytest.mark.parametrize("audio", [True, False], ids=["with sound", "without"])
@pytest.mark.parametrize("trouble", [{"loss": 0.3}, {"capacity_bps": 200_000}], ids=["loss", "narrow"])
def test_the_only_layer_comes_back_with_the_link(
    trouble: dict[str, float], audio: bool, scaled: Callable[[int], int], measured: Measured
) -> None:
    """While it is paused next to nothing flows by which the link could be judged."""
    back_s = [trouble_and_back(seed, trouble, audio=audio) for seed in range(scaled(SEEDS))]
    measured(f"{trouble}: shown again after, worst", max(back_s), "s")
    assert max(back_s) < 12


def trouble_and_back(seed: int, trouble: dict[str, float], *, audio: bool) -> float:
    """Seconds from the trouble's end to the picture."""
    source = AllocatedSource([Camera((2_500_000,))], audio=audio)
    (camera,) = source.cameras
    path = make_path(seed, 20 * MBIT, source=source)
    path.run(5)
    assert camera.level > PAUSED
    path.change(**trouble)
    until(path, lambda: camera.level == PAUSED)
    path.run(2)
    path.change(loss=0.0, capacity_bps=20 * MBIT)
    return until(path, lambda: camera.level > PAUSED)


def test_a_link_for_sound_only_pauses_pictures(measured: Measured) -> None:
    source = AllocatedSource([Camera() for _ in range(3)])
    path = make_path(0, 3 * MBIT, source=source)
    path.run(15)
    path.change(capacity_bps=100_000)
    down_s = until(path, lambda: sum(camera.level > PAUSED for camera in source.cameras) <= 1)
    measured("3 Mbit/s → 100 kbit/s: pictures paused after", down_s, "s")
    assert down_s < 10


def until(path: Path, holds: Callable[[], bool], limit_s: float = 30.0) -> float:
    """Seconds of virtual time; the limit if it never does."""
    began_us = path.now_us
    while not holds() and path.now_us - began_us < limit_s * 1e6:
        path.run(0.1)
    return (path.now_us - began_us) / 1e6
