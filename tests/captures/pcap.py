# SPDX-License-Identifier: Apache-2.0
"""RTP in pcap files, as UDP over IPv4 between documentation addresses: Wireshark reads them ("decode as" RTP)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

MAGIC, VERSION, SNAPLEN = 0xA1B2C3D4, (2, 4), 65535  # microseconds
LINKTYPE_RAW = 101  # begins with the IP header
FILE_HEADER = struct.Struct("<IHHiIII")
RECORD = struct.Struct("<IIII")
IP_UDP = struct.Struct(">BBHHHBBH4s4sHHHH")
PUBLISHER, SERVER = (bytes([192, 0, 2, 1]), 5004), (bytes([192, 0, 2, 2]), 5004)  # RFC 5737
MICROSECONDS = 1_000_000


class Timed(NamedTuple):
    at_us: int
    """Since the capture's first packet."""
    data: bytes


def write_pcap(path: Path, packets: Iterable[Timed]) -> None:
    with path.open("wb") as out:
        out.write(FILE_HEADER.pack(MAGIC, *VERSION, 0, 0, SNAPLEN, LINKTYPE_RAW))
        for at_us, data in packets:
            header = IP_UDP.pack(
                *(0x45, 0, IP_UDP.size + len(data), 0, 0, 64, 17, 0),
                *(PUBLISHER[0], SERVER[0], PUBLISHER[1], SERVER[1], 8 + len(data), 0),
            )
            size = IP_UDP.size + len(data)
            out.write(RECORD.pack(at_us // MICROSECONDS, at_us % MICROSECONDS, size, size) + header + data)


def read_pcap(path: Path) -> Iterator[Timed]:
    content = path.read_bytes()
    magic, *_, link = FILE_HEADER.unpack_from(content)
    if magic != MAGIC or link != LINKTYPE_RAW:
        raise ValueError(f"{path} is not a pcap file as this module writes it")
    at = FILE_HEADER.size
    while at < len(content):
        seconds, microseconds, size, _ = RECORD.unpack_from(content, at)
        at += RECORD.size
        yield Timed(seconds * MICROSECONDS + microseconds, content[at + IP_UDP.size : at + size])
        at += size
