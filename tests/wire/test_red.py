# SPDX-License-Identifier: Apache-2.0
"""RED payloads: against the plain twin, in round trips, and stripped to the primary block."""

from collections.abc import Callable

import pytest
from hypothesis import strategies as st

from sfu.wire.payloads import Red, RedBlock
from sfu.wire.red import parse_payload, strip_to_primary
from tests.reference.wire_red import BLOCKS_MAX, parse_red, write_red
from tests.wire.mutations import hostile, outcome

ForAll = Callable[..., None]

types = st.integers(0, 127)
blocks = st.builds(RedBlock, types, st.integers(0, 0x3FFF), st.binary(max_size=12))
reds = st.builds(
    Red, st.lists(blocks, max_size=5).map(tuple), st.builds(RedBlock, types, st.just(0), st.binary(max_size=12))
)
payloads = reds.map(write_red)


def test_parser_agrees_with_twin(for_all: ForAll) -> None:
    def check(data: bytes) -> None:
        ours = outcome(parse_payload, data)
        assert ours == outcome(parse_red, data)
        stripped = outcome(strip_to_primary, data)
        assert stripped == ((ours.primary.payload_type, ours.primary.data) if isinstance(ours, Red) else ValueError)

    for_all(check, hostile(payloads, prefix=b"\xef\x0f\x00\x03"))


def test_blocks_come_back(for_all: ForAll) -> None:
    def check(red: Red) -> None:
        assert parse_payload(write_red(red)) == red

    for_all(check, reds)


def test_known_payload() -> None:
    # Two redundant Opus frames, 20 and 40 ms old, before the new one.
    data = bytes.fromhex("ef 1e0002 ef 0f0003 6f") + b"aabbbcccc"
    red = parse_payload(data)
    assert red == Red((RedBlock(111, 1920, b"aa"), RedBlock(111, 960, b"bbb")), RedBlock(111, 0, b"cccc"))
    assert strip_to_primary(data) == (111, b"cccc")
    assert strip_to_primary(b"\x6fonly") == (111, b"only")
    assert strip_to_primary(b"\x6f") == (111, b"")


@pytest.mark.parametrize("data", ["", "ef", "ef0f0001", "ef0f0001 6f", "ef0f0002 6f 00", "ef0f00 6f"])
def test_cut_off_payloads_are_refused(data: str) -> None:
    with pytest.raises(ValueError):
        parse_payload(bytes.fromhex(data))
    with pytest.raises(ValueError):
        strip_to_primary(bytes.fromhex(data))


def test_number_of_blocks_is_bounded() -> None:
    most = Red((RedBlock(111, 0, b""),) * BLOCKS_MAX, RedBlock(111, 0, b"x"))
    assert parse_payload(write_red(most)) == most
    assert strip_to_primary(write_red(most)) == (111, b"x")
    for parse in (parse_payload, strip_to_primary):
        with pytest.raises(ValueError):
            parse(b"\xef\x00\x00\x00" + write_red(most))
