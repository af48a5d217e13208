# SPDX-License-Identifier: Apache-2.0
"""Every datagram and every packet ends in one counter: what was forwarded and what was dropped make up what came."""

from __future__ import annotations

import pytest

from sfu.engine.codecs import Codec
from sfu.engine.commands import Payload
from sfu.engine.drops import DropReason
from sfu.engine.srtp import PROFILES
from tests.engine.media import OpusStream, Simulcast, Vp8Stream, bodies
from tests.engine.router_driver import INGRESS_DROPS, OPUS, VP8, Driver
from tests.simulation import rtcp_packets as rtcp
from tests.simulation.rtp_packets import RtpPacket, build_rtp

FRAME_US = 33_333
TELEPHONE_EVENT = Payload(126, Codec.UNKNOWN, 48_000)


def assert_everything_is_counted(driver: Driver) -> None:
    statistics = driver.statistics()
    refused = sum(statistics.drops[reason.name.lower()] for reason in INGRESS_DROPS)
    accepted = statistics.stun_received + statistics.dtls_received + statistics.rtcp_received
    assert statistics.packets_received == accepted + statistics.media_received + refused, driver.all_drops()
    driver.assert_accounts_balance()


class Bustle:
    """One publisher of three layers and sound, four receivers, and what may go wrong between them."""

    def __init__(self, seed: int) -> None:
        self.driver = Driver(seed)
        self.choose = self.driver.random
        self.publisher = self.driver.connect("p")
        self.receivers = [self.driver.connect(f"r{n}") for n in range(4)]
        self.stranger = self.driver.peer("stranger")
        video = self.driver.video_track(self.publisher, (b"q", b"h", b"f"))
        audio = self.driver.audio_track(self.publisher)
        self.slots = []
        for peer in self.receivers:
            self.slots.append(self.driver.video_slot(peer))
            self.driver.bind(self.slots[-1], video, spatial=2)
            self.driver.bind(self.driver.audio_slot(peer), audio)
        self.cameras, self.sound = Simulcast.of(), OpusStream(9, 111)
        self.recent: list[RtpPacket] = []

    def send(self, step: int) -> None:
        """A frame of each layer, with losses and in any order."""
        key = tuple(n for n in range(3) if self.choose.random() < 0.05)
        packets = [*self.cameras.frames(key, 2, step % 3), self.sound.frame()]
        packets = [packet for packet in packets if self.choose.random() > 0.05]
        self.choose.shuffle(packets)
        self.publisher.send(*packets)
        self.recent = (self.recent + [packet for packet in packets if packet.payload_type == 96])[-40:]

    def junk(self) -> None:
        """Datagrams that lead nowhere."""
        kind = self.choose.randrange(5)
        if kind == 0:
            self.publisher.datagram(self.choose.randbytes(self.choose.randrange(60)))
        elif kind == 1:
            self.stranger.datagram(b"\x80\x60" + bytes(40))
        elif kind == 2:
            self.publisher.datagram(b"\x80\x60" + self.choose.randbytes(40))
        elif kind == 3:
            self.publisher.datagram(b"\x16\xfe\xfd" + bytes(40))
        else:
            self.publisher.datagram(self.publisher.check_bytes(password=b"no" * 12))
            self.receivers[0].datagram(self.publisher.check_bytes(ufrag=b"nobody"))

    def change(self) -> None:
        """Requests, retransmissions, padding, other targets."""
        kind = self.choose.randrange(5)
        layer, receiver = self.choose.choice(self.cameras.layers), self.choose.choice(self.receivers)
        if kind == 0:
            receiver.send_rtcp(rtcp.build_pli(1, 0x1000))
        elif kind == 1:
            again = [packet for packet in self.recent if packet.ssrc == layer.ssrc]
            self.publisher.send(*[layer.retransmission(packet) for packet in again[:2]])
        elif kind == 2:
            slot = self.choose.choice(self.slots)
            self.driver.target(slot, self.choose.randrange(-1, 3), self.choose.randrange(3))
        elif kind == 3:
            receiver.send_rtcp(rtcp.build_nack(1, 0x1000, [self.choose.randrange(1 << 15)]))
        else:
            self.publisher.send(layer.padding_only())


