# SPDX-License-Identifier: Apache-2.0
"""Loss on the way in: what is asked for again, and what comes by RFC 4588 retransmission."""

from dataclasses import replace

import pytest

from sfu.engine.drops import DropReason
from tests.engine.media import H264Stream, Vp8Stream, bodies, descriptor
from tests.engine.router_driver import H264, ORIENTATION_ID, VP8, Driver, Peer
from tests.simulation import rtcp_packets as rtcp

REORDER_DELAY_US = 10_000
RTT_DEFAULT_US = 70_000


def nacks(peer: Peer) -> list[tuple[int, list[int]]]:
    """(media SSRC, sequence numbers) of each request since the last time."""
    return [
        (rtcp.feedback_ssrcs(packet)[1], rtcp.nack_sequences(packet))
        for packet in peer.take_feedback(rtcp.RTPFB, rtcp.NACK_FORMAT)
    ]


def call() -> tuple[Driver, Peer, Peer]:
    driver = Driver()
    publisher, receiver = driver.connect("p"), driver.connect("r")
    track = driver.video_track(publisher, payloads=(VP8, H264))
    driver.bind(driver.video_slot(receiver), track)
    return driver, publisher, receiver


def test_a_hole_is_asked_for_after_the_reorder_delay_then_each_round_trip() -> None:
    stream = Vp8Stream(5, 96)
    driver, publisher, _ = call()
    frame = stream.key(6)
    publisher.send(frame[0], frame[1], frame[4], frame[5])
    driver.advance(REORDER_DELAY_US - 1_000, 1_000)
    assert nacks(publisher) == []
    driver.advance(2_000, 1_000)
    assert nacks(publisher) == [(5, [frame[2].sequence, frame[3].sequence])]
    driver.advance(RTT_DEFAULT_US - 3_000, 1_000)
    assert nacks(publisher) == []
    publisher.send(frame[2])
    driver.advance(4_000, 1_000)
    assert nacks(publisher) == [(5, [frame[3].sequence])]
    publisher.send(frame[3])
    driver.advance(500_000)
    assert nacks(publisher) == []
    assert driver.statistics().nacks_sent == 2


def test_a_retransmission_is_the_original_packet_again() -> None:
    stream = Vp8Stream(5, 96, rtx_ssrc=6)
    driver, publisher, receiver = call()
    key, frame = stream.key(), stream.frame(3)
    publisher.send(*key, frame[0], frame[2])
    driver.pump()
    assert bodies(receiver.take_rtp()) == bodies([*key, frame[0], frame[2]])
    publisher.send(stream.retransmission(frame[1]))
    driver.pump()
    [got] = receiver.take_rtp()
    assert bodies([got]) == bodies([frame[1]])
    assert got.payload_type == 100
    assert not got.marker
    driver.advance(300_000)
    assert nacks(publisher) == []
    driver.assert_accounts_balance()


def test_a_retransmitted_packet_keeps_its_place_marker_and_header_extensions() -> None:
    stream = Vp8Stream(5, 96, rtx_ssrc=6, orientation=3)
    driver, publisher, receiver = call()
    key, second, third = stream.key(), stream.frame(2), stream.frame()
    publisher.send(*key, second[0], *third)
    publisher.send(replace(stream.retransmission(second[1]), padding=7))
    driver.pump()
    got = receiver.take_rtp()
    in_order = sorted(got, key=lambda packet: packet.sequence)
    assert bodies(in_order) == bodies([*key, *second, *third])
    assert [p.sequence - in_order[0].sequence for p in in_order] == [0, 1, 2, 3]
    assert [p.marker for p in in_order] == [True, False, True, True]
    assert [dict(p.extensions).get(ORIENTATION_ID) for p in in_order] == [b"\x03"] * 4
    assert in_order[2].timestamp == in_order[1].timestamp
    assert descriptor(in_order[2]).picture_id == descriptor(in_order[1]).picture_id
    assert all(p.padding == 0 for p in got)


def test_retransmissions_without_a_payload_are_probes() -> None:
    stream = Vp8Stream(5, 96, rtx_ssrc=6)
    driver, publisher, receiver = call()
    [packet] = stream.key()
    publisher.send(packet)
    probe = replace(stream.retransmission(packet), payload=b"", padding=255)
    publisher.send(probe, replace(probe, sequence=probe.sequence + 1, payload=b"\x01", padding=0))
    driver.pump()
    assert driver.drops(DropReason.PROBE_PADDING) == 2
    assert len(receiver.take_rtp()) == 1


