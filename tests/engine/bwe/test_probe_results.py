# SPDX-License-Identifier: Apache-2.0
"""What a probe shows: figures of libwebrtc's probe_bitrate_estimator_unittest.cc."""

from __future__ import annotations

import pytest

from sfu.engine.bwe.components import ProbeMeter

KBIT = 1000
Packets = list[tuple[int, int, int]]
"""(size, sent ms, arrived ms)"""


def measure(packets: Packets, min_packets: int = 5, min_bytes: int = 5000, cluster: int = 0) -> float | None:
    meter = ProbeMeter()
    meter.expect(cluster, min_packets, min_bytes)
    return [meter.packet(cluster, size, sent * 1000, arrived * 1000) for size, sent, arrived in packets][-1]


@pytest.mark.parametrize(
    ("packets", "expected"),
    [
        ([(1000, 0, 10), (1000, 10, 20), (1000, 20, 30), (1000, 30, 40)], 800 * KBIT),
        ([(1000, 0, 10), (1000, 10, 20), (1000, 20, 30)], None),
        ([(1000, 0, 15), (1000, 10, 30), (1000, 20, 35), (1000, 30, 40)], 800 * KBIT),
        ([(1000, 0, 19), (1000, 10, 22), (1000, 20, 25), (1000, 30, 27)], None),
        ([(1000, 0, 10), (1000, 10, 40), (1000, 20, 70), (1000, 30, 85)], 0.95 * 320 * KBIT),
        ([(1000, 0, 50), (1000, 10, 50), (1000, 20, 50), (1000, 30, 50)], None),
        ([(1000, 0, 10), (1000, 10, 20), (1000, 20, 30), (1000, 30, 40), (1500, 40, 50)], 800 * KBIT),
        ([(1500, 0, 10), (1000, 10, 20), (1000, 20, 30), (1000, 30, 40)], 0.95 * 800 * KBIT),
    ],
    ids=["one", "too few", "fast", "too fast", "slow", "at once", "last size", "first size"],
)
def test_one_cluster(packets: Packets, expected: float | None) -> None:
    assert measure(packets) == (None if expected is None else pytest.approx(expected, abs=10))


def test_too_few_bytes() -> None:
    assert measure([(1000, 10 * i, 10 * i + 10) for i in range(4)], min_bytes=6000) is None


def test_a_small_and_a_large_cluster() -> None:
    small = [(150, 10 * i, 10 * i + 10) for i in range(6)]
    assert measure(small, min_bytes=1000) == pytest.approx(120 * KBIT, abs=10)
    large = [(12_500, i, i + 5) for i in range(25)]
    assert measure(large, min_packets=30, min_bytes=312_500) == pytest.approx(100_000 * KBIT, abs=10)


def test_two_clusters_beside_each_other() -> None:
    meter = ProbeMeter()
    meter.expect(0, 5, 5000)
    meter.expect(1, 5, 5000)
    first = [(0, 10), (10, 20), (20, 30), (40, 60)]
    results = [meter.packet(0, 1000, sent * 1000, arrived * 1000) for sent, arrived in first]
    assert results[-1] == pytest.approx(0.95 * 480 * KBIT, abs=10)
    assert meter.packet(0, 1000, 50_000, 60_000) == pytest.approx(640 * KBIT, abs=10)
    second = [(60, 70), (65, 77), (70, 84), (75, 90)]
    results = [meter.packet(1, 1000, sent * 1000, arrived * 1000) for sent, arrived in second]
    assert results[-1] == pytest.approx(0.95 * 1200 * KBIT, abs=10)
    assert meter.packet(0, 1000, 6_040_000, 6_060_000) is None


def test_a_result_is_told_once_and_strangers_are_ignored() -> None:
    meter = ProbeMeter()
    assert meter.take() is None
    assert meter.packet(5, 1000, 0, 0) is None
    meter.expect(0, 2, 1000)
    meter.packet(0, 1000, 0, 10_000)
    assert meter.packet(0, 1000, 10_000, 20_000) is not None
    assert meter.take() is None
