# SPDX-License-Identifier: Apache-2.0
"""VP9 payload descriptor, field by field as RFC 9628 §4.2 and §4.2.1 draw it."""

from dataclasses import replace

from sfu.wire.payloads import Vp9, Vp9Picture, Vp9Scalability
from tests.reference.wire_vp8 import Reader, bits


def read_scalability(reader: Reader) -> Vp9Scalability:
    first = reader.byte()
    layers = first // 32 + 1
    has_resolutions, has_group = bits(first)[3:5]
    resolutions = None
    if has_resolutions:
        numbers = [reader.byte() * 256 + reader.byte() for _ in range(2 * layers)]
        resolutions = tuple(zip(numbers[::2], numbers[1::2], strict=True))
    group = None
    if has_group:
        pictures = []
        for _ in range(reader.byte()):
            byte = reader.byte()
            p_diffs = tuple(reader.byte() for _ in range(byte // 4 % 4))
            pictures.append(Vp9Picture(byte // 32, bool(byte & 16), p_diffs))
        group = tuple(pictures)
    return Vp9Scalability(layers, resolutions, group)


def parse_vp9(data: bytes) -> Vp9:
    reader = Reader(data)
    has_id, predicted, has_layers, flexible, start, end, has_scalability, no_reference = bits(reader.byte())
    picture_id = temporal = spatial = tl0 = scalability = None
    long_picture_id = switching_up = inter_layer = False
    p_diffs: list[int] = []
    if has_id:
        picture_id = reader.byte()
        if picture_id >= 128:
            long_picture_id = True
            picture_id = (picture_id - 128) * 256 + reader.byte()
    if has_layers:
        byte = reader.byte()
        temporal, spatial = byte // 32, byte // 2 % 8
        switching_up, inter_layer = bool(byte & 16), bool(byte & 1)
        if not flexible:
            tl0 = reader.byte()
    if predicted and flexible:
        more = 1
        while more:
            if len(p_diffs) == 3:
                raise ValueError("more than three references")
            p_diff, more = divmod(reader.byte(), 2)
            p_diffs.append(p_diff)
    if has_scalability:
        scalability = read_scalability(reader)
    if reader.at == len(data):
        raise ValueError("no payload")
    return Vp9(
        size=reader.at,
        start_of_frame=bool(start),
        end_of_frame=bool(end),
        inter_picture_predicted=bool(predicted),
        keyframe=bool(start) and not predicted and spatial in (None, 0),
        flexible=bool(flexible),
        not_reference_for_upper_spatial=bool(no_reference),
        picture_id=picture_id,
        long_picture_id=long_picture_id,
        temporal=temporal,
        spatial=spatial,
        switching_up=switching_up,
        inter_layer=inter_layer,
        tl0_picture_index=tl0,
        p_diffs=tuple(p_diffs),
        scalability=scalability,
    )


def write_scalability(s: Vp9Scalability) -> bytes:
    out = bytearray([32 * (s.spatial_layers - 1) + 16 * (s.resolutions is not None) + 8 * (s.group is not None)])
    for width, height in s.resolutions or ():
        out += width.to_bytes(2, "big") + height.to_bytes(2, "big")
    if s.group is not None:
        out.append(len(s.group))
        for picture in s.group:
            out.append(32 * picture.temporal + 16 * picture.switching_up + 4 * len(picture.p_diffs))
            out += bytes(picture.p_diffs)
    return bytes(out)


def write_vp9(d: Vp9) -> bytes:
    """Size and keyframe are not written: they follow from the rest."""
    flags = [
        d.picture_id is not None,
        d.inter_picture_predicted,
        d.spatial is not None,
        d.flexible,
        d.start_of_frame,
        d.end_of_frame,
        d.scalability is not None,
        d.not_reference_for_upper_spatial,
    ]
    out = bytearray([sum(flag << (7 - i) for i, flag in enumerate(flags))])
    if d.picture_id is not None:
        out += (0x8000 + d.picture_id).to_bytes(2, "big") if d.long_picture_id else bytes([d.picture_id])
    if d.spatial is not None and d.temporal is not None:
        out.append(32 * d.temporal + 16 * d.switching_up + 2 * d.spatial + d.inter_layer)
        if not d.flexible:
            out.append(d.tl0_picture_index or 0)
    for i, p_diff in enumerate(d.p_diffs):
        out.append(2 * p_diff + (i + 1 < len(d.p_diffs)))
    if d.scalability is not None:
        out += write_scalability(d.scalability)
    return bytes(out)


def rewrite_vp9(data: bytes, picture_id: int, tl0: int) -> bytes:
    """What an outgoing copy's descriptor has to be, reserved bits apart."""
    d = parse_vp9(data)
    return write_vp9(
        replace(
            d,
            picture_id=None if d.picture_id is None else picture_id,
            long_picture_id=d.picture_id is not None,
            tl0_picture_index=None if d.tl0_picture_index is None else tl0,
        )
    )
