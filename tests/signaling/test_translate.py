# SPDX-License-Identifier: Apache-2.0
"""What a client is told of a participant is always what it is now, although it is not made anew each time."""

from __future__ import annotations

from sfu.rooms.model import Participant, ParticipantId, Permissions, Publication, PublicationId, Source
from signaling.ws.translate import participant_info


def participant() -> Participant:
    return Participant(ParticipantId("pa_1"), "ada", "Ada", Permissions(), 0)


def test_an_onlooker_who_stays_the_same_is_described_once() -> None:
    ada = participant()
    assert participant_info(ada) is participant_info(ada)
    assert participant_info(participant()) is not participant_info(ada)


def test_each_change_is_told() -> None:
    ada = participant()
    participant_info(ada)
    ada.name = "Ada L."
    assert participant_info(ada).name == "Ada L."
    ada.metadata = "{}"
    assert participant_info(ada).metadata == "{}"
    ada.attributes["seat"] = "3"
    assert participant_info(ada).attributes == {"seat": "3"}
    ada.attributes["seat"] = "4"
    assert participant_info(ada).attributes == {"seat": "4"}
    camera = Publication(PublicationId("pu_1"), 7, ada, Source.CAMERA, 0)
    ada.publications[camera.id] = camera
    assert [one.number for one in participant_info(ada).publications] == [7]
    camera.muted = True
    assert participant_info(ada).publications[0].muted
    del ada.publications[camera.id]
    assert participant_info(ada).publications == []
