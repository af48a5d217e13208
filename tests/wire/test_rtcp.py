# SPDX-License-Identifier: Apache-2.0
"""RTCP without transport-wide feedback: against the plain twin and aiortc, in round trips, and by known packets."""

from collections.abc import Callable

import pytest
from aiortc import rtp as aiortc
from hypothesis import strategies as st

from sfu.wire.rtcp_messages import (
    FullIntraRequest,
    Goodbye,
    Nack,
    Other,
    Packet,
    PictureLossIndication,
    ReceiverReport,
    Remb,
    ReportBlock,
    SenderReport,
    SourceDescription,
    TransportFeedback,
)
from sfu.wire.rtcp_packets import parse_compound, parse_feedback, serialize, serialize_compound
from tests.reference import wire_rtcp as twin
from tests.wire.mutations import hostile, outcome

ForAll = Callable[..., None]

u32 = st.integers(0, 0xFFFFFFFF)
blocks = st.lists(
    st.builds(
        ReportBlock,
        ssrc=u32,
        fraction_lost=st.integers(0, 255),
        cumulative_lost=st.integers(-(2**23), 2**23 - 1),
        highest_sequence=u32,
        jitter=u32,
        last_sr=u32,
        delay_since_last_sr=u32,
    ),
    max_size=31,
).map(tuple)
sender_reports = st.builds(
    SenderReport,
    ssrc=u32,
    ntp=st.integers(0, 2**64 - 1),
    rtp_timestamp=u32,
    packet_count=u32,
    octet_count=u32,
    reports=blocks,
)
receiver_reports = st.builds(ReceiverReport, ssrc=u32, reports=blocks)
descriptions = st.builds(SourceDescription, ssrc=u32, cname=st.binary(max_size=255))
goodbyes = st.builds(Goodbye, ssrcs=st.lists(u32, max_size=31).map(tuple))
plis = st.builds(PictureLossIndication, sender=u32, media=u32)
firs = st.builds(FullIntraRequest, sender=u32, entries=st.tuples(st.tuples(u32, st.integers(0, 255))))


@st.composite
def ascending(draw: st.DrawFn) -> tuple[int, ...]:
    at = draw(st.integers(0, 0xFFFF))
    steps = draw(st.lists(st.integers(1, 40), max_size=40))
    sequences = [at]
    for step in steps:
        at = (at + step) % 65536
        sequences.append(at)
    return tuple(sequences)


nacks = st.builds(Nack, sender=u32, media=u32, sequences=ascending())
# 18 bits of mantissa: what a REMB can say exactly.
rembs = st.builds(
    lambda sender, mantissa, exponent, ssrcs: Remb(sender, mantissa << exponent, tuple(ssrcs)),
    u32,
    st.integers(0, 2**18 - 1),
    st.integers(0, 46),
    st.lists(u32, max_size=255),
)
others = st.builds(
    lambda kind, count, body: Other(kind, count, twin.write_packet(kind, count, body)),
    st.sampled_from((192, 204, 207, 208, 223)),
    st.integers(0, 31),
    st.integers(0, 10).flatmap(lambda words: st.binary(min_size=4 * words, max_size=4 * words)),
)
packets = st.one_of(sender_reports, receiver_reports, descriptions, goodbyes, plis, firs, nacks, rembs, others)


