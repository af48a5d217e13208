# SPDX-License-Identifier: Apache-2.0
"""VP9 payload descriptors by RFC 9628 §4.2, one field after the other, as its figures print them."""

from __future__ import annotations

from sfu.wire.payloads import Vp9, Vp9Picture, Vp9Scalability
from tests.reference.wire_vp8 import Octets

REFERENCES = 3


def parse_vp9(data: bytes) -> Vp9:
    """Raises ValueError where it is cut off, names a fourth reference, or nothing follows it."""
    octets = Octets(data)
    i, p, has_layers, f, b, e, v, z = _flags(octets.take())
    picture_id = temporal = spatial = tl0 = None
    long_form = up = inter_layer = False
    if i:
        picture_id = octets.take()
        if picture_id & 0x80:
            picture_id, long_form = (picture_id & 0x7F) << 8 | octets.take(), True
    if has_layers:
        layers = octets.take()
        temporal, up, spatial, inter_layer = layers >> 5, bool(layers & 0x10), layers >> 1 & 7, bool(layers & 1)
        if not f:
            tl0 = octets.take()
    p_diffs: list[int] = []
    if f and p:
        more = True
        while more:
            if len(p_diffs) == REFERENCES:
                raise ValueError("a fourth reference")
            octet = octets.take()
            p_diffs.append(octet >> 1)
            more = bool(octet & 1)
    scalability = _scalability(octets) if v else None
    if octets.at == len(data):
        raise ValueError("nothing behind the descriptor")
    return Vp9(
        size=octets.at,
        start_of_frame=b,
        end_of_frame=e,
        inter_picture_predicted=p,
        # A picture that refers to no other one, at the first packet of its lowest layer.
        keyframe=b and not p and not spatial,
        flexible=f,
        not_reference_for_upper_spatial=z,
        picture_id=picture_id,
        long_picture_id=long_form,
        temporal=temporal,
        spatial=spatial,
        switching_up=up,
        inter_layer=inter_layer,
        tl0_picture_index=tl0,
        p_diffs=tuple(p_diffs),
        scalability=scalability,
    )


def _flags(octet: int) -> list[bool]:
    """I P L F B E V Z."""
    return [bool(octet & 1 << bit) for bit in range(7, -1, -1)]


def _scalability(octets: Octets) -> Vp9Scalability:
    head = octets.take()
    layers = (head >> 5) + 1
    sizes = tuple((octets.number(2), octets.number(2)) for _ in range(layers)) if head & 0x10 else None
    group = None
    if head & 0x08:
        group = tuple(_picture(octets) for _ in range(octets.take()))
    return Vp9Scalability(layers, sizes, group)


def _picture(octets: Octets) -> Vp9Picture:
    head = octets.take()
    references = head >> 2 & 3
    return Vp9Picture(head >> 5, bool(head & 0x10), tuple(octets.take() for _ in range(references)))


def rewrite_vp9(data: bytes, picture_id: int, tl0: int) -> bytes:
    """The descriptor with these numbers, the picture id in 15 bits; fields that are not there stay away."""
    size = parse_vp9(data).size
    octets = Octets(data)
    out = bytearray([octets.take()])
    i, _, has_layers, f, *_ = _flags(out[0])
    if i:
        if octets.take() & 0x80:
            octets.take()
        out += (0x8000 | picture_id).to_bytes(2, "big")
    if has_layers:
        out.append(octets.take())
        if not f:
            octets.take()
            out.append(tl0)
    return bytes(out) + data[octets.at : size]


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
