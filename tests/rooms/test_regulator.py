# SPDX-License-Identifier: Apache-2.0
"""Estimates, wishes and overload become targets and messages: a room on a recording engine."""

from __future__ import annotations

import pytest

from sfu.engine.events import TrackLayers
from sfu.engine.statistics import (
    ForwarderStatistics,
    LayerStatistics,
    Statistics,
    TrackStatistics,
    TransportStatistics,
)
from sfu.rooms import quality_meter, roster
from sfu.rooms.allocator import FIRST_ESTIMATE_US
from sfu.rooms.budget import START_US
from sfu.rooms.dynacast import FRESH_US, REST_AFTER_US
from sfu.rooms.events import PauseReason, PublishLayers, QualityChanged, SubscriptionPaused
from sfu.rooms.layers import ALL_TEMPORAL
from sfu.rooms.member import Member
from sfu.rooms.model import LeaveReason, Permissions, Wish
from sfu.rooms.shedding import LEVELS, NO_CAPS
from sfu.transport.dtls import TransportState
from tests.rooms.fakes import Client, House, usual_offer

RATES = (150_000, 500_000, 1_500_000)
AUDIO_BPS = 32_000
TICK_US = 100_000


class Room:
    """People with cameras of three live layers, and time that passes."""

    def __init__(self, *names: str, slots: int = 4) -> None:
        self.house = House()
        self.people = {name: self.house.enter(name, slots) for name in names}
        for one in self.people.values():
            one.transport.state = TransportState.CONNECTED
            self.go_live(one, 0b111)
        self.live(0.3)

    def __getitem__(self, name: str) -> Client:
        return self.people[name]

    def go_live(self, client: Client, active: int) -> None:
        track = self.house.track(client)
        self.house.now_us += TICK_US
        self.house.port.tracks[track](TrackLayers(track, active))
        self.house.settle()

    def live(self, seconds: float, **statistics: float) -> None:
        for _ in range(round(seconds * 1e6 / TICK_US)):
            self.house.now_us += TICK_US
            self.house.tick(self.statistics(**statistics))
            self.house.settle()

    def statistics(self, loss: float = 0.0, rtt_ms: float = 20.0) -> Statistics:
        seconds = self.house.now_us // 1_000_000
        tracks, transports, forwarders = {}, {}, {}
        for client in self.people.values():
            media = client.member.media
            if media.transport is None:
                continue
            transports[media.transport] = TransportStatistics(0, 0, 0, 0, rtt_ms, 0)
            for mid, track in media.tracks.items():
                rates = RATES if mid == "cam" else (AUDIO_BPS,)
                layers = (
                    LayerStatistics(
                        mid != "cam" or bool(track.live >> index & 1), 50 * seconds, 0, 0, 0, rate, 30, 2, 1, 0, 0
                    )
                    for index, rate in enumerate(rates)
                )
                tracks[track.handle] = TrackStatistics(127, tuple(layers), 1)
            for state in media.slots.values():
                spatial, temporal = state.target or (-1, 0)
                sent = ForwarderStatistics(50 * seconds, 0, spatial, temporal, 0, 30, 0, 0, 0, 0, loss)
                forwarders[state.forwarder] = sent
        return Statistics(tracks=tracks, transports=transports, forwarders=forwarders)

    def begin(self, client: Client, rate_bps: int) -> None:
        """A link whose first seconds are over."""
        self.estimate(client, rate_bps)
        self.live(START_US / 1e6 + 0.2)

    def estimate(self, client: Client, rate_bps: int, state: int = 0) -> None:
        assert client.transport.on_estimate is not None
        client.transport.on_estimate(rate_bps, state)
        self.house.settle()

    def targets(self, client: Client) -> dict[str, tuple[int, int]]:
        """By the name of who is shown."""
        targets = self.house.port.commands.targets
        return {
            one.participant.name: targets[client.member.media.slots[mid].forwarder]
            for mid, one in client.member.bound.items()
            if mid.startswith("v")
        }

    def demand(self, client: Client) -> list[bool]:
        """What the publisher was last told."""
        return [active for _, active in client.told(PublishLayers)[-1].layers]


