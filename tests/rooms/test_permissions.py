# SPDX-License-Identifier: Apache-2.0
"""Permissions hold for every action, and a change of them takes effect at once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sfu.rooms.errors import RoomError
from sfu.rooms.events import (
    ParticipantJoined,
    ParticipantLeft,
    ParticipantUpdated,
    PermissionsChanged,
    PublicationUpdated,
    Published,
    Unpublished,
)
from sfu.rooms.model import LeaveReason, Permissions, Source, Wish
from tests.rooms.fakes import CAMERA, Client, House, usual_offer

ALL = Permissions()
LISTENER = Permissions(can_publish=False)
HIDDEN = Permissions(hidden=True)
ADMIN = Permissions(room_admin=True)


@pytest.fixture
def house() -> House:
    return House()


def refused(action: object, *arguments: object) -> RoomError:
    assert callable(action)
    with pytest.raises(RoomError) as caught:
        action(*arguments)
    assert caught.value.code == "forbidden"
    assert caught.value.advice
    return caught.value


def change(house: House, client: Client, permissions: Permissions) -> None:
    house.conductor.set_permissions(client.member, permissions)
    house.settle()


# --- publishing


def test_only_the_sources_that_are_named(house: House) -> None:
    only_voice = Permissions(can_publish_sources=frozenset({Source.MICROPHONE}))
    guest = house.join("guest", permissions=only_voice)
    error = refused(house.offer, guest, usual_offer(), CAMERA)
    assert "camera" in error.message
    refused(house.offer, guest, usual_offer())  # undescribed video is taken for a camera
    house.offer(guest, usual_offer(camera=False))
    assert [one.source for one in guest.member.published.values()] == [Source.MICROPHONE]


def test_withdrawn_at_once_when_publishing_is_forbidden(house: House) -> None:
    ada, bob = house.enter("ada"), house.enter("bob")
    assert set(bob.shows().values()) == {"ada"}
    camera, microphone = (ada.member.published[mid] for mid in ("cam", "mic"))
    change(house, ada, LISTENER)
    assert [event.publication for event in bob.told(Unpublished)] == [camera, microphone]
    assert [event.publication for event in ada.told(Unpublished)] == [camera, microphone]
    assert ada.told(PermissionsChanged) == [PermissionsChanged(LISTENER)]
    assert bob.shows() == {}
    assert ada.member.media.tracks == {}
    assert set(ada.shows().values()) == {"bob"}, "it still receives"


def test_only_the_sources_that_are_no_longer_named_are_withdrawn(house: House) -> None:
    ada, bob = house.enter("ada"), house.enter("bob")
    change(house, ada, Permissions(can_publish_sources=frozenset({Source.MICROPHONE})))
    assert [event.publication.source for event in bob.told(Unpublished)] == [Source.CAMERA]
    assert bob.shows() == {"a0": "ada"}


def test_what_was_withdrawn_does_not_stand_in_the_way_of_an_offer(house: House) -> None:
    """The browser's section still sends."""
    ada = house.enter("ada")
    change(house, ada, LISTENER)
    house.offer(ada, usual_offer())
    assert ada.member.published == {}
    refused(house.offer, ada, usual_offer(), CAMERA)


def test_publishing_again_once_it_is_allowed(house: House) -> None:
    ada, bob = house.enter("ada"), house.enter("bob")
    change(house, ada, LISTENER)
    change(house, ada, ALL)
    house.offer(ada, usual_offer(), CAMERA)
    assert [event.publication.source for event in bob.told(Published)][-1:] == [Source.CAMERA]
    assert bob.shows() == {"v0": "ada"}


def test_what_changes_nothing_is_not_told(house: House) -> None:
    ada = house.enter("ada")
    change(house, ada, ALL)
    assert ada.told(PermissionsChanged) == []


# --- subscribing


def test_subscriptions_end_and_come_back(house: House) -> None:
    ada, bob = house.enter("ada"), house.enter("bob")
    house.conductor.set_wish(bob.member, ada.member.published["cam"].id, Wish(max_spatial=0))
    change(house, bob, Permissions(can_subscribe=False))
    assert bob.shows() == {}
    refused(house.conductor.set_wish, bob.member, ada.member.published["cam"].id, Wish())
    assert set(ada.shows().values()) == {"bob"}, "it is still received"
    change(house, bob, ALL)
    assert bob.shows() == {"v0": "ada", "a0": "ada"}
    assert bob.member.participant.wishes == {}


