# SPDX-License-Identifier: Apache-2.0
"""What VP9, AV1 and RED payloads say, as plain data; read by `sfu.wire.vp9`, `sfu.wire.av1` and `sfu.wire.red`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Vp9Picture:
    """One picture of a VP9 picture group."""

    temporal: int = 0
    switching_up: bool = False
    p_diffs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Vp9Scalability:
    """VP9 scalability structure. None = the part is absent; a resolution is (width, height) of one spatial layer."""

    spatial_layers: int = 1
    resolutions: tuple[tuple[int, int], ...] | None = None
    group: tuple[Vp9Picture, ...] | None = None


@dataclass(frozen=True, slots=True)
class Vp9:
    """VP9 payload descriptor. None = the field is absent."""

    size: int = 0
    start_of_frame: bool = False
    end_of_frame: bool = False
    inter_picture_predicted: bool = False
    keyframe: bool = False
    flexible: bool = False
    not_reference_for_upper_spatial: bool = False
    picture_id: int | None = None
    long_picture_id: bool = False
    temporal: int | None = None
    spatial: int | None = None
    switching_up: bool = False
    inter_layer: bool = False
    tl0_picture_index: int | None = None
    p_diffs: tuple[int, ...] = ()
    scalability: Vp9Scalability | None = None


@dataclass(frozen=True, slots=True)
class Av1:
    """What one RTP payload of AV1 tells; width and height are 0 without a readable sequence header."""

    starts_with_fragment: bool = False
    ends_with_fragment: bool = False
    new_sequence: bool = False
    elements: int = 0
    has_sequence_header: bool = False
    temporal: int | None = None
    spatial: int | None = None
    width: int = 0
    height: int = 0


@dataclass(frozen=True, slots=True)
class RedBlock:
    """One block of a RED payload. Its RTP timestamp is the packet's minus the offset (0 for the primary)."""

    payload_type: int
    timestamp_offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Red:
    """A RED payload: what was sent before, oldest first, and what is new."""

    redundant: tuple[RedBlock, ...]
    primary: RedBlock
