# SPDX-License-Identifier: Apache-2.0
"""RTCP by the book: RFC 3550 §6, RFC 4585 §6, RFC 5104 §4.3.1, draft-alvestrand-rmcat-remb-03, and transport-wide
feedback, draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1.

The dataclasses are those of the code under test.
"""

import struct

from sfu.wire.rtcp_messages import (
    FullIntraRequest,
    Goodbye,
    Nack,
    Other,
    Packet,
    PictureLossIndication,
    ReceiverReport,
    Remb,
    ReportBlock,
    SenderReport,
    SourceDescription,
    TransportFeedback,
)

NOT_RECEIVED, SMALL, LARGE = 0, 1, 2


def parse_compound(data: bytes) -> list[Packet]:
    packets = []
    while data:
        if len(data) < 4 or data[0] >> 6 != 2:
            raise ValueError("header")
        size = 4 + 4 * int.from_bytes(data[2:4], "big")
        if size > len(data):
            raise ValueError("beyond the datagram")
        packets.append(parse_packet(data[:size]))
        data = data[size:]
    return packets


def parse_packet(data: bytes) -> Packet:
    count, packet_type = data[0] % 32, data[1]
    body = data[4:]
    if data[0] & 0x20:
        if not body or not 1 <= body[-1] <= len(body):
            raise ValueError("padding")
        body = body[: -body[-1]]
    if packet_type == 200:
        ssrc, ntp, rtp_timestamp, packet_count, octet_count = unpack("!IQIII", body)
        return SenderReport(ssrc, ntp, rtp_timestamp, packet_count, octet_count, parse_blocks(body[24:], count))
    if packet_type == 201:
        (ssrc,) = unpack("!I", body)
        return ReceiverReport(ssrc, parse_blocks(body[4:], count))
    if packet_type == 202:
        return parse_sdes(data, body, count)
    if packet_type == 203:
        return Goodbye(unpack(f"!{count}I", body))
    if packet_type == 205:
        return parse_transport_layer(data, body, count)
    if packet_type == 206:
        return parse_payload_specific(data, body, count)
    return Other(packet_type, count, data)


def unpack(layout: str, data: bytes) -> tuple[int, ...]:
    if len(data) < struct.calcsize(layout):
        raise ValueError("too short")
    return struct.unpack_from(layout, data)


def parse_blocks(data: bytes, count: int) -> tuple[ReportBlock, ...]:
    blocks = []
    for i in range(count):
        ssrc, lost, highest, jitter, last_sr, delay = unpack("!IIIIII", data[24 * i :])
        cumulative = lost % (1 << 24)
        if cumulative >= 1 << 23:
            cumulative -= 1 << 24
        blocks.append(ReportBlock(ssrc, lost >> 24, cumulative, highest, jitter, last_sr, delay))
    return tuple(blocks)


def parse_sdes(data: bytes, body: bytes, count: int) -> Packet:
    """One chunk with a CNAME alone; all else is left to `Other`."""
    other = Other(202, count, data)
    if count != 1 or len(body) < 8 or body[4] != 1:
        return other
    cname, behind = body[6 : 6 + body[5]], body[6 + body[5] :]
    if behind[:1] != b"\0":
        return other
    return SourceDescription(int.from_bytes(body[:4], "big"), cname)


def parse_transport_layer(data: bytes, body: bytes, format_: int) -> Packet:
    sender, media = unpack("!II", body)
    if format_ == 15:
        return parse_transport_cc(sender, media, body[8:])
    if format_ != 1:
        return Other(205, format_, data)
    sequences = []
    for at in range(8, len(body) - 3, 4):
        first, bitmask = unpack("!HH", body[at:])
        sequences.append(first)
        sequences += [(first + 1 + bit) % 65536 for bit in range(16) if bitmask >> bit & 1]
    return Nack(sender, media, tuple(sequences))


def parse_payload_specific(data: bytes, body: bytes, format_: int) -> Packet:
    sender, media = unpack("!II", body)
    if format_ == 1:
        return PictureLossIndication(sender, media)
    if format_ == 4:
        entries = [unpack("!IB", body[at:]) for at in range(8, len(body) - 7, 8)]
        return FullIntraRequest(sender, tuple((ssrc, command) for ssrc, command in entries))
    if format_ == 15 and body[8:12] == b"REMB" and len(body) >= 16 + 4 * body[12]:
        numbers = int.from_bytes(body[13:16], "big")
        bitrate = (numbers % (1 << 18)) << (numbers >> 18)
        if bitrate < 1 << 64:
            return Remb(sender, bitrate, struct.unpack_from(f"!{body[12]}I", body, 16))
    return Other(206, format_, data)


def parse_transport_cc(sender: int, media: int, data: bytes) -> TransportFeedback:
    base, count, reference_and_number = unpack("!HHI", data)
    data = data[8:]
    symbols: list[int] = []
    while len(symbols) < count:
        (chunk,) = unpack("!H", data)
        data = data[2:]
        symbols += chunk_symbols(chunk)
    reference = reference_and_number >> 8
    if reference >= 1 << 23:
        reference -= 1 << 24
    now_us = reference * 64000
    arrivals: list[int | None] = []
    for symbol in symbols[:count]:
        if symbol == NOT_RECEIVED:
            arrivals.append(None)
            continue
        if symbol not in (SMALL, LARGE):
            raise ValueError("reserved symbol")
        (delta,) = unpack("!B" if symbol == SMALL else "!h", data)
        data = data[symbol:]
        now_us += 250 * delta
        arrivals.append(now_us)
    return TransportFeedback(sender, media, base, reference_and_number % 256, tuple(arrivals))


