# SPDX-License-Identifier: Apache-2.0
"""Members of one room on two workers: which legs there are, and which layers cross."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.engine.events import ForwarderLayer, TrackLayers
from sfu.engine.statistics import LayerStatistics, Statistics, TrackStatistics
from sfu.rooms.events import PublishLayers, SpeakersChanged
from sfu.rooms.model import LeaveReason, Wish
from sfu.rooms.relays import LINGER_US, Demand
from tests.rooms.fakes import CAMERA, Client, House, usual_offer

TICK_US = 100_000
ALL = 7


class Room:
    """Ada publishes on the first worker, Bob watches on the second."""

    def __init__(self) -> None:
        self.house = House()
        self.ada = self.house.enter("ada", 1)
        self.bob = self.house.enter("bob", 1, camera=False, microphone=False, far=True)
        self.live(0b111)

    def live(self, active: int) -> None:
        handle = self.house.track(self.ada)
        self.house.port.tracks[handle](TrackLayers(handle, active))
        self.house.now_us += TICK_US
        self.house.settle()

    def wait(self, duration_us: int) -> None:
        for _ in range(duration_us // TICK_US):
            self.house.now_us += TICK_US
            self.house.tick(Statistics())
            self.house.settle()

    def wish(self, wish: Wish) -> None:
        publication = self.ada.member.published["cam"].id
        self.house.conductor.set_wish(self.bob.member, publication, wish)
        self.house.now_us += TICK_US
        self.house.settle()

    @property
    def legs(self) -> int:
        return len(self.house.conductor.relays)

    def crossing(self) -> set[int]:
        """Layers of the camera whose forwarders on the leg are not paused."""
        commands = self.house.port.commands
        camera = self.house.track(self.ada)
        bound = [forwarder for forwarder, (track, *_) in commands.bindings.items() if track == camera]
        return {layer for layer, one in enumerate(sorted(bound)) if commands.targets.get(one, (-1, 0))[0] >= 0}


@pytest.fixture
def room() -> Room:
    return Room()


def slot(client: Client) -> int:
    return client.member.media.slots["v0"].forwarder


def test_a_far_receiver_is_bound_to_the_legs_track_on_its_own_worker(room: Room) -> None:
    assert room.legs == 2, "camera and microphone"
    track, csrc, _ = room.house.far_port.commands.bindings[slot(room.bob)]
    assert track in room.house.far_port.commands.live
    assert csrc == room.ada.member.published["cam"].number
    assert room.bob.shows() == {"v0": "ada", "a0": "ada"}


def test_both_ends_have_the_same_keys_the_other_way_round(room: Room) -> None:
    ours = [entry[2:] for entry in room.house.port.commands.log if entry[0] == "keys"]
    theirs = [entry[2:] for entry in room.house.far_port.commands.log if entry[0] == "keys"]
    assert theirs == [(sending, receiving) for receiving, sending in ours]
    assert len({key for pair in ours for key in pair}) == 2 * len(ours)


def test_the_far_end_is_there_before_the_first_packet_can_leave(room: Room) -> None:
    for entry in room.house.port.commands.log:
        if entry[0] == "relay":
            assert [one[2] for one in room.house.far_port.commands.log if one[0] == "relay"].count(entry[2]) == 1


def test_only_what_is_wanted_crosses(room: Room) -> None:
    room.wait(LINGER_US + 2 * TICK_US)
    assert room.crossing() == {2}
    room.wish(Wish(max_spatial=0))
    assert room.crossing() == {0, 2}, "what flows goes on until the other has begun"
    room.wait(LINGER_US + 2 * TICK_US)
    assert room.crossing() == {0}
    room.wish(Wish())
    assert 2 in room.crossing()


def test_the_layer_that_still_flows_goes_on_however_long_the_switch_takes(room: Room) -> None:
    room.house.far_port.forwarders[slot(room.bob)](ForwarderLayer(slot(room.bob), 2, 2))
    room.wish(Wish(max_spatial=0))
    room.wait(3 * LINGER_US)
    assert room.crossing() == {0, 2}
    room.house.far_port.forwarders[slot(room.bob)](ForwarderLayer(slot(room.bob), 0, 2))
    room.wait(LINGER_US + 2 * TICK_US)
    assert room.crossing() == {0}


def test_the_publisher_sends_what_any_worker_needs(room: Room) -> None:
    cy = room.house.enter("cy", 1, camera=False, microphone=False)
    publication = room.ada.member.published["cam"].id
    room.house.conductor.set_wish(cy.member, publication, Wish(max_spatial=0))
    room.wait(10_000_000)
    asked = room.ada.told(PublishLayers)
    assert not asked or all(active for _, active in asked[-1].layers), "bob, on the other worker, has the highest"
    room.wish(Wish(max_spatial=0))
    room.wait(10_000_000)
    assert [active for _, active in room.ada.told(PublishLayers)[-1].layers] == [True, False, False]


def test_a_leg_outlives_its_last_slot_for_a_while(room: Room) -> None:
    room.wish(Wish(paused=True))
    assert room.legs == 2
    room.wait(LINGER_US + 2 * TICK_US)
    assert room.legs == 1, "the microphone's"
    room.wish(Wish())
    assert room.legs == 2
    assert room.bob.shows()["v0"] == "ada"


def test_one_leg_serves_all_receivers_of_a_worker(room: Room) -> None:
    room.house.enter("cy", 1, camera=False, microphone=False, far=True)
    assert room.legs == 2


def test_legs_go_both_ways(room: Room) -> None:
    dan = room.house.enter("dan", 1, far=True)
    assert room.legs == 4
    assert "dan" in room.ada.shows().values()
    room.house.conductor.leave(dan.member, LeaveReason.LEFT)
    room.house.settle()
    assert room.legs == 2


def test_a_new_peer_connection_of_the_publisher_has_new_legs(room: Room) -> None:
    before = room.house.far_port.commands.bindings[slot(room.bob)][0]
    room.ada.transport.close()
    room.house.settle()
    room.house.offer(room.ada, usual_offer(1), CAMERA)
    room.house.settle()
    after = room.house.far_port.commands.bindings[slot(room.bob)][0]
    assert after != before
    assert before not in room.house.far_port.commands.live
    assert room.legs == 2


@pytest.mark.parametrize("first", ["ada", "bob"])
def test_nothing_is_left(room: Room, first: str) -> None:
    people = [room.ada, room.bob] if first == "ada" else [room.bob, room.ada]
    for one in people:
        room.house.conductor.leave(one.member, LeaveReason.LEFT)
        room.house.settle()
    assert room.legs == 0
    assert not room.house.port.commands.live
    assert not room.house.far_port.commands.live
    assert not room.house.crowd


masks = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 3_000_000)), max_size=30)


@given(masks)
def test_what_is_wanted_always_crosses_and_nothing_else_for_long(steps: list[tuple[int, int]]) -> None:
    demand = Demand(3, 0)
    now_us = 0
    last_wanted = [-(10**9)] * 3
    for wanted, pause_us in steps:
        now_us += pause_us
        for layer in range(3):
            if wanted >> layer & 1:
                last_wanted[layer] = now_us
        assert demand.update(wanted, bound=True, now_us=now_us)
        assert demand.crossing & wanted == wanted
        for layer in range(3):
            assert bool(demand.crossing >> layer & 1) == (now_us - last_wanted[layer] <= LINGER_US)


def test_speakers_are_found_on_all_workers(room: Room) -> None:
    dan = room.house.enter("dan", 1, far=True)

    def voices(client: Client, level: int, packets: int) -> Statistics:
        layer = LayerStatistics(True, packets, 0, 0, 0, 40_000, 50, 1, 0, 0, 0)
        return Statistics(tracks={room.house.track(client, "mic"): TrackStatistics(level, (layer,), 1)})

    for step in range(30):
        room.house.now_us += TICK_US
        readings = {
            room.house.plane.port: voices(room.ada, 120, step),
            room.house.far_plane.port: voices(dan, 20, step),
        }
        room.house.conductor.tick(readings, room.house.now_us)
        room.house.settle()
    for client in (room.ada, room.bob, dan):
        assert [one.name for one in client.told(SpeakersChanged)[-1].participants] == ["dan"]
