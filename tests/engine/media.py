# SPDX-License-Identifier: Apache-2.0
"""Streams made packet by packet: the behaviour tests say exactly what comes, in which order, and what is left out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tests.engine.router_driver import (
    AUDIO_LEVEL_ID,
    MID_ID,
    ORIENTATION_ID,
    REPAIRED_RID_ID,
    RID_ID,
    TRANSPORT_CC_ID,
)
from tests.simulation.h264_payload import FU_A, NAL_IDR, NAL_SLICE, REFERENCE_IDC, build_pps, build_sps, build_stap_a
from tests.simulation.rtp_packets import RtpPacket
from tests.simulation.vp8_payload import Vp8Descriptor, build_vp8_descriptor, build_vp8_frame_header, parse_vp8

FRAME_TICKS = 3_000
"""30 frames a second at 90 kHz."""
AUDIO_TICKS = 960
BODY_MAGIC = b"BODY"


def body(packet: RtpPacket) -> bytes:
    """What identifies a synthetic payload, behind the codec's headers."""
    at = packet.payload.find(BODY_MAGIC)
    assert at >= 0, packet
    return packet.payload[at:]


def bodies(packets: list[RtpPacket]) -> list[bytes]:
    """Of each packet."""
    return [body(packet) for packet in packets]


@dataclass
class Stream:
    """One inbound SSRC."""

    ssrc: int
    payload_type: int
    mid: bytes = b"1"
    rid: bytes = b""
    rtx_ssrc: int = 0
    rtx_payload_type: int = 97
    sequence: int = 500
    timestamp: int = 70_000
    identify: bool = True
    orientation: int | None = None
    transport_sequence: int | None = None
    rtx_sequence: int = 9_000
    made: int = 0

    def extensions(self, *, rtx: bool = False) -> tuple[tuple[int, bytes], ...]:
        """Header extensions of the next packet."""
        found: list[tuple[int, bytes]] = []
        if self.identify:
            found.append((MID_ID, self.mid))
            if self.rid:
                found.append((REPAIRED_RID_ID if rtx else RID_ID, self.rid))
        if self.orientation is not None:
            found.append((ORIENTATION_ID, bytes([self.orientation])))
        if self.transport_sequence is not None:
            found.append((TRANSPORT_CC_ID, self.transport_sequence.to_bytes(2, "big")))
            self.transport_sequence = (self.transport_sequence + 1) & 0xFFFF
        return tuple(found)

    def packet(self, payload: bytes, *, marker: bool = True, padding: int = 0) -> RtpPacket:
        """The next packet."""
        packet = RtpPacket(
            self.payload_type,
            marker,
            self.sequence,
            self.timestamp & 0xFFFFFFFF,
            self.ssrc,
            extensions=self.extensions(),
            payload=payload,
            padding=padding,
        )
        self.sequence = (self.sequence + 1) & 0xFFFF
        return packet

    def padding_only(self, size: int = 200) -> RtpPacket:
        """A packet without payload, with the last frame's timestamp."""
        return self.packet(b"", marker=False, padding=size)

    def retransmission(self, packet: RtpPacket) -> RtpPacket:
        """RFC 4588: the packet again, on the RTX SSRC."""
        again = replace(
            packet,
            payload_type=self.rtx_payload_type,
            ssrc=self.rtx_ssrc,
            sequence=self.rtx_sequence,
            payload=packet.sequence.to_bytes(2, "big") + packet.payload,
            extensions=self.extensions(rtx=True),
        )
        self.rtx_sequence = (self.rtx_sequence + 1) & 0xFFFF
        return again

    def identity(self) -> bytes:
        """A body that no other packet has."""
        self.made += 1
        return BODY_MAGIC + b"%d/%d" % (self.ssrc, self.made)


