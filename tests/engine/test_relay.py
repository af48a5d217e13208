# SPDX-License-Identifier: Apache-2.0
"""A publication that is received on another router: what crosses, and what comes back (docs/relay.md)."""

from __future__ import annotations

import pytest

from sfu.engine.drops import DropReason
from sfu.engine.srtp import SrtpSession
from sfu.transport.relay import LEG_SHIFT, PROFILE, RETRANSMISSION, Content
from tests.engine.media import OpusStream, Simulcast, Vp8Stream, bodies, body
from tests.engine.router_driver import (
    OPUS,
    UNIX_OFFSET_US,
    VP8,
    Driver,
    Peer,
)
from tests.engine.test_router_reports import NTP_UNIX_SECONDS, ntp_of, unix_us_of
from tests.simulation import rtcp_packets as rtcp
from tests.simulation.links import LinkModel
from tests.simulation.relay import FAR, ORIGIN, Leg, RelayPair
from tests.simulation.rtp_packets import RtpPacket, is_rtcp, parse_rtp

CAMERA = Content("video", (VP8,), 3, 77)
SINGLE = Content("video", (VP8,), 1, 77)
VOICE = Content("audio", (OPUS,), 1, 78)
EPOCH_ID, LEVEL_ID = 1, 2
KEYFRAME_SPACING_US = 1_000_000


class Call:
    """A publisher at the origin, a receiver at the far router."""

    def __init__(self, content: Content, model: LinkModel | None = None, layers: int = 0b1111) -> None:
        self.pair = RelayPair(Driver(1), Driver(2), model)
        self.pair.forth.keep = True
        self.publisher: Peer = self.pair.origin.connect("p")
        self.receiver: Peer = self.pair.far.connect("r")
        if content.kind == "video":
            rids = (b"q", b"h", b"f")[: content.layers] if content.layers > 1 else ()
            track = self.pair.origin.video_track(self.publisher, rids)
            self.slot = self.pair.far.video_slot(self.receiver)
        else:
            track = self.pair.origin.audio_track(self.publisher)
            self.slot = self.pair.far.audio_slot(self.receiver)
        self.track = track
        self.leg: Leg = self.pair.open(track, content, layers)
        self.pair.far.bind(self.slot, self.leg.track, content.number, spatial=0)

    def send(self, *packets: RtpPacket) -> list[RtpPacket]:
        """From the publisher; returns what the receiver got at once."""
        self.publisher.send(*packets)
        self.pair.pump()
        return self.receiver.take_rtp()

    def crossed(self) -> list[RtpPacket]:
        """RTP on the leg since the last time."""
        sent, self.pair.forth.sent = self.pair.forth.sent, []
        session = SrtpSession(PROFILE, self.leg.keys.to_far, False)
        return [parse_rtp(session.unprotect(data)) for data in sent if not is_rtcp(data)]

    def keyframes_asked(self) -> int:
        return len(self.publisher.take_feedback(rtcp.PSFB, rtcp.PLI_FORMAT))

    def far_drops(self, *reasons: DropReason) -> int:
        return self.pair.far.drops(*reasons)


def epochs(packets: list[RtpPacket]) -> list[int]:
    return [dict(packet.extensions)[EPOCH_ID][0] for packet in packets]


def test_a_packet_crosses_as_it_came() -> None:
    call = Call(CAMERA)
    layers = Simulcast.of()
    sent = layers.frames(key=(0, 1, 2), packets=2)
    got = call.send(*sent)
    crossed = call.crossed()
    assert [one.payload for one in crossed] == [one.payload for one in sent]
    assert [(one.timestamp, one.marker, one.payload_type) for one in crossed] == [
        (one.timestamp, one.marker, one.payload_type) for one in sent
    ]
    base = call.leg.number << LEG_SHIFT
    assert [one.ssrc for one in crossed] == [base, base, base + 1, base + 1, base + 2, base + 2]
    assert {one.csrcs for one in crossed} == {(CAMERA.number,)}
    assert all(one.sequence < 1 << 15 for one in crossed)
    assert bodies(got) == bodies(sent[:2]), "the far receiver's own selector chose the lowest"
    assert [one.csrcs for one in got] == [(CAMERA.number,)] * 2


