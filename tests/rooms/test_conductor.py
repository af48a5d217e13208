# SPDX-License-Identifier: Apache-2.0
"""A whole room on a recording engine: joins, offers, publications, and the end of everything."""

from __future__ import annotations

import pytest

from sfu.engine.statistics import LayerStatistics, Statistics, TrackStatistics
from sfu.rooms.conductor import CONSENT_US, OfferedTrack
from sfu.rooms.errors import RoomError
from sfu.rooms.events import (
    MediaLost,
    ParticipantJoined,
    ParticipantLeft,
    PublicationUpdated,
    Published,
    Removed,
    SlotBound,
    SpeakersChanged,
    Unpublished,
)
from sfu.rooms.model import Layer, LeaveReason, Permissions, Source
from sfu.sdp.document import SdpError
from sfu.transport.dtls import TransportState
from tests.rooms.fakes import CAMERA, LAYERS, SIMULCAST, Client, House, usual_offer
from tests.sdp.descriptions import OPUS, VP8, audio, offer_text, video


@pytest.fixture
def house() -> House:
    return House()


# --- joining and leaving


def test_others_hear_of_a_join_and_of_what_is_published_before_any_slot(house: House) -> None:
    ada = house.enter("ada")
    bob = house.enter("bob")
    kinds = [type(event) for event in ada.events]
    assert kinds[:3] == [ParticipantJoined, Published, Published]
    assert set(kinds[3:]) == {SlotBound}
    assert bob.told(ParticipantJoined) == []


def test_leaving_frees_the_slots_and_everything_in_the_engine(house: House) -> None:
    ada, bob = house.enter("ada"), house.enter("bob")
    assert bob.shows() == {"v0": "ada", "a0": "ada"}
    house.conductor.leave(ada.member, LeaveReason.LEFT)
    house.settle()
    assert bob.shows() == {}
    assert bob.told(ParticipantLeft) == [ParticipantLeft(ada.member.participant, LeaveReason.LEFT)]
    assert ada.events[-1] == Removed(LeaveReason.LEFT)
    assert bob.told(SlotBound)[-1].publication is None
    house.conductor.leave(bob.member, LeaveReason.LEFT)
    assert house.port.commands.live == set()
    assert house.port.tracks == {}
    assert house.port.forwarders == {}
    assert house.emptied == 1


def test_the_same_identity_replaces_the_older_session(house: House) -> None:
    first, bob = house.enter("ada"), house.enter("bob")
    second = house.enter("ada")
    house.settle()
    assert first.events[-1] == Removed(LeaveReason.REPLACED)
    assert ParticipantLeft(first.member.participant, LeaveReason.REPLACED) in bob.events
    assert set(house.conductor.members) == {bob.member.participant.id, second.member.participant.id}
    assert bob.member.bound["v0"].participant is second.member.participant


def test_replacing_the_only_participant_does_not_close_the_room(house: House) -> None:
    house.enter("ada")
    house.enter("ada")
    assert house.emptied == 0


def test_a_listener_that_fails_costs_the_others_nothing(house: House) -> None:
    def fail(event: object) -> None:
        raise RuntimeError("a broken door")

    house.conductor.join("broken", "broken", Permissions(), fail, house.plane)
    bob = house.enter("bob")
    ada = house.enter("ada")
    assert ParticipantJoined(ada.member.participant) in bob.events


# --- losing the websocket, losing the media


def test_without_signalling_a_participant_stays_for_the_consent_time(house: House) -> None:
    ada, bob = house.enter("ada"), house.enter("bob")
    house.conductor.signalling_lost(ada.member)
    house.now_us += CONSENT_US - 1
    house.tick(Statistics())
    assert bob.told(ParticipantLeft) == []
    house.now_us += 1
    house.tick(Statistics())
    assert bob.told(ParticipantLeft) == [ParticipantLeft(ada.member.participant, LeaveReason.LOST)]


def test_without_signalling_the_end_of_the_media_is_the_end(house: House) -> None:
    ada, bob = house.enter("ada"), house.enter("bob")
    house.conductor.signalling_lost(ada.member)
    ada.transport.become(TransportState.FAILED)
    assert bob.told(ParticipantLeft) == [ParticipantLeft(ada.member.participant, LeaveReason.LOST)]
    house.settle()


def test_who_never_had_media_is_gone_with_the_websocket(house: House) -> None:
    ada, bob = house.join("ada"), house.enter("bob")
    house.conductor.signalling_lost(ada.member)
    assert len(bob.told(ParticipantLeft)) == 1


def test_failed_media_is_told_and_a_new_offer_brings_it_back(house: House) -> None:
    ada, bob = house.enter("ada"), house.enter("bob")
    camera = bob.member.bound["v0"]
    ada.transport.become(TransportState.FAILED)
    house.settle()
    assert ada.told(MediaLost) == [MediaLost()]
    assert bob.shows() == {}
    house.offer(ada, usual_offer(), CAMERA)
    assert bob.member.bound["v0"] is camera, "the same publication over another PeerConnection"
    assert ada.shows() == {"v0": "bob", "a0": "bob"}
    assert bob.told(Unpublished) == []
    house.now_us += 2 * CONSENT_US
    house.tick(Statistics())
    assert bob.told(ParticipantLeft) == []


