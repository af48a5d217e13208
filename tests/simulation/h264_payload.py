# SPDX-License-Identifier: Apache-2.0
"""H.264 payloads (RFC 6184: single NAL unit, STAP-A, FU-A) in plain Python, and a minimal SPS and PPS to send."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tests.simulation.rtp_packets import MalformedPacket

NAL_SLICE, NAL_IDR, NAL_SPS, NAL_PPS = 1, 5, 7, 8
STAP_A, FU_A = 24, 28
REFERENCE_IDC = 0x60


@dataclass(frozen=True, slots=True)
class H264Packet:
    """What one payload carries. `units` are the NAL unit types that begin here."""

    units: tuple[int, ...]
    fragment: int | None = None
    """NAL unit type of a fragmentation unit."""
    fragment_start: bool = False
    fragment_end: bool = False


def parse_h264(payload: bytes) -> H264Packet:
    """Parse one payload; raises MalformedPacket."""
    if not payload:
        raise MalformedPacket("empty H.264 payload")
    if payload[0] & 0x80:
        raise MalformedPacket("forbidden_zero_bit is set")
    kind = payload[0] & 0x1F
    if kind == STAP_A:
        return H264Packet(_aggregated_units(payload))
    if kind == FU_A:
        if len(payload) < 3:
            raise MalformedPacket("FU-A without a fragment")
        start, end, unit = bool(payload[1] & 0x80), bool(payload[1] & 0x40), payload[1] & 0x1F
        if start and end:
            raise MalformedPacket("FU-A with start and end in one (RFC 6184 §5.8)")
        return H264Packet((unit,) if start else (), unit, start, end)
    if not 1 <= kind <= 23:
        raise MalformedPacket(f"H.264 payload of type {kind}")
    return H264Packet((kind,))


def _aggregated_units(payload: bytes) -> tuple[int, ...]:
    units = []
    at = 1
    while at < len(payload):
        if at + 3 > len(payload):
            raise MalformedPacket("STAP-A unit without a size")
        size = struct.unpack_from("!H", payload, at)[0]
        if size == 0 or at + 2 + size > len(payload):
            raise MalformedPacket("STAP-A unit beyond the payload")
        units.append(payload[at + 2] & 0x1F)
        at += 2 + size
    if not units:
        raise MalformedPacket("empty STAP-A")
    return tuple(units)


def build_stap_a(units: list[bytes]) -> bytes:
    """Aggregate whole NAL units."""
    header = bytes([max(unit[0] & REFERENCE_IDC for unit in units) | STAP_A])
    return header + b"".join(struct.pack("!H", len(unit)) + unit for unit in units)


class _Bits:
    def __init__(self) -> None:
        self.text = ""

    def fixed(self, value: int, bits: int) -> None:
        self.text += format(value, f"0{bits}b")

    def golomb(self, value: int) -> None:
        """Ue(v), H.264 §9.1."""
        binary = format(value + 1, "b")
        self.text += "0" * (len(binary) - 1) + binary

    def bytes(self) -> bytes:
        """With stop bit and emulation prevention (H.264 §7.3.1)."""
        text = self.text + "1"
        text += "0" * (-len(text) % 8)
        raw = bytes(int(text[at : at + 8], 2) for at in range(0, len(text), 8))
        out = bytearray()
        for byte in raw:
            if byte <= 3 and out[-2:] == b"\0\0":
                out.append(3)
            out.append(byte)
        return bytes(out)


def build_sps(width: int, height: int) -> bytes:
    """A constrained baseline SPS (level 3.1) of that size, cropped where it is no multiple of 16."""
    bits = _Bits()
    bits.fixed(66, 8)  # profile_idc
    bits.fixed(0xC0, 8)  # constraint_set0 and 1
    bits.fixed(31, 8)  # level_idc
    bits.golomb(0)  # seq_parameter_set_id
    bits.golomb(0)  # log2_max_frame_num_minus4
    bits.golomb(2)  # pic_order_cnt_type
    bits.golomb(1)  # max_num_ref_frames
    bits.fixed(0, 1)  # gaps_in_frame_num_value_allowed_flag
    columns, rows = (width + 15) // 16, (height + 15) // 16
    bits.golomb(columns - 1)
    bits.golomb(rows - 1)
    bits.fixed(1, 1)  # frame_mbs_only_flag
    bits.fixed(1, 1)  # direct_8x8_inference_flag
    right, bottom = (columns * 16 - width) // 2, (rows * 16 - height) // 2
    bits.fixed(1 if right or bottom else 0, 1)
    if right or bottom:
        for crop in (0, right, 0, bottom):
            bits.golomb(crop)
    bits.fixed(0, 1)  # vui_parameters_present_flag
    return bytes([REFERENCE_IDC | NAL_SPS]) + bits.bytes()


def build_pps() -> bytes:
    """A PPS of set 0, CAVLC."""
    bits = _Bits()
    bits.golomb(0)  # pic_parameter_set_id
    bits.golomb(0)  # seq_parameter_set_id
    bits.fixed(0, 2)  # entropy_coding_mode_flag, bottom_field_pic_order_in_frame_present_flag
    bits.golomb(0)  # num_slice_groups_minus1
    bits.golomb(0)  # num_ref_idx_l0_default_active_minus1
    bits.golomb(0)  # num_ref_idx_l1_default_active_minus1
    bits.fixed(0, 3)  # weighted_pred_flag, weighted_bipred_idc
    for _ in range(3):  # pic_init_qp_minus26, pic_init_qs_minus26, chroma_qp_index_offset
        bits.golomb(0)
    bits.fixed(4, 3)  # deblocking_filter_control_present_flag; no constrained_intra_pred, no redundant_pic_cnt
    return bytes([REFERENCE_IDC | NAL_PPS]) + bits.bytes()