FULL = (2, ALL_TEMPORAL)


@pytest.fixture
def room() -> Room:
    return Room("ada", "bob", "cy")


def pauses(client: Client) -> list[tuple[str, bool, PauseReason | None]]:
    return [(one.publication.participant.name, one.paused, one.reason) for one in client.told(SubscriptionPaused)]


# --- budgets


def test_without_an_estimate_everything_is_sent(room: Room) -> None:
    assert room.targets(room["ada"]) == {"bob": FULL, "cy": FULL}


def test_an_estimate_holds_for_its_receiver_only_and_at_once(room: Room) -> None:
    room.estimate(room["ada"], 1_400_000)
    assert room.targets(room["ada"]) == {"bob": (1, ALL_TEMPORAL), "cy": (1, ALL_TEMPORAL)}
    assert room.targets(room["bob"]) == {"ada": FULL, "cy": FULL}


def test_sound_is_sent_whatever_the_estimate(room: Room) -> None:
    ada = room["ada"]
    room.begin(ada, 1)
    assert room.targets(ada) == {"bob": (-1, ALL_TEMPORAL), "cy": (-1, ALL_TEMPORAL)}
    for mid, state in ada.member.media.slots.items():
        if mid in ada.member.bound and mid.startswith("a"):
            assert state.target is not None
            assert state.target.spatial == 0


def test_a_pause_is_told_and_so_is_its_end(room: Room) -> None:
    ada = room["ada"]
    room.begin(ada, 1)
    assert sorted(pauses(ada)) == [("bob", True, PauseReason.BANDWIDTH), ("cy", True, PauseReason.BANDWIDTH)]
    room.live(1)
    assert len(pauses(ada)) == 2
    room.estimate(ada, 10_000_000)
    room.live(3)
    assert sorted(pauses(ada)[2:]) == [("bob", False, None), ("cy", False, None)]
    assert room.targets(ada) == {"bob": FULL, "cy": FULL}


def test_who_is_selected_is_served_first(room: Room) -> None:
    ada = room["ada"]
    camera = room["cy"].member.published["cam"].id
    room.house.conductor.set_wish(ada.member, camera, Wish(selected=True))
    room.estimate(ada, 900_000)
    assert room.targets(ada)["cy"] == (1, ALL_TEMPORAL)
    assert room.targets(ada)["bob"][0] == 0


def test_the_budget_follows_the_estimate_down_at_once_and_up_in_time(room: Room) -> None:
    ada = room["ada"]
    room.begin(ada, 4_000_000)
    assert room.targets(ada) == {"bob": FULL, "cy": FULL}
    room.estimate(ada, 400_000)
    assert {spatial for spatial, _ in room.targets(ada).values()} == {0}
    room.estimate(ada, 4_000_000)
    room.live(0.2)
    assert {spatial for spatial, _ in room.targets(ada).values()} == {0}
    room.live(11)
    assert room.targets(ada) == {"bob": FULL, "cy": FULL}


def test_retransmissions_are_paid_for(room: Room) -> None:
    ada = room["ada"]
    room.begin(ada, 3_800_000)
    assert room.targets(ada) == {"bob": FULL, "cy": FULL}
    before = room.targets(ada)
    statistics = room.statistics()
    lossy = {
        key: ForwarderStatistics(1, 1, one.spatial, one.temporal, 1_000_000, 30, 0, 0, 0, 0, 0.15)
        for key, one in statistics.forwarders.items()
    }
    room.house.now_us += TICK_US
    for _ in range(3):
        room.house.now_us += TICK_US
        room.house.tick(
            Statistics(tracks=statistics.tracks, transports=statistics.transports, forwarders=lossy), room.house.now_us
        )
    assert room.targets(ada) != before


