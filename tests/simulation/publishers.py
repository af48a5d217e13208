# SPDX-License-Identifier: Apache-2.0
"""Synthetic publishers in virtual time: what a browser would send, deterministic by seed, as plaintext RTP and RTCP.

publisher = Publisher(PublisherModel(tracks=(camera(publication=1), microphone(publication=2))), seed=7)
for at_us, data in publisher.packets_until(now_us): ...
publisher.on_feedback(rtcp)
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.simulation import rtcp_packets as rtcp
from tests.simulation.encoders import Encoder, h264_encoder, opus_encoder, vp8_encoder
from tests.simulation.rtp_packets import (
    ABS_SEND_TIME,
    AUDIO_LEVEL,
    MID,
    REPAIRED_RID,
    RID,
    TRANSPORT_CC,
    RtpPacket,
    build_rtp,
)

NTP_EPOCH_SECONDS = 3_900_000_000
"""NTP time of virtual time 0 (August 2023)."""
REMEMBERED_PACKETS = 1000
CAPTURE_TO_LAYER_US = 1500
"""Encoding time of each layer, lowest first, one after the other."""
PACKET_SPACING_US = (30, 130)
"""Between a frame's packets: four of them leave within 0.2 ms, 0.4 ms at most."""
RETRANSMISSION_DELAY_US = 500
AUDIO_FRAME_US = 20_000


class Sent(NamedTuple):
    """One plaintext RTP or RTCP packet of a publisher."""

    at_us: int
    data: bytes


@dataclass(frozen=True, slots=True)
class LayerModel:
    """One encoding of a video track."""

    rid: bytes
    width: int
    height: int
    mean_frame_bytes: int


SIMULCAST = (
    LayerModel(b"q", 320, 180, 680),
    LayerModel(b"h", 640, 360, 1750),
    LayerModel(b"f", 1280, 720, 4100),
)
"""Three encodings, lowest first, whose frames make 1.07, 2.07 and 4.24 packets in the mean, as measured of Chromium."""


@dataclass(frozen=True, slots=True)
class TrackModel:
    """What a track sends. `publication` is the ground truth in the payload marks."""

    codec: str
    publication: int
    mid: bytes
    payload_type: int
    rtx_payload_type: int | None = None
    layers: tuple[LayerModel, ...] = ()
    frame_us: int = 33_333
    temporal_layers: int = 3
    packetization_mode: int = 1
    level_dbov: int = 30
    """RFC 6464: 0 loudest, 127 silence."""

    @property
    def is_audio(self) -> bool:
        """Opus, the only one."""
        return self.codec == "opus"

    @property
    def clock_rate(self) -> int:
        """Of the RTP timestamp."""
        return 48_000 if self.is_audio else 90_000


def camera(
    publication: int, mid: bytes = b"1", codec: str = "VP8", layers: tuple[LayerModel, ...] = SIMULCAST
) -> TrackModel:
    """A video track with Chromium's payload types for VP8 and H.264."""
    payload_type = 96 if codec == "VP8" else 102
    return TrackModel(codec, publication, mid, payload_type, payload_type + 1, layers)


def microphone(publication: int, mid: bytes = b"0") -> TrackModel:
    """An Opus track."""
    return TrackModel("opus", publication, mid, 111, frame_us=AUDIO_FRAME_US)


DEFAULT_EXTENSIONS: Mapping[str, int] = {
    AUDIO_LEVEL: 1,
    ABS_SEND_TIME: 2,
    TRANSPORT_CC: 3,
    MID: 4,
    RID: 10,
    REPAIRED_RID: 11,
}


@dataclass(frozen=True, slots=True)
class PublisherModel:
    """A publisher's tracks, negotiated header extensions (URI → id) and clock."""

    tracks: tuple[TrackModel, ...]
    extensions: Mapping[str, int] = field(default_factory=lambda: DEFAULT_EXTENSIONS)
    start_us: int = 0
    ntp_offset_us: int = 0
    """Its clock is so far ahead of virtual time."""
    clock_skew_ppm: float = 0.0
    report_period_us: int = 1_000_000
    keyframe_on_all_layers: bool = False
    """A request for one layer makes all send a keyframe, as libvpx does."""
    cname: bytes = b"synthetic"


