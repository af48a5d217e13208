# SPDX-License-Identifier: Apache-2.0
"""Header extensions: both forms, their special ids, the lookup by kind, and the writer's limits."""

import struct
from collections.abc import Callable

import pytest
from aiortc.rtp import pack_header_extensions, unpack_header_extensions
from hypothesis import strategies as st

from sfu.wire.extensions import EXTENSION_URIS, HeaderExtension, write_block
from sfu.wire.rtp import RtpPacket, parse_extensions
from tests.reference.wire_rtp import parse_extensions as twin
from tests.reference.wire_rtp import parse_rtp, write_extensions
from tests.wire.mutations import hostile, outcome

ForAll = Callable[..., None]

maps = st.dictionaries(st.integers(1, 255), st.binary(max_size=40), max_size=8)
one_byte_maps = st.dictionaries(st.integers(1, 14), st.binary(min_size=1, max_size=16), max_size=14)
profiles = st.sampled_from((0xBEDE, 0x1000, 0x100F, 0x1010, 0xBEDF, 0))


def packet(profile: int, block: bytes) -> bytes:
    """An RTP packet with this extension block, padded to 32 bits."""
    block += bytes(-len(block) % 4)
    return bytes([0x90, 96]) + bytes(10) + struct.pack("!HH", profile, len(block) // 4) + block + b"payload"


def extensions_of(data: bytes) -> dict[int, bytes]:
    return RtpPacket.parse(data).extensions


def test_blocks_agree_with_twin(for_all: ForAll) -> None:
    def check(profile: int, block: bytes) -> None:
        data = packet(profile, block)
        assert outcome(extensions_of, data) == outcome(lambda data: parse_rtp(data).extensions, data)

    one_byte = one_byte_maps.map(lambda extensions: write_extensions(extensions)[4:])
    two_byte = maps.map(lambda extensions: write_extensions(extensions)[4:])
    for_all(check, profiles, hostile(st.one_of(one_byte, two_byte)))


def test_lookup_by_kind_agrees_with_twin(for_all: ForAll) -> None:
    def check(ids: dict[int, HeaderExtension], profile: int, block: bytes) -> None:
        data = packet(profile, block)
        found = outcome(lambda data: parse_extensions(data, ids), data)
        values = outcome(lambda data: twin(profile, data[16:-7]), data)
        if isinstance(values, dict):
            # Of two with one kind the last on the wire counts.
            values = {ids[identifier]: value for identifier, value in values.items() if identifier in ids}
        assert found == values

    ids = st.dictionaries(st.integers(0, 14), st.sampled_from(HeaderExtension), max_size=14)
    unique = ids.filter(lambda ids: len(set(ids.values())) == len(ids))
    for_all(check, unique, profiles, hostile(one_byte_maps.map(lambda extensions: write_extensions(extensions)[4:])))


def test_agrees_with_aiortc(for_all: ForAll) -> None:
    def check(extensions: dict[int, bytes]) -> None:
        profile, value = pack_header_extensions(list(extensions.items()))
        assert dict(unpack_header_extensions(profile, value)) == extensions_of(packet(profile, value)) == extensions
        ours = RtpPacket(extensions=extensions).serialize()
        assert ours[12:] == (struct.pack("!HH", profile, len(value) // 4) + value if extensions else b"")

    for_all(check, st.one_of(maps, one_byte_maps))


def test_the_last_of_one_kind_counts() -> None:
    data = packet(0xBEDE, b"\x10a\x20b")
    assert parse_extensions(data, {1: HeaderExtension.MID, 2: HeaderExtension.MID}) == {HeaderExtension.MID: b"b"}


def test_reserved_ids_of_the_one_byte_form() -> None:
    assert extensions_of(packet(0xBEDE, b"\x10a\xf0z\x20b")) == {1: b"a"}  # 15 ends the block
    assert extensions_of(packet(0xBEDE, b"\x10a\x01zz\x20b")) == {1: b"a"}  # so does 0 with a length
    assert extensions_of(packet(0xBEDE, b"\x10a\x00\x00\x20b")) == {1: b"a", 2: b"b"}  # 0 alone is padding


def test_elements_beyond_the_block_are_refused() -> None:
    for profile, block in ((0xBEDE, b"\x1fabc"), (0x1000, b"\x01\x03ab"), (0x1000, b"\x00\x00\x00\x01")):
        with pytest.raises(ValueError):
            extensions_of(packet(profile, block))
        with pytest.raises(ValueError):
            parse_extensions(packet(profile, block), {})


def test_other_profiles_are_skipped() -> None:
    assert extensions_of(packet(0x1234, b"\x1fabc")) == {}


def test_writer_leaves_out_what_does_not_fit_the_form() -> None:
    assert write_block({0: b"a", 15: b"a", 3: b"", 4: bytes(17)}, 100, two_byte=False) == b""
    assert write_block({15: b"a", 3: b"b"}, 100, two_byte=False) == b"\xbe\xde\x00\x01\x30b\x00\x00"
    assert write_block({0: b"a", 3: b""}, 100, two_byte=True) == b"\x10\x00\x00\x01\x03\x00\x00\x00"


def test_writer_leaves_out_what_does_not_fit_the_room(for_all: ForAll) -> None:
    def check(extensions: dict[int, bytes], two_byte: bool, capacity: int) -> None:
        block = write_block(extensions, capacity, two_byte)
        kept: dict[int, bytes] = {}
        for identifier, value in extensions.items():
            size = 4 + sum(len(value) + 1 + two_byte for value in [*kept.values(), value])
            if size + -size % 4 <= capacity and (two_byte or (identifier < 15 and 1 <= len(value) <= 16)):
                kept[identifier] = value
        assert len(block) <= capacity
        assert (extensions_of(packet(int.from_bytes(block[:2], "big"), block[4:])) if block else {}) == kept

    for_all(check, maps, st.booleans(), st.integers(0, 120))


def test_each_kind_has_one_uri() -> None:
    assert sorted(EXTENSION_URIS.values()) == sorted(HeaderExtension)
    assert EXTENSION_URIS["urn:ietf:params:rtp-hdrext:sdes:mid"] is HeaderExtension.MID
    assert min(HeaderExtension) == 1  # 0 says "not negotiated"
