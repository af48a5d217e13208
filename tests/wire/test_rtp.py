# SPDX-License-Identifier: Apache-2.0
"""RTP packets: against the plain twin and aiortc, and in round trips."""

from collections.abc import Callable
from dataclasses import asdict

import pytest
from aiortc.rtp import RtpPacket as AiortcPacket
from hypothesis import strategies as st

from sfu.wire.rtp import RtpPacket, looks_like_rtcp
from tests.reference.wire_rtp import Rtp, parse_rtp, write_rtp
from tests.wire.mutations import hostile, outcome

ForAll = Callable[..., None]

extension_maps = st.one_of(
    st.dictionaries(st.integers(1, 14), st.binary(min_size=1, max_size=16), max_size=6),
    st.dictionaries(st.integers(1, 255), st.binary(max_size=255), max_size=4),
)
packets = st.builds(
    Rtp,
    payload_type=st.integers(0, 127),
    marker=st.booleans(),
    sequence_number=st.integers(0, 0xFFFF),
    timestamp=st.integers(0, 0xFFFFFFFF),
    ssrc=st.integers(0, 0xFFFFFFFF),
    csrcs=st.lists(st.integers(0, 0xFFFFFFFF), max_size=15).map(tuple),
    extensions=extension_maps,
    payload=st.binary(max_size=60),
    padding_size=st.integers(0, 255),
)


def parse(data: bytes) -> dict[str, object]:
    return asdict(RtpPacket.parse(data))


def test_parser_agrees_with_twin(for_all: ForAll) -> None:
    def check(data: bytes) -> None:
        assert outcome(parse, data) == outcome(lambda data: asdict(parse_rtp(data)), data)

    for_all(check, hostile(packets.map(write_rtp), prefix=b"\xb0"))


def test_writer_agrees_with_twin_and_comes_back(for_all: ForAll) -> None:
    def check(packet: Rtp) -> None:
        ours = RtpPacket(**asdict(packet))
        assert ours.serialize() == write_rtp(packet)
        assert RtpPacket.parse(ours.serialize()) == ours

    for_all(check, packets)


def test_agrees_with_aiortc(for_all: ForAll) -> None:
    """On any input of ours that aiortc accepts; it knows no other extension blocks than its own."""

    def check(data: bytes) -> None:
        ours, theirs = outcome(RtpPacket.parse, data), outcome(AiortcPacket.parse, data)
        if isinstance(ours, RtpPacket):
            assert isinstance(theirs, AiortcPacket)
            assert (ours.payload_type, ours.marker) == (theirs.payload_type, bool(theirs.marker))
            assert (ours.sequence_number, ours.timestamp) == (theirs.sequence_number, theirs.timestamp)
            assert (ours.ssrc, list(ours.csrcs)) == (theirs.ssrc, theirs.csrc)
            assert (ours.payload, ours.padding_size) == (theirs.payload, theirs.padding_size)
        else:
            assert theirs is ValueError

    without_extensions = packets.map(lambda packet: write_rtp(Rtp(**{**asdict(packet), "extensions": {}})))
    # Where the X bit was set by a mutation the two differ in what they check of the block's inside.
    for_all(check, hostile(without_extensions).filter(lambda data: not data or not data[0] & 0x10))


def test_padding_rules() -> None:
    header = bytes([0xA0, 96]) + bytes(10)
    assert RtpPacket.parse(header + b"ab\x02").payload == b"a"
    assert RtpPacket.parse(header + b"\x00\x00\x03").payload == b""  # Chromium's probes on a media SSRC
    for bad in (header, header + b"ab\x00", header + b"ab\x04"):
        with pytest.raises(ValueError):
            RtpPacket.parse(bad)


@pytest.mark.parametrize(
    "field",
    [{"payload_type": 128}, {"sequence_number": 65536}, {"ssrc": -1}, {"padding_size": 256}, {"timestamp": 2**32}],
)
def test_fields_that_do_not_fit_are_refused(field: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        RtpPacket(**field).serialize()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "packet",
    [
        RtpPacket(csrcs=tuple(range(16))),
        RtpPacket(csrcs=(2**32,)),
        RtpPacket(extensions={0: b"a"}),
        RtpPacket(extensions={256: b"a"}),
        RtpPacket(extensions={1: bytes(256)}),
    ],
)
def test_collections_that_do_not_fit_are_refused(packet: RtpPacket) -> None:
    with pytest.raises(ValueError):
        packet.serialize()


def test_rtcp_is_told_by_its_packet_type() -> None:
    found = [second for second in range(256) if looks_like_rtcp(bytes([0x80, second, 0, 0]))]
    assert found == list(range(192, 224))  # RFC 5761 §4
    assert not looks_like_rtcp(b"")
    assert not looks_like_rtcp(b"\x80")