def test_failed_media_that_does_not_come_back_ends_the_participant(house: House) -> None:
    ada = house.enter("ada")
    ada.transport.become(TransportState.FAILED)
    house.now_us += CONSENT_US
    house.tick(Statistics())
    assert ada.events[-1] == Removed(LeaveReason.LOST)


# --- offers


def test_the_answer_lists_publications_and_slots_with_their_pairs(house: House) -> None:
    ada = house.join("ada")
    answer = house.offer(ada, usual_offer(2), CAMERA)
    assert [(mid, one.source) for mid, one in answer.publications] == [
        ("cam", Source.CAMERA),
        ("mic", Source.MICROPHONE),
    ]
    assert {state.slot.mid: state.slot.pair for state in answer.slots} == {"v0": 0, "v1": 1, "a0": 0, "a1": 1}
    assert "a=ice-lite" in answer.sdp
    pairs = [line for line in answer.sdp.splitlines() if line.startswith("a=msid:pair-0 ")]
    assert len(pairs) == 2, "both halves of a pair are in one stream"


def test_layers_go_to_the_engine_lowest_first_whatever_the_sdp_order(house: House) -> None:
    ada = house.join("ada")
    reversed_rids = [line for line in SIMULCAST if "rid:" not in line and "simulcast" not in line]
    reversed_rids += ["a=rid:f send", "a=rid:h send", "a=rid:q send", "a=simulcast:send f;h;q"]
    house.offer(ada, offer_text(video("cam", "a=sendonly", *VP8, *reversed_rids)), CAMERA)
    layers = [entry[2] for entry in house.port.commands.log if entry[0] == "layer"]
    assert layers == [b"q", b"h", b"f"]
    assert next(iter(ada.member.participant.publications.values())).layers == LAYERS


def test_a_growing_pool_keeps_ssrcs_bindings_and_sequence(house: House) -> None:
    house.enter("ada")
    bob = house.enter("bob", slots=1)
    before = {mid: (state.forwarder, state.media) for mid, state in bob.member.media.slots.items()}
    sections = usual_offer(1) + "".join(
        f"{line}\r\n" for line in (*video("v1", "a=recvonly", *VP8), *audio("a1", "a=recvonly", *OPUS))
    )
    sections = sections.replace("BUNDLE cam mic v0 a0", "BUNDLE cam mic v0 a0 v1 a1")
    house.offer(bob, sections, CAMERA)
    after = {mid: (state.forwarder, state.media) for mid, state in bob.member.media.slots.items()}
    assert before.items() <= after.items()
    assert set(after) == {"v0", "a0", "v1", "a1"}
    assert bob.shows() == {"v0": "ada", "a0": "ada"}
    assert len(bob.told(SlotBound)) == 2, "nothing was bound anew"


def test_a_slot_that_stops_and_returns_has_another_ssrc(house: House) -> None:
    """The engine would protect the same index twice otherwise."""
    ada = house.enter("ada", slots=1, camera=False, microphone=False)
    first = ada.member.media.slots["v0"].media
    stopped = usual_offer(1, camera=False, microphone=False).replace("a=recvonly", "a=inactive", 1)
    house.offer(ada, stopped)
    assert "v0" not in ada.member.media.slots
    house.offer(ada, usual_offer(1, camera=False, microphone=False))
    again = ada.member.media.slots["v0"].media
    assert {first.ssrc, first.rtx_ssrc}.isdisjoint({again.ssrc, again.rtx_ssrc})


def test_another_fingerprint_is_another_peer_connection(house: House) -> None:
    house.enter("ada")
    bob = house.enter("bob")
    old = bob.transport
    house.offer(bob, usual_offer().replace("AB:AB", "CD:CD"), CAMERA)
    assert old.state is TransportState.CLOSED
    assert bob.transport is not old
    assert bob.shows() == {"v0": "ada", "a0": "ada"}
    assert bob.told(Removed) == []


def test_a_section_that_stops_is_unpublished(house: House) -> None:
    ada, bob = house.enter("ada"), house.enter("bob")
    house.offer(ada, usual_offer().replace("a=sendonly", "a=inactive", 1), {})
    assert [event.publication.source for event in bob.told(Unpublished)] == [Source.CAMERA]
    assert bob.shows() == {"a0": "ada"}


def test_unpublished_by_message_stays_so_until_it_is_described_again(house: House) -> None:
    ada, bob = house.enter("ada"), house.enter("bob")
    camera = ada.member.published["cam"]
    house.conductor.unpublish(ada.member, camera.id)
    house.settle()
    assert bob.shows() == {"a0": "ada"}
    house.offer(ada, usual_offer(), {})
    assert "cam" not in ada.member.published
    house.offer(ada, usual_offer(), CAMERA)
    assert ada.member.published["cam"] is not camera
    assert bob.shows() == {"v0": "ada", "a0": "ada"}