def test_the_estimator_hears_what_is_wanted_and_what_to_probe_for(room: Room) -> None:
    ada = room["ada"]
    handle = ada.member.media.transport
    assert handle is not None
    wanted = room.house.port.commands.wanted[handle]
    assert wanted > 2 * RATES[2]
    room.estimate(ada, 1_300_000)
    probes = [entry for entry in room.house.port.commands.log if entry[:2] == ("probe", handle)]
    assert len(probes) == 1
    assert 1_300_000 < probes[0][2] <= 2_600_000
    room.live(4)
    assert sum(entry[0] == "probe" for entry in room.house.port.commands.log) == 1
    room.live(2)
    assert sum(entry[0] == "probe" for entry in room.house.port.commands.log) == 2


@pytest.mark.parametrize("known", [False, True])
def test_the_estimator_hears_of_layers_that_have_not_begun(room: Room, known: bool) -> None:
    dan = room.people["dan"] = room.house.join("dan")
    room.house.offer(dan, usual_offer(4, camera=False, microphone=False))
    dan.transport.state = TransportState.CONNECTED
    handle = dan.member.media.transport
    assert handle is not None
    if known:
        room.begin(dan, 300_000)
    before = room.house.port.commands.wanted[handle]
    eve = room.people["eve"] = room.house.enter("eve", 4)
    room.live(0.3)
    beginning = room.house.port.commands.wanted[handle]
    assert beginning > before + RATES[2], "nothing of hers flows yet"
    room.go_live(eve, 0b111)
    room.live(0.3)
    assert room.house.port.commands.wanted[handle] == pytest.approx(beginning, rel=0.1)
    room.house.conductor.set_muted(eve.member, eve.member.published["cam"].id, True)
    room.go_live(eve, 0)
    room.live(0.3)
    assert room.house.port.commands.wanted[handle] == pytest.approx(before, rel=0.1)


def test_a_new_transport_begins_without_a_limit(room: Room) -> None:
    ada = room["ada"]
    room.estimate(ada, 1)
    ada.transport.become(TransportState.FAILED)
    room.house.settle()
    again = room.house.enter("ada", 4)
    room.people["ada"] = again
    room.live(0.3)
    assert room.targets(again) == {"bob": FULL, "cy": FULL}


def test_while_a_first_estimate_is_waited_for_the_lowest_layers_are_sent(room: Room) -> None:
    dan = room.people["dan"] = room.house.join("dan")
    room.house.offer(dan, usual_offer(4, camera=False, microphone=False))
    room.house.now_us -= FIRST_ESTIMATE_US - TICK_US
    room.live(0.2)
    assert {spatial for spatial, _ in room.targets(dan).values()} == {0}
    room.live(FIRST_ESTIMATE_US / 1e6)
    assert set(room.targets(dan).values()) == {FULL}, "it sends no feedback"


def test_a_link_that_begins_is_followed_without_waiting_and_something_always_flows(room: Room) -> None:
    ada = room["ada"]
    room.estimate(ada, 1)
    assert sorted(spatial for spatial, _ in room.targets(ada).values()) == [-1, 0]
    for rate_bps, layer in ((500_000, 0), (900_000, 1), (2_200_000, 2)):
        room.estimate(ada, rate_bps)
        room.live(0.2)
        assert max(spatial for spatial, _ in room.targets(ada).values()) == layer


# --- rest for layers


def shown_at(room: Room, receiver: str, publisher: str, width: int) -> None:
    publication = room[publisher].member.published["cam"].id
    room.house.conductor.set_wish(room[receiver].member, publication, Wish(max_width=width))
    room.house.settle()


def test_layers_that_nobody_shows_rest_and_come_back_at_once(room: Room) -> None:
    for receiver in ("bob", "cy"):
        shown_at(room, receiver, "ada", 320)
    room.live(FRESH_US / 1e6 + REST_AFTER_US / 1e6 + 1)
    assert room["ada"].told(PublishLayers)[-1].publication is room["ada"].member.published["cam"]
    assert room["ada"].told(PublishLayers)[-1].layers == (("q", True), ("h", False), ("f", False))
    room.go_live(room["ada"], 0b001)
    shown_at(room, "bob", "ada", 640)
    assert room.demand(room["ada"]) == [True, True, False]
    assert room.targets(room["bob"])["ada"][0] == 1, "the target waits for it"
    assert room.targets(room["cy"])["ada"][0] == 0


