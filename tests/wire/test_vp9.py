# SPDX-License-Identifier: Apache-2.0
"""VP9 payload descriptors: against the plain twin, in round trips, and rewritten for an outgoing copy."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import strategies as st

from sfu.wire.payloads import Vp9, Vp9Picture, Vp9Scalability
from sfu.wire.vp9 import parse_descriptor, rewrite_descriptor
from tests.reference.wire_vp9 import parse_vp9, rewrite_vp9, write_vp9
from tests.wire.mutations import hostile, outcome

ForAll = Callable[..., None]

numbers = st.integers(0, 0xFFFF)
pictures = st.builds(
    Vp9Picture,
    temporal=st.integers(0, 7),
    switching_up=st.booleans(),
    p_diffs=st.lists(st.integers(0, 255), max_size=3).map(tuple),
)


@st.composite
def scalabilities(draw: st.DrawFn) -> Vp9Scalability:
    layers = draw(st.integers(1, 8))
    sizes = st.lists(st.tuples(numbers, numbers), min_size=layers, max_size=layers).map(tuple)
    return Vp9Scalability(
        spatial_layers=layers,
        resolutions=draw(st.none() | sizes),
        group=draw(st.none() | st.lists(pictures, max_size=8).map(tuple)),
    )


@st.composite
def descriptors(draw: st.DrawFn) -> Vp9:
    flexible, predicted, has_layers = draw(st.tuples(st.booleans(), st.booleans(), st.booleans()))
    long_picture_id = draw(st.booleans())
    references = st.lists(st.integers(0, 127), min_size=1, max_size=3).map(tuple)
    plain = Vp9(
        start_of_frame=draw(st.booleans()),
        end_of_frame=draw(st.booleans()),
        inter_picture_predicted=predicted,
        flexible=flexible,
        not_reference_for_upper_spatial=draw(st.booleans()),
        picture_id=draw(st.none() | st.integers(0, 0x7FFF if long_picture_id else 0x7F)),
        p_diffs=draw(references) if flexible and predicted else (),
        scalability=draw(st.none() | scalabilities()),
    )
    plain = replace(plain, long_picture_id=long_picture_id and plain.picture_id is not None)
    if not has_layers:
        return plain
    return replace(
        plain,
        temporal=draw(st.integers(0, 7)),
        spatial=draw(st.integers(0, 7)),
        switching_up=draw(st.booleans()),
        inter_layer=draw(st.booleans()),
        tl0_picture_index=None if flexible else draw(st.integers(0, 255)),
    )


payloads = st.builds(lambda d, body: write_vp9(d) + body, descriptors(), st.binary(min_size=1, max_size=8))


def test_parser_agrees_with_twin(for_all: ForAll) -> None:
    def check(data: bytes) -> None:
        assert outcome(parse_descriptor, data) == outcome(parse_vp9, data)

    for_all(check, hostile(payloads, prefix=b"\xfa\x92\x34"))


def test_every_field_comes_back(for_all: ForAll) -> None:
    """The writer of the twin and the reader under test, without the twin's reader in between."""

    def check(d: Vp9, body: bytes) -> None:
        data = write_vp9(d)
        keyframe = d.start_of_frame and not d.inter_picture_predicted and not d.spatial
        assert parse_descriptor(data + body) == replace(d, size=len(data), keyframe=keyframe)

    for_all(check, descriptors(), st.binary(min_size=1, max_size=8))


def test_rewriting_changes_only_the_counters(for_all: ForAll) -> None:
    def check(d: Vp9, body: bytes, picture_id: int, tl0: int) -> None:
        data = write_vp9(d) + body
        out = rewrite_descriptor(data, picture_id, tl0)
        assert out == rewrite_vp9(data, picture_id, tl0)
        parsed = parse_descriptor(data)
        grown = d.picture_id is not None and not d.long_picture_id
        assert parse_descriptor(out + body) == replace(
            parsed,
            size=parsed.size + grown,
            picture_id=None if d.picture_id is None else picture_id,
            long_picture_id=d.picture_id is not None,
            tl0_picture_index=None if d.tl0_picture_index is None else tl0,
        )

    for_all(check, descriptors(), st.binary(min_size=1, max_size=8), st.integers(0, 0x7FFF), st.integers(0, 255))