def test_a_bustle_of_everything_adds_up() -> None:
    bustle = Bustle(seed=3)
    driver = bustle.driver
    for step in range(600):
        driver.now_us += 10_000
        bustle.send(step)
        if bustle.choose.random() < 0.8:
            bustle.choose.choice((bustle.junk, bustle.change))()
        if step % 100 == 0:
            for peer in (bustle.publisher, *bustle.receivers):
                peer.check()
        if step % 3:
            driver.pump(bustle.choose.choice((1, 64, 512)))
    driver.pump()
    assert_everything_is_counted(driver)
    assert len(driver.all_drops()) >= 10


@pytest.mark.parametrize("profile", sorted(PROFILES.values()))
def test_srtp_failures_have_names(profile: int) -> None:
    driver = Driver()
    peer = driver.connect("p", profile=profile)
    driver.audio_track(peer)
    packet = peer.protect.protect(build_rtp(OpusStream(5, 111).frame()))
    peer.datagram(packet)
    peer.datagram(packet)
    assert driver.all_drops() == {"no_receiver": 1, "replayed": 1}
    peer.datagram(packet[:-1] + bytes([packet[-1] ^ 1]))
    peer.datagram(packet[:30])
    assert (
        driver.drops(DropReason.BAD_AUTH) + driver.drops(DropReason.REPLAYED) + driver.drops(DropReason.MALFORMED) == 3
    )
    assert_everything_is_counted(driver)


def test_media_before_the_keys() -> None:
    driver = Driver()
    peer = driver.peer(keys=False)
    peer.check()
    peer.send(OpusStream(5, 111).frame())
    peer.send_rtcp(rtcp.build_receiver_report(1))
    assert driver.drops(DropReason.NO_KEYS) == 2
    assert_everything_is_counted(driver)


def test_a_receiver_that_is_not_there_yet() -> None:
    driver = Driver()
    publisher, receiver = driver.connect("p"), driver.peer("r")
    track = driver.video_track(publisher)
    slot = driver.video_slot(receiver)
    driver.bind(slot, track)
    stream = Vp8Stream(5, 96)
    publisher.send(*stream.key(), *stream.frame())
    driver.pump()
    assert driver.all_drops() == {"not_connected": 2}
    receiver.check()
    publisher.send(*stream.frame())
    driver.pump()
    assert driver.drops(DropReason.AWAITING_KEYFRAME) == 1
    publisher.send(*stream.key())
    driver.pump()
    assert len(receiver.take_rtp()) == 1
    assert_everything_is_counted(driver)


def test_a_codec_the_receiver_lacks_never_starts() -> None:
    driver = Driver()
    publisher, receiver = driver.connect("p"), driver.connect("r")
    slot = driver.video_slot(receiver)
    driver.bind(slot, driver.video_track(publisher), payloads=[(102, 104, None)])
    stream = Vp8Stream(5, 96)
    publisher.send(*stream.key(), *stream.key())
    driver.pump()
    assert receiver.take_rtp() == []
    assert driver.drops(DropReason.NO_PAYLOAD_TYPE) == 2
    assert_everything_is_counted(driver)


