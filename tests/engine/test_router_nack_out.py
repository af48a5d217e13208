# SPDX-License-Identifier: Apache-2.0
"""What a receiver asks for again: answered by RTX as it was sent, or counted."""

from dataclasses import replace

from sfu.engine.drops import DropReason
from tests.engine.media import H264Stream, Simulcast, Vp8Stream, body
from tests.engine.router_driver import H264, ORIENTATION_ID, VP8, Driver, Peer
from tests.simulation import rtcp_packets as rtcp
from tests.simulation.rtp_packets import RtpPacket

FRAME_US = 33_333
SLOT, RTX = 0x1000, 0x1001
HISTORY = 1_024


class Call:
    """Two publications and a slot, with everything that was sent to it remembered."""

    def __init__(self, rids: tuple[bytes, ...] = (b"q", b"h"), rtx_ssrc: int = RTX) -> None:
        self.driver = Driver()
        self.publisher, self.receiver = self.driver.connect("p"), self.driver.connect("r")
        self.track = self.driver.video_track(self.publisher, rids)
        self.slot = self.driver.video_slot(self.receiver, SLOT, rtx_ssrc)
        self.driver.bind(self.slot, self.track, spatial=len(rids) - 1)
        self.cameras = Simulcast.of(rids)
        self.sent: dict[int, RtpPacket] = {}

    def collect(self) -> list[RtpPacket]:
        got = self.receiver.take_rtp()
        self.sent.update({p.sequence: p for p in got if p.ssrc == SLOT})
        return got

    def frames(self, count: int, *key: int, packets: int = 3) -> None:
        for number in range(count):
            self.driver.now_us += FRAME_US
            if number % 300 == 299:
                self.publisher.check()
                self.receiver.check()
            self.publisher.send(*self.cameras.frames(key if number == 0 else (), packets))
            self.driver.pump()
            self.collect()

    def nack(self, *sequences: int, ssrc: int = SLOT) -> list[RtpPacket]:
        self.receiver.send_rtcp(rtcp.build_nack(1, ssrc, sequences))
        self.driver.pump()
        return self.collect()

    def unanswered(self) -> int:
        return self.driver.statistics().forwarders[self.slot].nack_unanswered


def assert_retransmissions(call: Call, again: list[RtpPacket], sequences: list[int]) -> None:
    """As they were sent (RFC 4588 §4): timestamp, marker, CSRC, header extensions and payload, without padding."""
    assert [int.from_bytes(p.payload[:2], "big") for p in again] == sequences
    for packet, sequence in zip(again, sequences, strict=True):
        original = call.sent[sequence]
        assert packet.ssrc == RTX
        assert packet.payload_type == {100: 101, 104: 105}[original.payload_type]
        restored = replace(
            packet,
            ssrc=SLOT,
            sequence=sequence,
            payload_type=original.payload_type,
            payload=packet.payload[2:],
        )
        assert restored == replace(original, padding=0)


def test_retransmissions_repeat_what_was_sent() -> None:
    call = Call()
    call.cameras.layers[1].orientation = 2
    call.frames(5, 0, 1)
    wanted = sorted(call.sent)
    again = call.nack(*wanted)
    assert_retransmissions(call, again, wanted)
    assert dict(again[-1].extensions)[ORIENTATION_ID] == b"\x02"
    first = again[0].sequence
    assert first < 1 << 15
    assert [p.sequence for p in again] == [first + n for n in range(len(again))]
    statistics = call.driver.statistics()
    assert statistics.resent == statistics.forwarders[call.slot].resent == len(wanted)
    assert statistics.nacks_received == len(wanted)
    assert call.unanswered() == 0
    call.driver.assert_accounts_balance()


def test_repeats_within_the_round_trip_are_ignored() -> None:
    call = Call()
    call.frames(3, 0, 1)
    sequence = min(call.sent)
    assert len(call.nack(sequence)) == 1
    assert call.nack(sequence) == []
    call.driver.now_us += 100_000
    assert len(call.nack(sequence)) == 1


def test_requests_from_before_a_switch_are_answered_as_sent() -> None:
    call = Call()
    call.frames(4, 0)
    before = sorted(call.sent)
    call.frames(4, 1)
    call.driver.target(call.slot, 0)
    call.frames(4, 0)
    again = call.nack(*sorted(call.sent))
    assert_retransmissions(call, again, sorted(call.sent))
    assert set(before) <= set(call.sent)
    assert call.unanswered() == 0


def test_requests_from_before_a_rebind_are_answered_as_sent() -> None:
    call = Call(rids=(b"q",))
    other = call.driver.connect("o")
    track = call.driver.video_track(other, payloads=(VP8, H264))
    call.frames(4, 0)
    before = sorted(call.sent)
    call.driver.bind(call.slot, track, csrc=99, generation=2)
    stream = H264Stream(700)
    for number in range(4):
        call.driver.now_us += FRAME_US
        other.send(*stream.frame(2, key=number == 0))
        call.driver.pump()
        call.collect()
    assert {p.csrcs for p in call.sent.values()} == {(77,), (99,)}
    again = call.nack(*sorted(call.sent))
    assert_retransmissions(call, again, sorted(call.sent))
    assert set(before) <= set(call.sent)
    assert call.unanswered() == 0


