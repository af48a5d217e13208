# SPDX-License-Identifier: Apache-2.0
"""Rewriting dependency descriptors: another frame number, another mask of active decode targets, nothing else."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import strategies as st

from sfu.wire.dependencies import Structure, Template
from sfu.wire.dependency_descriptor import DependencyReader
from tests.reference.wire_dependency_descriptor import Descriptor, ReferenceReader, to_bytes, write_descriptor
from tests.wire.dependency_strategies import streams
from tests.wire.mutations import hostile

ForAll = Callable[..., None]
Stream = tuple[Structure, Descriptor, list[Descriptor]]

frame_numbers = st.integers(0, 0xFFFF)
masks = st.none() | st.integers(0, 2**32 - 1)
THREE_TARGETS = Structure(
    decode_targets=3,
    templates=(Template(0, 0, (2, 2, 2)), Template(0, 1, (1, 0, 0), (1,))),
    target_layers=((0, 0),) * 3,
)


def narrowed(mask: int | None, structure: Structure) -> int | None:
    return None if mask is None else mask % 2**structure.decode_targets


def test_only_what_was_wished_changes(for_all: ForAll) -> None:
    def check(stream: Stream, frame_number: int, wanted: int | None) -> None:
        structure, first, others = stream
        incoming, outgoing = DependencyReader(), DependencyReader()
        mask = narrowed(wanted, structure)
        for d in (first, *others):
            packet = write_descriptor(d, structure)
            out = incoming.rewrite(packet, frame_number, mask, capacity=10_000)
            # Bit by bit what a sender had written that wanted it so.
            wished = replace(d, frame_number=frame_number, mask=d.mask if mask is None else mask)
            assert out == write_descriptor(wished, structure)
            expected = replace(incoming.read(packet), frame_number=frame_number)
            if mask is not None:
                expected = replace(expected, has_mask=True, active_targets=mask)
            assert outgoing.read(out) == expected

    for_all(check, streams(), frame_numbers, masks)


def test_rewriting_agrees_with_twin(for_all: ForAll) -> None:
    """Also with padding that is too long or not zero: it stays, or goes where the descriptor grows."""

    def rewritten(
        reader: DependencyReader | ReferenceReader, *arguments: bytes | int | None
    ) -> bytes | type[ValueError]:
        try:
            return reader.rewrite(*arguments)  # type: ignore[arg-type]
        except ValueError as error:
            return type(error)

    def check(first: bytes, packet: bytes, frame_number: int, mask: int | None) -> None:
        reader, twin = DependencyReader(), ReferenceReader()
        reader.read(first)
        twin.read(first)
        expected = rewritten(twin, packet, frame_number, mask)
        fits = not isinstance(expected, bytes) or len(expected) <= 255
        assert rewritten(reader, packet, frame_number, mask) == (expected if fits else ValueError)

    packets = streams().flatmap(
        lambda stream: st.tuples(
            st.just(write_descriptor(stream[1])), hostile(st.just(write_descriptor(stream[2][0], stream[0])))
        )
    )
    for_all(lambda both, *rest: check(*both, *rest), packets, frame_numbers, masks)


def test_the_same_again_is_the_same_bytes(for_all: ForAll) -> None:
    def check(stream: Stream, padding: bytes) -> None:
        structure, first, others = stream
        reader = DependencyReader()
        for d in (first, *others):
            packet = write_descriptor(d, structure)
            packet += padding if len(packet) > 3 else b""
            assert reader.rewrite(packet, d.frame_number, d.mask, capacity=10_000) == packet
            reader.read(packet)

    for_all(check, streams(), st.binary(max_size=3))


def test_a_mask_is_added() -> None:
    reader = DependencyReader()
    first = Descriptor(structure=THREE_TARGETS, frame_number=7)
    reader.read(write_descriptor(first))
    # Three bytes become four: five flags, of which the mask's is set, and the mask.
    assert reader.rewrite(bytes.fromhex("c10008"), 0x1234, 0b101) == bytes.fromhex("c11234") + to_bytes("01000" + "101")
    # Before the frame's own dependencies.
    custom = write_descriptor(Descriptor(template_id=1, indications=(3, 2, 1)), THREE_TARGETS)
    assert reader.rewrite(custom, 0, 0b110) == bytes.fromhex("c10000") + to_bytes("01100" + "110" + "111001")
    # After the structure.
    assert reader.rewrite(write_descriptor(first), 9, 0b011) == write_descriptor(
        replace(first, frame_number=9, mask=0b011)
    )


def test_no_room() -> None:
    reader = DependencyReader()
    reader.read(write_descriptor(Descriptor(structure=THREE_TARGETS)))
    packet = bytes.fromhex("c10008")
    assert len(reader.rewrite(packet, 1, 0b111, capacity=4)) == 4
    assert len(reader.rewrite(packet, 1, capacity=3)) == 3
    for mask, capacity in ((0b111, 3), (None, 2)):
        with pytest.raises(ValueError):
            reader.rewrite(packet, 1, mask, capacity)