def test_a_foreign_payload_type_within_a_stream_is_closed_up() -> None:
    """Telephone events among Opus, or a codec change: the receiver sees no gap that it would ask for."""
    driver = Driver()
    publisher, receiver = driver.connect("p"), driver.connect("r")
    sound = driver.audio_track(publisher, payloads=(OPUS, TELEPHONE_EVENT))
    picture = driver.video_track(publisher, payloads=(VP8, VP8._replace(payload_type=98, rtx_payload_type=99)))
    driver.bind(driver.audio_slot(receiver), sound)
    driver.bind(driver.video_slot(receiver), picture)
    audio, video = OpusStream(5, 111), Vp8Stream(6, 96)
    publisher.send(*video.key(), audio.frame())
    for number in range(6):
        driver.now_us += 20_000
        audio.payload_type = 126 if number in (2, 3) else 111
        video.payload_type = 98 if number in (2, 3) else 96
        publisher.send(*video.frame(), audio.frame())
        driver.pump()
    got = receiver.take_rtp()
    for ssrc in (0x1000, 0x2000):
        numbers = [p.sequence for p in got if p.ssrc == ssrc]
        assert numbers == list(range(numbers[0], numbers[0] + 5))
    assert driver.drops(DropReason.NO_PAYLOAD_TYPE) == 4
    assert_everything_is_counted(driver)


def test_padding_only_packets_are_closed_up() -> None:
    driver = Driver()
    publisher, receiver = driver.connect("p"), driver.connect("r")
    driver.bind(driver.video_slot(receiver), driver.video_track(publisher))
    stream = Vp8Stream(5, 96)
    sent = []
    publisher.send(stream.padding_only())
    for number in range(10):
        frame = stream.key(2) if number == 0 else stream.frame(2)
        sent += frame
        publisher.send(*frame, *[stream.padding_only() for _ in range(number % 4)])
        driver.pump()
    got = receiver.take_rtp()
    assert bodies(got) == bodies(sent)
    assert [p.sequence - got[0].sequence for p in got] == list(range(20))
    assert driver.drops(DropReason.PADDING) == 1 + sum(number % 4 for number in range(10))
    assert_everything_is_counted(driver)


def test_a_padding_packet_that_comes_late_fills_its_number() -> None:
    driver = Driver()
    publisher, receiver = driver.connect("p"), driver.connect("r")
    driver.bind(driver.video_slot(receiver), driver.video_track(publisher))
    stream = Vp8Stream(5, 96)
    first, padding, second = stream.key(), stream.padding_only(), stream.frame()
    publisher.send(*first, *second, padding)
    driver.pump()
    got = receiver.take_rtp()
    assert [p.sequence - got[0].sequence for p in got] == [0, 2, 1]
    assert (got[2].payload, got[2].timestamp) == (b"", got[0].timestamp)
    assert_everything_is_counted(driver)


def test_padding_behind_a_payload_is_taken_off() -> None:
    driver = Driver()
    publisher, receiver = driver.connect("p"), driver.connect("r")
    driver.bind(driver.video_slot(receiver), driver.video_track(publisher))
    stream = Vp8Stream(5, 96)
    [packet] = stream.key()
    packet.padding = 9
    publisher.send(packet)
    driver.pump()
    [got] = receiver.take_rtp()
    assert (got.padding, bodies([got])) == (0, bodies([packet]))


def test_what_does_not_fit_a_datagram_is_counted() -> None:
    driver = Driver()
    publisher, receiver = driver.connect("p"), driver.connect("r")
    driver.bind(driver.video_slot(receiver), driver.video_track(publisher))
    stream = Vp8Stream(5, 96, identify=True)
    key = stream.frame(key=True, size=1_432)
    publisher.send(*key, *stream.frame(size=1_433))
    driver.pump()
    sizes = [len(delivery.data) + 16 for delivery in receiver.rtp_deliveries]
    assert sizes == [1_472], "with SRTP's tag what Ethernet carries over IPv4 and UDP"
    assert driver.all_drops() == {"too_large": 1}
    assert_everything_is_counted(driver)