@dataclass
class Vp8Stream(Stream):
    """VP8 frames."""

    picture_id: int = 300
    tl0: int = 40
    long_picture_id: bool = True
    width: int = 640
    height: int = 360

    def frame(
        self,
        packets: int = 1,
        *,
        key: bool = False,
        temporal: int = 0,
        sync: bool = False,
        ticks: int = FRAME_TICKS,
        size: int = 20,
    ) -> list[RtpPacket]:
        """The next frame."""
        self.timestamp = (self.timestamp + ticks) & 0xFFFFFFFF
        self.picture_id = (self.picture_id + 1) & (0x7FFF if self.long_picture_id else 0x7F)
        if temporal == 0:
            self.tl0 = (self.tl0 + 1) & 0xFF
        made = []
        for index in range(packets):
            descriptor = Vp8Descriptor(
                start_of_frame=index == 0,
                picture_id=self.picture_id,
                long_picture_id=self.long_picture_id,
                tl0_picture_index=self.tl0,
                temporal=temporal,
                layer_sync=sync,
            )
            head = build_vp8_descriptor(descriptor)
            if index == 0:
                head += build_vp8_frame_header(key, 500, self.width, self.height)
            else:
                head += b"\xff"
            made.append(self.packet((head + self.identity()).ljust(size, b"."), marker=index == packets - 1))
        return made

    def key(self, packets: int = 1, *, ticks: int = FRAME_TICKS) -> list[RtpPacket]:
        """The next frame is a keyframe."""
        return self.frame(packets, key=True, ticks=ticks)


@dataclass
class H264Stream(Stream):
    """H.264 frames; a keyframe is a STAP-A with SPS and PPS, then the IDR picture's fragments."""

    payload_type: int = 102
    rtx_payload_type: int = 103
    width: int = 640
    height: int = 360

    def frame(self, packets: int = 1, *, key: bool = False, ticks: int = FRAME_TICKS) -> list[RtpPacket]:
        """The next frame; `packets` without that of the parameter sets."""
        self.timestamp = (self.timestamp + ticks) & 0xFFFFFFFF
        made = []
        if key:
            sets = [build_sps(self.width, self.height), build_pps(), bytes([6]) + self.identity()]
            made.append(self.packet(build_stap_a(sets), marker=False))
        unit = NAL_IDR if key else NAL_SLICE
        for index in range(packets):
            if packets == 1:
                head = bytes([REFERENCE_IDC | unit, 0x88])
            else:
                position = (0x80 if index == 0 else 0) | (0x40 if index == packets - 1 else 0)
                head = bytes([REFERENCE_IDC | FU_A, position | unit, 0x88])
            made.append(self.packet(head + self.identity(), marker=index == packets - 1))
        return made

    def key(self, packets: int = 1) -> list[RtpPacket]:
        """The next frame is a keyframe."""
        return self.frame(packets, key=True)


@dataclass
class OpusStream(Stream):
    """Opus, 20 ms a packet."""

    payload_type: int = 111
    mid: bytes = b"0"
    level: int | None = 30

    def extensions(self, *, rtx: bool = False) -> tuple[tuple[int, bytes], ...]:
        """With the audio level."""
        found = Stream.extensions(self, rtx=rtx)
        return found if self.level is None else (*found, (AUDIO_LEVEL_ID, bytes([0x80 | self.level])))

    def frame(self, *, ticks: int = AUDIO_TICKS, marker: bool = False) -> RtpPacket:
        """The next packet."""
        self.timestamp = (self.timestamp + ticks) & 0xFFFFFFFF
        return self.packet(b"\x78" + self.identity(), marker=marker)


@dataclass
class Simulcast:
    """Layers of one video track, lowest first."""

    layers: list[Vp8Stream] = field(default_factory=list)

    @classmethod
    def of(cls, rids: tuple[bytes, ...] = (b"q", b"h", b"f"), mid: bytes = b"1", ssrc: int = 0x100) -> Simulcast:
        """One stream for each rid, with unlike counters."""
        return cls(
            [
                Vp8Stream(
                    ssrc + 16 * n,
                    96,
                    mid,
                    rid,
                    rtx_ssrc=ssrc + 16 * n + 1,
                    sequence=1_000 * (n + 1),
                    timestamp=900_000 * (n + 1),
                    picture_id=1_000 * (n + 1),
                    tl0=50 * n,
                    width=320 << n,
                    height=180 << n,
                )
                for n, rid in enumerate(rids)
            ]
        )

    def frames(self, key: tuple[int, ...] = (), packets: int = 1, temporal: int = 0) -> list[RtpPacket]:
        """One frame of each layer, in order; `key`: the layers that send a keyframe."""
        return [
            packet
            for number, layer in enumerate(self.layers)
            for packet in layer.frame(packets, key=number in key, temporal=temporal, sync=temporal > 0)
        ]


def descriptor(packet: RtpPacket) -> Vp8Descriptor:
    """The VP8 descriptor of a packet."""
    return parse_vp8(packet.payload)
