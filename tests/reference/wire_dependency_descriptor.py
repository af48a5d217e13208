# SPDX-License-Identifier: Apache-2.0
"""Dependency descriptor over a string of bits, named as in the AV1 RTP specification, appendix A.8.2."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

from sfu.wire.dependencies import Dependency, Structure, Template, UnknownTemplateError
from tests.reference.wire_h264 import Bits

LAYERS_MAX = 8
FDIFFS_MAX = 16


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


def ns(bits: Bits, n: int) -> int:
    w = n.bit_length()
    m = 2**w - n
    v = bits.u(w - 1)
    return v if v < m else 2 * v - m + bits.u(1)


def write_ns(n: int, v: int) -> str:
    w = n.bit_length()
    m = 2**w - n
    return f(v, w - 1) if v < m else f(v + m, w)


def f(value: int, size: int) -> str:
    assert 0 <= value < 2**size
    return f"{value:0{size}b}" if size else ""


def repeated(read: Callable[[], int | None]) -> tuple[int, ...]:
    found: list[int] = []
    while (value := read()) is not None:
        found.append(value)
        if len(found) > FDIFFS_MAX:
            raise ValueError("refers to too many frames")
    return tuple(found)


def target_layers(decode_targets: int, templates: list[Template]) -> tuple[tuple[int, int], ...]:
    layers = []
    for target in range(decode_targets):
        present = [t for t in templates if t.indications[target] != 0]
        layers.append((max((t.spatial for t in present), default=0), max((t.temporal for t in present), default=0)))
    return tuple(layers)


def template_layers(bits: Bits) -> list[Template]:
    templates = [Template()]
    while (next_layer := bits.u(2)) != 3:
        last = templates[-1]
        if next_layer == 0:
            templates.append(last)
        elif next_layer == 1:
            templates.append(Template(last.spatial, last.temporal + 1))
        else:
            templates.append(Template(last.spatial + 1, 0))
        if len(templates) > 64 or max(templates[-1].spatial, templates[-1].temporal) >= LAYERS_MAX:
            raise ValueError("too many templates or layers")
    return templates


def read_structure(bits: Bits) -> Structure:
    offset = bits.u(6)
    targets = bits.u(5) + 1
    templates = template_layers(bits)
    templates = [replace(t, indications=tuple(bits.u(2) for _ in range(targets))) for t in templates]
    templates = [replace(t, fdiffs=repeated(lambda: bits.u(4) + 1 if bits.u(1) else None)) for t in templates]
    chains = ns(bits, targets + 1)
    protected_by: tuple[int, ...] = ()
    if chains:
        protected_by = tuple(ns(bits, chains) for _ in range(targets))
        templates = [replace(t, chain_fdiffs=tuple(bits.u(4) for _ in range(chains))) for t in templates]
    resolutions: list[tuple[int, int]] = []
    if bits.u(1):
        resolutions = [(bits.u(16) + 1, bits.u(16) + 1) for _ in range(templates[-1].spatial + 1)]
    layers = target_layers(targets, templates)
    return Structure(offset, targets, chains, tuple(templates), protected_by, tuple(resolutions), layers)


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


def read_descriptor(data: bytes, last: Structure | None) -> Descriptor:
    """UnknownTemplateError where the structure is missing: the size of what follows is not known then."""
    if len(data) < 3:
        raise ValueError("too short")
    bits = Bits(data)
    start, end, template_id, frame_number = bits.u(1), bits.u(1), bits.u(6), bits.u(16)
    flags = [bits.u(1) for _ in range(5)] if len(data) > 3 else [0] * 5
    structure = read_structure(bits) if flags[0] else None
    used = structure or last
    if used is None:
        raise UnknownTemplateError
    if (template_id - used.template_id_offset) % 64 >= len(used.templates):
        raise ValueError("not of its own structure") if structure else UnknownTemplateError
    mask = bits.u(used.decode_targets) if flags[1] else None
    indications = tuple(bits.u(2) for _ in range(used.decode_targets)) if flags[2] else None
    fdiffs = None
    if flags[3]:
        sizes: list[int] = []

        def read() -> int | None:
            nibbles = bits.u(2)
            sizes.append(nibbles)
            return bits.u(4 * nibbles) + 1 if nibbles else None

        fdiffs = tuple(zip(sizes, repeated(read), strict=False))
    chain_fdiffs = tuple(bits.u(8) for _ in range(used.chains)) if flags[4] else None
    return Descriptor(
        bool(start), bool(end), template_id, frame_number, structure, mask, indications, fdiffs, chain_fdiffs
    )


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


class ReferenceReader:
    """Same interface as `sfu.wire.dependency_descriptor.DependencyReader`."""

    def __init__(self) -> None:
        self.structure: Structure | None = None

    def read(self, data: bytes) -> Dependency:
        descriptor = read_descriptor(data, self.structure)
        dependency = resolve(descriptor, self.structure)
        self.structure = descriptor.structure or self.structure
        return dependency

    def rewrite(self, data: bytes, frame_number: int, active_targets: int | None = None) -> bytes:
        """A descriptor that need not grow keeps its padding; one that grows gets the least."""
        d = replace(read_descriptor(data, self.structure), frame_number=frame_number)
        used = d.structure or self.structure
        assert used is not None
        new = d if active_targets is None else replace(d, mask=active_targets % 2**used.decode_targets)
        text = write_bits(new, self.structure)
        if active_targets is not None and d.mask is None:
            return to_bytes(text)
        kept = "".join(f"{byte:08b}" for byte in data)
        if not new.extended:
            text = kept[:8] + f(frame_number, 16)
        return to_bytes(text + kept[len(text) :])
