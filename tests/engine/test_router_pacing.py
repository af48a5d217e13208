# SPDX-License-Identifier: Apache-2.0
"""The pacer at the end of fan-out: a burst waits its turn in order, audio and retransmissions do not, nothing gets lost
without a name."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from sfu.engine.drops import DropReason
from sfu.engine.transport_cc import ArrivalTracker
from sfu.wire.extensions import HeaderExtension
from sfu.wire.rtcp_messages import Remb
from sfu.wire.rtcp_packets import serialize
from tests.engine.media import OpusStream, Vp8Stream, bodies
from tests.engine.router_driver import SEND_EXTENSIONS, TRANSPORT_CC_ID, Driver
from tests.simulation import rtcp_packets as rtcp
from tests.simulation.links import Link, LinkModel
from tests.simulation.receiving import ReceivedStream
from tests.simulation.rtp_packets import RtpPacket, parse_rtp

SPREAD_US = 1_000_000
"""Longer than anything here may wait."""
LARGE = 1_150
ATTEMPTS = 5
"""Retransmissions have their share of the link: what is asked for beyond it has to be asked for again."""
LONGEST_WAIT_US = 600_000
TICK_US = 5_000
FRAME_US = 33_000
RESEND_SHARE = 0.55
"""Half of the pacing rate, which is 1.1 times the estimate."""
AUDIO_SHARE = 0.1


class Call:
    """A camera and a microphone to a receiver that takes transport-wide feedback; Firefox does of video only."""

    def __init__(self, *, numbered_audio: bool = True) -> None:
        self.driver = Driver()
        self.publisher, self.receiver = self.driver.connect("p"), self.driver.connect("r")
        extensions = {**SEND_EXTENSIONS, int(HeaderExtension.TRANSPORT_CC): TRANSPORT_CC_ID}
        commands = self.driver.commands
        video, audio = self.driver.video_track(self.publisher), self.driver.audio_track(self.publisher)
        self.slot = commands.add_forwarder(self.receiver.handle, "video", b"5", 0x1000, 0x1001, extensions)
        of_audio = extensions if numbered_audio else SEND_EXTENSIONS
        sound = commands.add_forwarder(self.receiver.handle, "audio", b"6", 0x2000, 0, of_audio)
        self.driver.bind(self.slot, video)
        self.driver.bind(sound, audio)
        self.video, self.audio = Vp8Stream(10, 96), OpusStream(11, 111)
        self.got: list[RtpPacket] = []

    def run(self, duration_us: int) -> None:
        until_us = self.driver.now_us + duration_us
        while self.driver.now_us < until_us:
            self.driver.now_us += 1_000
            self.driver.pump()
        self.got += self.receiver.take_rtp()

    def of(self, ssrc: int) -> list[RtpPacket]:
        return [packet for packet in self.got if packet.ssrc == ssrc]


def transport_sequences(packets: list[RtpPacket]) -> list[int]:
    found = (dict(packet.extensions).get(TRANSPORT_CC_ID) for packet in packets)
    return [int.from_bytes(number, "big") for number in found if number is not None]


def test_a_burst_is_spread_in_order_and_all_of_it_leaves() -> None:
    call = Call()
    frame = call.video.frame(100, key=True, size=LARGE)
    call.publisher.send(*frame)
    call.driver.pump()
    at_once = len(call.receiver.rtp)
    assert 0 < at_once < 50
    call.run(SPREAD_US)
    assert bodies(call.of(0x1000)) == bodies(frame)
    assert all(b.sequence - a.sequence == 1 for a, b in itertools.pairwise(call.of(0x1000)))
    numbers = transport_sequences(call.got)
    assert len(set(numbers)) == len(numbers), "each packet has its own transport-wide number"
    call.driver.assert_accounts_balance()


def test_a_frame_of_forty_milliseconds_leaves_at_once_the_rest_by_the_rate() -> None:
    """As libwebrtc's send_burst_interval: at 3.3 Mbit/s, the pacing rate until there is feedback, some 16 kB."""
    call = Call()
    call.publisher.send(*call.video.frame(12, key=True, size=LARGE))
    call.driver.pump()
    assert len(call.receiver.rtp) == 12
    call.publisher.send(*call.video.frame(12, size=LARGE))
    call.driver.pump()
    assert len(call.receiver.rtp) < 16
    call.run(15_000)
    assert len(call.got) < 20
    call.run(60_000)
    assert len(call.of(0x1000)) == 24


