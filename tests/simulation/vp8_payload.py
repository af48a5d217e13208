# SPDX-License-Identifier: Apache-2.0
"""The VP8 payload descriptor (RFC 7741 §4.2) in plain Python."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tests.simulation.rtp_packets import MalformedPacket

START_CODE = b"\x9d\x01\x2a"
"""RFC 6386 §9.1: behind the frame tag of a keyframe."""


@dataclass(slots=True)
class Vp8Descriptor:
    """The descriptor and, on a frame's first packet, what the payload header says. None = field absent."""

    size: int = 0
    start_of_frame: bool = False
    keyframe: bool = False
    non_reference: bool = False
    picture_id: int | None = None
    long_picture_id: bool = False
    tl0_picture_index: int | None = None
    temporal: int | None = None
    layer_sync: bool = False
    key_index: int | None = None
    width: int = 0
    height: int = 0


def parse_vp8(payload: bytes) -> Vp8Descriptor:
    """Parse the descriptor and a look at the payload header; raises MalformedPacket."""
    try:
        return _parse(payload)
    except IndexError:
        raise MalformedPacket("VP8 descriptor beyond the payload") from None


def _parse(payload: bytes) -> Vp8Descriptor:
    first = payload[0]
    found = Vp8Descriptor(start_of_frame=first & 0x1F == 0x10, non_reference=bool(first & 0x20))
    at = 1
    if first & 0x80:
        present = payload[1]
        at = 2
        if present & 0x80:
            found.picture_id = payload[at] & 0x7F
            found.long_picture_id = payload[at] >= 0x80
            at += 1
            if found.long_picture_id:
                found.picture_id = found.picture_id << 8 | payload[at]
                at += 1
        if present & 0x40:
            found.tl0_picture_index = payload[at]
            at += 1
        if present & 0x30:
            if present & 0x20:
                found.temporal = payload[at] >> 6
                found.layer_sync = bool(payload[at] & 0x20)
            if present & 0x10:
                found.key_index = payload[at] & 0x1F
            at += 1
    if at >= len(payload):
        raise MalformedPacket("VP8 descriptor without a payload")
    found.size = at
    if found.start_of_frame and not payload[at] & 0x01:
        found.keyframe = True
        if len(payload) < at + 10 or payload[at + 3 : at + 6] != START_CODE:
            raise MalformedPacket("VP8 keyframe without its start code")
        width, height = struct.unpack_from("<HH", payload, at + 6)
        found.width, found.height = width & 0x3FFF, height & 0x3FFF
    return found


def build_vp8_descriptor(descriptor: Vp8Descriptor) -> bytes:
    """Serialize the descriptor alone (`size`, `keyframe`, `width` and `height` are the payload's and not written)."""
    first = (0x10 if descriptor.start_of_frame else 0) | (0x20 if descriptor.non_reference else 0)
    present = 0
    fields = b""
    if descriptor.picture_id is not None:
        present |= 0x80
        long = descriptor.long_picture_id
        fields += struct.pack("!H", 0x8000 | descriptor.picture_id) if long else bytes([descriptor.picture_id & 0x7F])
    if descriptor.tl0_picture_index is not None:
        present |= 0x40
        fields += bytes([descriptor.tl0_picture_index])
    if descriptor.temporal is not None or descriptor.key_index is not None:
        last = 0
        if descriptor.temporal is not None:
            present |= 0x20
            last |= descriptor.temporal << 6 | (0x20 if descriptor.layer_sync else 0)
        if descriptor.key_index is not None:
            present |= 0x10
            last |= descriptor.key_index
        fields += bytes([last])
    return bytes([first | 0x80, present]) + fields if present else bytes([first])


def build_vp8_frame_header(keyframe: bool, frame_bytes: int, width: int, height: int) -> bytes:
    """The start of a VP8 frame (RFC 6386 §9.1): 3 bytes, on a keyframe 10."""
    tag = (0 if keyframe else 1) | 1 << 4 | min(frame_bytes, 0x7FFFF) << 5
    header = tag.to_bytes(3, "little")
    return header + START_CODE + struct.pack("<HH", width, height) if keyframe else header
