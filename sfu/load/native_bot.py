# SPDX-License-Identifier: Apache-2.0
"""A light bot of a load test whose media is in the native thread: the one that makes load at the least cost."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Final

from sfu.client.messages import Event, LayerChanged, SlotBound, SubscriptionPaused
from sfu.load.bots import Surroundings
from sfu.load.counts import StreamCounts
from sfu.load.figures import LAYERS, Counters
from sfu.load.media import AudioSpec
from sfu.load.native import NativePeer, TrafficHub
from sfu.load.peer import LightSpec
from sfu.load.receiving import LightSlot
from sfu.load.scenarios import Seat
from sfu.load.wishes import camera, first_level, microphone, set_highest_layer


class NativeBot:
    def __init__(self, seat: Seat, around: Surroundings, hub: TrafficHub) -> None:
        self.seat: Final = seat
        self.score: Final = None
        self._around = around
        self._hub = hub
        self._peer: NativePeer | None = None
        self._slots: dict[int, LightSlot] = {}
        """By SSRC."""
        self._spatial: dict[str, int] = defaultdict(int)
        self._bytes: dict[int, int] = defaultdict(int)
        """Of each SSRC, what the layers' counts hold already."""
        self._layer_bytes = [0] * LAYERS
        self._had_frame = False
        self._leaving = False
        self._last = Counters()

    async def join(self) -> None:
        spec, seat = self._around.spec, self.seat
        light = LightSpec(
            room=seat.room,
            name=seat.name,
            identity=seat.name,
            token=await self._around.token_for(seat),
            audio=microphone(spec, first_level(spec, seat)) if seat.publishes else None,
            video=camera(spec) if seat.publishes else None,
            video_slots=seat.slots,
            dynacast=True,
        )
        self._peer = await NativePeer.enter(
            spec.url,
            light,
            self._hub,
            certificate=self._around.certificate,
            on_event=self._on_event,
            on_lost=self._on_lost,
        )
        self._slots = {slot.ssrc: slot for slot in self._peer.slots.values()}

    async def leave(self, *, silently: bool) -> None:
        self._leaving = True
        self.counters()
        peer, self._peer = self._peer, None
        if peer is not None:
            await peer.close(silently=silently)

    def speak(self, level: int) -> None:
        audio: AudioSpec | None = microphone(self._around.spec, level)
        if self._peer is not None and audio is not None:
            self._peer.speak(audio)

    async def wish(self, max_spatial: int) -> None:
        if self._peer is not None:
            await set_highest_layer(self._peer, max_spatial)

    def counters(self) -> Counters:
        """After the end of the connection: what it was the last time."""
        peer = self._peer
        if peer is None or peer.number is None:
            return self._last
        streams, senders = peer.streams(), peer.senders()
        videos = [stream for stream in streams if stream.ssrc in self._slots and self._is_video(stream)]
        self._share_out(videos)
        self._look_for_first_frame(videos)
        self._last = Counters(
            received_packets=sum(stream.packets + stream.recovered for stream in streams),
            received_bytes=sum(stream.bytes for stream in streams),
            expected_packets=sum(_expected(stream) for stream in streams),
            lost_packets=sum(stream.lost + stream.late + stream.recovered for stream in streams),
            repaired_packets=sum(stream.late + stream.recovered for stream in streams),
            unrepaired_packets=sum(stream.lost for stream in streams),
            frames=sum(stream.frames for stream in videos),
            freezes=sum(stream.freezes for stream in videos),
            frozen_us=sum(stream.frozen_us for stream in videos),
            watched_us=sum(stream.watched_us for stream in videos),
            sent_packets=sum(sender.packets for sender in senders),
            sent_bytes=sum(sender.octets for sender in senders),
            nacks=sum(stream.nacks for stream in streams),
            keyframe_requests=sum(sender.keyframe_requests for sender in senders),
            faults=sum(stream.forged for stream in streams),
            audio_bytes=sum(stream.bytes for stream in streams) - sum(stream.bytes for stream in videos),
        )
        self._last.layer_bytes = list(self._layer_bytes)
        return self._last

    def _is_video(self, stream: StreamCounts) -> bool:
        return self._slots[stream.ssrc].kind == "video"

    def _share_out(self, videos: list[StreamCounts]) -> None:
        """What came since the last time goes to the layer that flows now."""
        for stream in videos:
            layer = min(LAYERS - 1, self._spatial[self._slots[stream.ssrc].mid])
            self._layer_bytes[layer] += stream.bytes - self._bytes[stream.ssrc]
            self._bytes[stream.ssrc] = stream.bytes

    def _look_for_first_frame(self, videos: list[StreamCounts]) -> None:
        if self._had_frame:
            return
        came_us = min((stream.first_frame_us for stream in videos if stream.first_frame_us), default=0)
        if came_us:
            self._had_frame = True
            self._around.on_first_frame(self, max(0.0, time.time() - came_us / 1e6))

    def _on_event(self, event: Event) -> None:
        match event:
            case LayerChanged(mid=mid, spatial=-1) | SlotBound(mid=mid, rtp_timestamp=None):
                self._pause(mid)
            case LayerChanged(mid=mid, spatial=spatial):
                self._spatial[mid] = spatial
            case SubscriptionPaused(publication=publication):
                for slot in self._slots.values():
                    if slot.publication == publication:
                        self._pause(slot.mid)
            case _:
                pass

    def _pause(self, mid: str) -> None:
        peer = self._peer
        if peer is not None and mid in peer.slots:
            peer.pause(peer.slots[mid].ssrc)

    def _on_lost(self, reason: str) -> None:
        if not self._leaving and self._peer is not None:
            self._around.on_lost(self, reason)


def _expected(stream: StreamCounts) -> int:
    """From the first to the highest sequence number."""
    return stream.packets - stream.duplicates + stream.recovered + stream.lost
