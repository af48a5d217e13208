# SPDX-License-Identifier: Apache-2.0
"""Redundant audio, as RFC 2198 §3 describes it."""

from sfu.wire.payloads import Red, RedBlock

BLOCKS_MAX = 32  # redundant ones, a limit of ours


def parse_red(data: bytes) -> Red:
    headers: list[tuple[int, int, int]] = []
    at = 0
    while True:
        if at == len(data):
            raise ValueError("no primary block")
        if data[at] < 128:
            primary_type = data[at]
            at += 1
            break
        header = int.from_bytes(data[at : at + 4], "big")
        at += 4
        if at > len(data) or len(headers) == BLOCKS_MAX:
            raise ValueError("cut off, or too many blocks")
        headers.append((header >> 24 & 0x7F, header >> 10 & 0x3FFF, header & 0x3FF))
    blocks = []
    for payload_type, timestamp_offset, size in headers:
        block = data[at : at + size]
        if len(block) < size:
            raise ValueError("cut off")
        blocks.append(RedBlock(payload_type, timestamp_offset, block))
        at += size
    return Red(tuple(blocks), RedBlock(primary_type, 0, data[at:]))


def write_red(red: Red) -> bytes:
    out = b""
    for block in red.redundant:
        out += bytes([128 + block.payload_type]) + (block.timestamp_offset * 1024 + len(block.data)).to_bytes(3, "big")
    out += bytes([red.primary.payload_type])
    return out + b"".join(block.data for block in red.redundant) + red.primary.data