def test_far_receivers_choose_among_the_layers_that_cross() -> None:
    call = Call(CAMERA)
    layers = Simulcast.of()
    call.send(*layers.frames(key=(0, 1, 2)))
    call.pair.far.target(call.slot, 2)
    call.send(*layers.frames(key=(0, 1, 2)))
    shown = layers.frames()
    assert bodies(call.send(*shown)) == bodies(shown[2:])


def test_only_wanted_layers_cross() -> None:
    call = Call(CAMERA, layers=0b001)
    layers = Simulcast.of()
    sent = layers.frames(key=(0, 1, 2))
    call.send(*sent)
    assert [one.payload for one in call.crossed()] == [sent[0].payload]
    call.pair.set_layers(call.leg, 0b101)
    sent = layers.frames(key=(2,))
    call.send(*sent)
    assert [one.payload for one in call.crossed()] == [sent[0].payload, sent[2].payload]


def test_a_layer_that_begins_to_cross_is_asked_for_a_keyframe_at_once() -> None:
    call = Call(CAMERA, layers=0b001)
    layers = Simulcast.of()
    call.send(*layers.frames(key=(0, 1, 2)))
    call.publisher.take_rtcp()
    call.pair.set_layers(call.leg, 0b011)
    call.pair.pump()
    asked = call.publisher.take_feedback(rtcp.PSFB, rtcp.PLI_FORMAT)
    assert [rtcp.feedback_ssrcs(one)[1] for one in asked] == [layers.layers[1].ssrc]


def test_a_pause_is_a_new_epoch_and_no_loss() -> None:
    call = Call(SINGLE)
    stream = Vp8Stream(5, 96)
    call.send(*stream.key(3))
    first = call.crossed()
    call.pair.set_layers(call.leg, 0)
    assert call.send(*stream.frame(4)) == []
    assert call.crossed() == []
    call.pair.set_layers(call.leg, 1)
    key = stream.key(2)
    assert bodies(call.send(*key)) == bodies(key)
    second = call.crossed()
    assert (epochs(first), epochs(second)) == ([1, 1, 1], [2, 2])
    assert [one.sequence for one in second] == [first[-1].sequence + 1, first[-1].sequence + 2]
    call.pair.advance(500_000)
    assert call.pair.far.statistics().nacks_sent == 0


def test_a_restarted_publisher_is_a_new_epoch() -> None:
    call = Call(SINGLE)
    first, second = Vp8Stream(5, 96), Vp8Stream(6, 96, sequence=60_000, timestamp=5)
    call.send(*first.key())
    got = call.send(*second.key(), *second.frame())
    assert len(got) == 2
    assert epochs(call.crossed()) == [1, 2, 2]


def test_a_packet_of_an_earlier_epoch_is_dropped() -> None:
    call = Call(SINGLE, LinkModel(delay_us=5_000))
    first, second = Vp8Stream(5, 96), Vp8Stream(6, 96, sequence=60_000)
    call.publisher.send(*first.key())
    call.pair.origin.pump()
    late = call.pair.forth.link.receive_until(call.pair.origin.now_us + 5_000)
    call.publisher.send(*second.key())
    call.pair.advance(10_000)
    for arrival in late:
        call.pair.far.router.receive(arrival.data, ORIGIN, FAR[0], call.pair.far.now_us)
    assert call.far_drops(DropReason.TOO_OLD) == 1


