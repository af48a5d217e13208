# SPDX-License-Identifier: Apache-2.0
"""Reading dependency descriptors: against the plain twin, in round trips, and the specification's examples."""

from collections.abc import Callable

import pytest
from hypothesis import strategies as st

from sfu.wire.dependencies import Dependency, Structure, Template, UnknownTemplateError
from sfu.wire.dependency_descriptor import DependencyReader
from tests.reference.wire_dependency_descriptor import (
    Descriptor,
    ReferenceReader,
    f,
    resolve,
    target_layers,
    to_bytes,
    write_descriptor,
    write_ns,
)
from tests.wire.dependency_strategies import streams
from tests.wire.mutations import hostile

ForAll = Callable[..., None]
Stream = tuple[Structure, Descriptor, list[Descriptor]]

as_packets = streams().map(
    lambda stream: [write_descriptor(stream[1]), *(write_descriptor(d, stream[0]) for d in stream[2])]
)


def outcome(reader: DependencyReader | ReferenceReader, data: bytes) -> Dependency | type[ValueError]:
    try:
        return reader.read(data)
    except ValueError as error:
        return type(error)


def test_reader_agrees_with_twin(for_all: ForAll) -> None:
    def check(packets: list[bytes]) -> None:
        reader, twin = DependencyReader(), ReferenceReader()
        for packet in packets:
            assert outcome(reader, packet) == outcome(twin, packet)
            assert reader.structure == twin.structure

    # The packets of one stream, each perhaps changed, so that changed ones meet a structure that is good.
    changed = as_packets.flatmap(
        lambda packets: st.tuples(*[st.just(p) | hostile(st.just(p), prefix=b"\x80\x00\x01\x80") for p in packets])
    )
    for_all(check, changed)


def test_every_field_comes_back(for_all: ForAll) -> None:
    """The writer of the twin and the reader under test, without the twin's reader in between."""

    def check(stream: Stream) -> None:
        structure, first, others = stream
        reader = DependencyReader()
        assert reader.read(write_descriptor(first)) == resolve(first, None)
        assert reader.structure == structure
        for d in others:
            assert reader.read(write_descriptor(d, structure)) == resolve(d, structure)
        for spatial in range(9):
            for temporal in range(9):
                within = [s <= spatial and t <= temporal for s, t in structure.target_layers]
                assert reader.targets_within(spatial, temporal) == sum(bit << i for i, bit in enumerate(within))

    for_all(check, streams())


def table(text: str, protected_by: tuple[int, ...], chains: int) -> Structure:
    """A structure as the specification's tables in A.10.2 print it: S T fdiffs chains indications."""
    templates = []
    for line in text.strip().splitlines():
        spatial, temporal, fdiffs, chain_fdiffs, indications = line.split()
        templates.append(
            Template(
                int(spatial),
                int(temporal),
                tuple("-DSR".index(letter) for letter in indications),
                tuple(int(fdiff) for fdiff in fdiffs.split(",") if fdiff != "."),
                tuple(int(fdiff) for fdiff in chain_fdiffs.split(",")),
            )
        )
    targets = len(protected_by)
    return Structure(1, targets, chains, tuple(templates), protected_by, (), target_layers(targets, templates))


L1T3 = table(
    """
    0 0 . 0 SSS
    0 0 4 4 SSS
    0 1 2 2 SD-
    0 2 1 1 D--
    0 2 1 3 D--
    """,
    protected_by=(0, 0, 0),
    chains=1,
)
L3T3 = table(
    """
    0 0 .    0,0,0    SSSSSSSSS
    0 0 12   12,11,10 RRRRRRSSS
    0 1 6    6,5,4    RR-RR-SD-
    0 2 3    3,2,1    R--R--D--
    0 2 3    9,8,7    R--R--D--
    1 0 1    1,1,1    SSSSSS---
    1 0 12,1 1,1,1    RRRSSS---
    1 1 6,1  7,6,5    RR-SD----
    1 2 3,1  4,3,2    R--D-----
    1 2 3,1  10,9,8   R--D-----
    2 0 1    2,1,1    SSS------
    2 0 12,1 2,1,1    SSS------
    2 1 6,1  8,7,6    SD-------
    2 2 3,1  5,4,3    D--------
    2 2 3,1  11,10,9  D--------
    """,
    protected_by=(2, 2, 2, 1, 1, 1, 0, 0, 0),
    chains=3,
)