# --- muting others


def test_only_an_administrator_mutes_others(house: House) -> None:
    ada, bob = house.enter("ada"), house.enter("bob")
    refused(house.conductor.set_muted, bob.member, ada.member.published["mic"].id, True)
    assert not ada.member.published["mic"].muted


def test_who_is_muted_is_not_forwarded_until_it_unmutes_itself(house: House) -> None:
    ada, bob = house.enter("ada"), house.enter("bob")
    admin = house.join("admin", permissions=ADMIN)
    microphone = ada.member.published["mic"]
    house.conductor.set_muted(admin.member, microphone.id, True)
    house.settle()
    assert bob.shows() == {"v0": "ada"}
    for client in (ada, bob):
        assert [event.publication for event in client.told(PublicationUpdated)] == [microphone]
    refused(house.conductor.set_muted, admin.member, microphone.id, False)
    house.offer(ada, usual_offer(), CAMERA)  # an offer that was on its way and says "not muted"
    assert microphone.muted
    assert bob.shows() == {"v0": "ada"}
    house.conductor.set_muted(ada.member, microphone.id, False)
    house.settle()
    assert bob.told(PublicationUpdated)[-1].publication.muted is False
    assert bob.shows() == {"v0": "ada", "a0": "ada"}


def test_muting_what_its_publisher_has_muted_holds_it_back_as_well(house: House) -> None:
    ada, bob = house.enter("ada"), house.enter("bob")
    house.conductor.set_muted(ada.member, ada.member.published["mic"].id, True)
    house.settle()
    assert bob.shows() == {"v0": "ada", "a0": "ada"}, "the sender is trusted to send silence"
    house.conductor.mute(ada.member.published["mic"].id)
    house.settle()
    assert bob.shows() == {"v0": "ada"}


def test_muting_what_is_not_there(house: House) -> None:
    admin = house.join("admin", permissions=ADMIN)
    with pytest.raises(RoomError) as caught:
        house.conductor.set_muted(admin.member, "pu_1", True)
    assert caught.value.code == "not_found"


# --- hidden


def test_the_hidden_see_and_are_not_seen(house: House) -> None:
    ada = house.enter("ada")
    spy = house.join("spy", permissions=HIDDEN)
    house.offer(spy, usual_offer(camera=False, microphone=False))
    assert spy.shows() == {"v0": "ada", "a0": "ada"}
    assert list(house.conductor.room.visible(ada.member.participant)) == []
    assert list(house.conductor.room.visible(spy.member.participant)) == [ada.member.participant]
    house.conductor.leave(spy.member, LeaveReason.LEFT)
    assert ada.told(ParticipantJoined) == ada.told(ParticipantLeft) == []


def test_the_hidden_publish_nothing(house: House) -> None:
    spy = house.join("spy", permissions=HIDDEN)
    refused(house.offer, spy, usual_offer(), CAMERA)


def test_who_becomes_hidden_has_left_for_the_others(house: House) -> None:
    ada, bob = house.enter("ada"), house.enter("bob")
    change(house, ada, HIDDEN)
    assert [event.participant for event in bob.told(ParticipantLeft)] == [ada.member.participant]
    assert bob.events.index(bob.told(Unpublished)[-1]) < bob.events.index(bob.told(ParticipantLeft)[0])
    assert bob.shows() == {}
    change(house, ada, ALL)
    assert bob.told(ParticipantJoined)[-1].participant is ada.member.participant
    house.offer(ada, usual_offer(), CAMERA)
    assert bob.shows() == {"v0": "ada"}


# --- what somebody says of itself


def test_name_and_metadata_are_told(house: House) -> None:
    ada, bob = house.join("ada", permissions=replace(ALL, can_update_metadata=True)), house.enter("bob")
    room, participant = house.conductor.room, ada.member.participant
    room.describe(participant, name="Ada L.", attributes={"hand": "up"})
    room.describe(participant, metadata="M")
    room.describe(participant, metadata="M", attributes={"hand": "up"})
    assert (participant.name, participant.metadata, participant.attributes) == ("Ada L.", "M", {"hand": "up"})
    assert bob.told(ParticipantUpdated) == [ParticipantUpdated(participant)] * 2
    assert ada.told(ParticipantUpdated) == []
    refused(room.describe, bob.member.participant)