def test_loss_on_the_leg_is_repaired_by_retransmission_on_the_leg() -> None:
    call = Call(SINGLE, LinkModel(delay_us=5_000, loss=0.1))
    stream = Vp8Stream(5, 96)
    sent = stream.key()
    call.publisher.send(*sent)
    for _ in range(200):
        frame = stream.frame(2)
        sent += frame
        call.publisher.send(*frame)
        call.pair.advance(10_000)
    call.pair.advance(500_000)
    got = {body(one) for one in call.receiver.take_rtp() if one.ssrc == 0x1000}
    missing = [index for index, one in enumerate(sent) if body(one) not in got]
    assert set(missing) <= {0, len(sent) - 1}, "nobody can know that there was one before the first, or after the last"
    statistics = call.pair.origin.statistics()
    assert statistics.resent > 10
    assert statistics.nacks_sent == 0, "nothing was missing on the first hop"
    retransmission = call.leg.number << LEG_SHIFT | RETRANSMISSION
    assert sum(one.ssrc == retransmission for one in call.crossed()) == statistics.resent
    assert call.pair.far.statistics().tracks[call.leg.track].layers[0].lost == 0


def test_what_the_first_hop_lost_crosses_under_the_number_that_was_kept() -> None:
    call = Call(SINGLE)
    stream = Vp8Stream(5, 96, rtx_ssrc=6)
    key, frame = stream.key(), stream.frame(3)
    call.send(*key, frame[0], frame[2])
    call.pair.advance(15_000)
    call.send(stream.retransmission(frame[1]))
    sequences = {one.payload: one.sequence for one in call.crossed() if not one.ssrc & RETRANSMISSION}
    assert sequences[frame[1].payload] == sequences[frame[0].payload] + 1


def test_a_receivers_request_is_answered_by_the_far_router() -> None:
    call = Call(SINGLE)
    stream = Vp8Stream(5, 96)
    got = call.send(*stream.key(), *stream.frame(2))
    call.receiver.send_rtcp(rtcp.build_receiver_report(9) + rtcp.build_nack(9, 0x1000, [got[1].sequence]))
    call.pair.pump()
    [again] = call.receiver.take_rtp()
    assert (again.ssrc, int.from_bytes(again.payload[:2], "big")) == (0x1001, got[1].sequence)
    assert call.pair.origin.statistics().nacks_received == 0


def test_keyframe_requests_pass_and_are_merged() -> None:
    call = Call(SINGLE)
    stream = Vp8Stream(5, 96)
    call.send(*stream.key(), *stream.frame())
    call.pair.advance(KEYFRAME_SPACING_US)
    call.keyframes_asked()
    for _ in range(5):
        call.receiver.send_rtcp(rtcp.build_receiver_report(9) + rtcp.build_pli(9, 0x1000))
        call.pair.advance(10_000)
    assert call.keyframes_asked() == 1
    call.send(*stream.key())
    call.pair.advance(2 * KEYFRAME_SPACING_US)
    assert call.keyframes_asked() == 0, "it has come"


def test_sound_crosses_with_its_level() -> None:
    call = Call(VOICE)
    stream = OpusStream(8)
    sent = [stream.frame() for _ in range(60)]
    got = call.send(*sent)
    assert bodies(got) == bodies(sent)
    assert dict(call.crossed()[0].extensions)[LEVEL_ID] == bytes([0x80 | 30])
    assert call.pair.far.statistics().tracks[call.leg.track].audio_level < 40


def test_times_of_capture_survive_both_clock_maps() -> None:
    """The publisher's clock is off by minutes; the far receiver is told times in the far server's clock."""
    call = Call(SINGLE, LinkModel(delay_us=3_000))
    stream = Vp8Stream(5, 96)
    off_us, captured_us = 123_000_000, {}
    for index in range(120):
        frame = stream.frame(key=index == 0)
        captured_us[body(frame[0])] = call.pair.origin.now_us
        call.publisher.send(*frame)
        if index % 30 == 0:
            ntp = ntp_of(NTP_UNIX_SECONDS * 1_000_000 + UNIX_OFFSET_US + call.pair.origin.now_us + off_us)
            report = rtcp.SenderReport(5, ntp, stream.timestamp, index, index)
            call.publisher.send_rtcp(rtcp.build_sender_report(report) + rtcp.build_sdes_cname(5, b"p"))
        call.pair.advance(33_333, 3_333)
    last = call.receiver.rtp[-1]
    reports = [rtcp.parse_sender_report(part) for part in call.receiver.take_rtcp() if part.packet_type == rtcp.SR]
    told_us = unix_us_of(reports[-1].ntp) - UNIX_OFFSET_US
    difference_us = (last.timestamp - reports[-1].rtp_timestamp) * 1_000_000 / 90_000
    assert abs(told_us + difference_us - captured_us[body(last)]) < 5_000