@pytest.mark.parametrize(
    ("structure", "highest"),
    [(L1T3, [(0, 2), (0, 1), (0, 0)]), (L3T3, [(s, t) for s in (2, 1, 0) for t in (2, 1, 0)])],
    ids=["L1T3", "L3T3"],
)
def test_examples_of_the_specification(structure: Structure, highest: list[tuple[int, int]]) -> None:
    reader = DependencyReader()
    reader.read(write_descriptor(Descriptor(template_id=1, structure=structure)))
    assert reader.structure == structure
    assert structure.target_layers == tuple(highest)
    for index, template in enumerate(structure.templates):
        # The descriptor of the steady state has three bytes.
        packet = write_descriptor(Descriptor(template_id=1 + index, frame_number=index))
        assert len(packet) == 3
        frame = reader.read(packet)
        assert (frame.spatial, frame.temporal, frame.indications) == (
            template.spatial,
            template.temporal,
            template.indications,
        )
        assert (frame.fdiffs, frame.chain_fdiffs) == (template.fdiffs, template.chain_fdiffs)
        assert frame.active_targets is None
    lowest = len(highest) - 1
    assert reader.targets_within(0, 0) == 1 << lowest
    assert reader.targets_within(*highest[0]) == 2 ** len(highest) - 1


def test_non_symmetric_numbers() -> None:
    """The specification's table for n = 5: decode targets 4, so that chain_cnt is ns(5)."""
    assert [write_ns(5, value) for value in range(5)] == ["00", "01", "10", "110", "111"]
    for chains in range(5):
        t = Template(0, 0, (0,) * 4, (), (0,) * chains)
        structure = Structure(0, 4, chains, (t,), (0,) * 4 if chains else (), (), ((0, 0),) * 4)
        reader = DependencyReader()
        reader.read(write_descriptor(Descriptor(structure=structure)))
        assert reader.structure == structure


def test_a_structure_is_needed() -> None:
    reader = DependencyReader()
    with pytest.raises(UnknownTemplateError):
        reader.read(bytes.fromhex("c00001"))
    assert reader.structure is None
    reader.read(write_descriptor(Descriptor(template_id=3, structure=L1T3)))
    with pytest.raises(UnknownTemplateError):
        reader.read(bytes.fromhex("c60001"))  # template 6 of 1..5


def test_a_malformed_descriptor_leaves_the_last_structure() -> None:
    reader = DependencyReader()
    reader.read(write_descriptor(Descriptor(template_id=1, structure=L1T3)))
    whole = write_descriptor(Descriptor(template_id=1, structure=L3T3))
    for size in range(len(whole)):
        with pytest.raises(ValueError):
            reader.read(whole[:size] if size != 3 else b"")
    with pytest.raises(ValueError):
        reader.read(write_descriptor(Descriptor(template_id=40, structure=L3T3)))  # not of its own structure
    assert reader.structure == L1T3
    assert reader.read(whole).structure == L3T3


def structure_bits(templates: int, next_layer: int, fdiffs: int) -> bytes:
    """One decode target, no chains; each template refers to `fdiffs` frames."""
    out = f(1, 1) + f(1, 1) + f(0, 6) + f(0, 16) + "10000" + f(0, 6) + f(0, 5)
    out += f(next_layer, 2) * (templates - 1) + "11" + "10" * templates
    return to_bytes(out + ("10000" * fdiffs + "0") * templates + "0" + "0")


def test_limits() -> None:
    assert DependencyReader().read(structure_bits(64, 0, 1)).structure is not None
    assert DependencyReader().read(structure_bits(8, 1, 16)).structure is not None
    for templates, next_layer, fdiffs in [(65, 0, 0), (9, 1, 0), (9, 2, 0), (1, 0, 17)]:
        with pytest.raises(ValueError):
            DependencyReader().read(structure_bits(templates, next_layer, fdiffs))
    reader = DependencyReader()
    reader.read(structure_bits(1, 0, 0))
    assert len(reader.read(write_descriptor(Descriptor(fdiffs=((3, 4096),) * 16), reader.structure)).fdiffs) == 16
    with pytest.raises(ValueError):
        reader.read(write_descriptor(Descriptor(fdiffs=((1, 1),) * 17), reader.structure))