@st.composite
def padded(draw: st.DrawFn) -> bytes:
    """A packet of ours with padding, which may be any number of bytes."""
    data = bytearray(serialize(draw(packets)))
    size = 4 * draw(st.integers(1, 5))
    data += bytes(size - 1) + bytes([draw(st.integers(1, size))])
    data[0] |= 0x20
    data[2:4] = (len(data) // 4 - 1).to_bytes(2, "big")
    return bytes(data)


def test_parser_agrees_with_twin(for_all: ForAll) -> None:
    def check(data: bytes) -> None:
        assert outcome(parse_compound, data) == outcome(twin.parse_compound, data)

    compounds = st.lists(packets, max_size=4).map(serialize_compound)
    for_all(check, st.one_of(hostile(compounds, prefix=b"\x81\xce\x00\x02"), padded(), hostile(padded())))


def test_what_is_written_comes_back(for_all: ForAll) -> None:
    def check(written: list[Packet]) -> None:
        assert parse_compound(serialize_compound(written)) == written

    for_all(check, st.lists(packets, max_size=5))


def test_writers_agree_with_twin(for_all: ForAll) -> None:
    def check(packet: Packet) -> None:
        match packet:
            case SenderReport() | ReceiverReport():
                assert serialize(packet) == twin.write_report(packet)
            case SourceDescription():
                assert serialize(packet) == twin.write_sdes(packet)
            case Nack():
                assert serialize(packet) == twin.write_nack(packet)
            case Remb():
                assert serialize(packet) == twin.write_remb(packet)

    for_all(check, st.one_of(sender_reports, receiver_reports, descriptions, nacks, rembs))


def receiver_info(block: ReportBlock) -> aiortc.RtcpReceiverInfo:
    return aiortc.RtcpReceiverInfo(
        ssrc=block.ssrc,
        fraction_lost=block.fraction_lost,
        packets_lost=block.cumulative_lost,
        highest_sequence=block.highest_sequence,
        jitter=block.jitter,
        lsr=block.last_sr,
        dlsr=block.delay_since_last_sr,
    )


def as_aiortc(packet: Packet) -> aiortc.AnyRtcpPacket:
    match packet:
        case SenderReport():
            info = aiortc.RtcpSenderInfo(packet.ntp, packet.rtp_timestamp, packet.packet_count, packet.octet_count)
            return aiortc.RtcpSrPacket(packet.ssrc, info, [receiver_info(block) for block in packet.reports])
        case ReceiverReport():
            return aiortc.RtcpRrPacket(packet.ssrc, [receiver_info(block) for block in packet.reports])
        case SourceDescription():
            return aiortc.RtcpSdesPacket([aiortc.RtcpSourceInfo(packet.ssrc, [(1, packet.cname)])])
        case Goodbye():
            return aiortc.RtcpByePacket(list(packet.ssrcs))
        case PictureLossIndication():
            return aiortc.RtcpPsfbPacket(aiortc.RTCP_PSFB_PLI, packet.sender, packet.media)
        case Remb():
            fci = aiortc.pack_remb_fci(packet.bitrate_bps, list(packet.ssrcs))
            return aiortc.RtcpPsfbPacket(aiortc.RTCP_PSFB_APP, packet.sender, 0, fci)
        case Nack():
            return aiortc.RtcpRtpfbPacket(aiortc.RTCP_RTPFB_NACK, packet.sender, packet.media, list(packet.sequences))
        case _:
            raise TypeError(packet)


def test_aiortc_reads_what_we_write_and_we_what_aiortc_writes(for_all: ForAll) -> None:
    def check(packet: Packet) -> None:
        if isinstance(packet, Nack) and list(packet.sequences) != sorted(packet.sequences):
            return  # aiortc does not wrap round at 65536
        theirs = as_aiortc(packet)
        assert aiortc.RtcpPacket.parse(serialize(packet)) == [theirs]
        assert parse_compound(bytes(theirs)) == [packet]

    for_all(check, st.one_of(sender_reports, receiver_reports, descriptions, goodbyes, plis, nacks, rembs))


def test_cumulative_loss_is_clamped_to_24_bits() -> None:
    report = ReceiverReport(1, (ReportBlock(2, cumulative_lost=2**30), ReportBlock(3, cumulative_lost=-(2**30))))
    [parsed] = parse_compound(serialize(report))
    assert isinstance(parsed, ReceiverReport)
    assert [block.cumulative_lost for block in parsed.reports] == [2**23 - 1, -(2**23)]


def test_remb_loses_at_most_a_rounding(for_all: ForAll) -> None:
    def check(bitrate_bps: int) -> None:
        [parsed] = parse_compound(serialize(Remb(1, bitrate_bps)))
        assert isinstance(parsed, Remb)
        assert 0 <= bitrate_bps - parsed.bitrate_bps <= bitrate_bps >> 17

    for_all(check, st.integers(0, 2**64 - 1))


def test_remb_beyond_64_bits_is_no_remb() -> None:
    data = bytearray(serialize(Remb(1, 2**63)))
    data[17] = 0xFF  # exponent 63
    assert isinstance(parse_compound(bytes(data))[0], Other)


def test_known_nack() -> None:
    # PID 234 and the next, the third and the sixteenth after it (RFC 4585 §6.2.1).
    data = bytes.fromhex("81cd0003 9dd68fe9 57fdd6c5 00ea 8005")
    assert parse_compound(data) == [Nack(0x9DD68FE9, 0x57FDD6C5, (234, 235, 237, 250))]
    assert serialize(Nack(0x9DD68FE9, 0x57FDD6C5, (234, 235, 237, 250))) == data
    wrapped = Nack(1, 2, (65534, 65535, 0, 5, 14, 15))
    assert serialize(wrapped)[12:] == bytes.fromhex("fffe 8043 000f 0000")
    assert parse_compound(serialize(wrapped)) == [wrapped]


def test_repeated_sequences_are_asked_once() -> None:
    assert parse_compound(serialize(Nack(1, 2, (5, 5, 6, 6)))) == [Nack(1, 2, (5, 6))]


def test_nack_reader_keeps_to_its_capacity(for_all: ForAll) -> None:
    def check(packet: Nack, capacity: int) -> None:
        parsed = parse_feedback(serialize(packet), capacity)
        assert parsed == Nack(packet.sender, packet.media, packet.sequences[:capacity])

    for_all(check, nacks, st.integers(0, 50))


def test_padding_may_begin_within_a_word() -> None:
    """As Chromium sends it: transport-wide feedback of three packets, then three bytes of padding."""
    report = bytes.fromhex("80c90001 00000001")
    feedback = bytes.fromhex("afcd0006 00000001 12345678 0064 0003 000010 05 2003 04 08 0c 00 00 03")
    start_us = 0x10 * 64_000
    times = (start_us + 1000, start_us + 3000, start_us + 6000)
    assert parse_compound(report + feedback) == [
        ReceiverReport(1),
        TransportFeedback(1, 0x12345678, 100, 5, times),
    ]


@pytest.mark.parametrize(
    "data",
    [
        "80",
        "80c900",
        "40c90001 00000001",  # version 1
        "80c90002 00000001",  # longer than the datagram
        "80c90000",  # without an SSRC
        "81c90001 00000001",  # without the report it counts
        "80c80001 00000001",  # without sender info
        "a0c90001 00000000",  # padding of zero bytes
        "a0c90001 00000005",  # padding beyond the body
        "a0c90000",
        "81cb0000",  # BYE without the SSRC it counts
        "81cd0001 00000001",  # feedback without the media SSRC
    ],
)
def test_malformed_packets_are_refused(data: str) -> None:
    with pytest.raises(ValueError):
        parse_compound(bytes.fromhex(data))


def test_unknown_types_are_skipped_over() -> None:
    xr = bytes.fromhex("80cf0004 00000001 04000002 e0000000 00000000")
    report = ReceiverReport(7)
    assert parse_compound(xr + serialize(report)) == [Other(207, 0, xr), report]


@pytest.mark.parametrize(
    "packet",
    [
        ReceiverReport(1, (ReportBlock(1),) * 32),
        Goodbye((1,) * 32),
        SourceDescription(1, bytes(256)),
        Remb(1, 1, (1,) * 256),
        Nack(1, 2, ()),
        FullIntraRequest(1, ()),
    ],
)
def test_what_does_not_fit_is_refused(packet: Packet) -> None:
    with pytest.raises(ValueError):
        serialize(packet)
