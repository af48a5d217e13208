# SPDX-License-Identifier: Apache-2.0
"""VP8 payload descriptor, bit by bit as RFC 7741 §4.2 and §4.3 draw it."""

from sfu.wire.descriptors import Vp8


def bits(byte: int) -> list[int]:
    return [byte >> (7 - i) & 1 for i in range(8)]


class Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def byte(self) -> int:
        if self.at >= len(self.data):
            raise ValueError("too short")
        self.at += 1
        return self.data[self.at - 1]


def parse_vp8(data: bytes) -> Vp8:
    reader = Reader(data)
    first = reader.byte()
    extended, _, non_reference, start = bits(first)[:4]
    partition = first % 8
    has_id = has_tl0 = has_temporal = has_key_index = 0
    picture_id = tl0 = temporal = key_index = None
    long_picture_id = layer_sync = False
    if extended:
        has_id, has_tl0, has_temporal, has_key_index = bits(reader.byte())[:4]
    if has_id:
        picture_id = reader.byte()
        if picture_id >= 128:
            long_picture_id = True
            picture_id = (picture_id - 128) * 256 + reader.byte()
    if has_tl0:
        tl0 = reader.byte()
    if has_temporal or has_key_index:
        both = reader.byte()
        if has_temporal:
            temporal = both >> 6
            layer_sync = bool(both & 32)
        if has_key_index:
            key_index = both % 32
    payload = data[reader.at :]
    if not payload:
        raise ValueError("no payload")
    start_of_frame = bool(start) and partition == 0
    keyframe = start_of_frame and payload[0] % 2 == 0
    width = height = 0
    if keyframe and len(payload) >= 10 and payload[3:6] == b"\x9d\x01\x2a":
        width = int.from_bytes(payload[6:8], "little") % (1 << 14)
        height = int.from_bytes(payload[8:10], "little") % (1 << 14)
    return Vp8(
        size=reader.at,
        start_of_frame=start_of_frame,
        keyframe=keyframe,
        start_of_partition=bool(start),
        partition=partition,
        non_reference=bool(non_reference),
        picture_id=picture_id,
        long_picture_id=long_picture_id,
        tl0_picture_index=tl0,
        temporal=temporal,
        layer_sync=layer_sync,
        key_index=key_index,
        width=width,
        height=height,
    )


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