def chunk_symbols(chunk: int) -> list[int]:
    if chunk < 0x8000:
        return [chunk >> 13] * (chunk % 8192)
    if chunk < 0xC000:
        return [chunk >> shift & 1 for shift in range(13, -1, -1)]
    return [chunk >> shift & 3 for shift in range(12, -2, -2)]


def write_packet(packet_type: int, count: int, body: bytes) -> bytes:
    """With the padding bit and count where the body does not end on a 32-bit border, as libwebrtc does."""
    padding = -len(body) % 4
    if padding:
        body += bytes(padding - 1) + bytes([padding])
    return struct.pack("!BBH", 0x80 | (0x20 if padding else 0) | count, packet_type, len(body) // 4) + body


def write_transport_cc(packet: TransportFeedback) -> bytes:
    """All of it in one packet; ValueError where a delta does not fit."""
    received = [arrival for arrival in packet.arrivals_us if arrival is not None]
    reference = received[0] // 64000
    previous = reference * 256
    symbols, deltas = [], b""
    for arrival in packet.arrivals_us:
        if arrival is None:
            symbols.append(NOT_RECEIVED)
            continue
        delta = arrival // 250 - previous
        previous += delta
        if not -32768 <= delta <= 32767:
            raise ValueError("delta")
        symbols.append(SMALL if 0 <= delta <= 255 else LARGE)
        deltas += struct.pack("!B" if 0 <= delta <= 255 else "!h", delta)
    head = struct.pack("!IIHH", packet.sender, packet.media, packet.base_sequence, len(symbols))
    head += (reference % (1 << 24) << 8 | packet.feedback_count).to_bytes(4, "big")
    return write_packet(205, 15, head + write_chunks(symbols) + deltas)


def write_chunks(symbols: list[int]) -> bytes:
    """What libwebrtc writes: a run where 7 are alike and a vector would not hold more, else 14 one-bit or 7 two-bit."""
    out = b""
    while symbols:
        run = next((i for i, symbol in enumerate(symbols[:8191]) if symbol != symbols[0]), min(len(symbols), 8191))
        small = next((i for i, symbol in enumerate(symbols[:14]) if symbol == LARGE), min(len(symbols), 14))
        if run == len(symbols) or run >= 14 or (run >= 7 and small <= run):
            chunk, taken = symbols[0] << 13 | run, run
        elif small == 14 or (small == len(symbols) and small > 7):
            taken = small
            chunk = 0x8000 + sum(symbol << (13 - i) for i, symbol in enumerate(symbols[:taken]))
        else:
            taken = min(7, len(symbols))
            chunk = 0xC000 + sum(symbol << (12 - 2 * i) for i, symbol in enumerate(symbols[:taken]))
        out += struct.pack("!H", chunk)
        symbols = symbols[taken:]
    return out


def write_nack(packet: Nack) -> bytes:
    body = struct.pack("!II", packet.sender, packet.media)
    rest = list(packet.sequences)
    while rest:
        first = rest[0]
        distances = [(sequence - first) % 65536 for sequence in rest]
        covered = next((i for i, distance in enumerate(distances) if distance > 16), len(rest))
        bitmask = {1 << distance - 1 for distance in distances[:covered] if distance}
        body += struct.pack("!HH", first, sum(bitmask))
        rest = rest[covered:]
    return write_packet(205, 1, body)


def write_remb(packet: Remb) -> bytes:
    exponent = max(0, packet.bitrate_bps.bit_length() - 18)
    numbers = exponent << 18 | packet.bitrate_bps >> exponent
    body = struct.pack("!II4sB", packet.sender, 0, b"REMB", len(packet.ssrcs)) + numbers.to_bytes(3, "big")
    return write_packet(206, 15, body + struct.pack(f"!{len(packet.ssrcs)}I", *packet.ssrcs))


def write_report(packet: SenderReport | ReceiverReport) -> bytes:
    body = struct.pack("!I", packet.ssrc)
    if isinstance(packet, SenderReport):
        body += struct.pack("!QIII", packet.ntp, packet.rtp_timestamp, packet.packet_count, packet.octet_count)
    for block in packet.reports:
        lost = max(-(1 << 23), min(block.cumulative_lost, (1 << 23) - 1)) % (1 << 24)
        body += struct.pack("!II", block.ssrc, block.fraction_lost << 24 | lost)
        body += struct.pack("!IIII", block.highest_sequence, block.jitter, block.last_sr, block.delay_since_last_sr)
    return write_packet(200 if isinstance(packet, SenderReport) else 201, len(packet.reports), body)


def write_sdes(packet: SourceDescription) -> bytes:
    chunk = struct.pack("!IBB", packet.ssrc, 1, len(packet.cname)) + packet.cname + b"\0"
    return write_packet(202, 1, chunk + bytes(-len(chunk) % 4))
