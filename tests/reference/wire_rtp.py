# SPDX-License-Identifier: Apache-2.0
"""RTP (RFC 3550 §5.1) and its header extensions (RFC 8285), read and written the plain way."""

import struct
from dataclasses import dataclass, field


@dataclass
class Rtp:
    payload_type: int
    marker: bool
    sequence_number: int
    timestamp: int
    ssrc: int
    csrcs: tuple[int, ...] = ()
    extensions: dict[int, bytes] = field(default_factory=dict)
    payload: bytes = b""
    padding_size: int = 0


def take(data: bytes, size: int) -> tuple[bytes, bytes]:
    if len(data) < size:
        raise ValueError("too short")
    return data[:size], data[size:]


def parse_rtp(data: bytes) -> Rtp:
    fixed, rest = take(data, 12)
    first, second, sequence_number, timestamp, ssrc = struct.unpack("!BBHII", fixed)
    if first >> 6 != 2:
        raise ValueError("not version 2")
    csrc_count = first & 15
    csrc_bytes, rest = take(rest, 4 * csrc_count)
    extensions = {}
    if first & 0x10:
        head, rest = take(rest, 4)
        profile, words = struct.unpack("!HH", head)
        block, rest = take(rest, 4 * words)
        extensions = parse_extensions(profile, block)
    padding_size = 0
    if first & 0x20:
        if not rest or not 1 <= rest[-1] <= len(rest):
            raise ValueError("padding")
        padding_size = rest[-1]
        rest = rest[:-padding_size]
    return Rtp(
        payload_type=second & 0x7F,
        marker=second >= 0x80,
        sequence_number=sequence_number,
        timestamp=timestamp,
        ssrc=ssrc,
        csrcs=struct.unpack(f"!{csrc_count}I", csrc_bytes),
        extensions=extensions,
        payload=rest,
        padding_size=padding_size,
    )


def parse_extensions(profile: int, block: bytes) -> dict[int, bytes]:
    if profile == 0xBEDE:
        return parse_one_byte(block)
    if profile >> 4 == 0x100:
        return parse_two_byte(block)
    return {}


def parse_one_byte(block: bytes) -> dict[int, bytes]:
    found = {}
    while block:
        if block[0] == 0:
            block = block[1:]
            continue
        head, block = take(block, 1)
        identifier, size = head[0] >> 4, (head[0] & 15) + 1
        if identifier in (0, 15):
            break
        found[identifier], block = take(block, size)
    return found


def parse_two_byte(block: bytes) -> dict[int, bytes]:
    found = {}
    while block:
        if block[0] == 0:
            block = block[1:]
            continue
        head, block = take(block, 2)
        found[head[0]], block = take(block, head[1])
    return found


def write_rtp(packet: Rtp) -> bytes:
    block = write_extensions(packet.extensions)
    first = 0x80 | (0x20 if packet.padding_size else 0) | (0x10 if block else 0) | len(packet.csrcs)
    second = (0x80 if packet.marker else 0) | packet.payload_type
    data = struct.pack("!BBHII", first, second, packet.sequence_number, packet.timestamp, packet.ssrc)
    data += b"".join(struct.pack("!I", csrc) for csrc in packet.csrcs)
    data += block + packet.payload
    if packet.padding_size:
        data += bytes(packet.padding_size - 1) + bytes([packet.padding_size])
    return data


def write_extensions(extensions: dict[int, bytes]) -> bytes:
    if not extensions:
        return b""
    one_byte = all(identifier <= 14 and 1 <= len(value) <= 16 for identifier, value in extensions.items())
    body = b""
    for identifier, value in extensions.items():
        head = [identifier << 4 | len(value) - 1] if one_byte else [identifier, len(value)]
        body += bytes(head) + value
    body += bytes(-len(body) % 4)
    return struct.pack("!HH", 0xBEDE if one_byte else 0x1000, len(body) // 4) + body