def test_requests_for_a_publication_that_is_gone_are_counted() -> None:
    call = Call()
    call.frames(4, 0, 1)
    call.driver.commands.remove_track(call.track)
    call.driver.flush()
    assert call.nack(*sorted(call.sent)) == []
    assert call.unanswered() == len(call.sent)


def test_requests_for_a_restarted_stream_are_counted() -> None:
    """Another generation of the same SSRC has the same sequence numbers: it must not be taken for the first one."""
    call = Call(rids=(b"q",))
    call.frames(4, 0)
    old = sorted(call.sent)
    stream = Vp8Stream(5_000, 96, b"1", b"q", sequence=1_000)
    call.publisher.send(*stream.key(3))
    call.driver.pump()
    call.collect()
    assert call.nack(*old) == []
    assert call.unanswered() == len(old)


def test_what_was_never_sent_is_counted() -> None:
    call = Call()
    assert call.nack(5) == []
    assert call.unanswered() == 1
    call.frames(3, 0, 1)
    newest, oldest = max(call.sent), min(call.sent)
    assert call.nack(newest + 1, newest + 900, oldest - 1, (newest + 40_000) & 0xFFFF) == []
    assert call.unanswered() == 5
    assert call.nack(newest, ssrc=0x9999) == []
    assert call.nack(newest, ssrc=RTX) == []
    assert call.unanswered() == 5, "nobody's"


def test_without_rtx_nothing_is_sent_twice() -> None:
    """Under GCM an index is protected once."""
    call = Call(rtx_ssrc=0)
    call.frames(3, 0, 1)
    assert call.nack(*sorted(call.sent)) == []
    assert call.unanswered() == len(call.sent)
    assert call.driver.drops(DropReason.PROTECT_FAILED) == 0


def test_without_an_rtx_payload_type_nothing_is_sent_twice() -> None:
    call = Call()
    call.driver.bind(call.slot, call.track, payloads=[(96, 100, None)], spatial=1)
    call.frames(3, 0, 1)
    assert call.nack(*sorted(call.sent)) == []
    assert call.unanswered() == len(call.sent)


def test_history_reaches_back_a_thousand_packets() -> None:
    call = Call(rids=(b"q",))
    call.frames(1, 0, packets=1)
    call.frames(HISTORY + 100, packets=1)
    sequences = sorted(call.sent)
    recent = sequences[-HISTORY // 2 :]
    for at in range(0, len(recent), 100):
        part = recent[at : at + 100]
        assert_retransmissions(call, call.nack(*part), part)
    assert call.nack(*sequences[:50]) == []
    assert call.unanswered() == 50


def test_a_hole_is_filled_for_the_first_time_on_the_media_ssrc() -> None:
    """Missing on the way in when the receiver asks: counted; there by the next time: sent in its place."""
    call = Call(rids=(b"q",))
    stream = call.cameras.layers[0]
    call.frames(1, 0)
    frame = stream.frame(3)
    call.publisher.send(frame[0], frame[2])
    call.driver.pump()
    got = call.collect()
    missing = got[0].sequence + 1
    assert call.nack(missing) == []
    assert call.unanswered() == 1
    call.publisher.send(stream.retransmission(frame[1]))
    call.driver.pump()
    [filled] = call.collect()
    assert (filled.sequence, filled.ssrc, body(filled)) == (missing, SLOT, body(frame[1]))
    call.driver.now_us += 100_000
    assert_retransmissions(call, call.nack(missing), [missing])
    call.driver.assert_accounts_balance()


def test_a_request_and_fan_out_never_send_one_packet_twice() -> None:
    call = Call(rids=(b"q",))
    stream = call.cameras.layers[0]
    call.frames(1, 0)
    frame = stream.frame(3)
    call.publisher.send(frame[0], frame[2])
    call.driver.pump()
    missing = call.collect()[0].sequence + 1
    call.publisher.send(stream.retransmission(frame[1]))
    call.receiver.send_rtcp(rtcp.build_nack(1, SLOT, [missing]))
    call.driver.pump()
    assert [p.sequence for p in call.collect()] == [missing]
    assert call.driver.drops(DropReason.ALREADY_SENT) == 1
    call.driver.assert_accounts_balance()


def test_a_long_request_is_answered_up_to_its_bound() -> None:
    call = Call(rids=(b"q",))
    call.frames(200, 0)
    wanted = sorted(call.sent)[-400:]
    again = call.nack(*wanted)
    assert_retransmissions(call, again, wanted[: len(again)])
    assert len(again) == 256


def test_requests_over_the_wrap_of_sequence_numbers() -> None:
    call = Call(rids=(b"q",))
    stream = call.cameras.layers[0]
    call.frames(1, 0)
    # Each jump stays below what counts as a restart, and keeps its holes on the receiver's side.
    for _ in range(25):
        stream.sequence = (stream.sequence + 2_500) & 0xFFFF
        call.frames(2)
    recent = [p.sequence for p in list(call.sent.values())[-6:]]
    assert_retransmissions(call, call.nack(*recent), recent)
    call.driver.assert_accounts_balance()


def test_audio_is_not_retransmitted() -> None:
    driver = Driver()
    receiver: Peer = driver.connect("r")
    slot = driver.audio_slot(receiver, 0x2000)
    receiver.send_rtcp(rtcp.build_nack(1, 0x2000, [1, 2]))
    assert driver.statistics().forwarders[slot].nack_unanswered == 2
