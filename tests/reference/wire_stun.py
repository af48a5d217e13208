# SPDX-License-Identifier: Apache-2.0
"""STUN messages as RFC 8489 describes them: attributes as a list, checks by the standard library."""

import binascii
import hmac
import ipaddress
import struct

from sfu.wire.stun_messages import Message

COOKIE = 0x2112A442
SIZE_MAX = 1500


def attributes(data: bytes) -> list[tuple[int, int, bytes]]:
    """(offset, type, value) of each; ValueError where the message's frame is not that of STUN."""
    if not 20 <= len(data) <= SIZE_MAX or len(data) % 4 or data[0] >= 4:
        raise ValueError("size or type")
    length, cookie = struct.unpack_from("!HI", data, 2)
    if cookie != COOKIE or length != len(data) - 20:
        raise ValueError("cookie or length")
    found = []
    at = 20
    while at < len(data):
        kind, size = struct.unpack_from("!HH", data, at)
        if at + 4 + size + (-size % 4) > len(data):
            raise ValueError("attribute beyond the message")
        found.append((at, kind, data[at + 4 : at + 4 + size]))
        at += 4 + size + (-size % 4)
    return found


def with_length(data: bytes, behind: int) -> bytes:
    """The message so far, with a length that counts `behind` bytes more."""
    return data[:2] + struct.pack("!H", len(data) - 20 + behind) + data[4:]


def fingerprint(data: bytes) -> int:
    return binascii.crc32(with_length(data, 8)) ^ 0x5354554E


def integrity(data: bytes, key: bytes) -> bytes:
    return hmac.digest(key, with_length(data, 24), "sha1")


def parse_stun(data: bytes) -> Message:
    found = attributes(data)
    ends = [(at, value) for at, kind, value in found if kind == 0x8028]
    for at, value in ends:
        if at != len(data) - 8 or value != struct.pack("!I", fingerprint(data[:at])):
            raise ValueError("fingerprint")
    protected: dict[int, bytes] = {}
    has_integrity = False
    last_tie_breaker = 0
    for _, kind, value in found:
        if has_integrity:
            break
        sizes = {8: 20, 0x24: 4, 0x8029: 8, 0x802A: 8}
        if kind in sizes and len(value) != sizes[kind]:
            raise ValueError("attribute size")
        if kind in (0x8029, 0x802A):
            last_tie_breaker = int.from_bytes(value, "big")
        if kind != 6 or 6 not in protected:
            protected[kind] = value
        has_integrity = kind == 8
    return Message(
        type=int.from_bytes(data[:2], "big"),
        transaction_id=data[8:20],
        username=protected.get(6),
        use_candidate=0x25 in protected,
        controlling=0x802A in protected,
        controlled=0x8029 in protected,
        tie_breaker=last_tie_breaker,
        priority=int.from_bytes(protected.get(0x24, b""), "big"),
        has_integrity=has_integrity,
        has_fingerprint=bool(ends),
    )


def verify(data: bytes, key: bytes) -> bool:
    for at, kind, value in attributes(data):
        if kind == 8:
            return value == integrity(data[:at], key)
    return False


def write(kind: int, transaction_id: bytes, values: list[tuple[int, bytes]], key: bytes | None) -> bytes:
    """A message of these attributes, then MESSAGE-INTEGRITY if there is a key, then FINGERPRINT."""
    data = struct.pack("!HHI", kind, 0, COOKIE) + transaction_id
    for attribute, value in values:
        data += struct.pack("!HH", attribute, len(value)) + value + bytes(-len(value) % 4)
    if key is not None:
        data += struct.pack("!HH", 8, 20) + integrity(data, key)
    data += struct.pack("!HHI", 0x8028, 4, fingerprint(data))
    return with_length(data, 0)


def xor_mapped_address(host: str, port: int, transaction_id: bytes) -> bytes:
    ip = ipaddress.ip_address(host)
    mask = (struct.pack("!I", COOKIE) + transaction_id)[: len(ip.packed)]
    masked = bytes(a ^ b for a, b in zip(ip.packed, mask, strict=True))
    return struct.pack("!BBH", 0, 1 if ip.version == 4 else 2, port ^ COOKIE >> 16) + masked
