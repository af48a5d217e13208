# SPDX-License-Identifier: Apache-2.0
"""The score of a connection."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.rooms.quality import BEST, WORST, Link, grade, opinion

links = st.builds(
    Link,
    loss=st.floats(0, 1),
    rtt_ms=st.floats(0, 5000),
    jitter_ms=st.floats(0, 500),
    satisfaction=st.floats(0, 1),
)


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        (Link(), 5),
        (Link(rtt_ms=50, jitter_ms=5), 5),
        (Link(loss=0.02, rtt_ms=50), 4),
        (Link(loss=0.05, rtt_ms=50), 3),
        (Link(loss=0.1, rtt_ms=50), 2),
        (Link(loss=0.3, rtt_ms=50), 1),
        (Link(rtt_ms=350), 4),
        (Link(rtt_ms=1500), 1),
        (Link(jitter_ms=100), 4),
        (Link(satisfaction=0.95), 5),
        (Link(satisfaction=0.5), 3),
        (Link(satisfaction=0.0), 2),
    ],
)
def test_examples(link: Link, expected: int) -> None:
    assert grade(opinion(link)) == expected


@settings(deadline=None)
@given(links)
def test_within_the_scale(link: Link) -> None:
    assert 1 <= opinion(link) <= 4.5
    assert WORST <= grade(opinion(link)) <= BEST


@settings(deadline=None)
@given(links, st.floats(0, 1), st.floats(0, 1000), st.floats(0, 100), st.floats(0, 1))
def test_nothing_bad_makes_it_better(link: Link, loss: float, rtt_ms: float, jitter_ms: float, less: float) -> None:
    worse = replace(
        link,
        loss=max(link.loss, loss),
        rtt_ms=link.rtt_ms + rtt_ms,
        jitter_ms=link.jitter_ms + jitter_ms,
        satisfaction=link.satisfaction * less,
    )
    assert opinion(worse) <= opinion(link) + 1e-9


@settings(deadline=None)
@given(st.floats(1, 4.5), st.integers(1, 5))
def test_a_grade_is_kept_near_its_bounds_only(score: float, before: int) -> None:
    plain, kept = grade(score), grade(score, before)
    assert min(plain, before) <= kept <= max(plain, before)
    assert kept in (plain, before) or abs(kept - plain) <= 1


def test_a_score_on_the_edge_does_not_flicker() -> None:
    grades, last = [], None
    for score in (4.31, 4.29, 4.31, 4.28, 4.2, 4.31, 4.29, 4.39):
        last = grade(score, last)
        grades.append(last)
    assert grades == [5, 5, 5, 5, 4, 4, 4, 5]