@dataclass(slots=True)
class Source:
    """One media SSRC of a publisher, with its RTX SSRC. Counters may be set before the first packet."""

    track: TrackModel
    layer: LayerModel | None
    encoder: Encoder
    ssrc: int
    rtx_ssrc: int | None
    sequence: int
    rtx_sequence: int
    timestamp_base: int
    active: bool = True
    keyframe_wanted: bool = True
    """The next frame is a keyframe; on audio, it has the marker of a talk spurt's beginning."""
    identify: bool = True
    """mid and rid are sent until the first receiver report."""
    identify_rtx: bool = True
    packets: int = 0
    octets: int = 0
    last_send_us: int = 0
    first_report_us: int = 0
    """After the first packet."""
    history: dict[int, RtpPacket] = field(default_factory=dict)
    fir_command: int | None = None


class Publisher:
    """One peer's sending side. Times must not decrease."""

    def __init__(self, model: PublisherModel, seed: int = 0) -> None:
        self.model = model
        self.requests: Counter[str] = Counter()
        """Feedback heard, by kind: pli, fir, nack (sequence numbers), rr, transport_cc, remb."""
        self.transport_cc: list[bytes] = []
        """Bodies of transport-cc feedback, for whoever wants to look at them."""
        self.level_dbov = {track.mid: track.level_dbov for track in model.tracks}
        self._random = random.Random(seed)
        self._now_us = model.start_us
        self._pending: list[tuple[int, int, Source, RtpPacket | None]] = []
        """What will be sent; None = a sender report."""
        self._scheduled = 0
        self._transport_sequence = self._random.randrange(1 << 15)
        self._taken_ssrcs: set[int] = set()
        self.tracks: dict[bytes, list[Source]] = {track.mid: self._sources(track) for track in model.tracks}
        """By mid, lowest layer first."""
        self._next_capture_us = {
            track.mid: model.start_us + self._random.randrange(track.frame_us) for track in model.tracks
        }
        self._by_ssrc = {source.ssrc: source for source in self.sources()}
        self._by_rtx_ssrc = {source.rtx_ssrc: source for source in self.sources() if source.rtx_ssrc is not None}

    def sources(self) -> list[Source]:
        """All of them, in order of tracks and layers."""
        return [source for sources in self.tracks.values() for source in sources]

    def set_active(self, mid: bytes, active: bool, layer: int | None = None) -> None:
        """Start or stop a track or one layer of it; what starts again begins with a keyframe."""
        for index, source in enumerate(self.tracks[mid]):
            if layer is None or layer == index:
                source.keyframe_wanted |= active and not source.active
                source.active = active

    def packets_until(self, now_us: int) -> list[Sent]:
        """What is sent up to and including that time, in order of sending."""
        while True:
            mid = min(self._next_capture_us, key=self._next_capture_us.__getitem__)
            if self._next_capture_us[mid] > now_us:
                break
            self._capture(mid, self._next_capture_us[mid])
        sent = []
        while self._pending and self._pending[0][0] <= now_us:
            at_us, _, source, packet = heapq.heappop(self._pending)
            if packet is not None:
                sent.append(Sent(at_us, self._finish(packet, source, at_us)))
                continue
            self._push(at_us + self.model.report_period_us, source, None)
            if source.active:
                sent.append(Sent(at_us, self._report(source, at_us)))
        self._now_us = now_us
        return sent

    def on_feedback(self, data: bytes, now_us: int | None = None) -> None:
        """Plaintext RTCP for this publisher, at that time or that of the last `packets_until`."""
        now_us = self._now_us if now_us is None else now_us
        for packet in rtcp.parse_rtcp(data):
            if packet.packet_type in {rtcp.RR, rtcp.SR}:
                self.requests["rr"] += 1
                for block in rtcp.parse_report_blocks(packet):
                    self._acknowledge(block.ssrc)
            elif packet.packet_type == rtcp.PSFB:
                self._on_payload_feedback(packet)
            elif packet.packet_type == rtcp.RTPFB and packet.count == rtcp.NACK_FORMAT:
                self._on_nack(packet, now_us)
            elif packet.packet_type == rtcp.RTPFB and packet.count == rtcp.TRANSPORT_CC_FORMAT:
                self.requests["transport_cc"] += 1
                self.transport_cc.append(packet.body)

    def bye(self) -> bytes:
        """The compound packet of a publisher that leaves."""
        ssrcs = [source.ssrc for source in self.sources()]
        return rtcp.build_receiver_report(ssrcs[0]) + rtcp.build_bye(ssrcs)

    def _local_us(self, at_us: int) -> float:
        """Its own clock, without the offset."""
        return at_us * (1.0 + self.model.clock_skew_ppm * 1e-6)

    def ntp(self, at_us: int) -> int:
        """NTP timestamp of that virtual time on its clock."""
        local_us = round(self._local_us(at_us)) + self.model.ntp_offset_us
        return (NTP_EPOCH_SECONDS << 32) + (local_us << 32) // 1_000_000

    def _timestamp(self, source: Source, at_us: int) -> int:
        return (source.timestamp_base + round(self._local_us(at_us) * source.track.clock_rate / 1e6)) & 0xFFFFFFFF

    def _new_ssrc(self) -> int:
        while True:
            ssrc = self._random.randrange(1, 1 << 32)
            if ssrc not in self._taken_ssrcs:
                self._taken_ssrcs.add(ssrc)
                return ssrc

    def _sources(self, track: TrackModel) -> list[Source]:
        sources = []
        for index, layer in enumerate(track.layers or (None,)):
            sources.append(
                Source(
                    track,
                    layer,
                    self._encoder(track, index, layer),
                    self._new_ssrc(),
                    self._new_ssrc() if track.rtx_payload_type is not None else None,
                    sequence=self._random.randrange(1 << 15),
                    rtx_sequence=self._random.randrange(1 << 15),
                    timestamp_base=self._random.randrange(1 << 32),
                    first_report_us=self._random.randrange(self.model.report_period_us),
                )
            )
        return sources

    def _encoder(self, track: TrackModel, index: int, layer: LayerModel | None) -> Encoder:
        rng = random.Random(self._random.getrandbits(32))
        if layer is None:
            return opus_encoder(rng, track.publication)
        width, height, mean = layer.width, layer.height, layer.mean_frame_bytes
        if track.codec == "VP8":
            layers = track.temporal_layers
            return vp8_encoder(
                rng, track.publication, index, width=width, height=height, mean_bytes=mean, temporal_layers=layers
            )
        mode = track.packetization_mode
        return h264_encoder(rng, track.publication, index, width=width, height=height, mean_bytes=mean, mode=mode)

    def _push(self, at_us: int, source: Source, packet: RtpPacket | None) -> None:
        self._scheduled += 1
        heapq.heappush(self._pending, (at_us, self._scheduled, source, packet))

    def _capture(self, mid: bytes, at_us: int) -> None:
        sources = self.tracks[mid]
        self._next_capture_us[mid] = at_us + sources[0].track.frame_us
        if self.model.keyframe_on_all_layers and any(source.keyframe_wanted for source in sources):
            for source in sources:
                source.keyframe_wanted = True
        ready_us = at_us
        for source in sources:
            if not source.active:
                continue
            ready_us += 0 if source.track.is_audio else CAPTURE_TO_LAYER_US
            payloads = source.encoder.encode(keyframe=source.keyframe_wanted)
            self._packetize(source, payloads, self._timestamp(source, at_us), ready_us)
            source.keyframe_wanted = False

    def _packetize(self, source: Source, payloads: list[bytes], timestamp: int, ready_us: int) -> None:
        track = source.track
        at_us = max(ready_us, source.last_send_us + 1)
        for index, payload in enumerate(payloads):
            marker = source.keyframe_wanted if track.is_audio else index == len(payloads) - 1
            packet = RtpPacket(track.payload_type, marker, source.sequence, timestamp, source.ssrc, payload=payload)
            source.sequence = (source.sequence + 1) & 0xFFFF
            self._push(at_us, source, packet)
            source.last_send_us = at_us
            at_us += self._random.randint(*PACKET_SPACING_US)

    def _finish(self, packet: RtpPacket, source: Source, at_us: int) -> bytes:
        """Header extensions and counters are those of the moment of sending."""
        if packet.ssrc == source.ssrc:
            if not source.packets:
                self._push(at_us + source.first_report_us, source, None)
            source.packets += 1
            source.octets += len(packet.payload)
            source.history[packet.sequence] = packet
            if len(source.history) > REMEMBERED_PACKETS:
                del source.history[next(iter(source.history))]
        packet.extensions = self._extensions(packet, source, at_us)
        return build_rtp(packet)

    def _extensions(self, packet: RtpPacket, source: Source, at_us: int) -> tuple[tuple[int, bytes], ...]:
        values: dict[str, bytes] = {}
        is_rtx = packet.ssrc == source.rtx_ssrc
        if source.identify_rtx if is_rtx else source.identify:
            values[MID] = source.track.mid
            if source.layer is not None and source.layer.rid:
                values[REPAIRED_RID if is_rtx else RID] = source.layer.rid
        if source.track.is_audio:
            values[AUDIO_LEVEL] = bytes([0x80 | self.level_dbov[source.track.mid]])
        values[ABS_SEND_TIME] = (((at_us << 18) // 1_000_000) & 0xFFFFFF).to_bytes(3, "big")
        if TRANSPORT_CC in self.model.extensions:
            values[TRANSPORT_CC] = self._transport_sequence.to_bytes(2, "big")
            self._transport_sequence = (self._transport_sequence + 1) & 0xFFFF
        ids = self.model.extensions
        return tuple((ids[uri], value) for uri, value in values.items() if uri in ids)

    def _report(self, source: Source, at_us: int) -> bytes:
        report = rtcp.SenderReport(
            source.ssrc, self.ntp(at_us), self._timestamp(source, at_us), source.packets, source.octets
        )
        return rtcp.build_sender_report(report) + rtcp.build_sdes_cname(source.ssrc, self.model.cname)

    def _acknowledge(self, ssrc: int) -> None:
        if ssrc in self._by_ssrc:
            self._by_ssrc[ssrc].identify = False
        elif ssrc in self._by_rtx_ssrc:
            self._by_rtx_ssrc[ssrc].identify_rtx = False

    def _on_payload_feedback(self, packet: rtcp.RtcpPacket) -> None:
        media = rtcp.feedback_ssrcs(packet)[1]
        if packet.count == rtcp.PLI_FORMAT:
            self.requests["pli"] += 1
            if media in self._by_ssrc:
                self._by_ssrc[media].keyframe_wanted = True
        elif packet.count == rtcp.FIR_FORMAT:
            self.requests["fir"] += 1
            for ssrc, command in rtcp.fir_entries(packet):
                source = self._by_ssrc.get(ssrc)
                if source is not None and command != source.fir_command:
                    source.fir_command = command
                    source.keyframe_wanted = True
        elif packet.count == rtcp.AFB_FORMAT and packet.body[8:12] == b"REMB":
            self.requests["remb"] += 1

    def _on_nack(self, packet: rtcp.RtcpPacket, now_us: int) -> None:
        source = self._by_ssrc.get(rtcp.feedback_ssrcs(packet)[1])
        for sequence in rtcp.nack_sequences(packet):
            self.requests["nack"] += 1
            if source is None or sequence not in source.history:
                continue
            self._push(now_us + RETRANSMISSION_DELAY_US, source, self._retransmission(source, source.history[sequence]))

    def _retransmission(self, source: Source, original: RtpPacket) -> RtpPacket:
        again = RtpPacket(
            original.payload_type,
            original.marker,
            original.sequence,
            original.timestamp,
            original.ssrc,
            payload=original.payload,
        )
        if source.rtx_ssrc is not None and source.track.rtx_payload_type is not None:
            again.payload_type, again.ssrc = source.track.rtx_payload_type, source.rtx_ssrc
            again.payload = original.sequence.to_bytes(2, "big") + original.payload
            again.sequence = source.rtx_sequence
            source.rtx_sequence = (source.rtx_sequence + 1) & 0xFFFF
        return again