def test_counters_of_the_objects() -> None:
    driver = Driver()
    publisher, receiver = driver.connect("p"), driver.connect("r")
    track = driver.video_track(publisher, (b"q", b"h"))
    slot = driver.video_slot(receiver)
    driver.bind(slot, track, spatial=1)
    cameras = Simulcast.of((b"q", b"h"))
    for number in range(60):
        driver.now_us += FRAME_US
        publisher.send(*cameras.frames((0, 1) if number in (0, 30) else (), 2))
        driver.pump()
    statistics = driver.statistics()
    row = statistics.tracks[track]
    assert row.receivers == 1
    assert [(x.active, x.packets, x.keyframes, x.lost) for x in row.layers] == [(True, 120, 2, 0)] * 2
    assert [(x.width, x.height) for x in row.layers] == [(320, 180), (640, 360)]
    assert all(abs(x.frames_per_second - 30) < 2 for x in row.layers)
    got = receiver.take_rtp()
    forwarder = statistics.forwarders[slot]
    assert forwarder.packets == len(got) == 122
    assert forwarder.bytes == sum(len(p.payload) for p in got)
    assert (forwarder.spatial, forwarder.switches) == (1, 2)
    assert abs(forwarder.frames_per_second - 30) < 2
    inbound = sum(len(build_rtp(p)) for p in cameras.frames((), 2)) // 2 * 8 * 30
    assert row.layers[1].bitrate_bps == pytest.approx(inbound, rel=0.2)
    assert statistics.transports[publisher.handle].packets_received == 240 + 1
    assert statistics.transports[receiver.handle].packets_sent == 122 + statistics_rtcp(receiver) + 1
    driver.advance(1_000_000)
    assert driver.statistics().forwarders[slot].bitrate_bps == 0
    assert driver.statistics().tracks[track].layers[0].bitrate_bps == 0


def statistics_rtcp(peer: object) -> int:
    return len(getattr(peer, "rtcp_deliveries", []))


def test_loudness_follows_the_audio_level() -> None:
    driver = Driver()
    publisher = driver.connect("p")
    track = driver.audio_track(publisher)
    stream = OpusStream(5, 111, level=20)

    def run(packets: int) -> int:
        for _ in range(packets):
            driver.advance(20_000, 20_000)
            publisher.send(stream.frame())
        return driver.statistics().tracks[track].audio_level

    assert driver.statistics().tracks[track].audio_level == 127
    assert run(1) > 100
    assert abs(run(60) - 20) <= 1
    stream.level = 100
    assert abs(run(60) - 100) <= 1
    stream.level = 20
    run(60)
    driver.advance(3_000_000)
    assert driver.statistics().tracks[track].audio_level >= 126, "no packets, no sound"


def test_reordering_is_not_counted_as_frames() -> None:
    driver = Driver(seed=5)
    publisher = driver.connect("p")
    track = driver.video_track(publisher)
    stream = Vp8Stream(5, 96)
    window = []
    for number in range(120):
        driver.now_us += FRAME_US
        window += stream.key(3) if number == 0 else stream.frame(3)
        driver.random.shuffle(window)
        publisher.send(*window[:-3])
        window = window[-3:]
        driver.pump()
    assert driver.statistics().tracks[track].layers[0].frames_per_second <= 31.5


def test_statistics_are_found_by_handle_also_after_others_have_gone() -> None:
    driver = Driver()
    peers = [driver.connect(f"p{number}") for number in range(20)]
    for gone in (0, 7, 19):
        driver.commands.remove_transport(peers[gone].handle)
    driver.flush()
    newcomer = driver.connect("newcomer")
    transports = driver.statistics().transports
    there = [peer.handle for number, peer in enumerate(peers) if number not in (0, 7, 19)] + [newcomer.handle]
    assert set(transports) == set(there)
    assert len(transports) == len(there)
    assert all(transports[handle].packets_received == 1 for handle in there), "each one's check"
    assert all(peers[gone].handle not in transports for gone in (0, 7, 19))
    assert transports.get(peers[7].handle) is None
    assert driver.statistics().tracks == {}