def test_a_keyframe_of_a_small_picture_leaves_at_once() -> None:
    """Ten packets, as TCP begins with (RFC 6928), where 40 ms of the pacing rate are not two of them."""
    call = Call()
    call.receiver.send_rtcp(serialize(Remb(1, 300_000)))
    call.publisher.send(*call.video.frame(10, key=True, size=LARGE))
    call.driver.pump()
    assert len(call.receiver.rtp) == 10
    call.publisher.send(*call.video.frame(10, size=LARGE))
    call.driver.pump()
    assert len(call.receiver.rtp) <= 12
    call.run(SPREAD_US)
    assert len(call.of(0x1000)) == 20


def test_audio_does_not_wait() -> None:
    call = Call()
    call.publisher.send(*call.video.frame(100, key=True, size=LARGE))
    call.driver.pump()
    call.publisher.send(call.audio.frame())
    call.driver.pump()
    assert call.receiver.rtp[-1].ssrc == 0x2000


def test_what_the_pacer_cannot_hold_is_counted_and_comes_by_retransmission() -> None:
    """Its number was used: the packet may only be sent again under another one."""
    call = Call()
    frame = call.video.frame(400, key=True, size=LARGE)
    call.publisher.send(*frame)
    call.run(SPREAD_US)
    dropped = call.driver.drops(DropReason.PACER_FULL)
    assert dropped > 100
    sent = call.of(0x1000)
    assert len(sent) == 400 - dropped
    call.driver.assert_accounts_balance()
    first = sent[0].sequence
    missing = sorted(set(range(first, first + 400)) - {packet.sequence for packet in sent})
    assert len(missing) == dropped
    call.got.clear()
    again: dict[int, RtpPacket] = {}
    for _ in range(ATTEMPTS):
        asked = [number for number in missing if number not in again]
        for at in range(0, len(asked), 50):
            call.receiver.send_rtcp(rtcp.build_nack(1, 0x1000, asked[at : at + 50]))
        call.run(200_000)
        again |= {int.from_bytes(p.payload[:2], "big"): p for p in call.of(0x1001) if p.payload}
    assert sorted(again) == missing
    assert bodies([again[number] for number in missing]) == bodies([frame[number - first] for number in missing])
    assert call.driver.drops(DropReason.PROTECT_FAILED) == 0


def test_what_waits_goes_with_its_receiver() -> None:
    call = Call()
    call.publisher.send(*call.video.frame(200, key=True, size=LARGE))
    call.driver.pump()
    call.driver.commands.remove_transport(call.receiver.handle)
    call.driver.flush()
    before = len(call.receiver.rtp)
    call.run(400_000)
    assert len(call.got) == before
    call.driver.assert_accounts_balance()


def test_nothing_that_waits_is_sent_without_consent() -> None:
    call = Call()
    call.publisher.send(*call.video.frame(200, key=True, size=LARGE))
    call.driver.pump()
    call.receiver.take_rtp()
    call.driver.now_us += 31_000_000
    call.run(50_000)
    assert call.got == []


class OverLink:
    """The call over a link, with feedback; nobody lowers the layer of the camera's 2 Mbit/s."""

    CAMERA_PACKETS = 7

    def __init__(self, capacity_bps: int, loss: float = 0.0, *, numbered_audio: bool = True) -> None:
        self.call = Call(numbered_audio=numbered_audio)
        model = LinkModel(capacity_bps=capacity_bps, queue_us=250_000, delay_us=25_000, loss=loss)
        self.link = Link(model, seed=1)
        self.arrivals, self.stream = ArrivalTracker(), ReceivedStream(0x1000, nack=True)
        self.offered_us: dict[bytes, int] = {}
        self.waits_us: list[int] = []
        self.bytes_of: Counter[int] = Counter()
        self.sent_again: Counter[bytes] = Counter()
        """By original sequence number."""
        self.call.receiver.on_rtp = self._on_sent

    def run(self, duration_us: int) -> None:
        driver, call = self.call.driver, self.call
        begin_us = driver.now_us
        for elapsed in range(0, duration_us, 1_000):
            driver.now_us = begin_us + elapsed
            if elapsed % FRAME_US == 0:
                frame = call.video.frame(self.CAMERA_PACKETS, key=elapsed == 0, size=LARGE)
                self.offered_us |= dict.fromkeys(bodies(frame), driver.now_us)
                call.publisher.send(*frame)
            if elapsed % 20_000 == 0:
                call.publisher.send(call.audio.frame())
            driver.pump()
            self._receive(driver.now_us)
            if elapsed % 50_000 == 0:
                feedback = b"".join(self.arrivals.feedback(1, 0)) + self.stream.feedback(driver.now_us)
                if feedback:
                    call.receiver.send_rtcp(feedback)
        call.receiver.take_rtp()

    def _on_sent(self, data: bytes, now_us: int) -> None:
        packet = parse_rtp(data)
        self.bytes_of[packet.ssrc] += len(data)
        if packet.ssrc == 0x1000 and packet.payload:
            self.waits_us.append(now_us - self.offered_us[bodies([packet])[0]])
        elif packet.ssrc == 0x1001 and packet.payload:
            self.sent_again[packet.payload[:2]] += 1
        self.link.send(data, now_us)

    def _receive(self, now_us: int) -> None:
        for at_us, data in self.link.receive_until(now_us):
            packet = parse_rtp(data)
            for number in transport_sequences([packet]):
                self.arrivals.add(number, at_us)
            if packet.ssrc == 0x1000:
                self.stream.on_packet(packet.sequence, at_us)
            elif packet.ssrc == 0x1001 and packet.payload:
                self.stream.on_packet(int.from_bytes(packet.payload[:2], "big"), at_us)