def test_a_track_that_nobody_shows_rests_as_a_whole(room: Room) -> None:
    for receiver in ("bob", "cy"):
        publication = room["ada"].member.published["cam"].id
        room.house.conductor.set_wish(room[receiver].member, publication, Wish(paused=True))
    room.live(8)
    assert room.demand(room["ada"]) == [False, False, False]
    room.house.conductor.set_wish(room["bob"].member, publication, Wish())
    room.house.settle()
    assert room.demand(room["ada"]) == [True, True, True]


def test_a_layer_that_a_publisher_cannot_send_is_not_called_again_and_again() -> None:
    room = Room("ada", "bob")
    room.go_live(room["ada"], 0b011)
    room.live(30)
    assert room["ada"].told(PublishLayers) == []
    assert room.targets(room["bob"])["ada"] == (1, ALL_TEMPORAL)


def test_layers_beyond_every_receivers_link_rest() -> None:
    room = Room("ada", "bob")
    room.estimate(room["bob"], 400_000)
    room.live(10)
    assert room.demand(room["ada"]) == [True, False, False]
    room.go_live(room["ada"], 0b001)
    room.estimate(room["bob"], 5_000_000)
    room.live(0.2)
    assert room.demand(room["ada"]) == [True, True, True]


# --- overload


def test_overload_lowers_pictures_and_never_sound(room: Room) -> None:
    regulator, ada = room.house.conductor.regulator, room["ada"]
    regulator.set_caps(LEVELS[1], room.house.now_us)
    assert room.targets(ada) == {"bob": (1, ALL_TEMPORAL), "cy": (1, ALL_TEMPORAL)}
    regulator.set_caps(LEVELS[4], room.house.now_us)
    assert room.targets(ada) == {"bob": (0, 0), "cy": (0, 0)}
    regulator.set_caps(LEVELS[-1], room.house.now_us)
    audio = [state.target for mid, state in ada.member.media.slots.items() if mid in ("a0", "a1")]
    assert all(target is not None and target.spatial == 0 for target in audio)
    regulator.set_caps(NO_CAPS, room.house.now_us)
    assert room.targets(ada) == {"bob": FULL, "cy": FULL}


def test_beyond_the_last_n_videos_are_paused_with_the_reason() -> None:
    room = Room("ada", "bob", "cy", "dan")
    ada = room["ada"]
    regulator = room.house.conductor.regulator
    regulator.set_caps(LEVELS[7], room.house.now_us)
    assert room.targets(ada) == {"bob": (0, 0), "cy": (0, 0), "dan": (-1, ALL_TEMPORAL)}
    assert pauses(ada) == [("dan", True, PauseReason.OVERLOAD)]
    regulator.set_caps(NO_CAPS, room.house.now_us)
    assert pauses(ada)[1:] == [("dan", False, None)]


# --- quality


def test_quality_is_told_to_all_and_to_who_comes_later(room: Room) -> None:
    room.live(5)
    told = {one.name: score for event in room["ada"].told(QualityChanged) for one, score in event.scores}
    assert told == {"ada": 5, "bob": 5, "cy": 5}
    dan = room.people["dan"] = room.house.enter("dan")
    dan.transport.state = TransportState.CONNECTED
    room.live(5)
    told = {one.name: score for event in dan.told(QualityChanged) for one, score in event.scores}
    assert told == {"ada": 5, "bob": 5, "cy": 5, "dan": 5}


def test_quality_falls_with_loss_and_with_what_cannot_be_sent(room: Room) -> None:
    room.live(5)
    count = len(room["bob"].told(QualityChanged))
    room.live(10)
    assert len(room["bob"].told(QualityChanged)) == count, "only on change"
    room.live(10, loss=0.15)
    told = {one.name: score for event in room["bob"].told(QualityChanged) for one, score in event.scores}
    assert max(told.values()) <= 2
    room.live(30)
    room.estimate(room["ada"], 1)
    room.live(10)
    told = {one.name: score for event in room["bob"].told(QualityChanged) for one, score in event.scores}
    assert told["ada"] <= 3
    assert told["bob"] == 5


