# SPDX-License-Identifier: Apache-2.0
"""Receivers for whom nothing has changed are not looked at in full, and are sent the same as if they were."""

from __future__ import annotations

from collections import deque
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.engine.statistics import Statistics
from sfu.rooms.allocation import UNLIMITED
from sfu.rooms.allocator import Allocator
from sfu.rooms.budget import STEADY_US, Budget
from sfu.rooms.events import PublishLayers, SubscriptionPaused
from sfu.rooms.member import Member
from sfu.rooms.model import Wish
from sfu.rooms.shedding import LEVELS
from sfu.transport.dtls import TransportState
from tests.rooms import test_regulator
from tests.rooms.fakes import usual_offer

NAMES = ("ada", "bob", "cy")
Step = tuple[str, str, float]

steps = st.lists(
    st.one_of(
        st.tuples(st.just("estimate"), st.sampled_from(NAMES), st.sampled_from((1e5, 1e6, 3e6, 5e6, 2e7))),
        st.tuples(st.just("layers"), st.sampled_from(NAMES[:2]), st.sampled_from((0, 1, 3, 5, 7))),
        st.tuples(st.just("height"), st.sampled_from(NAMES), st.sampled_from((90, 180, 360, 720))),
        st.tuples(st.just("mute"), st.sampled_from(NAMES[:2]), st.sampled_from((0, 1))),
        st.tuples(st.just("caps"), st.just(""), st.sampled_from((0, 0, 1, 7))),
        st.tuples(st.just("encoders"), st.just(""), st.sampled_from((0.5, 1, 1.02, 2))),
        st.tuples(st.just("live"), st.just(""), st.sampled_from((0.1, 0.7, 2, 6))),
    ),
    max_size=25,
)


class Stage(test_regulator.Room):
    """Two who publish, one who looks on."""

    factor = 1.0

    def __init__(self) -> None:
        super().__init__(*NAMES[:2])
        onlooker = self.people["cy"] = self.house.enter("cy", camera=False, microphone=False)
        onlooker.transport.state = TransportState.CONNECTED

    def statistics(self, loss: float = 0.0, rtt_ms: float = 20.0) -> Statistics:
        rates = tuple(int(rate * self.factor) for rate in (150_000, 500_000, 1_500_000))
        with patch.object(test_regulator, "RATES", rates):
            return super().statistics(loss, rtt_ms)

    def act(self, step: str, name: str, value: float) -> None:
        if step == "live":
            self.live(value)
        elif step == "encoders":
            self.factor = value
        elif step == "caps":
            self.house.conductor.regulator.set_caps(LEVELS[int(value)], self.house.now_us)
        elif step == "estimate":
            self.estimate(self[name], int(value))
        elif step == "layers":
            self.go_live(self[name], int(value))
        elif step == "height":
            for publication in self.house.conductor.room.others(self[name].member.participant):
                self.house.conductor.set_wish(self[name].member, publication.id, Wish(max_height=int(value)))
        else:
            for publication in self[name].member.participant.publications.values():
                self.house.conductor.room.update(publication, muted=bool(value))
        self.house.settle()


def outcome(script: list[Step]) -> list[object]:
    """What the engine, the publishers and the receivers were told."""
    stage = Stage()
    for one in script:
        stage.act(*one)
    stage.live(3)
    commands = stage.house.port.commands
    told = [
        (client.member.participant.name, event.publication.participant.name, event.publication.source, said)
        for client in stage.people.values()
        for event in client.events
        if isinstance(event, PublishLayers | SubscriptionPaused)
        for said in [event.layers if isinstance(event, PublishLayers) else (event.paused, event.reason)]
    ]
    return [one for one in commands.log if one[0] in ("target", "probe")] + [commands.wanted, told]


@given(steps)
@settings(deadline=None)
def test_who_is_settled_is_sent_what_a_full_look_would_say(script: list[Step]) -> None:
    with patch.object(Allocator, "_stays", lambda *_: False):
        looked = outcome(script)
    assert outcome(script) == looked


def test_most_of_a_quiet_crowd_is_not_looked_at() -> None:
    stage = Stage()
    stage.house.offer(stage["cy"], usual_offer(2, camera=False, microphone=False))
    for name in NAMES:
        stage.begin(stage[name], 20_000_000)
    stage.live(3)
    looked: list[Member] = []
    look = Allocator._look

    def watched(allocator: Allocator, member: Member, *given: Any) -> Any:
        looked.append(member)
        return look(allocator, member, *given)

    with patch.object(Allocator, "_look", watched):
        stage.live(3)
        assert not looked
        stage.go_live(stage["ada"], 3)
        assert looked


@given(st.lists(st.tuples(st.integers(0, 2 * STEADY_US), st.integers(1, 9), st.booleans()), max_size=30))
def test_the_least_estimate_of_late(script: list[tuple[int, int, bool]]) -> None:
    """As if all of them were kept and gone through."""
    budget = Budget()
    kept: deque[tuple[int, int]] = deque()
    now_us = 0
    budget.take(9, 0, 0)
    kept.append((0, 9))
    for passed_us, rate_bps, looks in script:
        now_us += passed_us
        budget.take(rate_bps, 0, now_us)
        kept.append((now_us, rate_bps))
        if not looks:
            continue
        while len(kept) > 1 and kept[1][0] <= now_us - STEADY_US:
            kept.popleft()
        least = rate_bps if budget.starting(now_us) else min(rate for _, rate in kept)
        assert budget.present(now_us) == (rate_bps, least)
    assert Budget().present(now_us) == (UNLIMITED, UNLIMITED)
