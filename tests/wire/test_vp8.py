# SPDX-License-Identifier: Apache-2.0
"""VP8 payload descriptors: against the plain twin, aiortc's, and in round trips."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from aiortc.codecs.vpx import VpxPayloadDescriptor
from hypothesis import strategies as st

from sfu.wire.descriptors import Vp8
from sfu.wire.vp8 import parse_descriptor, write_descriptor
from tests.reference.wire_vp8 import parse_vp8, write_vp8
from tests.wire.mutations import hostile, outcome

ForAll = Callable[..., None]
KEYFRAME_640X360 = bytes.fromhex("10020f") + b"\x9d\x01\x2a" + bytes.fromhex("80026801") + b"data"

descriptors = st.builds(
    Vp8,
    start_of_partition=st.booleans(),
    partition=st.integers(0, 7),
    non_reference=st.booleans(),
    picture_id=st.none() | st.integers(0, 0x7FFF),
    tl0_picture_index=st.none() | st.integers(0, 255),
    temporal=st.none() | st.integers(0, 3),
    layer_sync=st.booleans(),
    key_index=st.none() | st.integers(0, 31),
)
bodies = st.one_of(st.just(KEYFRAME_640X360), st.binary(min_size=1, max_size=20))
payloads = st.builds(lambda descriptor, body: write_vp8(descriptor) + body, descriptors, bodies)


def test_parser_agrees_with_twin(for_all: ForAll) -> None:
    def check(data: bytes) -> None:
        assert outcome(parse_descriptor, data) == outcome(parse_vp8, data)

    for_all(check, hostile(payloads, prefix=b"\x90\xf0"))


def test_writer_agrees_with_twin_and_comes_back(for_all: ForAll) -> None:
    def check(descriptor: Vp8, body: bytes) -> None:
        data = write_descriptor(descriptor)
        assert data == write_vp8(descriptor)
        parsed = parse_descriptor(data + body)
        assert parsed.size == len(data)
        assert parsed.long_picture_id == (descriptor.picture_id is not None)
        assert parsed == replace(
            descriptor,
            # What is no field of the descriptor follows from the bytes.
            size=parsed.size,
            start_of_frame=descriptor.start_of_partition and descriptor.partition == 0,
            keyframe=parsed.keyframe,
            long_picture_id=parsed.long_picture_id,
            layer_sync=descriptor.layer_sync and descriptor.temporal is not None,
            width=parsed.width,
            height=parsed.height,
        )

    for_all(check, descriptors, bodies)


def test_agrees_with_aiortc(for_all: ForAll) -> None:
    def check(data: bytes) -> None:
        ours = outcome(parse_descriptor, data)
        if not isinstance(ours, Vp8):
            return  # aiortc takes a descriptor without payload
        theirs, rest = VpxPayloadDescriptor.parse(data)
        assert data[ours.size :] == rest
        assert (ours.picture_id, ours.tl0_picture_index, ours.key_index) == (
            theirs.picture_id,
            theirs.tl0picidx,
            theirs.keyidx,
        )
        assert ours.start_of_partition == bool(theirs.partition_start)
        assert (None if ours.temporal is None else (ours.temporal, int(ours.layer_sync))) == theirs.tid

    for_all(check, hostile(payloads))


def test_keyframe_start_tells_the_size() -> None:
    parsed = parse_descriptor(b"\x10" + KEYFRAME_640X360)
    assert parsed.start_of_frame
    assert parsed.keyframe
    assert (parsed.width, parsed.height) == (640, 360)


def test_scaling_bits_are_no_part_of_the_size() -> None:
    scaled = KEYFRAME_640X360[:6] + bytes([0x80, 0x42, 0x68, 0xC1])
    parsed = parse_descriptor(b"\x10" + scaled)
    assert (parsed.width, parsed.height) == (640, 360)


@pytest.mark.parametrize(
    ("first", "body"),
    [
        (0x10, bytes([KEYFRAME_640X360[0] | 1]) + KEYFRAME_640X360[1:]),  # P bit: an interframe
        (0x11, KEYFRAME_640X360),  # second partition
        (0x00, KEYFRAME_640X360),  # middle of a partition
    ],
)
def test_other_packets_are_no_keyframe_starts(first: int, body: bytes) -> None:
    parsed = parse_descriptor(bytes([first]) + body)
    assert not parsed.keyframe
    assert (parsed.width, parsed.height) == (0, 0)


def test_known_descriptors() -> None:
    # RFC 7741 §4.6.1 and following: what Chromium sends for a layer with three temporal layers.
    parsed = parse_descriptor(bytes.fromhex("90e0 9234 07 60 01"))
    assert parsed == Vp8(
        size=6,
        start_of_frame=True,
        start_of_partition=True,
        picture_id=0x1234,
        long_picture_id=True,
        tl0_picture_index=7,
        temporal=1,
        layer_sync=True,
    )
    short = parse_descriptor(bytes.fromhex("8080 11 01"))
    assert (short.size, short.picture_id, short.long_picture_id) == (3, 0x11, False)


@pytest.mark.parametrize(
    "data", ["", "10", "80", "8080", "808092", "80809234", "804001", "802001", "8000", "90f0923407"]
)
def test_cut_off_descriptors_are_refused(data: str) -> None:
    with pytest.raises(ValueError):
        parse_descriptor(bytes.fromhex(data))
