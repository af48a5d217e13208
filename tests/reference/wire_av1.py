# SPDX-License-Identifier: Apache-2.0
"""AV1 payloads (AV1 RTP specification §4), OBU and sequence headers (AV1 §5.3 and §5.5) over strings of bits."""

from contextlib import suppress
from dataclasses import dataclass

from sfu.wire.payloads import Av1
from tests.reference.wire_h264 import Bits

SEQUENCE_HEADER = 1
ELEMENTS_MAX = 255


@dataclass(frozen=True)
class OperatingPoint:
    idc: int = 0
    level: int = 8
    tier: int = 0
    decoder_delays: tuple[int, int] | None = None
    display_delay: int | None = None


@dataclass(frozen=True)
class SequenceHeader:
    """What stands before the picture size. Delays of operating points have `delay_size` bits, 0 = no decoder model."""

    profile: int = 0
    still: bool = False
    reduced: bool = False
    timing: bool = False
    ticks_per_picture: int | None = None
    delay_size: int = 0
    display_delays: bool = False
    points: tuple[OperatingPoint, ...] = (OperatingPoint(),)
    size_bits: tuple[int, int] = (16, 16)
    width: int = 640
    height: int = 360


def leb128(value: int, size: int = 1) -> bytes:
    """In at least `size` bytes, as the format allows."""
    out: list[int] = []
    while value >= 128 or len(out) + 1 < size:
        out.append(128 + value % 128)
        value //= 128
    return bytes([*out, value])


def read_leb128(data: bytes) -> tuple[int, bytes]:
    """(value, what follows)."""
    value = 0
    for i, byte in enumerate(data[:8]):
        value += byte % 128 << 7 * i
        if byte < 128:
            break
    else:
        raise ValueError("cut off or too long")
    if value >= 2**32:
        raise ValueError("too large")
    return value, data[i + 1 :]


def read_uvlc(bits: Bits) -> int:
    zeros = 0
    while not bits.u(1):
        zeros += 1
    return 2**32 - 1 if zeros >= 32 else bits.u(zeros) + 2**zeros - 1


def write_uvlc(value: int) -> str:
    if value == 2**32 - 1:
        return "0" * 32 + "1"
    text = f"{value + 1:b}"
    return "0" * (len(text) - 1) + text


def sequence_size(body: bytes) -> tuple[int, int]:
    bits = Bits(body)
    bits.u(4)
    if bits.u(1):
        bits.u(5)
    else:
        delay_size = 0
        if bits.u(1):
            bits.u(64)
            if bits.u(1):
                read_uvlc(bits)
            if bits.u(1):
                delay_size = bits.u(5) + 1
                bits.u(42)
        display_delays = bits.u(1)
        for _ in range(bits.u(5) + 1):
            bits.u(12)
            if bits.u(5) > 7:
                bits.u(1)
            if delay_size and bits.u(1):
                bits.u(2 * delay_size + 1)
            if display_delays and bits.u(1):
                bits.u(4)
    width_bits = bits.u(4) + 1
    height_bits = bits.u(4) + 1
    return bits.u(width_bits) + 1, bits.u(height_bits) + 1


def write_sequence_header(s: SequenceHeader) -> bytes:
    out = f"{s.profile:03b}{s.still:b}{s.reduced:b}"
    if s.reduced:
        out += "01000"
    else:
        out += f"{s.timing:b}"
        if s.timing:
            out += f"{1:032b}{30:032b}{s.ticks_per_picture is not None:b}"
            out += "" if s.ticks_per_picture is None else write_uvlc(s.ticks_per_picture)
            out += f"{s.delay_size > 0:b}"
            out += f"{s.delay_size - 1:05b}{90000:032b}{9:05b}{7:05b}" if s.delay_size else ""
        out += f"{s.display_delays:b}{len(s.points) - 1:05b}"
        for point in s.points:
            out += f"{point.idc:012b}{point.level:05b}"
            out += f"{point.tier:b}" if point.level > 7 else ""
            if s.timing and s.delay_size:
                delays = point.decoder_delays
                out += (
                    "0"
                    if delays is None
                    else "1" + "".join(f"{delay % 2**s.delay_size:0{s.delay_size}b}" for delay in delays) + "1"
                )
            if s.display_delays:
                out += "0" if point.display_delay is None else f"1{point.display_delay:04b}"
    out += f"{s.size_bits[0] - 1:04b}{s.size_bits[1] - 1:04b}"
    out += f"{s.width - 1:0{s.size_bits[0]}b}{s.height - 1:0{s.size_bits[1]}b}"
    out += "1" + "0" * (-(len(out) + 1) % 8)
    return int(out, 2).to_bytes(len(out) // 8, "big")


def obu(kind: int, body: bytes, layer: tuple[int, int] | None = None, has_size: bool = False) -> bytes:
    out = bytes([kind * 8 + 4 * (layer is not None) + 2 * has_size])
    if layer is not None:
        out += bytes([layer[0] * 32 + layer[1] * 8])
    return out + (leb128(len(body)) if has_size else b"") + body


def write_av1(elements: list[bytes], counted: bool, z: bool = False, y: bool = False, n: bool = False) -> bytes:
    """`counted`: with W, so that the last element has no length; possible for one to three."""
    w = len(elements) if counted else 0
    out = bytes([128 * z + 64 * y + 16 * w + 8 * n])
    for i, element in enumerate(elements):
        out += element if counted and i + 1 == w else leb128(len(element)) + element
    return out


def split_elements(data: bytes) -> list[bytes]:
    w = data[0] >> 4 & 3
    rest = data[1:]
    elements: list[bytes] = []
    while rest:
        size, following = (len(rest), rest) if w and len(elements) + 1 == w else read_leb128(rest)
        if size > len(following):
            raise ValueError("cut off")
        elements.append(following[:size])
        rest = following[size:]
    if (w and len(elements) != w) or len(elements) > ELEMENTS_MAX:
        raise ValueError("wrong number of elements")
    return elements


def read_obu(element: bytes) -> tuple[int, tuple[int, int] | None, bytes | None, bool]:
    """(type, layer, body, complete); the body is None where the element ends before it."""
    kind, has_extension, has_size = element[0] >> 3 & 15, element[0] & 4, element[0] & 2
    layer = None
    body = element[1:]
    if has_extension:
        if not body:
            return kind, None, None, False
        layer = (body[0] >> 5, body[0] >> 3 & 3)
        body = body[1:]
    if not has_size:
        return kind, layer, body, True
    try:
        size, body = read_leb128(body)
    except ValueError:
        return kind, layer, None, False
    return kind, layer, body[:size], size <= len(body)


def parse_av1(data: bytes) -> Av1:
    if len(data) < 2:
        raise ValueError("too short")
    z, y, n = bool(data[0] & 128), bool(data[0] & 64), bool(data[0] & 8)
    if n and z:
        raise ValueError("a sequence cannot start with a fragment")
    elements = split_elements(data)
    layer = None
    width = height = 0
    has_sequence_header = False
    for i, element in enumerate(elements):
        if not element or (i == 0 and z):
            continue
        if element[0] & 128:
            raise ValueError("forbidden bit")
        cut = y and i + 1 == len(elements)
        kind, own_layer, body, complete = read_obu(element)
        if not complete and not cut:
            raise ValueError("cut off")
        layer = own_layer or layer
        if kind == SEQUENCE_HEADER and body is not None:
            has_sequence_header = True
            with suppress(ValueError):
                width, height = sequence_size(body)
    temporal, spatial = layer or (None, None)
    return Av1(z, y, n, len(elements), has_sequence_header, temporal, spatial, width, height)
