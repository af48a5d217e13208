# SPDX-License-Identifier: Apache-2.0
"""A crowd is told of who comes and goes together, and yet the same in the same order as a small room is."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.engine.statistics import Statistics
from sfu.rooms import events, roster
from sfu.rooms.model import LeaveReason, Permissions
from sfu.transport.dtls import TransportState
from tests.rooms.fakes import CAMERA, Client, House, usual_offer

NAMES = ("ada", "bob", "cy", "dan", "eve")
STEPS = ("join", "hide", "leave", "publish", "withdraw", "rename", "unveil", "tick")

Told = list[tuple[str, str]]


def told(client: Client) -> Told:
    """Of the room, in order: what, and of whom."""
    found: Told = []
    for event in client.events:
        for one in event.changes if isinstance(event, events.RosterChanged) else (event,):
            if isinstance(one, events.RosterChange):
                found.append((type(one).__name__, one.participant.identity))
            elif isinstance(one, events.Published | events.Unpublished | events.PublicationUpdated):
                found.append((type(one).__name__, one.publication.participant.identity))
    return found


def play(script: list[tuple[str, str]], crowd: int) -> list[tuple[str, Told]]:
    """What each connection of each participant heard."""
    house = House()
    inside: dict[str, Client] = {}
    ever: list[tuple[str, Client]] = []
    with patch.object(roster, "CROWD", crowd):
        for step, name in script:
            act(house, inside, step, name)
            if step in ("join", "hide"):
                ever.append((name, inside[name]))
            house.settle()
        house.tick(Statistics())
    # Who has left hears no more: what was not told yet it did without.
    return [(name, told(client)) for name, client in ever if inside.get(name) is client]


def act(house: House, inside: dict[str, Client], step: str, name: str) -> None:
    if step in ("join", "hide"):
        inside[name] = house.join(name, permissions=Permissions(hidden=step == "hide", can_update_metadata=True))
        return
    if step == "tick":
        house.tick(Statistics())
        return
    client = inside.get(name)
    if client is None:
        return
    participant = client.member.participant
    if step == "leave":
        house.conductor.leave(inside.pop(name).member, LeaveReason.LEFT)
    elif step == "rename":
        house.conductor.room.describe(participant, name=participant.name + "'")
    elif step == "unveil":
        house.conductor.set_permissions(client.member, Permissions(can_update_metadata=True))
    elif step == "withdraw":
        for publication in list(participant.publications):
            house.conductor.unpublish(client.member, publication)
    elif not participant.permissions.hidden:
        house.offer(client, usual_offer(1, microphone=False), CAMERA)


@given(st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from(NAMES)), max_size=40))
def test_a_crowd_hears_the_same_in_the_same_order(script: list[tuple[str, str]]) -> None:
    assert play(script, crowd=2) == play(script, crowd=100)


def test_changes_of_a_moment_are_one_event_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster, "CROWD", 2)
    house = House()
    crowd = [house.join(f"P{index}") for index in range(4)]
    house.tick(Statistics())
    for client in crowd:
        client.events.clear()
    late = [house.join(name) for name in ("dan", "eve")]
    assert not any(client.events for client in crowd)
    house.tick(Statistics())
    first = crowd[0].events
    assert len(first) == 1
    assert all(client.events[0] is first[0] for client in crowd)
    assert [told(client) for client in late] == [[("ParticipantJoined", "eve")], []]


def test_who_publishes_is_introduced_as_it_was_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Doors describe who comes when they are told: with its publications it would come twice."""
    monkeypatch.setattr(roster, "CROWD", 2)
    house = House()
    seen: list[tuple[str, int]] = []

    def listen(event: events.ParticipantEvent) -> None:
        for one in event.changes if isinstance(event, events.RosterChanged) else (event,):
            if isinstance(one, events.ParticipantJoined):
                seen.append((one.participant.identity, len(one.participant.publications)))
            elif isinstance(one, events.Published):
                seen.append((one.publication.participant.identity, -1))

    house.conductor.join("ada", "Ada", Permissions(), listen, house.plane)
    for name in ("bob", "cy"):
        house.join(name)
    house.enter("dan", 1, microphone=False)
    assert seen == [("bob", 0), ("cy", 0), ("dan", 0), ("dan", -1)]


def test_common_codecs_follow_who_is_there() -> None:
    house = House()
    everything = house.conductor.video_codecs
    ada = house.enter("ada", 1, camera=False)
    assert house.conductor.video_codecs == ("VP8",)
    bob = house.enter("bob", 1, camera=False)
    house.conductor.leave(ada.member, LeaveReason.LEFT)
    assert house.conductor.video_codecs == ("VP8",)
    bob.transport.become(TransportState.FAILED)
    house.offer(bob, usual_offer(0, camera=False))
    assert house.conductor.video_codecs == everything
    house.conductor.leave(bob.member, LeaveReason.LEFT)
    assert house.conductor.video_codecs == everything
