# SPDX-License-Identifier: Apache-2.0
"""From RTP payloads back to what a decoder takes: one entry per picture, each with the frames of its spatial layers.

Plain Python after the payload formats' RFCs (7741, 9628, 6184; AV1 RTP specification §4.4), for complete streams only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sfu.engine.codecs import Codec
from tests.reference.wire_vp8 import parse_vp8
from tests.reference.wire_vp9 import parse_vp9
from tests.simulation.rtp_packets import RtpPacket

TEMPORAL_DELIMITER = bytes([0x12, 0x00])
START_CODE = b"\x00\x00\x00\x01"
STAP_A, FU_A = 24, 28


@dataclass
class Picture:
    """All packets of one RTP timestamp."""

    timestamp: int
    packets: list[RtpPacket] = field(default_factory=list)


def pictures(packets: Iterable[RtpPacket], gaps: list[int] | None = None) -> list[Picture]:
    """In the order of sequence numbers. Where one is missing its index in the pictures goes to `gaps`."""
    found: list[Picture] = []
    last = None
    for packet in packets:
        if last is not None and packet.sequence != (last + 1) & 0xFFFF:
            assert gaps is not None, f"a gap: {last}, {packet.sequence}"
            assert packet.sequence == (last + 2) & 0xFFFF, f"a wide gap: {last}, {packet.sequence}"
            gaps.append(len(found))
        last = packet.sequence
        if not found or found[-1].timestamp != packet.timestamp:
            found.append(Picture(packet.timestamp))
        found[-1].packets.append(packet)
    return found


def body(codec: Codec, payload: bytes) -> bytes:
    """Of a payload what no server may change."""
    if codec is Codec.VP8:
        return payload[parse_vp8(payload).size :]
    if codec is Codec.VP9:
        return payload[parse_vp9(payload).size :]
    return payload


def frames(codec: Codec, picture: Picture) -> list[bytes]:
    """The decoder's input for one picture: for VP9 one chunk per spatial layer, else one."""
    payloads = [packet.payload for packet in picture.packets]
    if codec is Codec.VP8:
        return [b"".join(body(codec, payload) for payload in payloads)]
    if codec is Codec.H264:
        return [b"".join(_h264(payloads))]
    if codec is Codec.AV1:
        return [TEMPORAL_DELIMITER + b"".join(_with_size(obu) for obu in _obus(payloads))]
    layers: list[bytes] = []
    for payload in payloads:
        if parse_vp9(payload).start_of_frame:
            layers.append(b"")
        layers[-1] += body(codec, payload)
    return layers


def _h264(payloads: Iterable[bytes]) -> Iterable[bytes]:
    for payload in payloads:
        kind = payload[0] & 0x1F
        if kind == STAP_A:
            at = 1
            while at < len(payload):
                size = int.from_bytes(payload[at : at + 2], "big")
                yield START_CODE + payload[at + 2 : at + 2 + size]
                at += 2 + size
        elif kind == FU_A:
            begins = payload[1] & 0x80
            yield (START_CODE + bytes([payload[0] & 0xE0 | payload[1] & 0x1F]) if begins else b"") + payload[2:]
        else:
            yield START_CODE + payload


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if not byte & 0x80:
            return value, at


def _obus(payloads: Iterable[bytes]) -> list[bytes]:
    found: list[bytes] = []
    for payload in payloads:
        continues, count = payload[0] & 0x80, payload[0] >> 4 & 3
        at, index = 1, 0
        while at < len(payload):
            index += 1
            size = len(payload) - at
            if index != count:
                size, at = _leb128(payload, at)
            element = payload[at : at + size]
            at += size
            if index == 1 and continues:
                found[-1] += element
            else:
                found.append(element)
    return found


def _with_size(obu: bytes) -> bytes:
    """In the low-overhead format an OBU has its size field (AV1 specification §5.2)."""
    head = 2 if obu[0] & 0x04 else 1
    if obu[0] & 0x02:
        return obu
    size, rest = len(obu) - head, b""
    while True:
        rest += bytes([size & 0x7F | (0x80 if size > 0x7F else 0)])
        size >>= 7
        if not size:
            return bytes([obu[0] | 0x02]) + obu[1:head] + rest + obu[head:]
