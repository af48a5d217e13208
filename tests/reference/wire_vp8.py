# SPDX-License-Identifier: Apache-2.0
"""VP8 payload descriptors by RFC 7741 §4.2, one field after the other, as its figure prints them."""

from __future__ import annotations

from sfu.wire.descriptors import Vp8

START_CODE = b"\x9d\x01\x2a"
"""RFC 6386 §9.1, behind the three bytes of a key frame's tag."""


class Octets:
    """Reads a payload from its beginning; what is not there is an error."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self) -> int:
        if self.at >= len(self.data):
            raise ValueError("cut off")
        self.at += 1
        return self.data[self.at - 1]

    def number(self, octets: int) -> int:
        value = 0
        for _ in range(octets):
            value = value * 256 + self.take()
        return value


def parse_vp8(data: bytes) -> Vp8:
    """Raises ValueError where it is cut off, or nothing follows it."""
    octets = Octets(data)
    first = octets.take()
    extended, non_reference, start, partition = first & 0x80, first & 0x20, first & 0x10, first & 0x07
    what = octets.take() if extended else 0
    picture_id = tl0 = temporal = key_index = None
    sync = long_form = False
    if what & 0x80:
        picture_id = octets.take()
        if picture_id & 0x80:
            picture_id = (picture_id & 0x7F) << 8 | octets.take()
            long_form = True
    if what & 0x40:
        tl0 = octets.take()
    if what & 0x30:
        both = octets.take()
        if what & 0x20:
            temporal, sync = both >> 6, bool(both & 0x20)
        if what & 0x10:
            key_index = both & 0x1F
    rest = data[octets.at :]
    if not rest:
        raise ValueError("nothing behind the descriptor")
    begins = bool(start) and partition == 0
    key = begins and rest[0] & 1 == 0
    sized = key and len(rest) >= 10 and rest[3:6] == START_CODE
    return Vp8(
        size=octets.at,
        start_of_frame=begins,
        keyframe=key,
        start_of_partition=bool(start),
        partition=partition,
        non_reference=bool(non_reference),
        picture_id=picture_id,
        long_picture_id=long_form,
        tl0_picture_index=tl0,
        temporal=temporal,
        layer_sync=sync,
        key_index=key_index,
        width=int.from_bytes(rest[6:8], "little") & 0x3FFF if sized else 0,
        height=int.from_bytes(rest[8:10], "little") & 0x3FFF if sized else 0,
    )


def renumber_vp8(data: bytes, picture_id: int, tl0: int) -> bytes:
    """The whole payload with these numbers, the picture id in 15 bits; fields that are not there stay away."""
    octets = Octets(data)
    out = bytearray([octets.take()])
    if out[0] & 0x80:
        what = octets.take()
        out.append(what)
        if what & 0x80:
            if octets.take() & 0x80:
                octets.take()
            out += (0x8000 | picture_id).to_bytes(2, "big")
        if what & 0x40:
            octets.take()
            out.append(tl0)
    return bytes(out) + data[octets.at :]


def write_vp8(d: Vp8) -> bytes:
    """With the picture id in its 15-bit form, whatever it came in."""
    fields = b""
    flags = 0
    if d.picture_id is not None:
        flags += 128
        fields += (0x8000 + d.picture_id).to_bytes(2, "big")
    if d.tl0_picture_index is not None:
        flags += 64
        fields += bytes([d.tl0_picture_index])
    if d.temporal is not None:
        flags += 32
    if d.key_index is not None:
        flags += 16
    if d.temporal is not None or d.key_index is not None:
        sync = 32 if d.layer_sync and d.temporal is not None else 0
        fields += bytes([((d.temporal or 0) << 6) + sync + (d.key_index or 0)])
    first = (128 if flags else 0) + 32 * d.non_reference + 16 * d.start_of_partition + d.partition
    return bytes([first, flags]) + fields if flags else bytes([first])
