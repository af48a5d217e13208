# SPDX-License-Identifier: Apache-2.0
"""Dependency structures and descriptors for hypothesis."""

from hypothesis import strategies as st

from sfu.wire.dependencies import Structure, Template
from tests.reference.wire_dependency_descriptor import Descriptor, target_layers


def tuples_of(values: int, count: int) -> st.SearchStrategy[tuple[int, ...]]:
    """`count` numbers below `values` (at most 256); one draw, as there are many of them."""
    return st.binary(min_size=count, max_size=count).map(lambda data: tuple(byte % values for byte in data))


@st.composite
def layers(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Spatial and temporal ids of templates, in the order that the format allows."""
    found = [(0, 0)]
    for step in draw(st.lists(st.integers(0, 2), max_size=9)):
        spatial, temporal = found[-1]
        following = ((spatial, temporal), (spatial, temporal + 1), (spatial + 1, 0))[step]
        if max(following) < 8:
            found.append(following)
    return found


@st.composite
def structures(draw: st.DrawFn) -> Structure:
    targets = draw(st.integers(1, 9) | st.sampled_from((1, 16, 31, 32)))
    chains = draw(st.integers(0, min(targets, 4)) | st.integers(0, targets))
    template = st.builds(
        Template,
        indications=tuples_of(4, targets),
        fdiffs=st.lists(st.integers(1, 16), max_size=4).map(tuple),
        chain_fdiffs=tuples_of(16, chains),
    )
    templates = []
    for spatial, temporal in draw(layers()):
        t = draw(template)
        templates.append(Template(spatial, temporal, t.indications, t.fdiffs, t.chain_fdiffs))
    sizes = st.lists(
        st.tuples(st.integers(1, 65536), st.integers(1, 65536)),
        min_size=templates[-1].spatial + 1,
        max_size=templates[-1].spatial + 1,
    )
    return Structure(
        template_id_offset=draw(st.integers(0, 63)),
        decode_targets=targets,
        chains=chains,
        templates=tuple(templates),
        protected_by=draw(tuples_of(chains, targets)) if chains else (),
        resolutions=draw(st.just(()) | sizes.map(tuple)),
        target_layers=target_layers(targets, templates),
    )


custom_fdiff = st.integers(1, 3).flatmap(lambda size: st.tuples(st.just(size), st.integers(1, 16**size)))


@st.composite
def descriptors(draw: st.DrawFn, structure: Structure, attached: bool = False) -> Descriptor:
    """One packet's descriptor for a structure, which is part of it where `attached`."""
    mask = st.integers(0, 2**structure.decode_targets - 1)
    return Descriptor(
        start_of_frame=draw(st.booleans()),
        end_of_frame=draw(st.booleans()),
        template_id=(structure.template_id_offset + draw(st.integers(0, len(structure.templates) - 1))) % 64,
        frame_number=draw(st.integers(0, 0xFFFF)),
        structure=structure if attached else None,
        mask=draw(st.none() | mask),
        indications=draw(st.none() | tuples_of(4, structure.decode_targets)),
        fdiffs=draw(st.none() | st.lists(custom_fdiff, max_size=16).map(tuple)),
        chain_fdiffs=draw(st.none() | tuples_of(256, structure.chains)),
    )


@st.composite
def streams(draw: st.DrawFn) -> tuple[Structure, Descriptor, list[Descriptor]]:
    """A structure, the descriptor that brings it, and some that use it."""
    structure = draw(structures())
    return (
        structure,
        draw(descriptors(structure, attached=True)),
        draw(st.lists(descriptors(structure), min_size=1, max_size=3)),
    )