def test_nothing_is_kept_of_who_has_left(room: Room) -> None:
    room.live(5)
    room.estimate(room["ada"], 1)
    for client in list(room.people.values()):
        room.house.conductor.leave(client.member, LeaveReason.LEFT)
    room.house.settle()
    room.people.clear()
    room.live(1)
    regulator = room.house.conductor.regulator
    held = (regulator.allocator._accounts, regulator.allocator._rates, regulator._published, regulator._quality._meters)
    assert [len(one) for one in held] == [0, 0, 0, 0]


def grades(client: Client) -> dict[str, int | None]:
    """As it knows them after all that it was told."""
    return {one.name: score for event in client.told(QualityChanged) for one, score in event.scores}


def stage() -> Room:
    """One who publishes, and two onlookers."""
    room = Room("ada", slots=2)
    for name in ("bob", "cy"):
        room.people[name] = room.house.enter(name, camera=False, microphone=False)
        room[name].transport.state = TransportState.CONNECTED
    return room


def test_a_crowd_hears_of_itself_and_of_who_publishes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster, "CROWD", 2)
    room = stage()
    room.live(5)
    assert grades(room["ada"]) == {"ada": 5}
    assert grades(room["bob"]) == {"ada": 5, "bob": 5}
    assert grades(room["cy"]) == {"ada": 5, "cy": 5}
    room.live(10, loss=0.15)
    assert (grades(room["cy"])["ada"] or 5) <= 2
    room["bob"].transport.become(TransportState.FAILED)
    room.house.offer(room["bob"], usual_offer(2, camera=False), {})
    room.live(6)
    assert "bob" in grades(room["cy"]), "it publishes now"
    assert "cy" not in grades(room["bob"])


def test_what_a_room_no_longer_hears_when_it_becomes_a_crowd_is_withdrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster, "CROWD", 3)
    room = stage()
    room.live(5)
    assert grades(room["ada"]) == {"ada": 5, "bob": 5, "cy": 5}
    dan = room.people["dan"] = room.house.enter("dan", camera=False, microphone=False)
    dan.transport.state = TransportState.CONNECTED
    room.live(5)
    assert grades(room["ada"]) == {"ada": 5, "bob": None, "cy": None}
    assert grades(room["bob"]) == {"ada": 5, "bob": 5, "cy": None}
    assert grades(dan) == {"ada": 5, "dan": 5}
    room.house.conductor.leave(room.people.pop("cy").member, LeaveReason.LEFT)
    room.live(5)
    assert grades(room["ada"]) == {"ada": 5, "bob": 5, "cy": None, "dan": 5}


def test_of_the_hidden_nobody_hears_but_they_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    for crowd in (1, 30):
        monkeypatch.setattr(roster, "CROWD", crowd)
        room = Room("ada", slots=1)
        spy = room.people["spy"] = room.house.join("spy", permissions=Permissions(hidden=True))
        room.house.offer(spy, usual_offer(1, camera=False, microphone=False))
        spy.transport.state = TransportState.CONNECTED
        room.live(5)
        assert grades(room["ada"]) == {"ada": 5}
        assert grades(spy) == {"ada": 5, "spy": 5}


def test_a_crowd_is_measured_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster, "CROWD", 1)
    monkeypatch.setattr(quality_meter, "CROWD", 1)
    room = stage()
    asked: list[str] = []

    def satisfaction(member: Member) -> float:
        asked.append(member.participant.name)
        return 1.0

    monkeypatch.setattr(room.house.conductor.regulator.allocator, "satisfaction", satisfaction)
    pieces = []
    for _ in range(20):
        room.live(0.1)
        pieces.append(asked.copy())
        asked.clear()
    assert [piece for piece in pieces if piece] == [["ada"], ["bob"], ["cy"]]
    room.live(4)
    assert grades(room["bob"]) == {"ada": 5, "bob": 5}
