# SPDX-License-Identifier: Apache-2.0
"""A slot's forwarder in plain Python, slow and simple: what it sends is legal, so that the checker can be tried on it.

It waits for late packets instead of filling holes afterwards, and it does one slot, not a room.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tests.simulation import rtcp_packets as rtcp
from tests.simulation.h264_payload import NAL_SPS, parse_h264
from tests.simulation.rtp_packets import AUDIO_LEVEL, MID, RtpPacket, build_rtp, extend, is_rtcp, parse_rtp
from tests.simulation.stream_rules import PayloadFormat, SlotDescription
from tests.simulation.vp8_payload import Vp8Descriptor, build_vp8_descriptor, parse_vp8

REORDER_PATIENCE_US = 60_000


@dataclass(slots=True)
class _Inbound:
    """One inbound SSRC put in order."""

    highest: int = -1
    next_index: int = -1
    waiting: dict[int, tuple[RtpPacket, int]] = field(default_factory=dict)
    report: rtcp.SenderReport | None = None

    def add(self, packet: RtpPacket, now_us: int) -> list[tuple[int, RtpPacket]]:
        """What can now be processed, in order."""
        index = packet.sequence if self.highest < 0 else extend(packet.sequence, self.highest, 16)
        if self.highest < 0:
            self.next_index = index
        self.highest = max(self.highest, index)
        if index >= self.next_index:
            self.waiting.setdefault(index, (packet, now_us))
        ready = []
        while self.waiting:
            first = min(self.waiting)
            if first != self.next_index and now_us - self.waiting[first][1] < REORDER_PATIENCE_US:
                break
            ready.append((first, self.waiting.pop(first)[0]))
            self.next_index = first + 1
        return ready


@dataclass(slots=True)
class _Video:
    """The layer that flows."""

    ssrc: int
    sequence_offset: int
    timestamp_offset: int
    picture_offset: int = 0
    tl0_offset: int = 0
    temporal: int = 0
    frame_timestamp: int = -1
    forward_frame: bool = True


class IdealForwarder:
    """Sends one slot's stream; `keyframe_wanted` names the SSRC that it waits for."""

    def __init__(self, slot: SlotDescription, *, first_sequence: int = 100, first_timestamp: int = 1000) -> None:
        self.slot = slot
        self.keyframe_wanted: int | None = None
        self.reserved_holes = 0
        """Sequence numbers left out to mark frames that were cut off."""
        self.sources: tuple[int, ...] = ()
        self.target = (0, 2)
        self._payload_types: dict[str, int] = {f.codec: pt for pt, f in slot.payloads.items()}
        self._inbound: dict[int, _Inbound] = {}
        self._csrc = 0
        self._codec = ""
        self._video: _Video | None = None
        self._audio_offset: int | None = None
        self._next_sequence = first_sequence
        self._next_rtx = 200
        self._timestamp = first_timestamp
        self._started = False
        self._marker = True
        self._last_us = 0
        self._picture_id = 40
        self._tl0 = 70
        self._history: dict[int, RtpPacket] = {}

    @property
    def layer_ssrc(self) -> int | None:
        """The SSRC that flows."""
        return self._video.ssrc if self._video else None

    def bind(self, csrc: int, codec: str, sources: tuple[int, ...]) -> None:
        """Forward that publication from its next keyframe; sources lowest first."""
        self._csrc, self._codec, self.sources = csrc, codec, sources
        self._video = self._audio_offset = None

    def on_packet(self, data: bytes, now_us: int) -> list[bytes]:
        """A packet from a publisher; what is sent for it."""
        if is_rtcp(data):
            for part in rtcp.parse_rtcp(data):
                if part.packet_type == rtcp.SR:
                    report = rtcp.parse_sender_report(part)
                    self._inbound.setdefault(report.ssrc, _Inbound()).report = report
            return []
        packet_in = parse_rtp(data)
        ready = self._inbound.setdefault(packet_in.ssrc, _Inbound()).add(packet_in, now_us)
        if packet_in.ssrc not in self.sources or not packet_in.payload:
            return []
        sent: list[bytes] = []
        for index, packet in ready:
            out = self._audio(packet, now_us) if self._format().is_audio else self._forward(index, packet, now_us)
            if out is not None:
                self._history[out.sequence] = out
                sent.append(build_rtp(out))
        return sent

    def on_nack(self, sequences: list[int]) -> list[bytes]:
        """Retransmissions of what was sent."""
        again = []
        for sequence in sequences:
            sent = self._history.get(sequence)
            if sent is None or self.slot.rtx_ssrc is None:
                continue
            companion = self.slot.payloads[sent.payload_type].rtx_payload_type
            if companion is None:
                continue
            payload = sequence.to_bytes(2, "big") + sent.payload
            rtx = replace(sent, payload_type=companion, ssrc=self.slot.rtx_ssrc, payload=payload, padding=0)
            rtx.sequence = self._next_rtx
            self._next_rtx = (self._next_rtx + 1) & 0xFFFF
            again.append(build_rtp(rtx))
        return again

    def _format(self) -> PayloadFormat:
        return self.slot.payloads[self._payload_types[self._codec]]

    def _finish(self, packet: RtpPacket, sequence: int, timestamp: int, payload: bytes, now_us: int) -> RtpPacket:
        self._next_sequence = (sequence + 1) & 0xFFFF
        self._timestamp, self._last_us, self._started = timestamp & 0xFFFFFFFF, now_us, True
        wanted = {uri: identifier for identifier, uri in self.slot.extensions.items()}
        extensions = []
        if MID in wanted and self.slot.mid is not None:
            extensions.append((wanted[MID], self.slot.mid))
        if AUDIO_LEVEL in wanted:
            extensions.append((wanted[AUDIO_LEVEL], b"\x9e"))
        return RtpPacket(
            self._payload_types[self._codec],
            packet.marker,
            sequence & 0xFFFF,
            self._timestamp,
            self.slot.ssrc,
            (self._csrc,),
            tuple(extensions),
            payload,
        )

    def _audio(self, packet: RtpPacket, now_us: int) -> RtpPacket:
        first = self._audio_offset is None
        if self._audio_offset is None:
            frame = self.slot.audio_frame_samples
            frames = max(1, round((now_us - self._last_us) * 0.048 / frame))
            self._audio_offset = self._timestamp + (frames * frame if self._started else 0) - packet.timestamp
        timestamp = packet.timestamp + self._audio_offset
        out = self._finish(packet, self._next_sequence, timestamp, packet.payload, now_us)
        out.marker = first or packet.marker
        return out

    def _forward(self, index: int, packet: RtpPacket, now_us: int) -> RtpPacket | None:
        vp8 = parse_vp8(packet.payload) if self._codec == "VP8" else None
        wanted = self.sources[min(self.target[0], len(self.sources) - 1)]
        if self._video is None or self._video.ssrc != wanted:
            self.keyframe_wanted = wanted
            if packet.ssrc == wanted and _starts_keyframe(packet.payload, vp8):
                self._switch(index, packet, vp8, now_us)
        video = self._video
        if video is None or packet.ssrc != video.ssrc:
            return None
        if packet.timestamp != video.frame_timestamp:
            video.frame_timestamp = packet.timestamp
            video.forward_frame = self._selects(video, vp8)
            if not video.forward_frame:
                video.picture_offset -= 1
        if not video.forward_frame:
            video.sequence_offset -= 1
            return None
        payload = packet.payload
        if vp8 is not None:
            vp8.picture_id = self._picture_id = ((vp8.picture_id or 0) + video.picture_offset) % (1 << 15)
            vp8.tl0_picture_index = self._tl0 = ((vp8.tl0_picture_index or 0) + video.tl0_offset) % 256
            payload = build_vp8_descriptor(vp8) + packet.payload[vp8.size :]
        self._marker = packet.marker
        return self._finish(
            packet, index + video.sequence_offset, packet.timestamp + video.timestamp_offset, payload, now_us
        )

    def _selects(self, video: _Video, vp8: Vp8Descriptor | None) -> bool:
        if vp8 is None:
            return True
        temporal = vp8.temporal or 0
        video.temporal = 0 if vp8.keyframe else min(video.temporal, self.target[1])
        if temporal > video.temporal and temporal <= self.target[1] and vp8.layer_sync:
            video.temporal = temporal
        return temporal <= video.temporal

    def _switch(self, index: int, packet: RtpPacket, vp8: Vp8Descriptor | None, now_us: int) -> None:
        if self._started and not self._marker:
            self._next_sequence = (self._next_sequence + 1) & 0xFFFF
            self.reserved_holes += 1
        timestamp = self._timestamp
        if self._started:
            elapsed = max(1, round((now_us - self._last_us) * 0.09))
            timestamp += max(1, self._reported_step(packet)) if self._video is not None else elapsed
        self._video = _Video(packet.ssrc, self._next_sequence - index, timestamp - packet.timestamp)
        self.keyframe_wanted = None
        if vp8 is not None:
            self._video.picture_offset = self._picture_id + 1 - (vp8.picture_id or 0)
            self._video.tl0_offset = self._tl0 + 1 - (vp8.tl0_picture_index or 0)

    def _reported_step(self, packet: RtpPacket) -> int:
        """From the last frame sent to this one of another layer, by the layers' sender reports."""
        video = self._video
        assert video is not None
        old, new = self._inbound[video.ssrc].report, self._inbound[packet.ssrc].report
        if old is None or new is None:
            return 3000
        old_timestamp = (self._timestamp - video.timestamp_offset) & 0xFFFFFFFF
        old_capture = old.ntp * 90_000 / (1 << 32) + extend(old_timestamp, old.rtp_timestamp, 32) - old.rtp_timestamp
        new_capture = new.ntp * 90_000 / (1 << 32) + extend(packet.timestamp, new.rtp_timestamp, 32) - new.rtp_timestamp
        return round(new_capture - old_capture)


def _starts_keyframe(payload: bytes, vp8: Vp8Descriptor | None) -> bool:
    if vp8 is not None:
        return vp8.keyframe
    return NAL_SPS in parse_h264(payload).units
