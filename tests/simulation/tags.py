# SPDX-License-Identifier: Apache-2.0
"""The mark that synthetic publishers leave in each payload, so that the checker knows which frame a packet is of.

It is the ground truth beside the codec's own headers: which publication and layer, which frame, which packet of how
many, and which frames it needs. It lies behind the codec's header, in bytes that no server may look at or change.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

MAGIC = b"\xf5tAg"
MAXIMUM_REFERENCES = 3
_FIXED = struct.Struct("!4sIBBBBIHH")
TAG_BYTES = _FIXED.size + 4 * MAXIMUM_REFERENCES
SEARCH_BYTES = 64
"""In front of a tag are codec headers: a VP8 descriptor and keyframe header (16), or SPS and PPS in a STAP-A."""


@dataclass(frozen=True, slots=True)
class FrameTag:
    """One packet's place in its source."""

    publication: int
    layer: int
    temporal: int
    keyframe: bool
    frame: int
    index: int
    count: int
    references: tuple[int, ...] = ()


def write_tag(tag: FrameTag) -> bytes:
    """Serialize to TAG_BYTES."""
    fixed = _FIXED.pack(
        MAGIC,
        tag.publication,
        tag.layer,
        tag.temporal,
        tag.keyframe,
        len(tag.references),
        tag.frame,
        tag.index,
        tag.count,
    )
    padded = (*tag.references, *(0,) * MAXIMUM_REFERENCES)[:MAXIMUM_REFERENCES]
    return fixed + struct.pack(f"!{MAXIMUM_REFERENCES}I", *padded)


def read_tag(payload: bytes) -> FrameTag | None:
    """The tag of a payload, if it carries one."""
    at = payload.find(MAGIC, 0, SEARCH_BYTES)
    if at < 0 or at + TAG_BYTES > len(payload):
        return None
    _, publication, layer, temporal, keyframe, count, frame, index, packets = _FIXED.unpack_from(payload, at)
    references = struct.unpack_from(f"!{min(count, MAXIMUM_REFERENCES)}I", payload, at + _FIXED.size)
    return FrameTag(publication, layer, temporal, bool(keyframe), frame, index, packets, references)