def test_what_is_there_already_is_not_forwarded_twice() -> None:
    stream = Vp8Stream(5, 96, rtx_ssrc=6)
    driver, publisher, receiver = call()
    frames = [*stream.key(2), *stream.frame(2)]
    publisher.send(*frames)
    publisher.send(*[stream.retransmission(packet) for packet in frames])
    driver.pump()
    assert bodies(receiver.take_rtp()) == bodies(frames)
    assert driver.drops(DropReason.DUPLICATE) == 4
    assert driver.statistics().tracks[next(iter(driver.statistics().tracks))].layers[0].recovered == 0


def test_a_retransmission_never_moves_the_stream_on() -> None:
    stream = Vp8Stream(5, 96, rtx_ssrc=6)
    driver, publisher, receiver = call()
    key, ahead = stream.key(), stream.frame()
    publisher.send(*key, stream.retransmission(ahead[0]))
    driver.pump()
    assert driver.drops(DropReason.TOO_OLD) == 1
    publisher.send(*ahead)
    driver.pump()
    assert bodies(receiver.take_rtp()) == bodies([*key, *ahead])


def test_tries_end_with_a_keyframe_request() -> None:
    stream = Vp8Stream(5, 96)
    driver, publisher, _ = call()
    frame = stream.key(3)
    publisher.send(frame[0], frame[2])
    seen = 0
    for _ in range(400):
        driver.advance(5_000)
        seen += len(nacks(publisher))
    assert seen == 10


def keyframe_requests(peer: Peer) -> int:
    return len(peer.take_feedback(rtcp.PSFB, rtcp.PLI_FORMAT))


def test_a_gap_that_is_given_up_is_healed_by_a_keyframe() -> None:
    stream = Vp8Stream(5, 96)
    driver, publisher, _ = call()
    publisher.send(*stream.key())
    frame = stream.frame(3)
    publisher.send(frame[0], frame[2])
    driver.advance(3_000_000)
    assert keyframe_requests(publisher) >= 1


@pytest.mark.parametrize("missing", [257, 1_000, 2_900])
def test_a_gap_that_is_too_long_is_healed_by_a_keyframe(missing: int) -> None:
    stream = Vp8Stream(5, 96)
    driver, publisher, _ = call()
    publisher.send(*stream.key())
    driver.pump()
    keyframe_requests(publisher)
    stream.sequence = (stream.sequence + missing) & 0xFFFF
    publisher.send(*stream.frame())
    driver.advance(200_000)
    assert keyframe_requests(publisher) == 1


def test_nothing_is_asked_for_without_nack_in_the_sdp() -> None:
    driver = Driver()
    publisher = driver.connect("p")
    driver.video_track(publisher, payloads=(VP8._replace(nack=False),))
    stream = Vp8Stream(5, 96)
    frame = stream.key(3)
    publisher.send(frame[0], frame[2])
    driver.advance(1_000_000)
    assert nacks(publisher) == []


def test_h264_fragments_that_come_late_are_no_frame_starts() -> None:
    """An IDR's later packet must not pass for the picture's beginning because an older packet came in between."""
    stream = H264Stream(5)
    driver, publisher, receiver = call()
    key, before, wanted = stream.key(3), stream.frame(2), stream.key(4)
    publisher.send(*key, before[0])
    driver.pump()
    receiver.take_rtp()
    slot = next(iter(driver.statistics().forwarders))
    driver.commands.unbind(slot)
    driver.bind(slot, next(iter(driver.statistics().tracks)), generation=2)
    sets, first, *rest = wanted
    publisher.send(first, before[1], *rest)
    driver.pump()
    assert receiver.take_rtp() == [], "the parameter sets are missing: nothing can begin here"
    publisher.send(sets)
    driver.pump()
    assert bodies(receiver.take_rtp()) == bodies([sets, first, *rest])


def test_h264_multi_slice_pictures_begin_once() -> None:
    """Packetization mode 0, each slice in its own packet: only the parameter sets begin the keyframe."""
    stream = H264Stream(5)
    driver, publisher, receiver = call()
    sets, picture = stream.key(1)
    second = replace(picture, sequence=stream.sequence, payload=bytes([0x65, 0x48]) + stream.identity())
    stream.sequence += 1
    publisher.send(sets, replace(picture, marker=False), second)
    driver.pump()
    assert bodies(receiver.take_rtp()) == bodies([sets, picture, second])
    [track] = driver.statistics().tracks.values()
    assert track.layers[0].keyframes == 1
