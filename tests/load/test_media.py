# SPDX-License-Identifier: Apache-2.0
"""What light bots send is legal, as an independent parser and the stream checker's VP8 rules see it."""

import random

import pytest

from sfu.load.media import MAX_PAYLOAD, AudioSpec, OpusSource, PacketMark, VideoLayer, VideoSpec, Vp8Source, no_stamp
from tests.simulation.vp8_checker import Vp8Checker
from tests.simulation.vp8_payload import Vp8Descriptor, parse_vp8

LAYER = VideoLayer("h", 480, 270, 600_000)


def source(temporal_layers: int = 3, seed: int = 1) -> Vp8Source:
    return Vp8Source(LAYER, 1, VideoSpec((LAYER,), 30, temporal_layers), random.Random(seed), no_stamp)


def frames(vp8: Vp8Source, count: int) -> list[list[bytes]]:
    return [[payload for payload, _ in vp8.next_frame()] for _ in range(count)]


@pytest.mark.parametrize("temporal_layers", [1, 2, 3])
@pytest.mark.parametrize("forwarded", [0, 1, 2])
def test_any_number_of_temporal_layers_can_be_dropped(temporal_layers: int, forwarded: int) -> None:
    """Picture ids are made continuous here as the server would make them; all else is as sent."""
    checker = Vp8Checker()
    vp8 = source(temporal_layers)
    picture_id = 0
    for number in range(200):
        if number == 120:
            vp8.keyframe_wanted = True
        payloads = [payload for payload, _ in vp8.next_frame()]
        if (parse_vp8(payloads[0]).temporal or 0) > forwarded:
            continue
        picture_id += 1
        for index, payload in enumerate(payloads):
            rewritten = payload[:2] + (0x8000 | picture_id).to_bytes(2) + payload[4:]
            _, breaches = checker.parse(rewritten)
            if index == 0:
                breaches += checker.open(restart=picture_id == 1, lost=0)
            breaches += checker.add(first=index == 0)
            assert breaches == []


def test_picture_ids_and_base_indices_wrap() -> None:
    seen: list[Vp8Descriptor] = []
    vp8 = source()
    vp8._picture_id, vp8._tl0 = 0x7FFE, 254
    for frame in frames(vp8, 20):
        seen.append(parse_vp8(frame[0]))
    picture_ids = [descriptor.picture_id for descriptor in seen]
    assert picture_ids[:3] == [0x7FFF, 0, 1]
    assert [d.tl0_picture_index for d in seen if d.temporal == 0][:3] == [255, 0, 1]


def test_keyframe_on_request_only_and_with_its_size() -> None:
    vp8 = source()
    first = [parse_vp8(frame[0]) for frame in frames(vp8, 30)]
    assert [descriptor.keyframe for descriptor in first] == [True] + [False] * 29
    vp8.keyframe_wanted = True
    again = parse_vp8(frames(vp8, 1)[0][0])
    assert again.keyframe
    assert (again.width, again.height) == (480, 270)
    assert again.temporal == 0
    assert vp8.keyframes == 2


def test_bitrate_and_packet_sizes() -> None:
    vp8 = source()
    sent = [payload for frame in frames(vp8, 300) for payload in frame]
    assert max(map(len, sent)) <= MAX_PAYLOAD
    bitrate_bps = sum(map(len, sent)) * 8 / 10
    assert bitrate_bps == pytest.approx(LAYER.bitrate_bps, rel=0.05)


def test_marker_ends_each_frame() -> None:
    vp8 = source()
    for _ in range(20):
        markers = [marker for _, marker in vp8.next_frame()]
        assert markers == [False] * (len(markers) - 1) + [True]


def test_stamp_knows_what_each_frame_needs() -> None:
    marks: list[PacketMark] = []

    def stamp(mark: PacketMark) -> bytes:
        marks.append(mark)
        return b"stamp"

    vp8 = Vp8Source(LAYER, 2, VideoSpec((LAYER,), 30, 3), random.Random(0), stamp)
    payloads = [payload for _ in range(9) for payload, _ in vp8.next_frame()]
    assert all(b"stamp" in payload[:24] for payload in payloads)
    assert {mark.layer for mark in marks} == {2}
    assert [mark.references for mark in marks if mark.index == 0] == [
        (),
        (0,),
        (0,),
        (0, 2),
        (0,),
        (0, 2, 4),
        (0, 2, 4),
        (0, 4, 6),
        (0, 4),
    ]
    assert {mark.kind for mark in marks} == {"video"}
    assert [mark.temporal for mark in marks if mark.index == 0] == [0, 2, 1, 2, 0, 2, 1, 2, 0]
    keyframe = [mark for mark in marks if mark.frame == 0]
    assert [mark.index for mark in keyframe] == list(range(keyframe[0].count))


def test_opus_frames() -> None:
    opus = OpusSource(AudioSpec(bitrate_bps=32_000), no_stamp)
    frame = opus.next_frame()
    assert len(frame) == 80
    assert frame[0] == 0x78
