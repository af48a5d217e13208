# SPDX-License-Identifier: Apache-2.0
"""Slots in the engine: what is bound where, with which numbers and targets, and that only differences are sent."""

from __future__ import annotations

from typing import Any

import pytest

from sfu.engine.events import ForwarderLayer, ForwarderStarted, TrackLayers
from sfu.rooms import binder
from sfu.rooms.conductor import PLAN_SLICE
from sfu.rooms.events import LayerChanged, SlotBound
from sfu.rooms.layers import ALL_TEMPORAL
from sfu.rooms.member import Member
from sfu.rooms.model import LeaveReason, Permissions, Wish
from tests.rooms.fakes import CAMERA, H264_ONLY, Client, House, usual_offer


@pytest.fixture
def house() -> House:
    return House()


def engine_sees(house: House, client: Client, mid: str) -> tuple[int, int, int] | None:
    return house.port.commands.bindings.get(client.member.media.slots[mid].forwarder)


def targets(house: House, client: Client, mid: str) -> tuple[int, int] | None:
    return house.port.commands.targets.get(client.member.media.slots[mid].forwarder)


def go_live(house: House, client: Client, active: int, mid: str = "cam") -> None:
    track = house.track(client, mid)
    house.now_us += 100_000
    house.port.tracks[track](TrackLayers(track, active))
    house.settle()


def test_a_bind_carries_the_publications_number_and_a_generation(house: House) -> None:
    ada, bob = house.enter("ada"), house.enter("bob")
    camera = ada.member.published["cam"]
    assert engine_sees(house, bob, "v0") == (house.track(ada), camera.number, 1)
    first = next(event for event in bob.told(SlotBound) if event.mid == "v0")
    assert first == SlotBound("v0", camera, 1, None)


def test_the_first_packet_is_told_with_its_timestamp(house: House) -> None:
    ada, bob = house.enter("ada"), house.enter("bob")
    state = bob.member.media.slots["v0"]
    house.port.forwarders[state.forwarder](ForwarderStarted(state.forwarder, 1, 90_000))
    assert bob.events[-1] == SlotBound("v0", ada.member.published["cam"], 1, 90_000)


def test_a_late_start_of_an_earlier_bind_is_not_told(house: House) -> None:
    house.enter("ada")
    bob = house.enter("bob", slots=1)
    cy = house.enter("cy")
    house.conductor.set_wish(bob.member, cy.member.published["cam"].id, Wish(slot="v0"))
    house.settle()
    state = bob.member.media.slots["v0"]
    assert state.generation == 2
    count = len(bob.events)
    house.port.forwarders[state.forwarder](ForwarderStarted(state.forwarder, 1, 90_000))
    assert len(bob.events) == count


def test_layers_that_flow_are_told(house: House) -> None:
    ada, bob = house.enter("ada"), house.enter("bob")
    state = bob.member.media.slots["v0"]
    house.port.forwarders[state.forwarder](ForwarderLayer(state.forwarder, 2, 1))
    assert bob.events[-1] == LayerChanged(ada.member.published["cam"], "v0", 2, 1)


def test_the_target_follows_live_layers_and_wishes(house: House) -> None:
    ada, bob = house.enter("ada"), house.enter("bob")
    camera = ada.member.published["cam"].id
    assert targets(house, bob, "v0") == (0, ALL_TEMPORAL)
    go_live(house, ada, 0b111)
    assert targets(house, bob, "v0") == (2, ALL_TEMPORAL)
    house.conductor.set_wish(bob.member, camera, Wish(max_width=640, max_fps=15))
    house.settle()
    assert targets(house, bob, "v0") == (1, 1)
    go_live(house, ada, 0b001)
    assert targets(house, bob, "v0") == (0, 1)


def test_a_wish_of_one_receiver_is_not_anothers(house: House) -> None:
    ada, bob, cy = house.enter("ada"), house.enter("bob"), house.enter("cy")
    go_live(house, ada, 0b111)
    house.conductor.set_wish(bob.member, ada.member.published["cam"].id, Wish(max_spatial=0))
    house.settle()
    assert targets(house, bob, "v0") == (0, ALL_TEMPORAL)
    assert targets(house, cy, "v0") == (2, ALL_TEMPORAL)


