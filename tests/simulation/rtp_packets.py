# SPDX-License-Identifier: Apache-2.0
"""RTP in plain Python (RFC 3550, RFC 8285): the simulation must not judge the engine by the engine's own parser."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

ONE_BYTE_PROFILE = 0xBEDE
"""RFC 8285 §4.2."""
TWO_BYTE_PROFILE = 0x1000
"""RFC 8285 §4.3: 0x100 and four application bits."""
FIXED_HEADER_BYTES = 12
MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
RID = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
REPAIRED_RID = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
AUDIO_LEVEL = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
TRANSPORT_CC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
ABS_SEND_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"


class MalformedPacket(ValueError):
    """Bytes that are not what their headers claim."""


@dataclass(slots=True)
class RtpPacket:
    """One parsed packet; `payload` is without padding, `extensions` keep their order on the wire."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    csrcs: tuple[int, ...] = ()
    extensions: tuple[tuple[int, bytes], ...] = ()
    payload: bytes = b""
    padding: int = 0


def is_rtcp(data: bytes) -> bool:
    """RFC 5761 §4: RTCP packet types are 192–223 in the second byte."""
    return len(data) >= 2 and 192 <= data[1] <= 223


def parse_rtp(data: bytes) -> RtpPacket:
    """Parse one packet; raises MalformedPacket."""
    if len(data) < FIXED_HEADER_BYTES:
        raise MalformedPacket("shorter than an RTP header")
    first, second, sequence, timestamp, ssrc = struct.unpack_from("!BBHII", data)
    if first >> 6 != 2:
        raise MalformedPacket(f"RTP version {first >> 6}")
    offset = FIXED_HEADER_BYTES + 4 * (first & 0x0F)
    if offset > len(data):
        raise MalformedPacket("CSRC list beyond the packet")
    csrcs = struct.unpack_from(f"!{first & 0x0F}I", data, FIXED_HEADER_BYTES)
    extensions: tuple[tuple[int, bytes], ...] = ()
    if first & 0x10:
        if offset + 4 > len(data):
            raise MalformedPacket("extension header beyond the packet")
        profile, words = struct.unpack_from("!HH", data, offset)
        offset += 4
        if offset + 4 * words > len(data):
            raise MalformedPacket("extension block beyond the packet")
        extensions = _parse_extensions(profile, data[offset : offset + 4 * words])
        offset += 4 * words
    padding = 0
    if first & 0x20:
        padding = data[-1]
        if padding == 0 or offset + padding > len(data):
            raise MalformedPacket(f"padding of {padding} bytes")
    payload = data[offset : len(data) - padding]
    return RtpPacket(second & 0x7F, second >= 0x80, sequence, timestamp, ssrc, csrcs, extensions, payload, padding)


def _parse_extensions(profile: int, block: bytes) -> tuple[tuple[int, bytes], ...]:
    two_byte = profile & 0xFFF0 == TWO_BYTE_PROFILE
    if profile != ONE_BYTE_PROFILE and not two_byte:
        raise MalformedPacket(f"extension profile {profile:#06x}")
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(block):
        if block[at] == 0:  # padding between elements
            at += 1
            continue
        if two_byte:
            if at + 2 > len(block):
                raise MalformedPacket("extension element beyond the block")
            identifier, size, at = block[at], block[at + 1], at + 2
        else:
            identifier, size, at = block[at] >> 4, (block[at] & 0x0F) + 1, at + 1
            if identifier == 15:  # reserved: stop here (RFC 8285 §4.2)
                break
        if at + size > len(block):
            raise MalformedPacket(f"extension {identifier} beyond the block")
        found.append((identifier, block[at : at + size]))
        at += size
    return tuple(found)


def build_rtp(packet: RtpPacket, *, two_byte: bool = False) -> bytes:
    """Serialize; the one-byte extension form unless asked otherwise or an element does not fit it."""
    first = 0x80 | len(packet.csrcs) | (0x10 if packet.extensions else 0) | (0x20 if packet.padding else 0)
    second = packet.payload_type | (0x80 if packet.marker else 0)
    parts = [struct.pack("!BBHII", first, second, packet.sequence, packet.timestamp, packet.ssrc)]
    parts += [struct.pack("!I", csrc) for csrc in packet.csrcs]
    if packet.extensions:
        parts.append(_build_extensions(packet.extensions, two_byte=two_byte))
    parts.append(packet.payload)
    if packet.padding:
        parts.append(bytes(packet.padding - 1) + bytes([packet.padding]))
    return b"".join(parts)


def _build_extensions(extensions: Iterable[tuple[int, bytes]], *, two_byte: bool) -> bytes:
    elements = list(extensions)
    two_byte = two_byte or any(identifier > 14 or not 1 <= len(value) <= 16 for identifier, value in elements)
    block = b"".join(
        (bytes([identifier, len(value)]) if two_byte else bytes([identifier << 4 | (len(value) - 1)])) + value
        for identifier, value in elements
    )
    block += bytes(-len(block) % 4)
    return struct.pack("!HH", TWO_BYTE_PROFILE if two_byte else ONE_BYTE_PROFILE, len(block) // 4) + block


def extend(value: int, reference: int, bits: int) -> int:
    """The number nearest to `reference` whose low `bits` are `value`."""
    span = 1 << bits
    delta = (value - reference) & (span - 1)
    return reference + (delta - span if delta >= span >> 1 else delta)
