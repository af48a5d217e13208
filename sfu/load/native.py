# SPDX-License-Identifier: Apache-2.0
"""Light bots whose media runs in a native thread: for hundreds of participants, or many packets, in one process.

Joining, ICE and DTLS are the light bot's. Once its keys are there, its socket goes to the thread (`sfu.load.traffic`),
which sends, receives, counts and reports.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Self

from sfu.client.messages import Event, PublishLayers
from sfu.load.connection import LightConnection
from sfu.load.counts import SenderCounts, StreamCounts
from sfu.load.description import ABS_SEND_TIME, AUDIO_LEVEL, CLOCK_RATE_HZ, MID, OPUS, RID, TRANSPORT_CC, VP8
from sfu.load.media import AudioSpec
from sfu.load.peer import LightPeer, LightSpec, ignore_event, ignore_packet, ignore_reason
from sfu.load.programs import Media, synthetic
from sfu.load.publishing import AUDIO_MID, VIDEO_MID
from sfu.load.receiving import LightSlot
from sfu.load.traffic import Traffic
from sfu.transport.certificate import Certificate
from sfu.transport.dtls import TransportState

logger = logging.getLogger(__name__)

# Groups of latencies, unless a bot has others.
VIDEO_GROUP: Final = 0
AUDIO_GROUP: Final = 1

GroupOf = Callable[[LightSlot], int]


def group_by_kind(slot: LightSlot) -> int:
    return VIDEO_GROUP if slot.kind == "video" else AUDIO_GROUP


def level_byte(audio: AudioSpec) -> int:
    """RFC 6464."""
    return (0x80 if audio.voice else 0) | audio.level & 0x7F


class TrafficHub:
    """One native thread, and the bots of this loop whose media it carries."""

    def __init__(self, traffic: Traffic | None = None) -> None:
        self.traffic: Final = traffic or Traffic()
        self._loop = asyncio.get_running_loop()
        self._connections: dict[int, LightConnection] = {}
        self._loop.add_reader(self.traffic.fileno(), self._on_control)
        self.traffic.start()

    def adopt(self, connection: LightConnection, number: int) -> None:
        self._connections[number] = connection

    def dismiss(self, number: int) -> None:
        if self._connections.pop(number, None) is not None:
            self.traffic.remove_peer(number)

    def close(self) -> None:
        """After the bots."""
        self._loop.remove_reader(self.traffic.fileno())
        self.traffic.stop()

    def _on_control(self) -> None:
        for number, datagram in self.traffic.take_control():
            connection = self._connections.get(number)
            if connection is not None:
                connection.take_control(datagram)


class NativePeer(LightPeer):
    """A light bot that only makes load: it sees no packets. `number` is its peer in the hub's thread.

    Not for it: `impairment`, `stamp`, `clock_offset_us` and muting by `mute` of what it sends.
    """

    def __init__(
        self,
        spec: LightSpec,
        certificate: Certificate,
        hub: TrafficHub,
        media: Media,
        on_event: Callable[[Event], None],
        group_of: GroupOf,
        on_lost: Callable[[str], None] = ignore_reason,
    ) -> None:
        super().__init__(spec, certificate, ignore_packet, self._take_event, on_lost)
        self._hub = hub
        self._media = media
        self._on_event_too = on_event
        self._group_of = group_of
        self.number: int | None = None

    @classmethod
    async def enter(
        cls,
        url: str,
        spec: LightSpec,
        hub: TrafficHub,
        *,
        media: Media | None = None,
        certificate: Certificate | None = None,
        on_event: Callable[[Event], None] = ignore_event,
        group_of: GroupOf = group_by_kind,
        on_lost: Callable[[str], None] = ignore_reason,
    ) -> Self:
        """A bot whose media flows. `media` has as many layers as `spec.video`; None: synthetic, as the spec says."""
        media = media or synthetic(spec.audio, spec.video)
        peer = cls(spec, certificate or Certificate(), hub, media, on_event, group_of, on_lost)
        try:
            await peer._enter(url)
        except BaseException:
            await peer.close()
            raise
        return peer

    def streams(self) -> list[StreamCounts]:
        """What it has received; empty when it is gone."""
        return [] if self.number is None else self._hub.traffic.streams(self.number)

    def senders(self) -> list[SenderCounts]:
        """What it has sent; empty when it is gone."""
        return [] if self.number is None else self._hub.traffic.senders(self.number)

    def speak(self, audio: AudioSpec) -> None:
        """From now on the microphone says so."""
        stream = self.publisher.audio_stream
        if self.number is not None and stream is not None:
            self._hub.traffic.set_sender_level(self.number, stream.ssrc, level_byte(audio))

    def pause(self, ssrc: int) -> None:
        """No picture is expected in this slot now."""
        if self.number is not None:
            self._hub.traffic.pause_stream(self.number, ssrc)

    def _on_state(self, state: TransportState) -> None:
        if state is TransportState.CONNECTED:
            self._hand_over()
        elif state in (TransportState.FAILED, TransportState.CLOSED) and self.number is not None:
            number, self.number = self.number, None
            self._hub.dismiss(number)
            self._tell_lost(f"media: {self.connection.failure or 'closed'}")

    def _take_event(self, event: Event) -> None:
        if isinstance(event, PublishLayers) and self.spec.dynacast and self.number is not None:
            active = {layer.rid for layer in event.layers if layer.active}
            for stream in self.publisher.video_streams:
                self._hub.traffic.set_sender_active(self.number, stream.ssrc, stream.rid in active)
        self._on_event_too(event)

    def _hand_over(self) -> None:
        fd, keys = self.connection.hand_over()
        traffic = self._hub.traffic
        self.number = number = traffic.add_peer(
            fd,
            keys.profile.number,
            keys.receive,
            keys.send,
            report_ssrc=self._report_ssrc,
            transport_cc_id=TRANSPORT_CC,
            nack=self.spec.nack,
        )
        self._hub.adopt(self.connection, number)
        for slot in self.slots.values():
            traffic.add_stream(
                number, slot.ssrc, CLOCK_RATE_HZ[slot.kind], rtx_ssrc=slot.rtx_ssrc, group=self._group_of(slot)
            )
        self._start_senders(number)

    def _start_senders(self, number: int) -> None:
        traffic = self._hub.traffic
        audio, videos = self.publisher.audio_stream, self.publisher.video_streams
        if audio is not None and self._media.audio is not None and self.spec.audio is not None:
            traffic.add_sender(
                number,
                self._media.audio,
                ssrc=audio.ssrc,
                payload_type=OPUS,
                clock_rate_hz=CLOCK_RATE_HZ["audio"],
                video=False,
                mid=AUDIO_MID.encode(),
                mid_id=MID,
                transport_cc_id=TRANSPORT_CC,
                abs_send_time_id=ABS_SEND_TIME,
                audio_level_id=AUDIO_LEVEL,
                audio_level=level_byte(self.spec.audio),
            )
        for stream, program in zip(videos, self._media.layers, strict=True):
            traffic.add_sender(
                number,
                program,
                ssrc=stream.ssrc,
                payload_type=VP8,
                clock_rate_hz=CLOCK_RATE_HZ["video"],
                video=True,
                mid=VIDEO_MID.encode(),
                rid=stream.rid.encode(),
                mid_id=MID,
                rid_id=RID,
                transport_cc_id=TRANSPORT_CC,
                abs_send_time_id=ABS_SEND_TIME,
            )
