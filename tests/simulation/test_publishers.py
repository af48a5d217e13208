# SPDX-License-Identifier: Apache-2.0
"""The synthetic publishers: what they send, how they answer, and that one seed is one run."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import pytest

from tests.simulation import rtcp_packets as rtcp
from tests.simulation.h264_payload import parse_h264
from tests.simulation.publishers import (
    DEFAULT_EXTENSIONS,
    Publisher,
    PublisherModel,
    Sent,
    TrackModel,
    camera,
    microphone,
)
from tests.simulation.rtp_packets import (
    AUDIO_LEVEL,
    MID,
    REPAIRED_RID,
    RID,
    TRANSPORT_CC,
    RtpPacket,
    extend,
    is_rtcp,
    parse_rtp,
)
from tests.simulation.tags import read_tag
from tests.simulation.vp8_payload import parse_vp8

SECOND_US = 1_000_000
IDS = DEFAULT_EXTENSIONS


def call(seed: int = 1, codec: str = "VP8", **changes: object) -> Publisher:
    model = PublisherModel((microphone(2), camera(1, codec=codec)))
    return Publisher(replace(model, **changes), seed)  # type: ignore[arg-type]


def media(sent: list[Sent], ssrc: int | None = None) -> list[RtpPacket]:
    packets = [parse_rtp(data) for _, data in sent if not is_rtcp(data)]
    return [packet for packet in packets if ssrc is None or packet.ssrc == ssrc]


def frames(packets: list[RtpPacket]) -> list[list[RtpPacket]]:
    found: dict[int, list[RtpPacket]] = defaultdict(list)
    for packet in packets:
        found[packet.timestamp].append(packet)
    return list(found.values())


def extension(packet: RtpPacket, uri: str) -> bytes | None:
    return dict(packet.extensions).get(IDS[uri])


def test_one_seed_is_one_run_however_time_is_cut() -> None:
    fine, coarse, other = call(1), call(1), call(2)
    cut = [packet for at_us in range(0, 3 * SECOND_US, 7_000) for packet in fine.packets_until(at_us)]
    whole = coarse.packets_until(max(range(0, 3 * SECOND_US, 7_000)))
    assert cut == whole
    assert whole == sorted(whole, key=lambda sent: sent.at_us)
    assert other.packets_until(3 * SECOND_US) != whole


def test_simulcast_has_the_shape_that_was_measured() -> None:
    publisher = call()
    sent = publisher.packets_until(60 * SECOND_US)
    for source, expected in zip(publisher.tracks[b"1"], (1.07, 2.07, 4.24), strict=True):
        grouped = frames(media(sent, source.ssrc))
        inter = [frame for frame in grouped if not parse_vp8(frame[0].payload).keyframe]
        assert sum(map(len, inter)) / len(inter) == pytest.approx(expected, rel=0.06)
        assert len(grouped) == pytest.approx(1800, abs=2)
        assert all(len(frame[0].payload) - len(frame[-1].payload) <= 1 for frame in grouped)
        sequences = [packet.sequence for packet in media(sent, source.ssrc)]
        assert all((after - before) & 0xFFFF == 1 for before, after in pairwise(sequences))
        assert all([packet.marker for packet in frame] == [False] * (len(frame) - 1) + [True] for frame in grouped)
    bases = {(s.timestamp_base, s.ssrc) for s in publisher.sources()}
    assert len(bases) == 4


def test_vp8_temporal_pattern_and_counters() -> None:
    publisher = call()
    source = publisher.tracks[b"1"][2]
    heads = [frame[0].payload for frame in frames(media(publisher.packets_until(SECOND_US), source.ssrc))]
    found = [parse_vp8(head) for head in heads]
    assert [one.temporal for one in found[:9]] == [0, 2, 1, 2, 0, 2, 1, 2, 0]
    assert [one.layer_sync for one in found[:9]] == [False, True, True, False, False, False, False, False, False]
    assert [one.non_reference for one in found[:4]] == [False, True, False, True]
    assert [one.keyframe for one in found] == [True] + [False] * (len(found) - 1)
    assert (found[0].width, found[0].height) == (1280, 720)
    assert all(one.long_picture_id for one in found)
    for before, after in pairwise(found):
        assert ((after.picture_id or 0) - (before.picture_id or 0)) % 32768 == 1
        assert ((after.tl0_picture_index or 0) - (before.tl0_picture_index or 0)) % 256 == (after.temporal == 0)
    tags = [read_tag(head) for head in heads]
    assert [tag and tag.references for tag in tags[:6]] == [(), (0,), (0,), (0, 2), (0,), (0, 2, 4)]


@pytest.mark.parametrize("mode", [0, 1])
def test_h264_frames(mode: int) -> None:
    track = replace(camera(1, codec="H264"), packetization_mode=mode)
    publisher = Publisher(PublisherModel((track,)), seed=4)
    source = publisher.tracks[b"1"][1]
    publisher.packets_until(300_000)
    publisher.on_feedback(rtcp.build_pli(1, source.ssrc))
    grouped = frames(media(publisher.packets_until(SECOND_US), source.ssrc))
    units = [[unit for packet in frame for unit in parse_h264(packet.payload).units] for frame in grouped]
    keyframes = [frame for frame in units if 5 in frame]
    assert len(keyframes) == 1
    assert keyframes[0][:2] == [7, 8]
    assert set(keyframes[0][3 if mode else 2 :]) == {5}
    assert all(set(frame) == {1} for frame in units if 5 not in frame)
    if mode == 1:
        assert all(frame == [1] for frame in units if 5 not in frame)


def test_keyframes_come_on_request_for_the_layer_asked() -> None:
    publisher = call()
    low, middle, high = publisher.tracks[b"1"]
    publisher.packets_until(SECOND_US)
    publisher.on_feedback(rtcp.build_pli(1, middle.ssrc))
    sent = publisher.packets_until(SECOND_US + 100_000)
    fir = rtcp.build_fir(1, high.ssrc, 5)
    publisher.on_feedback(fir)
    sent += publisher.packets_until(SECOND_US + 200_000)
    publisher.on_feedback(fir)
    sent += publisher.packets_until(SECOND_US + 300_000)
    counts = [
        sum(parse_vp8(packet.payload).keyframe for packet in media(sent, source.ssrc)) for source in (low, middle, high)
    ]
    assert counts == [0, 1, 1]
    assert publisher.requests == {"pli": 1, "fir": 2}
    together = call(keyframe_on_all_layers=True)
    together.packets_until(SECOND_US)
    together.on_feedback(rtcp.build_pli(1, together.tracks[b"1"][0].ssrc))
    packets = media(together.packets_until(SECOND_US + 40_000))
    video = [packet for packet in packets if packet.payload_type == 96]
    assert sum(parse_vp8(packet.payload).keyframe for packet in video) == 3


def test_identity_is_sent_until_the_first_report() -> None:
    publisher = call()
    source, audio = publisher.tracks[b"1"][2], publisher.tracks[b"0"][0]
    before = media(publisher.packets_until(200_000))
    assert all(extension(packet, MID) == b"1" for packet in before if packet.ssrc == source.ssrc)
    assert all(extension(packet, RID) == b"f" for packet in before if packet.ssrc == source.ssrc)
    assert all(extension(packet, MID) == b"0" for packet in before if packet.ssrc == audio.ssrc)
    assert all(extension(packet, AUDIO_LEVEL) == b"\x9e" for packet in before if packet.ssrc == audio.ssrc)
    publisher.on_feedback(rtcp.build_receiver_report(1, [rtcp.ReportBlock(source.ssrc)]))
    after = media(publisher.packets_until(400_000))
    assert all(extension(packet, MID) is None for packet in after if packet.ssrc == source.ssrc)
    assert all(extension(packet, MID) == b"0" for packet in after if packet.ssrc == audio.ssrc)
    numbers = [int.from_bytes(extension(packet, TRANSPORT_CC) or b"", "big") for packet in before + after]
    assert numbers == [(numbers[0] + step) & 0xFFFF for step in range(len(numbers))]


def test_lost_packets_are_sent_again_by_rtx() -> None:
    publisher = call()
    source, audio = publisher.tracks[b"1"][2], publisher.tracks[b"0"][0]
    first = media(publisher.packets_until(300_000), source.ssrc)
    wanted = [first[3], first[4], first[9]]
    publisher.on_feedback(rtcp.build_nack(1, source.ssrc, [packet.sequence for packet in wanted]))
    again = media(publisher.packets_until(301_000), source.rtx_ssrc)
    assert [packet.payload for packet in again] == [
        packet.sequence.to_bytes(2, "big") + packet.payload for packet in wanted
    ]
    assert [packet.timestamp for packet in again] == [packet.timestamp for packet in wanted]
    assert [packet.marker for packet in again] == [packet.marker for packet in wanted]
    assert {packet.payload_type for packet in again} == {97}
    assert [(packet.sequence - again[0].sequence) & 0xFFFF for packet in again] == [0, 1, 2]
    assert extension(again[0], MID) == b"1"
    assert extension(again[0], REPAIRED_RID) == b"f"
    heard = media(publisher.packets_until(400_000), audio.ssrc)
    publisher.on_feedback(rtcp.build_nack(1, audio.ssrc, [heard[0].sequence]))
    plain = media(publisher.packets_until(401_000), audio.ssrc)
    assert heard[0].payload in [packet.payload for packet in plain]
    assert publisher.requests["nack"] == 4


@pytest.mark.parametrize("offset_us", [0, 1_500_000, -70_000_000])
def test_sender_reports_are_in_the_publishers_clock(offset_us: int) -> None:
    publisher, plain = call(ntp_offset_us=offset_us, clock_skew_ppm=50.0), call(clock_skew_ppm=50.0)
    sent = publisher.packets_until(5 * SECOND_US)
    for source in publisher.sources():
        reports = []
        for at_us, data in sent:
            for packet in rtcp.parse_rtcp(data) if is_rtcp(data) else ():
                if packet.packet_type == rtcp.SR and rtcp.feedback_ssrcs(packet)[0] == source.ssrc:
                    reports.append((at_us, rtcp.parse_sender_report(packet)))
        assert 4 <= len(reports) <= 5
        for at_us, report in reports:
            assert (report.ntp - plain.ntp(at_us)) * 1e6 / (1 << 32) == pytest.approx(offset_us, abs=2)
            earlier = [
                parse_rtp(data)
                for then_us, data in sent
                if not is_rtcp(data) and then_us <= at_us and parse_rtp(data).ssrc == source.ssrc
            ]
            assert report.packet_count == len(earlier)
            assert report.octet_count == sum(len(packet.payload) for packet in earlier)
            age = extend(report.rtp_timestamp, earlier[-1].timestamp, 32) - earlier[-1].timestamp
            assert 0 <= age / source.track.clock_rate < 0.05


def test_layers_stop_and_start_again_with_a_keyframe() -> None:
    publisher = call()
    high = publisher.tracks[b"1"][2]
    publisher.packets_until(SECOND_US)
    publisher.set_active(b"1", False, layer=2)
    publisher.packets_until(SECOND_US + 50_000)
    last = high.sequence
    assert media(publisher.packets_until(2 * SECOND_US), high.ssrc) == []
    publisher.set_active(b"1", True, layer=2)
    back = media(publisher.packets_until(3 * SECOND_US), high.ssrc)
    assert back[0].sequence == last
    assert parse_vp8(back[0].payload).keyframe
    publisher.set_active(b"1", False)
    publisher.packets_until(3 * SECOND_US + 50_000)
    assert {packet.payload_type for packet in media(publisher.packets_until(4 * SECOND_US))} == {111}


def test_opus_frames_and_bye() -> None:
    publisher = call()
    audio = publisher.tracks[b"0"][0]
    packets = media(publisher.packets_until(2 * SECOND_US), audio.ssrc)
    steps = {(b.timestamp - a.timestamp) & 0xFFFFFFFF for a, b in pairwise(packets)}
    assert steps == {960}
    assert [packet.marker for packet in packets] == [True] + [False] * (len(packets) - 1)
    kinds = [packet.packet_type for packet in rtcp.parse_rtcp(publisher.bye())]
    assert kinds == [rtcp.RR, rtcp.BYE]


def test_feedback_of_every_kind_is_heard() -> None:
    publisher = call()
    remb = bytes.fromhex("8fce0005 00000001 00000000 52454d42 0103f000 00000002")
    transport_cc = bytes.fromhex("8fcd0005 00000001 00000002 0000 0001 000000 00 2001 0400")
    xr = bytes.fromhex("80cf0001 00000001")
    publisher.on_feedback(remb + transport_cc + xr)
    assert publisher.requests == {"remb": 1, "transport_cc": 1}
    assert len(publisher.transport_cc) == 1


def test_a_single_layer_without_identity_or_rtx() -> None:
    track = TrackModel("VP8", 1, b"0", 100, layers=camera(1).layers[:1], temporal_layers=1)
    publisher = Publisher(PublisherModel((track,), extensions={}), seed=1)
    packets = media(publisher.packets_until(SECOND_US))
    assert {packet.ssrc for packet in packets} == {publisher.tracks[b"0"][0].ssrc}
    assert all(packet.extensions == () for packet in packets)
    assert {parse_vp8(packet.payload).temporal for packet in packets} == {0}
