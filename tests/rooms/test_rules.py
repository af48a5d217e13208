# SPDX-License-Identifier: Apache-2.0
"""What a participant may send follows what it publishes, and is told to who takes REMB."""

from __future__ import annotations

import pytest

from sfu.rooms.conductor import OfferedTrack
from sfu.rooms.media import NO_LIMIT_BPS
from sfu.rooms.model import LeaveReason, Permissions, Source
from sfu.rooms.rules import AUDIO_BPS, OVERHEAD, PublishRules, common_codecs, publish_limit_bps
from sfu.sdp.document import SdpError
from tests.rooms.fakes import CAMERA, H264_ONLY, LAYERS, SIMULCAST, Client, House
from tests.sdp.descriptions import OPUS, VP8, audio, offer_text, video

CAMERA_BPS, SCREEN_BPS = 2_000_000, 3_000_000
RULES = PublishRules({Source.CAMERA: CAMERA_BPS, Source.SCREEN_SHARE: SCREEN_BPS})
CAMERA_ONLY = PublishRules({Source.CAMERA: CAMERA_BPS})
TRANSPORT_CC = "a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
REMB = (TRANSPORT_CC, "a=rtcp-fb:96 transport-cc", "a=rtcp-fb:96 goog-remb")
SCREEN = {"screen": OfferedTrack(Source.SCREEN_SHARE, layers=LAYERS)}


@pytest.mark.parametrize(
    ("sources", "limit_bps"),
    [
        ([], None),
        ([Source.MICROPHONE], None),
        ([Source.CAMERA], OVERHEAD * CAMERA_BPS),
        ([Source.CAMERA, Source.MICROPHONE], OVERHEAD * CAMERA_BPS + AUDIO_BPS),
        ([Source.CAMERA, Source.CAMERA], OVERHEAD * 2 * CAMERA_BPS),
        (list(Source), OVERHEAD * (CAMERA_BPS + SCREEN_BPS) + 2 * AUDIO_BPS),
    ],
)
def test_the_limits_of_what_is_published_add_up(sources: list[Source], limit_bps: float | None) -> None:
    assert publish_limit_bps(sources, RULES) == limit_bps


def test_one_picture_without_a_limit_frees_the_transport() -> None:
    assert publish_limit_bps([Source.CAMERA, Source.SCREEN_SHARE], CAMERA_ONLY) is None
    assert publish_limit_bps([Source.CAMERA], PublishRules()) is None


def test_common_codecs_are_in_the_settings_order_and_never_none() -> None:
    rules = PublishRules(video_codecs=("H264", "AV1", "VP8"))
    assert common_codecs([], rules) == ("H264", "AV1", "VP8")
    assert common_codecs([{"VP8", "H264", "VP9"}, {"VP8", "H264", "AV1"}], rules) == ("H264", "VP8")
    assert common_codecs([{"VP8"}, {"VP8", "H264"}], rules) == ("VP8",)
    assert common_codecs([{"VP8"}, {"H264"}], rules) == ("H264", "AV1", "VP8"), "backups are for that"


def room_codecs(house: House) -> list[str]:
    return list(house.conductor.video_codecs)


def test_everybody_who_receives_video_counts_for_the_rooms_codecs() -> None:
    house = House(PublishRules(video_codecs=("H264", "VP8")))
    assert room_codecs(house) == ["H264", "VP8"]
    listener = house.join("listener")
    house.offer(listener, offer_text(audio("a0", "a=recvonly", *OPUS)))
    assert room_codecs(house) == ["H264", "VP8"], "it receives no video"
    watcher = house.join("watcher", permissions=Permissions(hidden=True))
    house.offer(watcher, offer_text(video("v0", "a=recvonly", *VP8)))
    assert room_codecs(house) == ["VP8"], "hidden or not"
    house.conductor.leave(watcher.member, LeaveReason.LEFT)
    assert room_codecs(house) == ["H264", "VP8"]


def test_what_is_not_allowed_is_not_published() -> None:
    house = House(PublishRules(video_codecs=("VP8",)))
    ada = house.join("ada")
    sections = video("cam", "a=sendonly", *H264_ONLY, *VP8, formats="98 96 97")
    house.offer(ada, offer_text(sections, video("v0", "a=recvonly", *H264_ONLY, formats="98")))
    assert [codec.name for codec in ada.member.media.tracks["cam"].section.codecs] == ["VP8"]
    assert ada.member.media.receivable == {"H264"}, "received may be anything"
    with pytest.raises(SdpError, match="only H264") as refused:
        house.offer(ada, offer_text(video("cam", "a=sendonly", *H264_ONLY, formats="98")))
    assert "VP8" in refused.value.advice
    assert "cam" in ada.member.published, "nothing has changed"


def publish(house: House, client: Client, *, screen: bool = False, remb: bool = True) -> None:
    lines = (*VP8, *SIMULCAST, *(REMB if remb else ()))
    sections = [video("cam", "a=sendonly", *lines), audio("mic", "a=sendonly", *OPUS)]
    if screen:
        sections.append(video("screen", "a=sendonly", *lines))
    house.offer(client, offer_text(*sections), {**CAMERA, **(SCREEN if screen else {})})


def told(house: House, client: Client) -> int | None:
    return house.port.commands.publish_limits.get(client.transport.handle)


def test_the_limit_follows_what_is_published() -> None:
    house = House(RULES)
    ada = house.join("ada")
    publish(house, ada)
    camera_bps = round(OVERHEAD * CAMERA_BPS) + AUDIO_BPS
    assert told(house, ada) == camera_bps
    publish(house, ada, screen=True)
    assert told(house, ada) == camera_bps + round(OVERHEAD * SCREEN_BPS)
    house.conductor.set_muted(ada.member, ada.member.published["screen"].id, True)
    assert told(house, ada) == camera_bps + round(OVERHEAD * SCREEN_BPS), "it may come back at any time"
    house.conductor.unpublish(ada.member, ada.member.published["screen"].id)
    assert told(house, ada) == camera_bps


def test_a_backup_shares_the_limit_of_what_it_backs_up() -> None:
    house = House(RULES)
    ada = house.join("ada")
    publish(house, ada)
    before_bps = told(house, ada)
    lines = (*VP8, *SIMULCAST, *REMB)
    sections = [video("cam", "a=sendonly", *lines), audio("mic", "a=sendonly", *OPUS)]
    sections.append(video("spare", "a=sendonly", *lines))
    backup = OfferedTrack(Source.CAMERA, layers=LAYERS, backup_of=ada.member.published["cam"].id)
    house.offer(ada, offer_text(*sections), {**CAMERA, "spare": backup})
    assert ada.member.backups
    assert told(house, ada) == before_bps


def test_a_limit_that_ends_is_taken_back() -> None:
    house = House(CAMERA_ONLY)
    ada = house.join("ada")
    publish(house, ada)
    assert told(house, ada) == round(OVERHEAD * CAMERA_BPS) + AUDIO_BPS
    publish(house, ada, screen=True)
    assert told(house, ada) == NO_LIMIT_BPS


def test_nothing_is_told_without_a_limit_or_without_remb() -> None:
    for rules, remb in ((PublishRules(), True), (RULES, False)):
        house = House(rules)
        ada = house.join("ada")
        publish(house, ada, remb=remb)
        assert told(house, ada) is None
