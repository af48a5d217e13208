# SPDX-License-Identifier: Apache-2.0
"""What a client is told of a participant is always what it is now, although it is not made anew each time."""

from __future__ import annotations

from typing import Any

import msgspec

from sfu.rooms.model import Participant, Permissions, Source
from sfu.rooms.room import Room
from signaling.ws.translate import participant_info


def enter(room: Room) -> Participant:
    return room.join("ada", "Ada", Permissions(can_update_metadata=True))


def told(participant: Participant) -> Any:
    return msgspec.json.decode(participant_info(participant))


def test_who_stays_the_same_is_described_once() -> None:
    room = Room("tea", lambda _: None)
    ada = enter(room)
    assert participant_info(ada) is participant_info(ada)
    room.describe(ada, name="Ada")
    room.describe(ada, metadata="")
    assert participant_info(ada) is participant_info(ada)
    assert participant_info(enter(Room("tea", lambda _: None))) is not participant_info(ada)


def test_each_change_is_told() -> None:
    room = Room("tea", lambda _: None)
    ada = enter(room)
    assert told(ada) == {"id": ada.id, "identity": "ada", "name": "Ada", "publications": []}
    room.describe(ada, name="Ada L.")
    assert told(ada)["name"] == "Ada L."
    room.describe(ada, metadata="{}")
    assert told(ada)["metadata"] == "{}"
    room.describe(ada, attributes={"seat": "3"})
    assert told(ada)["attributes"] == {"seat": "3"}
    room.describe(ada, attributes={"seat": "4"})
    assert told(ada)["attributes"] == {"seat": "4"}
    camera = room.publish(ada, Source.CAMERA)
    assert [one["number"] for one in told(ada)["publications"]] == [camera.number]
    room.update(camera, muted=True)
    assert told(ada)["publications"][0]["muted"]
    room.unpublish(camera)
    assert told(ada)["publications"] == []
