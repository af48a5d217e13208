# SPDX-License-Identifier: Apache-2.0
"""Who cannot decode a publication's codec gets its backup, which is asked for and described as such."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sfu.rooms.conductor import OfferedTrack
from sfu.rooms.errors import RoomError
from sfu.rooms.events import BackupWanted, Published, PublishLayers, Unpublished
from sfu.rooms.model import LeaveReason, Source
from tests.rooms.fakes import CAMERA, H264_ONLY, LAYERS, SIMULCAST, Client, House, usual_offer
from tests.sdp.descriptions import OPUS, VP8, audio, offer_text, video

BOTH = (*H264_ONLY, *VP8)
H264_FIRST, VP8_FIRST, ONLY_H264 = "98 96 97", "96 97 98", "98"


@pytest.fixture
def house() -> House:
    return House()


def publisher_offer(formats: str = H264_FIRST, *, backup: bool = False) -> str:
    """A camera, and perhaps the same as VP8 in a section of its own; a slot that plays H.264 only."""
    sections = [video("cam", "a=sendonly", *BOTH, *SIMULCAST, formats=formats), audio("mic", "a=sendonly", *OPUS)]
    sections += [video("v0", "a=recvonly", *H264_ONLY, formats=ONLY_H264), audio("a0", "a=recvonly", *OPUS)]
    if backup:
        sections.append(video("spare", "a=sendonly", *VP8, *SIMULCAST))
    return offer_text(*sections)


def enter_watcher(house: House, name: str, *, h264: bool = False) -> Client:
    """One slot, which plays either."""
    client = house.join(name)
    slot = video("v0", "a=recvonly", *H264_ONLY, formats=ONLY_H264) if h264 else video("v0", "a=recvonly", *VP8)
    house.offer(client, offer_text(slot, audio("a0", "a=recvonly", *OPUS)))
    return client


def enter_publisher(house: House) -> Client:
    ada = house.join("ada")
    house.offer(ada, publisher_offer(), CAMERA)
    return ada


def add_backup(house: House, ada: Client, **wrong: object) -> None:
    camera = ada.member.published["cam"]
    told = OfferedTrack(Source.CAMERA, layers=LAYERS, backup_of=camera.id)
    house.offer(ada, publisher_offer(backup=True), {"spare": replace(told, **wrong)})  # type: ignore[arg-type]


def shown_track(house: House, client: Client, mid: str = "v0") -> int | None:
    binding = house.port.commands.bindings.get(client.member.media.slots[mid].forwarder)
    return None if binding is None else binding[0]


def test_a_backup_is_asked_for_once_and_bound_to_who_needs_it(house: House) -> None:
    ada = enter_publisher(house)
    ben, cleo = enter_watcher(house, "ben"), enter_watcher(house, "cleo")
    dora = enter_watcher(house, "dora", h264=True)
    camera = ada.member.published["cam"]
    assert ada.told(BackupWanted) == [BackupWanted(camera, "VP8")]
    assert shown_track(house, ben) is None
    assert shown_track(house, dora) == house.track(ada)

    before = len(ben.told(Published))
    add_backup(house, ada)
    spare = house.track(ada, "spare")
    assert shown_track(house, ben) == shown_track(house, cleo) == spare
    assert house.port.commands.bindings[ben.member.media.slots["v0"].forwarder][1] == camera.number
    assert shown_track(house, dora) == house.track(ada), "who can decode the first goes on with it"
    assert len(ben.told(Published)) == before, "it is no publication"
    assert list(ada.member.published) == ["cam", "mic"]
    assert len(ada.told(BackupWanted)) == 1
    house.offer(ben, usual_offer(1, camera=False, microphone=False))
    assert shown_track(house, ben) == spare


def test_what_nobody_needs_rests_be_it_the_first_or_the_backup(house: House) -> None:
    ada = enter_publisher(house)
    ben = enter_watcher(house, "ben")
    add_backup(house, ada)
    dora = enter_watcher(house, "dora", h264=True)
    assert rests(house, ada) == set()
    house.conductor.leave(dora.member, LeaveReason.LEFT)
    assert rests(house, ada) == {False}
    house.conductor.leave(ben.member, LeaveReason.LEFT)
    enter_watcher(house, "eve", h264=True)
    assert rests(house, ada) == {True}


def rests(house: House, publisher: Client) -> set[bool]:
    """After a while: whether all layers rest, of the first (False) or of the backup (True)."""
    for _ in range(10):
        house.settle()
        house.now_us += 1_000_000
        house.conductor.regulator.settle_demand(house.now_us)
    last = {told.backup: told.layers for told in publisher.told(PublishLayers)}
    return {backup for backup, layers in last.items() if not any(active for _, active in layers)}


def test_the_backup_goes_with_its_publication(house: House) -> None:
    ada = enter_publisher(house)
    ben = enter_watcher(house, "ben")
    add_backup(house, ada)
    spare = house.track(ada, "spare")
    house.conductor.unpublish(ada.member, ada.member.published["cam"].id)
    house.settle()
    assert spare not in house.port.commands.live
    assert ada.member.backups == {}
    assert len(ben.told(Unpublished)) == 1


def test_a_change_of_codec_moves_the_receivers(house: House) -> None:
    ada = enter_publisher(house)
    ben = enter_watcher(house, "ben")
    track = house.track(ada)
    assert shown_track(house, ben) is None
    house.offer(ada, publisher_offer(VP8_FIRST), CAMERA)
    assert house.track(ada) == track, "another order of codecs is the same stream"
    assert shown_track(house, ben) == track
    house.offer(ada, publisher_offer(), CAMERA)
    assert shown_track(house, ben) is None
    assert len(ada.told(BackupWanted)) == 2


@pytest.mark.parametrize("wrong", [{"backup_of": "pu_nobody"}, {"source": Source.SCREEN_SHARE}])
def test_a_backup_of_nothing_is_refused(house: House, wrong: dict[str, object]) -> None:
    ada = enter_publisher(house)
    with pytest.raises(RoomError) as refused:
        add_backup(house, ada, **wrong)
    assert refused.value.code == "bad_track"
    assert ada.member.backups == {}


def test_no_backup_is_asked_of_who_has_no_other_codec(house: House) -> None:
    ada = house.join("ada")
    house.offer(ada, publisher_offer(ONLY_H264), CAMERA)
    enter_watcher(house, "ben")
    assert ada.told(BackupWanted) == []
    assert ada.told(PublishLayers) == []
