# SPDX-License-Identifier: Apache-2.0
"""Packets of one frame leave in equal sizes: a few bytes of padding where it saves a send, and no other change."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.media import Vp8Stream, bodies, body
from tests.engine.router_driver import Driver, Peer
from tests.reference.equaliser import DATAGRAM, LIMIT, TAG, padding
from tests.simulation import rtcp_packets as rtcp
from tests.simulation.rtp_packets import RtpPacket, build_rtp

SSRC, RTX_SSRC = 0x1000, 0x1001


class Room:
    """One camera, one viewer; packets are sent with chosen sizes and offered in one go."""

    def __init__(self, *, equalise: bool = True) -> None:
        self.driver = Driver(equalise=equalise)
        self.publisher = self.driver.connect("publisher")
        self.viewer: Peer = self.driver.connect("viewer")
        self.track = self.driver.video_track(self.publisher)
        self.slot = self.driver.video_slot(self.viewer, SSRC, RTX_SSRC)
        self.driver.bind(self.slot, self.track)
        self.stream = Vp8Stream(0x10, 96)
        self.publisher.send(*self.stream.key())
        self.driver.pump()
        self.viewer.rtp.clear()
        self.sizes: list[int] = []
        self.viewer.on_rtp = lambda data, _: self.sizes.append(len(data))

    def frame(self, payload_sizes: list[int]) -> list[RtpPacket]:
        packets = self.stream.frame(len(payload_sizes))
        for packet, size in zip(packets, payload_sizes, strict=True):
            packet.payload = packet.payload.ljust(size, b".")[: max(size, len(packet.payload))]
        return packets

    def offer(self, packets: list[RtpPacket]) -> list[RtpPacket]:
        """All at once; returns what the viewer got."""
        self.viewer.rtp.clear()
        self.sizes.clear()
        self.publisher.send(*packets)
        self.driver.pump()
        return list(self.viewer.rtp)


def test_packets_of_a_frame_become_equal_and_the_last_may_be_shorter() -> None:
    room = Room()
    sent = room.frame([1000, 1003, 998, 990])
    got = room.offer(sent)
    assert [packet.padding for packet in got] == [3, 0, 5, 0]
    assert len(set(room.sizes[:3])) == 1
    assert room.sizes[3] < room.sizes[0]
    assert bodies(got) == bodies(sent)
    statistics = room.driver.statistics()
    assert (statistics.padded_packets, statistics.padding_bytes) == (2, 8)


def test_a_last_packet_that_is_longer_lifts_the_others() -> None:
    room = Room()
    got = room.offer(room.frame([1000, 1000, 1004]))
    assert [packet.padding for packet in got] == [4, 4, 0]
    assert len(set(room.sizes)) == 1


def test_packets_that_come_one_by_one_stay_as_they_are() -> None:
    room = Room()
    for packet in room.frame([1000, 1003, 998, 1001]):
        (got,) = room.offer([packet])
        assert got.padding == 0


def test_frames_are_not_made_like_one_another() -> None:
    room = Room()
    got = room.offer(room.frame([1000]) + room.frame([1003]) + room.frame([1001]))
    assert [packet.padding for packet in got] == [0, 0, 0]


def test_nothing_is_padded_where_sends_cannot_be_joined() -> None:
    room = Room(equalise=False)
    got = room.offer(room.frame([1000, 1003, 998, 990]))
    assert [packet.padding for packet in got] == [0, 0, 0, 0]


def test_each_simulcast_layer_is_measured_by_itself() -> None:
    """The packets of the layers come interleaved, and a receiver gets one of them."""
    driver = Driver()
    publisher, viewer = driver.connect("publisher"), driver.connect("viewer")
    track = driver.video_track(publisher, (b"q", b"f"))
    driver.bind(driver.video_slot(viewer, SSRC, RTX_SSRC), track, spatial=1)
    layers = [Vp8Stream(0x10, 96, rid=b"q"), Vp8Stream(0x20, 96, rid=b"f")]
    for layer in layers:
        publisher.send(*layer.key())
        driver.pump()
    viewer.rtp.clear()
    low, high = layers[0].frame(3, size=300), layers[1].frame(3, size=900)
    for packet, longer in zip(high, (0, 7, 2), strict=True):
        packet.payload += b"." * longer
    publisher.send(*[packet for pair in zip(low, high, strict=True) for packet in pair])
    driver.pump()
    assert bodies(viewer.rtp) == bodies(high)
    assert [packet.padding for packet in viewer.rtp] == [7, 0, 0]


def test_a_retransmission_says_what_the_padded_packet_said() -> None:
    room = Room()
    got = room.offer(room.frame([1000, 1003, 998, 990]))
    room.driver.advance(50_000)
    room.viewer.rtp.clear()
    room.viewer.send_rtcp(rtcp.build_receiver_report(1) + rtcp.build_nack(1, SSRC, [packet.sequence for packet in got]))
    room.driver.pump()
    again = [packet for packet in room.viewer.rtp if packet.ssrc == RTX_SSRC]
    assert [packet.payload[:2] for packet in again] == [packet.sequence.to_bytes(2, "big") for packet in got]
    assert [packet.payload[2:] for packet in again] == [packet.payload for packet in got]


def test_padding_is_what_the_twin_computes(scaled: Callable[[int], int]) -> None:
    sizes = st.one_of(st.integers(1060, 1140), st.integers(990, 1020), st.integers(60, 1170))

    @settings(max_examples=scaled(200), deadline=None)
    @given(st.lists(st.lists(sizes, min_size=1, max_size=8), min_size=1, max_size=4))
    def check(frames: list[list[int]]) -> None:
        room = Room()
        numbered = [(number, packet) for number, frame in enumerate(frames) for packet in room.frame(frame)]
        sent = [packet for _, packet in numbered]
        got = room.offer(sent)
        assert bodies(got) == bodies(sent)
        came = [(number, len(build_rtp(packet))) for number, packet in numbered]
        left = [size - packet.padding for size, packet in zip(room.sizes, got, strict=True)]
        assert [packet.padding for packet in got] == padding(came, left)
        for size, packet in zip(room.sizes, got, strict=True):
            assert packet.padding <= LIMIT
            assert packet.padding == 0 or size + TAG <= DATAGRAM
        assert all(one.sequence + 1 & 0xFFFF == next_.sequence for one, next_ in pairwise(got))

    check()


def test_the_receiver_finds_the_same_payload_behind_any_padding() -> None:
    room = Room()
    sent = room.frame([700, 716, 701, 707, 716, 500])
    got = room.offer(sent)
    assert [packet.padding for packet in got] == [16, 0, 15, 9, 0, 0]
    assert [body(packet) for packet in got] == [body(packet) for packet in sent]
