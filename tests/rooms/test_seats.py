# SPDX-License-Identifier: Apache-2.0
"""The short way to the allocation: a receiver with plenty gets by it just what `allocate` would give it."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.rooms.allocation import CONGESTED, NEVER_US, NORMAL, OTHER, PAUSED, SELECTED, UNLIMITED
from sfu.rooms.ladder import Ladder, Step
from sfu.rooms.layers import ALL_TEMPORAL, Target
from sfu.rooms.media import SlotState
from sfu.rooms.model import Participant, ParticipantId, Permissions, Publication, PublicationId, Source
from sfu.rooms.seats import NO_CHOICE, Claim, Seat, Standing, settled, weighed

NOW_US = 100_000_000
OWNER = Participant(ParticipantId("pa_1"), "owner", "Owner", Permissions(), 0)
TARGETS = [Target(spatial, temporal) for spatial in range(3) for temporal in (0, ALL_TEMPORAL)]

times = st.one_of(st.just(NEVER_US), st.integers(NOW_US - 20_000_000, NOW_US))


@st.composite
def ladders(draw: st.DrawFn) -> Ladder:
    count = draw(st.integers(0, len(TARGETS)))
    rates = sorted(draw(st.lists(st.integers(0, 2_000_000), min_size=count, max_size=count)))
    steps = tuple(Step(target, rate) for target, rate in zip(TARGETS, rates, strict=False))
    return Ladder(steps, draw(st.integers(0, max(0, count - 1))))


@st.composite
def claims(draw: st.DrawFn) -> Claim:
    seats, standings = [], {}
    for number in range(draw(st.integers(0, 4))):
        ladder = draw(ladders())
        source = draw(st.sampled_from([Source.CAMERA, Source.SCREEN_SHARE]))
        seat = Seat(
            cast("SlotState", None),
            Publication(PublicationId(f"pu_{number}"), number + 1, OWNER, source, number),
            ladder,
            Target(2, ALL_TEMPORAL),
            draw(st.integers(PAUSED, len(ladder.steps) - 1)),
            draw(st.integers(OTHER, SELECTED)),
            2,
            (0, number),
        )
        seats.append(seat)
        if draw(st.booleans()):
            target = draw(st.sampled_from([Target(PAUSED, ALL_TEMPORAL), *TARGETS]))
            standings[seat.publication.id] = Standing(
                target, draw(st.integers(OTHER, SELECTED)), draw(times), draw(times)
            )
    return Claim(
        sorted(seats, key=lambda one: (-one.priority, one.age)),
        standings,
        draw(st.integers(0, 200_000)),
        draw(st.integers(0, 20_000_000)),
        draw(st.integers(0, 20_000_000)),
        draw(st.integers(NORMAL, CONGESTED)),
        draw(st.booleans()),
    )


@settings(max_examples=300, deadline=None)
@given(claims())
def test_it_rules_as_the_whole_allocation_does(claim: Claim) -> None:
    ruling = settled(claim)
    if ruling is not None:
        assert ruling == weighed([claim], NOW_US)[0]


def seat(number: int, cap: int, rates: tuple[int, ...] = (100_000, 500_000)) -> Seat:
    ladder = Ladder(tuple(Step(target, rate) for target, rate in zip(TARGETS, rates, strict=False)))
    publication = Publication(PublicationId(f"pu_{number}"), number, OWNER, Source.CAMERA, number)
    return Seat(cast("SlotState", None), publication, ladder, TARGETS[1], cap, OTHER, 0, (0, number))


PLENTY = Claim([seat(1, 1), seat(2, 0)], {}, 50_000, 2_000_000, 2_000_000, NORMAL, starting=False)


def test_who_has_plenty_is_not_weighed() -> None:
    ruling = settled(PLENTY)
    assert ruling is not None
    assert [one.level for one in ruling.verdicts] == [1, 0]
    assert (ruling.wanted_bps, ruling.probe_bps) == (650_000, 0)


def test_what_is_not_shown_is_no_reason_to_weigh() -> None:
    ruling = settled(replace(PLENTY, seats=[seat(1, PAUSED)]))
    assert ruling is not None
    assert ruling.verdicts == [NO_CHOICE]


def test_who_has_just_enough_or_swings_or_has_to_climb_is_weighed() -> None:
    low = {PublicationId("pu_1"): Standing(TARGETS[0], OTHER, NEVER_US, NEVER_US)}
    for claim in (
        replace(PLENTY, budget_bps=900_000),
        replace(PLENTY, steady_bps=700_000),
        replace(PLENTY, standings=low),
    ):
        assert settled(claim) is None
        assert settled(replace(claim, standings={}, budget_bps=UNLIMITED, steady_bps=UNLIMITED)) is not None