def test_a_check_from_a_relays_address_is_refused() -> None:
    call = Call(SINGLE)
    call.receiver.check(address=ORIGIN, local=FAR[0])
    call.pair.far.pump()
    assert call.far_drops(DropReason.UNEXPECTED) == 1
    stream = Vp8Stream(5, 96)
    assert len(call.send(*stream.key())) == 1


def test_what_is_of_no_leg_or_not_authentic_is_dropped() -> None:
    call = Call(SINGLE)
    stream = Vp8Stream(5, 96)
    call.send(*stream.key())
    datagram = bytearray(next(data for data in call.pair.forth.sent if not is_rtcp(data)))
    datagram[3] ^= 1  # another number: not a replay
    call.pair.far.router.receive(bytes(datagram), ORIGIN, FAR[0], call.pair.far.now_us)
    assert call.far_drops(DropReason.BAD_AUTH) == 1
    datagram[8] ^= 1
    call.pair.far.router.receive(bytes(datagram), ORIGIN, FAR[0], call.pair.far.now_us)
    assert call.far_drops(DropReason.NO_ROUTE) == 1
    call.pair.far.router.receive(bytes([22]) * 40, ORIGIN, FAR[0], call.pair.far.now_us)
    assert call.far_drops(DropReason.NO_ROUTE) == 2


def test_nothing_is_left_of_a_closed_leg() -> None:
    call = Call(CAMERA)
    layers = Simulcast.of()
    call.send(*layers.frames(key=(0, 1, 2)))
    counted = call.pair.far.statistics().relay_packets_received
    assert counted == call.pair.origin.statistics().relay_packets_sent > 0
    call.pair.close(call.leg)
    call.send(*layers.frames())
    for driver, peer in ((call.pair.origin, call.publisher), (call.pair.far, call.receiver)):
        assert list(driver.statistics().transports) == [peer.handle]
    assert call.pair.far.statistics().relay_packets_received == counted
    call.pair.far.router.receive(call.pair.forth.sent[-1], ORIGIN, FAR[0], call.pair.far.now_us)
    assert call.far_drops(DropReason.UNKNOWN_ADDRESS) == 1


def test_a_leg_never_expires_and_both_ends_balance() -> None:
    call = Call(SINGLE)
    stream = Vp8Stream(5, 96)
    call.send(*stream.key())
    for _ in range(8):
        call.publisher.check()
        call.receiver.check()
        call.pair.advance(5_000_000, 50_000)
    assert len(call.send(*stream.key())) == 1
    call.pair.origin.assert_accounts_balance()
    call.pair.far.assert_accounts_balance()


def test_a_paused_leg_asks_for_no_time() -> None:
    call = Call(SINGLE)
    stream = Vp8Stream(5, 96)
    call.send(*stream.key())
    call.pair.set_layers(call.leg, 0)
    call.send(*stream.frame())
    call.pair.far.commands.remove_transport(call.receiver.handle)
    call.pair.far.flush()
    call.pair.advance(10_000_000, 50_000)
    next_us = call.pair.far.router.tick(call.pair.far.now_us)
    assert next_us is None or next_us > call.pair.far.now_us + 10_000_000


@pytest.mark.parametrize("leg", [0, 1 << 28])
def test_a_leg_number_out_of_range_is_refused(leg: int) -> None:
    with pytest.raises(ValueError, match="number of a relay leg"):
        Driver().commands.add_relay(leg, ORIGIN, FAR[0], 1.0)
