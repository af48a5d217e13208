# SPDX-License-Identifier: Apache-2.0
"""A light bot of a load test in Python: it sees each packet, and its network can be a bad one."""

from __future__ import annotations

import struct
from collections import defaultdict
from pathlib import Path
from typing import Final
from zlib import crc32

from sfu.client.messages import Event, LayerChanged, SlotBound, SubscriptionPaused
from sfu.load.bots import Surroundings
from sfu.load.connection import now_us
from sfu.load.figures import LAYERS, Counters
from sfu.load.freezes import PictureWatch
from sfu.load.media import PacketMark
from sfu.load.peer import LightPeer, LightSpec
from sfu.load.receiving import LightSlot, ReceivedPacket
from sfu.load.scenarios import Seat
from sfu.load.wishes import camera, first_level, microphone, set_highest_layer
from sfu.wire.vp8 import parse_descriptor

# Monotonic clocks can be compared within one boot of one machine only.
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
STAMP: Final = struct.Struct("!4sQ")
# Stamps stand right behind the codec's headers: the longest are VP8's descriptor (6) and a keyframe's header (10).
STAMP_WITHIN: Final = 40


def _clock_mark() -> bytes:
    try:
        boot = BOOT_ID.read_bytes()
    except OSError:
        boot = b""
    return crc32(b"pysfu" + boot).to_bytes(4)


CLOCK_MARK: Final = _clock_mark()


def stamp(_: PacketMark) -> bytes:
    """When the packet was made."""
    return STAMP.pack(CLOCK_MARK, now_us())


def latency_us(payload: bytes, arrived_us: int) -> int | None:
    """None: no stamp, or one of another clock."""
    at = payload.find(CLOCK_MARK, 0, STAMP_WITHIN)
    if at < 0 or len(payload) < at + STAMP.size:
        return None
    made_us: int = STAMP.unpack_from(payload, at)[1]
    return arrived_us - made_us


class LightBot:
    def __init__(self, seat: Seat, around: Surroundings) -> None:
        self.seat: Final = seat
        self._around = around
        self._peer: LightPeer | None = None
        self._spatial: dict[str, int] = defaultdict(int)
        self._layer_bytes = [0] * LAYERS
        self._audio_bytes = 0
        self._watches: dict[str, PictureWatch] = defaultdict(PictureWatch)
        self._keyframes: set[str] = set()
        """Slots that have begun to show something."""
        self._had_frame = False
        self._leaving = False
        self._left: Counters | None = None
        self.score: Final = None

    async def join(self) -> None:
        spec = self._around.spec
        light = LightSpec(
            room=self.seat.room,
            name=self.seat.name,
            identity=self.seat.name,
            token=await self._around.token_for(self.seat),
            audio=microphone(spec, first_level(spec, self.seat)) if self.seat.publishes else None,
            video=camera(spec) if self.seat.publishes else None,
            video_slots=self.seat.slots,
            dynacast=True,
            stamp=stamp,
            impairment=self._around.impairment_for(self.seat),
        )
        self._peer = await LightPeer.join(
            spec.url,
            light,
            certificate=self._around.certificate,
            on_packet=self._on_packet,
            on_event=self._on_event,
            on_lost=self._on_lost,
        )

    async def leave(self, *, silently: bool) -> None:
        self._leaving = True
        peer, self._left, self._peer = self._peer, self.counters(), None
        if peer is not None:
            await peer.close(silently=silently)

    def speak(self, level: int) -> None:
        if self._peer is not None and self._peer.publisher.audio is not None:
            self._peer.publisher.audio = microphone(self._around.spec, level)

    async def wish(self, max_spatial: int) -> None:
        if self._peer is not None:
            await set_highest_layer(self._peer, max_spatial)

    def counters(self) -> Counters:
        peer = self._peer
        if peer is None:
            return self._left or Counters()
        slots = [slot.statistics for slot in peer.slots.values()]
        streams = [stream.statistics for stream in peer.publisher.streams]
        now = now_us()
        for watch in self._watches.values():
            watch.look(now)
        watches = self._watches.values()
        found = Counters(
            received_packets=sum(slot.packets + slot.recovered for slot in slots),
            received_bytes=peer.connection.statistics.received_bytes,
            expected_packets=sum(slot.packets - slot.late - slot.duplicates + slot.lost for slot in slots),
            lost_packets=sum(slot.lost for slot in slots),
            repaired_packets=sum(slot.late + slot.recovered for slot in slots),
            unrepaired_packets=sum(slot.lost - slot.late - slot.recovered for slot in slots),
            frames=sum(watch.frames for watch in watches),
            freezes=sum(watch.freezes for watch in watches),
            frozen_us=sum(watch.frozen_us for watch in watches),
            watched_us=sum(watch.watched_us for watch in watches),
            sent_packets=sum(stream.packets + stream.retransmitted for stream in streams),
            sent_bytes=sum(stream.octets for stream in streams),
            nacks=sum(slot.nacks for slot in slots),
            keyframe_requests=sum(stream.keyframe_requests for stream in streams),
            faults=peer.malformed + peer.connection.statistics.srtp_errors,
            audio_bytes=self._audio_bytes,
        )
        found.layer_bytes = list(self._layer_bytes)
        return found

    def _on_packet(self, received: ReceivedPacket) -> None:
        slot, packet = received.slot, received.packet
        payload = packet.payload
        if slot.kind == "audio":
            self._audio_bytes += len(payload)
        else:
            self._layer_bytes[min(LAYERS - 1, self._spatial[slot.mid])] += len(payload)
        if received.retransmission:
            return
        if payload:
            age_us = latency_us(payload, received.arrived_us)
            if age_us is not None:
                self._around.latency.add(age_us)
        if slot.kind == "video" and payload:
            self._see(slot, payload, marker=packet.marker, arrived_us=received.arrived_us)

    def _see(self, slot: LightSlot, payload: bytes, *, marker: bool, arrived_us: int) -> None:
        """A picture has begun with its first keyframe; a frame is there with its last packet."""
        if slot.mid not in self._keyframes:
            try:
                if not parse_descriptor(payload).keyframe:
                    return
            except ValueError:
                return
            self._keyframes.add(slot.mid)
        if not marker:
            return
        self._watches[slot.mid].frame(arrived_us)
        if not self._had_frame:
            self._had_frame = True
            self._around.on_first_frame(self, 0.0)

    def _on_event(self, event: Event) -> None:
        match event:
            case LayerChanged(mid=mid, spatial=-1):
                self._pause(mid)
            case LayerChanged(mid=mid, spatial=spatial):
                self._spatial[mid] = spatial
            case SlotBound(mid=mid, rtp_timestamp=None):
                self._pause(mid)
            case SubscriptionPaused(publication=publication):
                slots = self._peer.slots.values() if self._peer is not None else ()
                for slot in slots:
                    if slot.publication == publication:
                        self._pause(slot.mid)
            case _:
                pass

    def _pause(self, mid: str) -> None:
        if mid in self._watches:
            self._watches[mid].pause()

    def _on_lost(self, reason: str) -> None:
        if not self._leaving and self._peer is not None:
            self._around.on_lost(self, reason)
