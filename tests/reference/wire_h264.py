# SPDX-License-Identifier: Apache-2.0
"""H.264 payloads (RFC 6184) and the sequence parameter set (ITU-T H.264 §7.3.2.1.1), over a string of bits."""

from dataclasses import dataclass

from sfu.wire.descriptors import H264

HIGH_PROFILES = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}
SIDE_MACROBLOCKS_MAX = 1055  # no picture of level 6.2 is wider or higher


def unescape(data: bytes) -> bytes:
    """Removes emulation prevention: in 00 00 03 the 03 is no payload."""
    out = bytearray()
    zeros = 0
    for byte in data:
        if zeros >= 2 and byte == 3:
            zeros = 0
            continue
        zeros = zeros + 1 if byte == 0 else 0
        out.append(byte)
    return bytes(out)


def escape(data: bytes) -> bytes:
    out = bytearray()
    zeros = 0
    for byte in data:
        if zeros >= 2 and byte <= 3:
            out.append(3)
            zeros = 0
        zeros = zeros + 1 if byte == 0 else 0
        out.append(byte)
    return bytes(out)


class Bits:
    def __init__(self, data: bytes) -> None:
        self.text = "".join(f"{byte:08b}" for byte in data)

    def u(self, size: int) -> int:
        if len(self.text) < size:
            raise ValueError("cut off")
        taken, self.text = self.text[:size], self.text[size:]
        return int(taken, 2) if taken else 0

    def ue(self, limit: int = 2**32 - 2) -> int:
        prefix = 0
        while self.u(1) == 0:
            prefix += 1
            if prefix > 31:
                raise ValueError("too long a code")
        value = (1 << prefix) - 1 + self.u(prefix)
        if value > limit:
            raise ValueError("beyond its limit")
        return value

    def se(self) -> int:
        code = self.ue()
        return (code + 1) // 2 if code % 2 else -(code // 2)


def skip_scaling_list(bits: Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.se()) % 256
        last = following or last


def read_chroma(bits: Bits) -> int:
    chroma = bits.ue(3)
    separate = bits.u(1) if chroma == 3 else 0
    bits.ue(6)
    bits.ue(6)
    bits.u(1)
    if bits.u(1):
        for i in range(12 if chroma == 3 else 8):
            if bits.u(1):
                skip_scaling_list(bits, 16 if i < 6 else 64)
    return 0 if separate else chroma


def skip_picture_order(bits: Bits) -> None:
    kind = bits.ue(2)
    if kind == 0:
        bits.ue(12)
    elif kind == 1:
        bits.u(1)
        bits.se()
        bits.se()
        for _ in range(bits.ue(255)):
            bits.se()


def sps_size(body: bytes) -> tuple[int, int]:
    """Width and height; `body` follows the NAL header. ValueError where it cannot be read or is beyond any level."""
    bits = Bits(unescape(body))
    profile = bits.u(8)
    bits.u(16)
    bits.ue(31)
    chroma = read_chroma(bits) if profile in HIGH_PROFILES else 1
    bits.ue(12)
    skip_picture_order(bits)
    bits.ue(16)
    bits.u(1)
    width = 16 * (bits.ue(SIDE_MACROBLOCKS_MAX - 1) + 1)
    map_units = bits.ue(SIDE_MACROBLOCKS_MAX - 1) + 1
    frames_only = bits.u(1)
    height = 16 * map_units * (2 - frames_only)
    if not frames_only:
        bits.u(1)
    bits.u(1)
    if bits.u(1):
        unit_x = {0: 1, 1: 2, 2: 2, 3: 1}[chroma]
        unit_y = {0: 1, 1: 2, 2: 1, 3: 1}[chroma] * (2 - frames_only)
        crop_x = unit_x * (bits.ue(width) + bits.ue(width))
        crop_y = unit_y * (bits.ue(height) + bits.ue(height))
        if crop_x >= width or crop_y >= height:
            raise ValueError("nothing left")
        width -= crop_x
        height -= crop_y
    if height > 16 * SIDE_MACROBLOCKS_MAX:
        raise ValueError("too high")
    return width, height