def test_rewriting_keeps_reserved_bits_and_is_exact(for_all: ForAll) -> None:
    def check(data: bytes) -> None:
        d = outcome(parse_descriptor, data)
        if not isinstance(d, Vp9):
            assert outcome(lambda data: rewrite_descriptor(data, 1, 1), data) is ValueError
            return
        same = rewrite_descriptor(data, d.picture_id or 0, d.tl0_picture_index or 0)
        if d.picture_id is None or d.long_picture_id:
            assert same == data[: d.size]
        else:
            assert same == data[:1] + (0x8000 + d.picture_id).to_bytes(2, "big") + data[2 : d.size]

    for_all(check, hostile(payloads))


def test_known_descriptors() -> None:
    # Non-flexible mode: a keyframe's first packet with three layers' sizes and a group of one picture.
    first = parse_descriptor(bytes.fromhex("ab 9234 00 07 58 0140 00b4 0280 0168 0500 02d0 01 04 01 ff"))
    assert first == Vp9(
        size=21,
        start_of_frame=True,
        keyframe=True,
        not_reference_for_upper_spatial=True,
        picture_id=0x1234,
        long_picture_id=True,
        temporal=0,
        spatial=0,
        tl0_picture_index=7,
        scalability=Vp9Scalability(3, ((320, 180), (640, 360), (1280, 720)), (Vp9Picture(0, False, (1,)),)),
    )
    # Flexible mode: the upper spatial layer's only packet, references one and three pictures back.
    flexible = parse_descriptor(bytes.fromhex("fc 05 53 03 06 ff"))
    assert flexible == Vp9(
        size=5,
        start_of_frame=True,
        end_of_frame=True,
        inter_picture_predicted=True,
        flexible=True,
        picture_id=5,
        temporal=2,
        spatial=1,
        switching_up=True,
        inter_layer=True,
        p_diffs=(1, 3),
    )
    assert rewrite_descriptor(bytes.fromhex("fc 05 53 03 06 ff"), 0x1234, 9) == bytes.fromhex("fc 9234 53 03 06")


@pytest.mark.parametrize(
    ("first", "keyframe"),
    [
        ("08", True),  # no layer indices: one layer
        ("28 00 00", True),
        ("28 02 00", False),  # a synchronisation frame of the second layer: the base layer goes on
        ("68 00 00", False),  # P
        ("20 00 00", False),  # not its first packet
    ],
)
def test_keyframe_is_the_base_layers_start(first: str, keyframe: bool) -> None:
    assert parse_descriptor(bytes.fromhex(first) + b"data").keyframe == keyframe


@pytest.mark.parametrize(
    "data",
    [
        "",
        "08",
        "8812",
        "889212",
        "2800",
        "280000",
        "5803",  # a second reference is announced
        "58030507 ff",  # a fourth
        "0a",
        "0a30 0140 00b4 0280 01",
        "0a08",
        "0a08 02 00",
        "0a08 01 0c 01 02",
    ],
)
def test_malformed_descriptors_are_refused(data: str) -> None:
    with pytest.raises(ValueError):
        parse_descriptor(bytes.fromhex(data))


def test_largest_structure() -> None:
    largest = Vp9Scalability(8, ((0xFFFF, 1),) * 8, (Vp9Picture(7, True, (255, 0, 1)),) * 255)
    d = Vp9(start_of_frame=True, picture_id=1, scalability=largest)
    parsed = parse_descriptor(write_vp9(d) + b"x")
    assert parsed.scalability == largest
    assert parsed.size == 2 + 1 + 32 + 1 + 4 * 255
