# SPDX-License-Identifier: Apache-2.0
"""Reception statistics against their twin."""

from __future__ import annotations

import random
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.engine.probes import ReceptionProbe
from tests.reference.reception import OK, REJECTED, RateReference, ReceptionReference


def run(seed: int, packets: int, loss: float, reach: int, jump: float) -> None:
    choose = random.Random(seed)
    kernel, twin = ReceptionProbe(), ReceptionReference()
    number = choose.choice((0, 5, 65_530))
    now_us = choose.randrange(1 << 40)
    sent = []
    for index in range(packets):
        if choose.random() < jump:
            number += choose.choice((-30_000, -2_500, 2_990, 3_010, 20_000))
        sent.append((number % 65_536, index * 960))
        number += 1
    order = sorted(range(packets), key=lambda at: at + choose.random() * reach)
    for at in order:
        now_us += choose.randrange(40_000)
        if choose.random() < loss:
            continue
        sequence, timestamp = sent[at]
        verdict, extended = kernel.sequence(sequence)
        assert (verdict, extended if verdict != REJECTED else -1) == twin.sequence(sequence)
        if verdict == REJECTED or extended in twin.received | twin.recovered:
            continue
        recovered = verdict == OK and choose.random() < 0.1
        kernel.packet(extended, timestamp, 48_000, recovered, now_us)
        twin.packet(extended, timestamp, 48_000, now_us, recovered=recovered)
        assert kernel.lost == twin.lost
        if choose.random() < 0.1:
            fraction, cumulative, highest, jitter = kernel.report(now_us)
            assert (fraction, cumulative, highest) == twin.report()
            assert abs(jitter - twin.jitter) <= 2, "whole ticks"


def test_against_the_twin(scaled: Callable[[int], int]) -> None:
    @settings(max_examples=scaled(100), deadline=None)
    @given(
        st.integers(0, 1 << 32),
        st.integers(1, 300),
        st.sampled_from((0.0, 0.1, 0.7)),
        st.sampled_from((1, 4, 50)),
        st.sampled_from((0.0, 0.02)),
    )
    def compare(seed: int, packets: int, loss: float, reach: int, jump: float) -> None:
        run(seed, packets, loss, reach, jump)

    compare()


def test_rates_against_the_twin(scaled: Callable[[int], int]) -> None:
    steps = st.tuples(st.integers(0, 700_000), st.integers(0, 1_500), st.booleans(), st.booleans())

    @settings(max_examples=scaled(50), deadline=None)
    @given(st.lists(steps, max_size=60))
    def compare(moves: list[tuple[int, int, bool, bool]]) -> None:
        kernel, twin, now_us = ReceptionProbe(), RateReference(), 1
        for after_us, size, frame, look in moves:
            now_us += after_us
            if look:
                twin.look(now_us)
            else:
                kernel.rate_add(size, frame, now_us)
                twin.add(size, now_us, frame=frame)
                twin.look(now_us)
            assert kernel.rates(now_us) == (twin.bits_per_second, twin.frames_per_second)

    compare()