def test_an_offer_updates_what_it_describes(house: House) -> None:
    ada, bob = house.enter("ada"), house.enter("bob")
    smaller = tuple(Layer(layer.rid, layer.width // 2, layer.height // 2) for layer in LAYERS)
    house.offer(ada, usual_offer(), {"cam": OfferedTrack(Source.CAMERA, "garden", True, smaller)})
    (updated,) = bob.told(PublicationUpdated)
    assert (updated.publication.name, updated.publication.muted) == ("garden", True)
    assert updated.publication.layers == smaller


@pytest.mark.parametrize(
    ("described", "code"),
    [
        ({"nowhere": OfferedTrack(Source.CAMERA)}, "bad_track"),
        ({"mic": OfferedTrack(Source.CAMERA)}, "bad_track"),
        ({"cam": OfferedTrack(Source.SCREEN_SHARE)}, "bad_track"),
    ],
)
def test_a_wrong_description_is_refused_and_changes_nothing(
    house: House, described: dict[str, OfferedTrack], code: str
) -> None:
    ada = house.enter("ada")
    before = (dict(ada.member.published), len(house.port.commands.log))
    with pytest.raises(RoomError) as caught:
        house.offer(ada, usual_offer(), described)
    assert caught.value.code == code
    assert (dict(ada.member.published), len(house.port.commands.log)) == before


def test_a_broken_sdp_leaves_the_call_as_it_is(house: House) -> None:
    ada, bob = house.enter("ada"), house.enter("bob")
    with pytest.raises(SdpError):
        house.offer(ada, "v=0\r\n")
    with pytest.raises(SdpError):
        house.offer(ada, offer_text(video("cam", "a=sendonly", *VP8)))
    assert bob.shows() == {"v0": "ada", "a0": "ada"}


def test_who_may_not_publish_can_still_receive(house: House) -> None:
    house.enter("ada")
    guest = house.join("guest", permissions=Permissions(can_publish=False))
    with pytest.raises(RoomError) as caught:
        house.offer(guest, usual_offer())
    assert caught.value.code == "forbidden"
    house.offer(guest, usual_offer(camera=False, microphone=False))
    assert guest.shows() == {"v0": "ada", "a0": "ada"}


def test_who_may_not_subscribe_gets_nothing_into_its_slots(house: House) -> None:
    house.enter("ada")
    source = house.join("source", permissions=Permissions(can_subscribe=False))
    answer = house.offer(source, usual_offer(), CAMERA)
    assert len(answer.slots) == 4
    assert source.shows() == {}


# --- speakers and sizes


def test_speakers_come_from_the_levels_that_still_arrive(house: House) -> None:
    ada, bob = house.enter("ada"), house.enter("bob")
    for step in range(1, 10):
        house.tick(levels(house, {"ada": 20, "bob": 120}, packets=step), step * 100_000)
    house.settle()
    assert bob.told(SpeakersChanged)[-1].participants == (ada.member.participant,)
    assert ada.told(SpeakersChanged) == bob.told(SpeakersChanged)
    for step in range(10, 40):  # the level stays, the packets end
        house.tick(levels(house, {"ada": 20, "bob": 120}, packets=9), step * 100_000)
    assert bob.told(SpeakersChanged)[-1].participants == ()


def test_a_muted_microphone_does_not_speak(house: House) -> None:
    ada, bob = house.enter("ada"), house.enter("bob")
    house.conductor.set_muted(ada.member, ada.member.published["mic"].id, True)
    for step in range(1, 20):
        house.tick(levels(house, {"ada": 20, "bob": 120}, packets=step), step * 100_000)
    assert bob.told(SpeakersChanged) == []


def test_sizes_that_nobody_declared_are_measured(house: House) -> None:
    ada, bob = house.join("ada"), house.enter("bob")
    house.offer(ada, usual_offer(), {})
    layers = tuple(layer_statistics(width=320 << index, height=180 << index) for index in range(3))
    statistics = Statistics(tracks={house.track(ada): TrackStatistics(127, layers, 1)})
    house.conductor.measure_layers({house.plane.port: statistics})
    (updated,) = bob.told(PublicationUpdated)
    assert [(layer.rid, layer.width, layer.height) for layer in updated.publication.layers] == [
        ("q", 320, 180),
        ("h", 640, 360),
        ("f", 1280, 720),
    ]


def levels(house: House, by_name: dict[str, int], packets: int) -> Statistics:
    tracks = {}
    for member in house.conductor.members.values():
        level = by_name[member.participant.name]
        layers = (layer_statistics(packets=packets),)
        tracks[member.media.tracks["mic"].handle] = TrackStatistics(level, layers, 1)
    return Statistics(tracks=tracks)


def layer_statistics(packets: int = 0, width: int = 0, height: int = 0) -> LayerStatistics:
    return LayerStatistics(True, packets, 0, 0, 0, 0, 0.0, 0.0, 0, width, height)


def test_helpers_are_sound(house: House) -> None:
    """A dead handle raises in the recording engine too, so that the tests above mean something."""
    ada: Client = house.enter("ada")
    handle = house.track(ada)
    house.conductor.leave(ada.member, LeaveReason.LEFT)
    with pytest.raises(ValueError, match="no object"):
        house.port.commands.remove_track(handle)
