# SPDX-License-Identifier: Apache-2.0
"""The pacer at the end of fan-out: a burst waits its turn in order, audio and retransmissions do not, nothing gets lost
without a name."""

from __future__ import annotations

import itertools

from sfu.engine.drops import DropReason
from sfu.wire.extensions import HeaderExtension
from tests.engine.media import OpusStream, Vp8Stream, bodies
from tests.engine.router_driver import SEND_EXTENSIONS, TRANSPORT_CC_ID, Driver
from tests.simulation import rtcp_packets as rtcp
from tests.simulation.rtp_packets import RtpPacket

SPREAD_US = 1_000_000
"""Longer than anything here may wait."""
LARGE = 1_150


class Call:
    """A camera and a microphone to a receiver that takes transport-wide feedback."""

    def __init__(self) -> None:
        self.driver = Driver()
        self.publisher, self.receiver = self.driver.connect("p"), self.driver.connect("r")
        extensions = {**SEND_EXTENSIONS, int(HeaderExtension.TRANSPORT_CC): TRANSPORT_CC_ID}
        commands = self.driver.commands
        video, audio = self.driver.video_track(self.publisher), self.driver.audio_track(self.publisher)
        self.slot = commands.add_forwarder(self.receiver.handle, "video", b"5", 0x1000, 0x1001, extensions)
        sound = commands.add_forwarder(self.receiver.handle, "audio", b"6", 0x2000, 0, extensions)
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
    return [int.from_bytes(dict(packet.extensions)[TRANSPORT_CC_ID], "big") for packet in packets]


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
    for at in range(0, len(missing), 50):
        call.receiver.send_rtcp(rtcp.build_nack(1, 0x1000, missing[at : at + 50]))
        call.run(20_000)
    again = [p for p in call.of(0x1001) if p.payload]
    assert [int.from_bytes(p.payload[:2], "big") for p in again] == missing
    assert bodies(again) == bodies([frame[n - first] for n in missing])
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