def nal_starts(payload: bytes) -> list[tuple[int, bytes]]:
    """(type, body) of each NAL unit that starts in the payload."""
    if not payload:
        raise ValueError("empty")
    kind = payload[0] % 32
    if 1 <= kind <= 23:
        return [(kind, payload[1:])]
    if kind == 24:
        found = []
        rest = payload[1:]
        if not rest:
            raise ValueError("empty aggregate")
        while rest:
            size = int.from_bytes(rest[:2], "big")
            if len(rest) < 2 or size == 0 or size > len(rest) - 2:
                raise ValueError("aggregate")
            found.append((rest[2] % 32, rest[3 : 2 + size]))
            rest = rest[2 + size :]
        return found
    if kind == 28:
        if len(payload) < 2:
            raise ValueError("fragment")
        return [(payload[1] % 32, payload[2:])] if payload[1] & 0x80 else []
    raise ValueError("not a type of packetization modes 0 and 1")


def parse_h264(payload: bytes) -> H264:
    units = nal_starts(payload)
    has_sps = any(kind == 7 for kind, _ in units)
    has_idr = any(kind == 5 for kind, _ in units)
    hint = False
    if units:
        kind, body = units[0]
        hint = kind in (6, 7, 8, 9) or (kind in (1, 2, 5) and body[:1] >= b"\x80")
    width = height = 0
    for kind, body in units:
        if kind == 7:
            try:
                width, height = sps_size(body)
            except ValueError:
                continue
    return H264(
        keyframe=has_sps or has_idr,
        has_sps=has_sps,
        has_idr=has_idr,
        start_of_frame_hint=hint,
        width=width,
        height=height,
    )


@dataclass(frozen=True)
class Sps:
    """What a made-up SPS says; `sps_bytes` writes it."""

    profile: int = 66
    width_macroblocks: int = 40
    height_map_units: int = 22
    frames_only: bool = True
    crop: tuple[int, int, int, int] | None = None
    chroma: int = 1
    separate_planes: bool = False
    scaling: tuple[tuple[int, ...] | None, ...] | None = None
    picture_order: int = 0
    poc_offsets: tuple[int, ...] = ()
    reference_frames: int = 1


def ue(value: int) -> str:
    digits = f"{value + 1:b}"
    return "0" * (len(digits) - 1) + digits


def se(value: int) -> str:
    return ue(2 * value - 1 if value > 0 else -2 * value)


def sps_bytes(sps: Sps) -> bytes:
    """The body after the NAL header, with emulation prevention. A scaling list is written as its deltas."""
    text = f"{sps.profile:08b}" + "00000000" + "00011111" + ue(0)
    if sps.profile in HIGH_PROFILES:
        text += ue(sps.chroma) + (str(int(sps.separate_planes)) if sps.chroma == 3 else "") + ue(0) + ue(0) + "0"
        text += "0" if sps.scaling is None else "1"
        for deltas in sps.scaling or ():
            text += "0" if deltas is None else "1" + "".join(map(se, deltas))
    text += ue(0) + ue(sps.picture_order)
    if sps.picture_order == 0:
        text += ue(4)
    elif sps.picture_order == 1:
        text += "0" + se(-3) + se(5) + ue(len(sps.poc_offsets)) + "".join(map(se, sps.poc_offsets))
    text += ue(sps.reference_frames) + "0" + ue(sps.width_macroblocks - 1) + ue(sps.height_map_units - 1)
    text += "1" if sps.frames_only else "01"
    text += "1" + ("0" if sps.crop is None else "1" + "".join(map(ue, sps.crop)))
    text += "0" + "1"
    text += "0" * (-len(text) % 8)
    return escape(int(text, 2).to_bytes(len(text) // 8, "big"))