@pytest.mark.parametrize("capacity_bps", [600_000, 1_500_000])
def test_on_a_link_that_is_too_narrow_nothing_leaves_late(capacity_bps: int) -> None:
    overload = OverLink(capacity_bps)
    overload.run(10_000_000)
    driver = overload.call.driver
    assert max(overload.waits_us) <= LONGEST_WAIT_US + TICK_US
    assert driver.drops(DropReason.PACER_EXPIRED) > 100
    driver.assert_accounts_balance()


def test_a_standing_queue_does_not_keep_the_link_full() -> None:
    """Sent is what was estimated: the link's queue stays short, and audio passes."""
    overload = OverLink(600_000)
    overload.run(5_000_000)
    lost = sum(overload.link.drops.values())
    overload.run(10_000_000)
    assert sum(overload.link.drops.values()) - lost < 10


def test_retransmissions_leave_room_for_what_is_new() -> None:
    capacity_bps, seconds = 600_000, 10
    overload = OverLink(capacity_bps)
    overload.run(5_000_000)
    overload.bytes_of.clear()
    overload.run(seconds * 1_000_000)
    again, new = (overload.bytes_of[ssrc] * 8 / seconds / capacity_bps for ssrc in (0x1001, 0x1000))
    assert 0 < again < RESEND_SHARE
    assert new > 1 - RESEND_SHARE - AUDIO_SHARE
    assert overload.call.driver.statistics().forwarders[overload.call.slot].nack_unanswered > 0


@pytest.mark.parametrize(("loss", "copies"), [(0.01, 1), (0.15, 2)])
def test_a_link_that_loses_much_by_itself_gets_each_retransmission_twice(loss: float, copies: int) -> None:
    over = OverLink(20_000_000, loss)
    over.run(3_000_000)
    over.sent_again.clear()
    over.run(3_000_000)
    times = Counter(over.sent_again.values())
    assert times.most_common(1)[0][0] == copies
    assert times.total() > 3


def test_what_a_queue_drops_is_sent_again_once() -> None:
    over = OverLink(600_000)
    over.run(10_000_000)
    assert Counter(over.sent_again.values()).most_common(1)[0][0] == 1


def test_a_standing_queue_is_what_a_probe_sends() -> None:
    """More is offered than was estimated all the time: probes that waited for an empty queue would never go."""
    over = OverLink(600_000)
    over.run(5_000_000)
    receiver = over.call.receiver.handle
    assert over.call.driver.statistics().transports[receiver].estimate_bps < 700_000
    over.link.change(LinkModel(capacity_bps=20_000_000, delay_us=25_000), over.call.driver.now_us)
    over.run(7_000_000)
    assert over.call.driver.statistics().transports[receiver].estimate_bps > 2_000_000


def test_sound_without_numbers_takes_none() -> None:
    """As to Firefox: feedback never tells of it, and a number that was given to it would be reported lost."""
    call = Call(numbered_audio=False)
    for number in range(10):
        call.publisher.send(*call.video.frame(2, key=number == 0), call.audio.frame(), call.audio.frame())
        call.run(FRAME_US)
    numbers = sorted(transport_sequences(call.got))
    assert len(call.of(0x2000)) == 20
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
