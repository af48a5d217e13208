# SPDX-License-Identifier: Apache-2.0
"""Dependency descriptors by appendix A.8 of the AV1 RTP specification, function by function of its syntax tables."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from sfu.wire.dependencies import Dependency, Structure, Template, UnknownTemplateError

TEMPLATES, LAYERS, REFERENCES, TEMPLATE_IDS = 64, 8, 16, 64
"""What the kernel takes; the syntax itself has no limit but the last."""
NO_MORE_LAYERS = 3


class Bits:
    """f(n) and ns(n) of A.8.1."""

    def __init__(self, data: bytes) -> None:
        self.value = int.from_bytes(data, "big")
        self.size = 8 * len(data)
        self.at = 0

    def f(self, count: int) -> int:
        self.at += count
        if self.at > self.size:
            raise ValueError("cut off")
        return self.value >> (self.size - self.at) & ((1 << count) - 1)

    def ns(self, n: int) -> int:
        w = n.bit_length()
        m = (1 << w) - n
        v = self.f(w - 1)
        return v if v < m else 2 * v - m + self.f(1)


@dataclass(frozen=True)
class Where:
    """Bits of a descriptor that a forwarder changes."""

    mask_at: int
    has_mask: bool
    targets: int
    end: int


def read_structure(bits: Bits) -> Structure:
    """template_dependency_structure()."""
    offset, targets = bits.f(6), bits.f(5) + 1
    layers = [(0, 0)]
    while (step := bits.f(2)) != NO_MORE_LAYERS:
        spatial, temporal = layers[-1]
        layers.append([(spatial, temporal), (spatial, temporal + 1), (spatial + 1, 0)][step])
        if len(layers) > TEMPLATES or max(layers[-1]) >= LAYERS:
            raise ValueError("too many templates or layers")
    indications = [tuple(bits.f(2) for _ in range(targets)) for _ in layers]
    fdiffs = []
    for _ in layers:
        found: list[int] = []
        while bits.f(1):
            found.append(bits.f(4) + 1)
        if len(found) > REFERENCES:
            raise ValueError("too many references")
        fdiffs.append(tuple(found))
    chains = bits.ns(targets + 1)
    protected_by = tuple(bits.ns(chains) for _ in range(targets)) if chains else ()
    chain_fdiffs = [tuple(bits.f(4) for _ in range(chains)) for _ in layers]
    sizes: tuple[tuple[int, int], ...] = ()
    if bits.f(1):
        sizes = tuple((bits.f(16) + 1, bits.f(16) + 1) for _ in range(layers[-1][0] + 1))
    tops = []
    for target in range(targets):
        present = [layer for layer, row in zip(layers, indications, strict=True) if row[target]]
        tops.append((max((s for s, _ in present), default=0), max((t for _, t in present), default=0)))
    templates = tuple(
        Template(*layer, row, diffs, chain)
        for layer, row, diffs, chain in zip(layers, indications, fdiffs, chain_fdiffs, strict=True)
    )
    return Structure(offset, targets, chains, templates, protected_by, sizes, tuple(tops))


def read_descriptor(data: bytes, known: Structure | None) -> tuple[Dependency, Where]:
    """dependency_descriptor(), with the structure that was attached last."""
    bits = Bits(data)
    start, end, template_id, number = bool(bits.f(1)), bool(bits.f(1)), bits.f(6), bits.f(16)
    attached, masked, own_indications, own_fdiffs, own_chains = [len(data) > 3 and bool(bits.f(1)) for _ in range(5)]
    structure = read_structure(bits) if attached else known
    if structure is None:
        raise UnknownTemplateError("no structure")
    index = (template_id - structure.template_id_offset) % TEMPLATE_IDS
    if index >= len(structure.templates):
        raise ValueError("no template of its own") if attached else UnknownTemplateError("another structure's")
    mask_at = bits.at
    active = (1 << structure.decode_targets) - 1 if attached else None
    if masked:
        active = bits.f(structure.decode_targets)
    template = structure.templates[index]
    indications, fdiffs, chain_fdiffs = template.indications, template.fdiffs, template.chain_fdiffs
    if own_indications:
        indications = tuple(bits.f(2) for _ in range(structure.decode_targets))
    if own_fdiffs:
        found: list[int] = []
        while size := bits.f(2):
            found.append(bits.f(4 * size) + 1)
            if len(found) > REFERENCES:
                raise ValueError("too many references")
        fdiffs = tuple(found)
    if own_chains:
        chain_fdiffs = tuple(bits.f(8) for _ in range(structure.chains))
    dependency = Dependency(
        start_of_frame=start,
        end_of_frame=end,
        template_id=template_id,
        frame_number=number,
        spatial=template.spatial,
        temporal=template.temporal,
        indications=indications,
        fdiffs=fdiffs,
        chain_fdiffs=chain_fdiffs,
        has_mask=bool(masked),
        active_targets=active,
        structure=structure if attached else None,
        resolution=structure.resolutions[template.spatial] if structure.resolutions else None,
    )
    return dependency, Where(mask_at, bool(masked), structure.decode_targets, bits.at)


def renumber(data: bytes, where: Where, frame_number: int, mask: int | None) -> bytes:
    """With another frame number and, unless None, that set of active decode targets."""
    bits = "".join(f"{octet:08b}" for octet in data)
    if mask is not None:
        told = f"{mask % (1 << where.targets):0{where.targets}b}"
        if where.has_mask:
            bits = bits[: where.mask_at] + told + bits[where.mask_at + where.targets :]
        elif len(data) == 3:
            bits += "01000" + told
        else:
            # The second of the five flags behind the frame number.
            bits = bits[:25] + "1" + bits[26 : where.mask_at] + told + bits[where.mask_at : where.end]
    bits = bits[:8] + f"{frame_number:016b}" + bits[24:]
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))


class ReferenceReader:
    """Same interface as `sfu.wire.dependency_descriptor.DependencyReader`."""

    def __init__(self) -> None:
        self.structure: Structure | None = None

    def read(self, data: bytes) -> Dependency:
        """Raises UnknownTemplateError, ValueError."""
        dependency, _ = read_descriptor(data, self.structure)
        self.structure = dependency.structure or self.structure
        return dependency

    def rewrite(self, data: bytes, frame_number: int, active_targets: int | None = None) -> bytes:
        """Without keeping its structure."""
        _, where = read_descriptor(data, self.structure)
        return renumber(data, where, frame_number, active_targets)


@dataclass(frozen=True)
class Descriptor:
    """The syntax elements. Custom fdiffs are (size in nibbles, fdiff), as the writer may choose more than it needs."""

    start_of_frame: bool = True
    end_of_frame: bool = True
    template_id: int = 0
    frame_number: int = 0
    structure: Structure | None = None
    mask: int | None = None
    indications: tuple[int, ...] | None = None
    fdiffs: tuple[tuple[int, int], ...] | None = None
    chain_fdiffs: tuple[int, ...] | None = None

    @property
    def extended(self) -> bool:
        parts = (self.structure, self.mask, self.indications, self.fdiffs, self.chain_fdiffs)
        return any(part is not None for part in parts)


def write_ns(n: int, v: int) -> str:
    w = n.bit_length()
    m = 2**w - n
    return f(v, w - 1) if v < m else f(v + m, w)


def f(value: int, size: int) -> str:
    assert 0 <= value < 2**size
    return f"{value:0{size}b}" if size else ""


def target_layers(decode_targets: int, templates: list[Template]) -> tuple[tuple[int, int], ...]:
    layers = []
    for target in range(decode_targets):
        present = [t for t in templates if t.indications[target] != 0]
        layers.append((max((t.spatial for t in present), default=0), max((t.temporal for t in present), default=0)))
    return tuple(layers)


def write_structure(s: Structure) -> str:
    out = f(s.template_id_offset, 6) + f(s.decode_targets - 1, 5)
    layers = [(t.spatial, t.temporal) for t in s.templates]
    for (spatial, temporal), following in pairwise(layers):
        out += f([(spatial, temporal), (spatial, temporal + 1), (spatial + 1, 0)].index(following), 2)
    out += f(3, 2)
    out += "".join(f(indication, 2) for t in s.templates for indication in t.indications)
    out += "".join("".join("1" + f(fdiff - 1, 4) for fdiff in t.fdiffs) + "0" for t in s.templates)
    out += write_ns(s.decode_targets + 1, s.chains)
    if s.chains:
        out += "".join(write_ns(s.chains, chain) for chain in s.protected_by)
        out += "".join(f(fdiff, 4) for t in s.templates for fdiff in t.chain_fdiffs)
    out += f(bool(s.resolutions), 1)
    out += "".join(f(width - 1, 16) + f(height - 1, 16) for width, height in s.resolutions)
    return out


def write_bits(d: Descriptor, last: Structure | None) -> str:
    out = f(d.start_of_frame, 1) + f(d.end_of_frame, 1) + f(d.template_id, 6) + f(d.frame_number, 16)
    if not d.extended:
        return out
    used = d.structure or last
    assert used is not None
    parts = (d.structure, d.mask, d.indications, d.fdiffs, d.chain_fdiffs)
    out += "".join("0" if part is None else "1" for part in parts)
    if d.structure is not None:
        out += write_structure(d.structure)
    if d.mask is not None:
        out += f(d.mask, used.decode_targets)
    out += "".join(f(indication, 2) for indication in d.indications or ())
    if d.fdiffs is not None:
        out += "".join(f(nibbles, 2) + f(fdiff - 1, 4 * nibbles) for nibbles, fdiff in d.fdiffs) + "00"
    return out + "".join(f(fdiff, 8) for fdiff in d.chain_fdiffs or ())


def to_bytes(text: str) -> bytes:
    padded = text + "0" * (-len(text) % 8)
    return int(padded, 2).to_bytes(len(padded) // 8, "big")


def write_descriptor(d: Descriptor, last: Structure | None = None) -> bytes:
    return to_bytes(write_bits(d, last))


def resolve(d: Descriptor, last: Structure | None) -> Dependency:
    used = d.structure or last
    assert used is not None
    t = used.templates[(d.template_id - used.template_id_offset) % 64]
    active = d.mask
    if active is None and d.structure is not None:
        active = 2**used.decode_targets - 1
    return Dependency(
        start_of_frame=d.start_of_frame,
        end_of_frame=d.end_of_frame,
        template_id=d.template_id,
        frame_number=d.frame_number,
        spatial=t.spatial,
        temporal=t.temporal,
        indications=t.indications if d.indications is None else d.indications,
        fdiffs=t.fdiffs if d.fdiffs is None else tuple(fdiff for _, fdiff in d.fdiffs),
        chain_fdiffs=t.chain_fdiffs if d.chain_fdiffs is None else d.chain_fdiffs,
        has_mask=d.mask is not None,
        active_targets=active,
        structure=d.structure,
        resolution=used.resolutions[t.spatial] if used.resolutions else None,
    )
