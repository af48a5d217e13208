# SPDX-License-Identifier: Apache-2.0
"""RTCP in plain Python: what publishers and simulated receivers say and hear (RFC 3550, 4585, 5104)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.simulation.rtp_packets import MalformedPacket

SR, RR, SDES, BYE, APP, RTPFB, PSFB, XR = 200, 201, 202, 203, 204, 205, 206, 207
NACK_FORMAT, TRANSPORT_CC_FORMAT = 1, 15
PLI_FORMAT, FIR_FORMAT, AFB_FORMAT = 1, 4, 15


@dataclass(frozen=True, slots=True)
class RtcpPacket:
    """One packet of a compound; `body` is what follows the four-byte header, without padding."""

    packet_type: int
    count: int
    body: bytes


@dataclass(frozen=True, slots=True)
class SenderReport:
    """RFC 3550 §6.4.1, without report blocks."""

    ssrc: int
    ntp: int
    rtp_timestamp: int
    packet_count: int
    octet_count: int


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """RFC 3550 §6.4.1."""

    ssrc: int
    fraction_lost: int = 0
    cumulative_lost: int = 0
    highest_sequence: int = 0
    jitter: int = 0
    last_sr: int = 0
    delay_since_last_sr: int = 0


def parse_rtcp(data: bytes) -> Iterator[RtcpPacket]:
    """The packets of a compound; raises MalformedPacket."""
    at = 0
    while at < len(data):
        if at + 4 > len(data):
            raise MalformedPacket("shorter than an RTCP header")
        first, packet_type, words = struct.unpack_from("!BBH", data, at)
        end = at + 4 * (words + 1)
        if first >> 6 != 2 or end > len(data):
            raise MalformedPacket("RTCP packet beyond the compound, or of another version")
        padding = data[end - 1] if first & 0x20 else 0
        if at + 4 > end - padding:
            raise MalformedPacket("RTCP padding beyond the packet")
        yield RtcpPacket(packet_type, first & 0x1F, data[at + 4 : end - padding])
        at = end


def parse_sender_report(packet: RtcpPacket) -> SenderReport:
    """The sender part of an SR."""
    if len(packet.body) < 24:
        raise MalformedPacket("short sender report")
    return SenderReport(*struct.unpack_from("!IQIII", packet.body))


def parse_report_blocks(packet: RtcpPacket) -> list[ReportBlock]:
    """The report blocks of an SR or RR."""
    at = 24 if packet.packet_type == SR else 4
    if len(packet.body) < at + 24 * packet.count:
        raise MalformedPacket("short report")
    blocks = []
    for offset in range(at, at + 24 * packet.count, 24):
        ssrc, lost, highest, jitter, last_sr, delay = struct.unpack_from("!6I", packet.body, offset)
        cumulative = lost & 0xFFFFFF
        cumulative -= (cumulative & 0x800000) << 1
        blocks.append(ReportBlock(ssrc, lost >> 24, cumulative, highest, jitter, last_sr, delay))
    return blocks


def feedback_ssrcs(packet: RtcpPacket) -> tuple[int, int]:
    """Sender and media source of a feedback packet."""
    if len(packet.body) < 8:
        raise MalformedPacket("short feedback packet")
    sender, media = struct.unpack_from("!II", packet.body)
    return sender, media


def nack_sequences(packet: RtcpPacket) -> list[int]:
    """The sequence numbers that a generic NACK names."""
    sequences = []
    for offset in range(8, len(packet.body) - 3, 4):
        first, mask = struct.unpack_from("!HH", packet.body, offset)
        sequences.append(first)
        sequences += [(first + bit + 1) & 0xFFFF for bit in range(16) if mask >> bit & 1]
    return sequences


def fir_entries(packet: RtcpPacket) -> list[tuple[int, int]]:
    """(SSRC, command number) of each FIR entry."""
    return [
        (struct.unpack_from("!I", packet.body, offset)[0], packet.body[offset + 4])
        for offset in range(8, len(packet.body) - 7, 8)
    ]


def _packet(packet_type: int, count: int, body: bytes) -> bytes:
    return struct.pack("!BBH", 0x80 | count, packet_type, len(body) // 4) + body


def build_sender_report(report: SenderReport) -> bytes:
    """An SR without report blocks."""
    body = struct.pack(
        "!IQIII", report.ssrc, report.ntp, report.rtp_timestamp, report.packet_count, report.octet_count & 0xFFFFFFFF
    )
    return _packet(SR, 0, body)


def build_receiver_report(sender: int, blocks: Sequence[ReportBlock] = ()) -> bytes:
    """An RR."""
    body = struct.pack("!I", sender)
    for block in blocks:
        lost = block.fraction_lost << 24 | block.cumulative_lost & 0xFFFFFF
        body += struct.pack(
            "!6I", block.ssrc, lost, block.highest_sequence, block.jitter, block.last_sr, block.delay_since_last_sr
        )
    return _packet(RR, len(blocks), body)


def build_sdes_cname(ssrc: int, cname: bytes) -> bytes:
    """An SDES packet with one CNAME."""
    item = struct.pack("!IBB", ssrc, 1, len(cname)) + cname
    return _packet(SDES, 1, item + bytes(4 - len(item) % 4))


def build_bye(ssrcs: Sequence[int]) -> bytes:
    """A BYE without a reason."""
    return _packet(BYE, len(ssrcs), struct.pack(f"!{len(ssrcs)}I", *ssrcs))


def build_pli(sender: int, media: int) -> bytes:
    """A picture loss indication (RFC 4585 §6.3.1)."""
    return _packet(PSFB, PLI_FORMAT, struct.pack("!II", sender, media))


def build_fir(sender: int, media: int, command: int) -> bytes:
    """A full intra request for one source (RFC 5104 §4.3.1)."""
    return _packet(PSFB, FIR_FORMAT, struct.pack("!IIIBxxx", sender, 0, media, command))


def build_nack(sender: int, media: int, sequences: Sequence[int]) -> bytes:
    """A generic NACK; `sequences` in sending order (RFC 4585 §6.2.1)."""
    pairs: list[tuple[int, int]] = []
    for sequence in sequences:
        distance = (sequence - pairs[-1][0]) & 0xFFFF if pairs else 0
        if pairs and 1 <= distance <= 16:
            pairs[-1] = (pairs[-1][0], pairs[-1][1] | 1 << (distance - 1))
        else:
            pairs.append((sequence, 0))
    body = struct.pack("!II", sender, media) + b"".join(struct.pack("!HH", *pair) for pair in pairs)
    return _packet(RTPFB, NACK_FORMAT, body)
