# SPDX-License-Identifier: Apache-2.0
"""Membership: who hears of what, numbers, permissions, wishes."""

from __future__ import annotations

import pytest

from sfu.rooms.errors import RoomError
from sfu.rooms.events import (
    ParticipantJoined,
    ParticipantLeft,
    PublicationUpdated,
    Published,
    RoomEvent,
    Unpublished,
)
from sfu.rooms.model import LeaveReason, Permissions, Source, Wish
from sfu.rooms.room import MAX_PUBLICATIONS, Room

EVERYTHING = Permissions()


class Listening:
    def __init__(self) -> None:
        self.events: list[RoomEvent] = []
        self.room = Room("tea", self.events.append)


def test_each_change_is_told_once_and_after_it_happened() -> None:
    here = Listening()
    ada = here.room.join("ada", "Ada", EVERYTHING)
    camera = here.room.publish(ada, Source.CAMERA)
    here.room.update(camera, muted=True)
    here.room.unpublish(camera)
    here.room.leave(ada, LeaveReason.LEFT)
    assert here.events == [
        ParticipantJoined(ada),
        Published(camera),
        PublicationUpdated(camera),
        Unpublished(camera),
        ParticipantLeft(ada, LeaveReason.LEFT),
    ]
    assert not here.room.participants
    assert not here.room.publications


def test_what_changes_nothing_is_not_told() -> None:
    here = Listening()
    camera = here.room.publish(here.room.join("ada", "Ada", EVERYTHING), Source.CAMERA)
    here.events.clear()
    here.room.update(camera, muted=False, name="", layers=())
    assert here.events == []


def test_leaving_takes_the_publications_along_in_one_event() -> None:
    here = Listening()
    ada = here.room.join("ada", "Ada", EVERYTHING)
    here.room.publish(ada, Source.CAMERA)
    here.room.publish(ada, Source.MICROPHONE)
    here.events.clear()
    here.room.leave(ada, LeaveReason.LOST)
    here.room.leave(ada, LeaveReason.LEFT)
    assert here.events == [ParticipantLeft(ada, LeaveReason.LOST)]
    assert not here.room.publications


def test_numbers_are_non_zero_32_bits_and_unique() -> None:
    here = Listening()
    numbers = []
    for index in range(20):
        someone = here.room.join(str(index), "", EVERYTHING)
        numbers += [here.room.publish(someone, Source.CAMERA).number for _ in range(MAX_PUBLICATIONS)]
    assert len(set(numbers)) == len(numbers)
    assert all(0 < number < 2**32 for number in numbers)


def test_who_may_not_publish_cannot() -> None:
    here = Listening()
    guest = here.room.join("guest", "", Permissions(can_publish=False))
    with pytest.raises(RoomError) as caught:
        here.room.publish(guest, Source.CAMERA)
    assert caught.value.code == "forbidden"
    assert caught.value.advice


def test_publications_of_one_participant_are_bounded() -> None:
    here = Listening()
    ada = here.room.join("ada", "", EVERYTHING)
    for _ in range(MAX_PUBLICATIONS):
        here.room.publish(ada, Source.CAMERA)
    with pytest.raises(RoomError) as caught:
        here.room.publish(ada, Source.CAMERA)
    assert caught.value.code == "too_many_publications"


def test_a_wish_replaces_the_last_one_and_a_default_one_is_forgotten() -> None:
    here = Listening()
    ada, bob = here.room.join("ada", "", EVERYTHING), here.room.join("bob", "", EVERYTHING)
    camera = here.room.publish(ada, Source.CAMERA)
    here.room.set_wish(bob, camera.id, Wish(max_width=320))
    here.room.set_wish(bob, camera.id, Wish(max_spatial=1))
    assert bob.wish(camera.id) == Wish(max_spatial=1)
    here.room.set_wish(bob, camera.id, Wish())
    assert bob.wishes == {}


def test_a_slot_is_wished_for_the_latest_publication_only() -> None:
    here = Listening()
    ada, bob = here.room.join("ada", "", EVERYTHING), here.room.join("bob", "", EVERYTHING)
    camera, screen = here.room.publish(ada, Source.CAMERA), here.room.publish(ada, Source.SCREEN_SHARE)
    here.room.set_wish(bob, camera.id, Wish(slot="v0"))
    here.room.set_wish(bob, screen.id, Wish(slot="v0", max_fps=5))
    assert camera.id not in bob.wishes
    assert bob.wish(screen.id).slot == "v0"


def test_wishes_end_with_the_publication() -> None:
    here = Listening()
    ada, bob = here.room.join("ada", "", EVERYTHING), here.room.join("bob", "", EVERYTHING)
    camera, screen = here.room.publish(ada, Source.CAMERA), here.room.publish(ada, Source.SCREEN_SHARE)
    here.room.set_wish(bob, camera.id, Wish(paused=True))
    here.room.set_wish(bob, screen.id, Wish(paused=True))
    here.room.unpublish(camera)
    assert list(bob.wishes) == [screen.id]
    here.room.leave(ada, LeaveReason.LEFT)
    assert bob.wishes == {}


@pytest.mark.parametrize("whose", ["nobody's", "own"])
def test_a_wish_is_for_a_living_publication_of_another(whose: str) -> None:
    here = Listening()
    ada = here.room.join("ada", "", EVERYTHING)
    publication = here.room.publish(ada, Source.CAMERA).id if whose == "own" else "pu_0"
    with pytest.raises(RoomError) as caught:
        here.room.set_wish(ada, publication, Wish())
    assert caught.value.code == "not_found"
