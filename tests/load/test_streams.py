# SPDX-License-Identifier: Apache-2.0
"""One stream from a bot's sender to another bot's slot, with losses between."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.load.description import MID, RID, TRANSPORT_CC, AnsweredSection
from sfu.load.receiving import MAX_MISSING, MAX_NACKS, NACK_INTERVAL_US, LightSlot
from sfu.load.sending import HISTORY_PACKETS, RtpStream, TransportSequence, ntp_from_unix_us
from sfu.wire.rtp import RtpPacket

VP8, RTX = 96, 97


def stream(seed: int = 0, rid: str = "h") -> RtpStream:
    return RtpStream(
        mid="video",
        rid=rid,
        payload_type=VP8,
        rtx_payload_type=RTX,
        clock_rate_hz=90_000,
        transport_sequence=TransportSequence(),
        rng=random.Random(seed),
    )


def send(sender: RtpStream, payload: bytes = b"payload", media_us: int = 0) -> RtpPacket:
    data = sender.packet(payload, marker=True, timestamp=sender.timestamp(media_us), extensions={})
    return RtpPacket.parse(data)


def slot(sender: RtpStream) -> LightSlot:
    section = AnsweredSection(
        "v0", "video", "sendonly", {VP8: "VP8", RTX: "rtx"}, {VP8: RTX}, ssrc=sender.ssrc, rtx_ssrc=sender.rtx_ssrc
    )
    return LightSlot(section, 0, 90_000)


def test_identity_goes_with_every_packet_until_a_report() -> None:
    sender = stream()
    first = send(sender)
    assert first.extensions[MID] == b"video"
    assert first.extensions[RID] == b"h"
    assert first.sequence_number < 1 << 15
    sender.reported = True
    second = send(sender)
    assert set(second.extensions) == {TRANSPORT_CC}
    assert second.extensions[TRANSPORT_CC] != first.extensions[TRANSPORT_CC]


def test_retransmission_restores_the_packet() -> None:
    sender = stream()
    receiver = slot(sender)
    sent = send(sender, b"again please")
    data = sender.retransmission(sent.sequence_number)
    assert data is not None
    repeated = RtpPacket.parse(data)
    assert (repeated.ssrc, repeated.payload_type) == (sender.rtx_ssrc, RTX)
    restored = receiver.restore(repeated)
    assert restored is not None
    assert (restored.payload, restored.sequence_number, restored.timestamp, restored.ssrc, restored.payload_type) == (
        b"again please",
        sent.sequence_number,
        sent.timestamp,
        sent.ssrc,
        VP8,
    )
    assert receiver.restore(RtpPacket(payload_type=RTX, ssrc=sender.rtx_ssrc)) is None


def test_history_is_bounded() -> None:
    sender = stream()
    old = send(sender)
    for _ in range(HISTORY_PACKETS):
        send(sender)
    assert sender.retransmission(old.sequence_number) is None
    assert sender.statistics.nacks == 1
    assert sender.statistics.retransmitted == 0


def test_losses_are_asked_for_until_they_come() -> None:
    sender = stream()
    receiver = slot(sender)
    packets = [send(sender) for _ in range(5)]
    receiver.take(packets[0], 0)
    receiver.take(packets[4], 1000)
    wanted = tuple(packet.sequence_number for packet in packets[1:4])
    assert receiver.due_nacks(2000) == ()
    assert receiver.due_nacks(20_000) == wanted
    assert receiver.due_nacks(21_000) == ()
    receiver.take(packets[2], 22_000)
    receiver.take_recovered(packets[1])
    assert receiver.due_nacks(20_000 + NACK_INTERVAL_US) == wanted[2:]
    receiver.take_recovered(packets[3])
    assert receiver.statistics.recovered == 2
    assert receiver.due_nacks(10_000_000) == ()
    assert not receiver.take_repair_wanted()


def test_a_loss_that_is_given_up_wants_a_keyframe() -> None:
    sender = stream()
    receiver = slot(sender)
    first, _, third = (send(sender) for _ in range(3))
    receiver.take(first, 0)
    receiver.take(third, 0)
    now_us = 20_000
    asked = 0
    for _ in range(MAX_NACKS + 1):
        asked += len(receiver.due_nacks(now_us))
        now_us += NACK_INTERVAL_US
    assert asked == MAX_NACKS
    assert receiver.take_repair_wanted()
    assert not receiver.take_repair_wanted()
    assert receiver.statistics.given_up == 1


@settings(deadline=None)
@given(st.lists(st.integers(0, 0xFFFF), max_size=60))
def test_any_sequence_numbers_leave_the_list_bounded(numbers: list[int]) -> None:
    receiver = slot(stream())
    for number in numbers:
        receiver.take(RtpPacket(payload_type=VP8, ssrc=1, sequence_number=number), 0)
        assert len(receiver._missing) <= MAX_MISSING
    assert receiver.report_block(0) is not None or not numbers


def test_report_block() -> None:
    sender = stream()
    receiver = slot(sender)
    assert receiver.report_block(0) is None
    packets = [send(sender, media_us=20_000 * number) for number in range(8)]
    for number, packet in enumerate(packets):
        if number != 3:
            receiver.take(packet, 20_000 * number)
    receiver.take_report(sender.report(0, ntp_from_unix_us(1_000_000)), 200_000)
    block = receiver.report_block(700_000)
    assert block is not None
    assert block.ssrc == sender.ssrc
    assert block.cumulative_lost == 1
    assert block.fraction_lost == 256 // 8
    assert block.highest_sequence == packets[-1].sequence_number
    assert block.delay_since_last_sr == 65536 // 2
    assert block.last_sr == (2_208_988_801 & 0xFFFF) << 16
    assert block.jitter <= 1
    following = receiver.report_block(800_000)
    assert following is not None
    assert following.fraction_lost == 0


@pytest.mark.parametrize(("unix_us", "ntp"), [(0, 2_208_988_800 << 32), (500_000, (2_208_988_800 << 32) + (1 << 31))])
def test_ntp(unix_us: int, ntp: int) -> None:
    assert ntp_from_unix_us(unix_us) == ntp