def test_paused_is_unbound_and_comes_back(house: House) -> None:
    ada, bob = house.enter("ada"), house.enter("bob")
    camera = ada.member.published["cam"].id
    house.conductor.set_wish(bob.member, camera, Wish(paused=True))
    house.settle()
    assert engine_sees(house, bob, "v0") is None
    assert bob.told(SlotBound)[-1] == SlotBound("v0", None, 2, None)
    house.conductor.set_wish(bob.member, camera, Wish())
    house.settle()
    assert engine_sees(house, bob, "v0") == (house.track(ada), ada.member.published["cam"].number, 3)


def test_nothing_changes_nothing_is_sent(house: House) -> None:
    house.enter("ada")
    bob = house.enter("bob")
    before, told = len(house.port.commands.log), len(bob.events)
    for _ in range(3):
        house.conductor.plan_soon(None)
        house.settle()
    assert (len(house.port.commands.log), len(bob.events)) == (before, told)


def test_many_changes_in_one_tick_are_planned_once(house: House) -> None:
    ada, bob = house.enter("ada"), house.enter("bob")
    house.conductor.set_muted(ada.member, ada.member.published["cam"].id, True)
    house.conductor.set_muted(bob.member, bob.member.published["cam"].id, True)
    assert len(house.port.loop.soon) == 1
    house.settle()


def test_who_only_looks_on_makes_nobody_else_be_planned_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.enter("ada")
    planned: list[Member] = []
    plan = binder.plan

    def noting(member: Member, *rest: Any) -> None:
        planned.append(member)
        plan(member, *rest)

    monkeypatch.setattr(binder, "plan", noting)
    bob = house.enter("bob", camera=False, microphone=False)
    assert bob.shows()["v0"]
    assert planned == [bob.member]
    house.conductor.leave(bob.member, LeaveReason.LEFT)
    house.settle()
    assert planned == [bob.member]


def test_a_large_room_is_planned_in_slices_and_nobody_is_left_out(house: House) -> None:
    people = [house.enter(f"p{index}", slots=1) for index in range(3 * PLAN_SLICE)]
    house.conductor.leave(people[0].member, LeaveReason.LEFT)
    slices = 0
    while house.port.loop.soon:
        house.port.loop.soon.pop(0)()
        slices += 1
    assert slices == 3
    assert [one.shows()["v0"] for one in people[1:]] == ["p2"] + ["p1"] * (len(people) - 2)


def test_what_cannot_be_decoded_leaves_its_slot_to_another(house: House) -> None:
    ada = house.join("ada")
    house.offer(ada, usual_offer(0, codec=H264_ONLY), CAMERA)
    house.enter("bob")
    cy = house.enter("cy", slots=1)
    assert cy.shows()["v0"] == "bob"
    assert cy.shows()["a0"] in ("ada", "bob")


def test_payload_types_are_mapped_to_the_receivers(house: House) -> None:
    house.enter("ada")
    bob = house.join("bob", permissions=Permissions())
    other_numbers = usual_offer(1, camera=False, microphone=False)
    for old, new in (("96", "120"), ("97", "121"), ("111", "109")):
        other_numbers = other_numbers.replace(f":{old} ", f":{new} ").replace(f"={old}", f"={new}")
        other_numbers = other_numbers.replace(f" {old} ", f" {new} ").replace(f" {old}\r", f" {new}\r")
    house.offer(bob, other_numbers)
    binds = {entry[1]: entry[5] for entry in house.port.commands.log if entry[0] == "bind"}
    assert binds[bob.member.media.slots["v0"].forwarder] == [(96, 120, 121)]
    assert binds[bob.member.media.slots["a0"].forwarder] == [(111, 109, None)]


def test_a_wish_in_a_crowd_puts_out_the_last_in_line_and_no_more(house: House) -> None:
    people = [house.enter(f"p{index}", slots=4) for index in range(8)]
    receiver, newcomer = people[0], people[7]
    before = receiver.shows()
    house.conductor.set_wish(receiver.member, newcomer.member.published["cam"].id, Wish(slot="v2"))
    house.settle()
    after = receiver.shows()
    assert before == {"v0": "p1", "v1": "p2", "v2": "p3", "v3": "p4"} | {f"a{k}": f"p{k + 1}" for k in range(4)}
    assert {mid: after[mid] for mid in ("v0", "v1", "v2", "v3")} == {"v0": "p1", "v1": "p2", "v2": "p7", "v3": "p3"}
    assert after["a3"] == "p3", "the voice follows the face"
