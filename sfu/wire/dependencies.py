# SPDX-License-Identifier: Apache-2.0
"""Dependency descriptors as plain data, for Python callers; read by `sfu.wire.dependency_descriptor`.

Indications say what a frame is to each decode target: 0 not present, 1 discardable, 2 switch, 3 required.
"""

from dataclasses import dataclass


class UnknownTemplateError(ValueError):
    """The descriptor belongs to a structure that was lost or has gone; a keyframe brings a new one."""


@dataclass(frozen=True, slots=True)
class Template:
    """What many frames have in common."""

    spatial: int = 0
    temporal: int = 0
    indications: tuple[int, ...] = (0,)
    fdiffs: tuple[int, ...] = ()
    chain_fdiffs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Structure:
    """Template dependency structure. Tuples are empty where the part is absent; target layers follow from the rest."""

    template_id_offset: int = 0
    decode_targets: int = 1
    chains: int = 0
    templates: tuple[Template, ...] = (Template(),)
    protected_by: tuple[int, ...] = ()
    resolutions: tuple[tuple[int, int], ...] = ()
    target_layers: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Dependency:
    """One packet's descriptor, resolved by its template. `active_targets` is None where nothing is said about them."""

    start_of_frame: bool
    end_of_frame: bool
    template_id: int
    frame_number: int
    spatial: int
    temporal: int
    indications: tuple[int, ...]
    fdiffs: tuple[int, ...]
    chain_fdiffs: tuple[int, ...]
    has_mask: bool
    active_targets: int | None
    structure: Structure | None
    resolution: tuple[int, int] | None
