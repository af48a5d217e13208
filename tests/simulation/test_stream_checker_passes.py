# SPDX-License-Identifier: Apache-2.0
"""The stream checker lets everything pass that is legal, however unusual."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.simulation import sequence_ledger
from tests.simulation.ideal_forwarder import IdealForwarder
from tests.simulation.links import LinkModel
from tests.simulation.publishers import Publisher, PublisherModel, camera
from tests.simulation.recordings import (
    AUDIO_SLOT,
    H264_TYPE,
    VIDEO_SLOT,
    VP8_RTX_TYPE,
    Stage,
    audio_recording,
    publisher,
    retransmitted_recording,
    video_recording,
    video_stage,
)
from tests.simulation.rtp_packets import RtpPacket
from tests.simulation.stream_checker import StreamChecker
from tests.simulation.stream_rules import PayloadFormat, Rule
from tests.simulation.tapes import Item, Tape, shift_vp8, vp8


@pytest.fixture(scope="module")
def video() -> Tape:
    return Tape.of(video_recording())


def test_recordings_of_any_seed(scaled: Callable[[int], int]) -> None:
    for seed in range(scaled(8)):
        report = video_recording(seed).check()
        report.assert_legal()
        assert report.binds == 3
        assert report.switches == 5
        assert not report.frame_gaps
        sound = audio_recording(seed).check()
        sound.assert_legal()
        assert sound.binds == 4


def test_random_targets_and_binds_on_bad_links(scaled: Callable[[int], int]) -> None:
    uplink = LinkModel(delay_us=10_000, jitter_us=3_000, loss=0.03, loss_burst=2.0, reorder=0.02)
    damaged = 0
    for seed in range(scaled(6)):
        choose = random.Random(seed)
        stage = video_stage(seed, uplink)
        stage.bind(1)
        for _ in range(20):
            if choose.random() < 0.2:
                stage.bind(choose.choice((1, 2, 3)))
            stage.target(choose.randrange(3), choose.randrange(3))
            stage.run(choose.randrange(50_000, 600_000))
        report = stage.check()
        report.assert_legal()
        assert report.frames > 50
        damaged += report.damaged_frames
    assert damaged


def test_counters_that_wrap(video: Tape) -> None:
    for timestamp, picture, tl0 in ((-video.media()[0].packet.timestamp - 5000, 0, 0), (0, 32_700, 250)):
        tape = video.copy()
        tape.shift(tape.media(), timestamp=timestamp)
        for frame in tape.frames("VP8"):
            for item in frame:
                shift_vp8(item, picture=picture, tl0=tl0)
        tape.check().assert_legal()


def test_sequence_numbers_that_wrap() -> None:
    forwarder = IdealForwarder(AUDIO_SLOT, first_sequence=32_767, first_timestamp=0xFFFFF000)
    microphone = publisher(1, "opus")
    forwarder.bind(1, "opus", (microphone.sources()[0].ssrc,))
    checker = StreamChecker(AUDIO_SLOT)
    for at_us, data in microphone.packets_until(33_000 * 20_000):
        for out in forwarder.on_packet(data, at_us):
            checker.on_packet(out, at_us)
    report = checker.report
    report.assert_legal()
    assert report.packets > 32_770


def test_padding_behind_payloads_and_two_byte_extensions(video: Tape) -> None:
    tape = video.copy()
    tape.set_slot(extensions={4: "urn:ietf:params:rtp-hdrext:sdes:mid", 200: "urn:example:long"})
    for number, item in enumerate(tape.media()):
        item.packet.padding = number % 9
        item.packet.extensions += ((200, b"x" * 20),) if number % 7 == 0 else ()
    tape.check().assert_legal()


def test_padding_only_packets_between_frames(video: Tape) -> None:
    tape = video.copy()
    for frame in tape.frames()[5:40:5]:
        before, last = frame[0], tape.media()[tape.media().index(frame[0]) - 1].packet
        padding = RtpPacket(last.payload_type, False, 0, last.timestamp, tape.slot.ssrc, padding=200)
        tape.insert(before, Item(before.at_us, padding))
    report = tape.check()
    report.assert_legal()
    assert report.padding_packets == 7
    assert report.frames == len(video.frames())


def test_padding_only_packets_on_rtx(video: Tape) -> None:
    tape = video.copy()
    for number in range(5):
        padding = RtpPacket(VP8_RTX_TYPE, False, number, 0, 0x1001, padding=255)
        tape.items.insert(10 * number, Item(tape.items[10 * number].at_us, padding))
    tape.check().assert_legal()


def test_a_hole_that_is_filled_late(video: Tape) -> None:
    tape = video.copy()
    tape.set_slot(inbound_impaired=True)
    for at in range(20, 200, 9):
        tape.items[at].at_us = tape.items[at + 4].at_us
        tape.items.insert(at + 5, tape.items[at])
        del tape.items[at]
    report = tape.check()
    report.assert_legal()
    assert report.holes_filled == 20
    assert report.damaged_frames == 0


def test_a_hole_that_is_declared(video: Tape) -> None:
    stream = video.stream()
    checker = StreamChecker(replace(VIDEO_SLOT, inbound_impaired=True))
    for number, (at_us, data) in enumerate(stream):
        if number != 60:
            checker.on_packet(data, at_us)
        if number == 61:
            checker.declare_hole(video.items[60].packet.sequence)
    report = checker.finish(stream[-1][0])
    report.assert_legal()
    assert report.holes_lost == 1
    assert report.damaged_frames <= 1


def test_lost_frames_skip_picture_ids(video: Tape) -> None:
    tape = video.copy()
    frame = tape.find(lambda frame: (vp8(frame[0]).temporal or 0) == 0 and not vp8(frame[0]).keyframe)
    tape.items = [item for item in tape.items if item not in frame]
    tape.losses = len(frame)
    report = tape.check()
    report.assert_legal()
    assert report.holes_lost == len(frame)
    assert report.undecodable_frames > 0


def test_a_late_packet_whose_hole_was_given_up(video: Tape) -> None:
    tape = video.copy()
    tape.set_slot(inbound_impaired=True, hole_patience_us=50_000)
    tape.losses = 1
    late = tape.items.pop(40)
    late.at_us += 300_000
    tape.items.insert(next(at for at, item in enumerate(tape.items) if item.at_us > late.at_us), late)
    report = tape.check()
    report.assert_legal()
    assert (report.holes_lost, report.holes_filled, report.damaged_frames) == (1, 1, 1)


def test_a_long_stream_still_knows_its_keyframe() -> None:
    stage = video_stage()
    stage.target(0, 2)
    stage.bind(1)
    stage.run(25_000_000)
    report = stage.check()
    report.assert_legal()
    assert report.frames > 700
    assert report.keyframes == 1


def test_retransmissions_of_what_is_forgotten_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence_ledger, "REMEMBERED_PACKETS", 4)
    report = retransmitted_recording().check()
    report.assert_legal()
    assert 0 < report.unverified_retransmissions <= report.retransmissions


def test_h264_of_packetization_mode_0() -> None:
    track = replace(camera(1, codec="H264"), packetization_mode=0)
    single = PayloadFormat("H264", 90_000, packetization_mode=0)
    slot = replace(VIDEO_SLOT, payloads={H264_TYPE: single})
    stage = Stage(slot, {1: Publisher(PublisherModel((track,)), seed=3)}, IdealForwarder(slot))
    for spatial in (0, 2, 1):
        stage.target(spatial, 0)
        if not stage.binds:
            stage.bind(1)
        stage.run(500_000)
    report = stage.check()
    report.assert_legal()
    assert report.keyframes == 3
    assert report.switches == 2


def test_a_pause_is_reported_unless_it_was_told(video: Tape) -> None:
    tape = video.copy()
    resumed = next(frame for frame in tape.frames()[20:] if vp8(frame[0]).keyframe)
    late = tape.from_item(resumed[0])
    for item in late:
        item.at_us += 700_000
    tape.shift(late, timestamp=63_000)
    report = tape.check()
    report.assert_legal()
    assert [round(gap.gap_us, -5) for gap in report.frame_gaps] == [700_000]
    quiet = StreamChecker(VIDEO_SLOT)
    for item, (at_us, data) in zip(tape.items, tape.stream(), strict=True):
        if item is resumed[0]:
            quiet.expect_pause()
            quiet.expect_restart()
        quiet.on_packet(data, at_us)
    quiet.finish(tape.items[-1].at_us).assert_legal()
    assert not quiet.report.frame_gaps


def test_silence_at_the_end_is_a_gap(video: Tape) -> None:
    checker = StreamChecker(VIDEO_SLOT)
    for at_us, data in video.stream():
        checker.on_packet(data, at_us)
    report = checker.finish(video.items[-1].at_us + 800_000)
    assert [gap.gap_us for gap in report.frame_gaps] == [800_000]


def test_a_restart_that_was_told_must_be_a_keyframe(video: Tape) -> None:
    checker = StreamChecker(VIDEO_SLOT)
    for number, (at_us, data) in enumerate(video.stream()):
        if number == 40:
            checker.expect_restart()
        checker.on_packet(data, at_us)
    assert Rule.START_WITHOUT_KEYFRAME in checker.finish(video.items[-1].at_us).broken_rules


def test_time_runs_forwards(video: Tape) -> None:
    checker = StreamChecker(VIDEO_SLOT)
    checker.on_packet(video.stream()[0][1], 1000)
    with pytest.raises(ValueError, match="in order of sending"):
        checker.on_packet(video.stream()[1][1], 999)
