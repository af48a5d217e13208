# SPDX-License-Identifier: Apache-2.0
"""The simulation's own parsers, against bytes written out by hand and against their writers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulation import rtcp_packets as rtcp
from tests.simulation.h264_payload import build_pps, build_sps, build_stap_a, parse_h264
from tests.simulation.rtp_packets import MalformedPacket, RtpPacket, build_rtp, extend, is_rtcp, parse_rtp
from tests.simulation.tags import FrameTag, read_tag, write_tag
from tests.simulation.vp8_payload import Vp8Descriptor, build_vp8_descriptor, build_vp8_frame_header, parse_vp8

UINT16 = st.integers(0, 0xFFFF)
UINT32 = st.integers(0, 0xFFFFFFFF)
ELEMENTS = st.lists(st.tuples(st.integers(1, 14), st.binary(min_size=1, max_size=16)), max_size=4).map(tuple)
LONG_ELEMENTS = st.lists(st.tuples(st.integers(1, 255), st.binary(max_size=40)), max_size=4).map(tuple)


def test_an_rtp_packet_by_hand() -> None:
    packet = parse_rtp(
        bytes.fromhex("b1e0 1234 00000010 deadbeef 00000007")
        + bytes.fromhex("bede 0002 4035 00 a1 68 69 00 00")  # mid "5", padding, rid "hi", padding
        + b"payload"
        + bytes.fromhex("00 00 03")
    )
    assert packet == RtpPacket(96, True, 0x1234, 16, 0xDEADBEEF, (7,), ((4, b"5"), (10, b"hi")), b"payload", padding=3)


def test_the_two_byte_form_by_hand() -> None:
    packet = parse_rtp(bytes.fromhex("9060 0001 00000002 00000003 1000 0002 0a00 04 01 35 000000"))
    assert packet.extensions == ((10, b""), (4, b"5"))


@given(
    st.builds(
        RtpPacket,
        payload_type=st.integers(0, 127),
        marker=st.booleans(),
        sequence=UINT16,
        timestamp=UINT32,
        ssrc=UINT32,
        csrcs=st.lists(UINT32, max_size=15).map(tuple),
        extensions=ELEMENTS | LONG_ELEMENTS,
        payload=st.binary(max_size=60),
        padding=st.integers(0, 255),
    )
)
def test_rtp_there_and_back(packet: RtpPacket) -> None:
    assert parse_rtp(build_rtp(packet)) == packet


@pytest.mark.parametrize(
    "text",
    [
        "80600001000000020000",  # short header
        "406000010000000200000003",  # version 1
        "83600001000000020000000300000004",  # three CSRCs announced
        "906000010000000200000003bede000210000000",  # extension block too long
        "906000010000000200000003bede00011f000000",  # element too long
        "906000010000000200000003abcd000110000000",  # unknown profile
        "a0600001000000020000000300000000",  # padding of 0
    ],
)
def test_malformed_rtp(text: str) -> None:
    with pytest.raises(MalformedPacket):
        parse_rtp(bytes.fromhex(text))


def test_extended_numbers() -> None:
    assert extend(3, 65_530, 16) == 65_539
    assert extend(65_530, 65_539, 16) == 65_530
    assert extend(65_535, 0, 16) == -1
    assert extend(5, 0xFFFFFFF0, 32) == 0x100000005


def test_rtcp_by_hand() -> None:
    pli = rtcp.build_pli(1, 2)
    assert pli == bytes.fromhex("81ce0002 00000001 00000002")
    assert rtcp.build_nack(1, 2, [10, 11, 26, 27]) == bytes.fromhex("81cd0004 00000001 00000002 000a8001 001b0000")
    assert rtcp.build_fir(1, 9, 3) == bytes.fromhex("84ce0004 00000001 00000000 00000009 03000000")
    assert rtcp.build_bye([5]) == bytes.fromhex("81cb0001 00000005")
    assert rtcp.build_sdes_cname(5, b"ab") == bytes.fromhex("81ca0003 00000005 01026162 00000000")
    assert is_rtcp(pli)
    assert not is_rtcp(build_rtp(RtpPacket(96, True, 1, 1, 1)))


@given(st.sets(st.integers(0, 200), min_size=1), UINT16)
def test_nacks_there_and_back(offsets: set[int], base: int) -> None:
    sequences = [(base + offset) & 0xFFFF for offset in sorted(offsets)]
    (packet,) = rtcp.parse_rtcp(rtcp.build_nack(1, 2, sequences))
    assert rtcp.nack_sequences(packet) == sequences


def test_reports_there_and_back() -> None:
    report = rtcp.SenderReport(1, 0x0123456789ABCDEF, 7, 8, 9)
    block = rtcp.ReportBlock(5, 12, -3, 70_000, 40, 0xAABBCCDD, 65_536)
    compound = rtcp.build_sender_report(report) + rtcp.build_receiver_report(9, [block])
    first, second = rtcp.parse_rtcp(compound)
    assert rtcp.parse_sender_report(first) == report
    assert rtcp.parse_report_blocks(second) == [block]
    with pytest.raises(MalformedPacket):
        list(rtcp.parse_rtcp(compound[:-2]))


@given(
    st.booleans(),
    st.none() | st.integers(0, 0x7FFF),
    st.none() | st.integers(0, 255),
    st.none() | st.integers(0, 3),
    st.none() | st.integers(0, 31),
    st.booleans(),
)
def test_vp8_there_and_back(
    start: bool, picture: int | None, tl0: int | None, temporal: int | None, key: int | None, sync: bool
) -> None:
    descriptor = Vp8Descriptor(
        start_of_frame=start,
        picture_id=picture,
        long_picture_id=picture is not None,
        tl0_picture_index=tl0,
        temporal=temporal,
        layer_sync=sync and temporal is not None,
        key_index=key,
    )
    head = build_vp8_descriptor(descriptor)
    found = parse_vp8(head + build_vp8_frame_header(start, 500, 640, 360))
    descriptor.size, descriptor.keyframe = len(head), start
    if start:
        descriptor.width, descriptor.height = 640, 360
    assert found == descriptor


def test_vp8_by_hand() -> None:
    found = parse_vp8(bytes.fromhex("90 f0 8123 44 a5 01"))
    assert (found.picture_id, found.tl0_picture_index, found.temporal, found.layer_sync) == (0x123, 0x44, 2, True)
    assert (found.key_index, found.start_of_frame, found.keyframe, found.size) == (5, True, False, 6)
    for text in ("", "90", "9080", "908081", "10", "1000000011223344"):
        with pytest.raises(MalformedPacket):
            parse_vp8(bytes.fromhex(text))


def test_h264_by_hand() -> None:
    assert parse_h264(bytes.fromhex("65 88")).units == (5,)
    assert parse_h264(bytes.fromhex("7c 85 88")).units == (5,)
    assert parse_h264(bytes.fromhex("7c 45 88")).fragment_end
    assert parse_h264(build_stap_a([build_sps(640, 360), build_pps()])).units == (7, 8)
    for text in ("", "7c85", "7cc588", "78", "78000967", "f800", "ff"):
        with pytest.raises(MalformedPacket):
            parse_h264(bytes.fromhex(text))


def test_tags() -> None:
    tag = FrameTag(7, 2, 1, False, 123_456, 3, 9, (123_450, 123_452))
    assert read_tag(b"\x90\x80" + write_tag(tag) + b"rest") == tag
    assert read_tag(write_tag(tag)[:-1]) is None
    assert read_tag(b"nothing") is None
