# SPDX-License-Identifier: Apache-2.0
"""AV1 payloads: against the plain twin, and the sequence header against an encoder's."""

import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import strategies as st

from sfu.wire.av1 import parse_payload
from sfu.wire.payloads import Av1
from tests.conftest import ROOT
from tests.reference.wire_av1 import (
    SEQUENCE_HEADER,
    OperatingPoint,
    SequenceHeader,
    leb128,
    obu,
    parse_av1,
    read_leb128,
    read_obu,
    sequence_size,
    write_av1,
    write_sequence_header,
)
from tests.wire.mutations import hostile, outcome

ForAll = Callable[..., None]
FRAME = 6

points = st.builds(
    OperatingPoint,
    idc=st.integers(0, 0xFFF),
    level=st.integers(0, 31),
    tier=st.integers(0, 1),
    decoder_delays=st.none() | st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    display_delay=st.none() | st.integers(0, 15),
)
headers = st.builds(
    SequenceHeader,
    profile=st.integers(0, 2),
    still=st.booleans(),
    reduced=st.booleans(),
    timing=st.booleans(),
    ticks_per_picture=st.none() | st.integers(0, 2**32 - 1),
    delay_size=st.integers(0, 32),
    display_delays=st.booleans(),
    points=st.lists(points, min_size=1, max_size=32).map(tuple),
    size_bits=st.tuples(st.integers(12, 16), st.integers(12, 16)),
    width=st.integers(1, 4096),
    height=st.integers(1, 4096),
)
layers = st.none() | st.tuples(st.integers(0, 7), st.integers(0, 3))
bodies = st.one_of(
    st.tuples(st.just(SEQUENCE_HEADER), headers.map(write_sequence_header)),
    st.tuples(st.integers(0, 15), st.binary(max_size=10)),
)
obus = st.builds(lambda body, layer, sized: obu(body[0], body[1], layer, sized), bodies, layers, st.booleans())


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    elements = draw(st.lists(obus | st.just(b""), min_size=1, max_size=5))
    counted = len(elements) <= 3 and elements[-1] != b"" and draw(st.booleans())
    return write_av1(elements, counted, draw(st.booleans()), draw(st.booleans()), draw(st.booleans()))


def test_parser_agrees_with_twin(for_all: ForAll) -> None:
    def check(data: bytes) -> None:
        assert outcome(parse_payload, data) == outcome(parse_av1, data)

    for_all(check, hostile(payloads(), prefix=b"\x18\x0a"))


def test_sequence_header_comes_back(for_all: ForAll) -> None:
    """The writer of the twin and the reader under test, without the twin's reader in between."""

    def check(header: SequenceHeader, layer: tuple[int, int] | None, sized: bool, counted: bool) -> None:
        elements = [obu(SEQUENCE_HEADER, write_sequence_header(header), layer, sized), obu(FRAME, b"frame", layer)]
        temporal, spatial = layer or (None, None)
        assert parse_payload(write_av1(elements, counted, n=True)) == Av1(
            new_sequence=True,
            elements=2,
            has_sequence_header=True,
            temporal=temporal,
            spatial=spatial,
            width=header.width,
            height=header.height,
        )

    for_all(check, headers, layers, st.booleans(), st.booleans())


def split_stream(stream: bytes) -> list[bytes]:
    """The OBUs of a low-overhead byte stream (AV1 §5.2)."""
    found = []
    while stream:
        start = 2 if stream[0] & 4 else 1
        size, rest = read_leb128(stream[start:])
        end = len(stream) - len(rest) + size
        found.append(stream[:end])
        stream = stream[end:]
    return found


@pytest.mark.parametrize(("width", "height"), [(640, 360), (1280, 720), (322, 182)])
def test_sequence_header_of_svt_av1(width: int, height: int) -> None:
    command = [sys.executable, "-m", "tests.wire.svt_av1", str(width), str(height)]
    stream = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    header = next(unit for unit in split_stream(stream) if unit[0] >> 3 == SEQUENCE_HEADER)
    body = read_obu(header)[2]
    assert body is not None
    assert sequence_size(body) == (width, height)
    parsed = parse_payload(write_av1([header], counted=True, n=True))
    assert (parsed.has_sequence_header, parsed.width, parsed.height) == (True, width, height)


def test_a_cut_sequence_header_is_still_seen() -> None:
    whole = obu(SEQUENCE_HEADER, write_sequence_header(SequenceHeader()))
    cut = parse_payload(write_av1([whole[:4]], counted=True, y=True, n=True))
    assert cut == Av1(ends_with_fragment=True, new_sequence=True, elements=1, has_sequence_header=True)
    # What goes on with an OBU of the packet before has no header.
    assert not parse_payload(write_av1([whole], counted=True, z=True)).has_sequence_header


def test_element_lengths() -> None:
    element = obu(FRAME, b"body")
    for size in range(1, 9):
        assert parse_payload(b"\x00" + leb128(len(element), size) + element).elements == 1
    for length in (leb128(len(element), 9), leb128(2**32 + 5), b"\xff" * 9):
        with pytest.raises(ValueError):
            parse_payload(b"\x00" + length + element)


@pytest.mark.parametrize(
    "data",
    [
        "",
        "10",  # nothing behind the aggregation header
        "88 01 30",  # N with Z
        "20 02 3000",  # one element of two
        "00 05 30",  # longer than the payload
        "10 b0",  # forbidden bit
        "10 34",  # no room for the extension
        "10 3205 00",  # OBU longer than its element
    ],
)
def test_malformed_payloads_are_refused(data: str) -> None:
    with pytest.raises(ValueError):
        parse_payload(bytes.fromhex(data))
