# SPDX-License-Identifier: Apache-2.0
"""A light bot: a participant without codecs, cheap enough for many in one process."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Self

from sfu.client.messages import (
    PROTOCOL_VERSION,
    Answer,
    Event,
    Joined,
    Ok,
    PublishedMedia,
    PublishLayers,
    SlotBound,
)
from sfu.client.roster import Roster
from sfu.client.signal import Signal
from sfu.engine.transport_cc import ArrivalTracker
from sfu.load.connection import LightConnection, now_us
from sfu.load.description import CLOCK_RATE_HZ, TRANSPORT_CC, OfferedSection, Setup, read_answer, write_offer
from sfu.load.media import AudioSpec, Stamp, VideoSpec, no_stamp
from sfu.load.network import Impairment
from sfu.load.publishing import AUDIO_MID, VIDEO_MID, LightPublisher
from sfu.load.receiving import LightSlot, PacketObserver, ReceivedPacket
from sfu.load.recording import RecordedAudio, RecordedVideo
from sfu.transport.certificate import Certificate
from sfu.transport.dtls import TransportState
from sfu.wire.rtcp_messages import (
    Goodbye,
    Nack,
    Packet,
    PictureLossIndication,
    ReceiverReport,
    SenderReport,
    SourceDescription,
)
from sfu.wire.rtcp_packets import parse_compound, serialize_compound
from sfu.wire.rtp import RtpPacket

REPORT_INTERVAL_S: Final = 1.0
NACK_CHECK_INTERVAL_S: Final = 0.02
FEEDBACK_INTERVAL_S: Final = 0.05
MAX_REPORT_BLOCKS: Final = 31  # RFC 3550, section 6.4.1


@dataclass(frozen=True)
class LightSpec:
    """What a bot is. `video_slots` pairs of slots, and `audio_slots` besides."""

    room: str
    name: str
    identity: str | None = None
    token: str | None = None
    audio: AudioSpec | None = field(default_factory=AudioSpec)
    video: VideoSpec | None = field(default_factory=VideoSpec)
    video_slots: int = 4
    audio_slots: int = 0
    setup: Setup = "actpass"
    nack: bool = True
    dynacast: bool = False
    """Send only the layers that the server asks for; else all of them all the time."""
    seed: int | None = None
    """Of sequence numbers, timestamps and picture ids; None: random."""
    clock_offset_us: int = 0
    stamp: Stamp = no_stamp
    recorded_audio: RecordedAudio | None = None
    recorded_video: RecordedVideo | None = None
    """What is sent instead of bytes that nobody can decode."""
    impairment: Impairment = field(default_factory=Impairment)
    accept_address: Callable[[str], bool] = lambda _: True
    verify_tls: bool = True


def ignore_packet(_: ReceivedPacket) -> None:
    """A bot that only makes load looks at nothing."""


def ignore_event(_: Event) -> None:
    """As above."""


def ignore_reason(_: str) -> None:
    """`disconnected` and the connection's state tell it too."""


class LightPeer:
    """Joins by `join`, ends by `close`. In between it sends, receives and reports by itself."""

    def __init__(
        self,
        spec: LightSpec,
        certificate: Certificate,
        on_packet: PacketObserver,
        on_event: Callable[[Event], None],
        on_lost: Callable[[str], None] = ignore_reason,
    ) -> None:
        """`on_lost` is told once why websocket or media ended, if not by `close`."""
        loop = asyncio.get_running_loop()
        self.spec: Final = spec
        self._loop = loop
        self._on_packet = on_packet
        self._on_event_observer = on_event
        self._on_lost: Callable[[str], None] = on_lost
        self._signal: Signal | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._streams: dict[int, LightSlot] = {}
        self._offers = 0
        self._arrivals = ArrivalTracker()
        self._cname = secrets.token_hex(8)
        self.roster = Roster()
        self.slots: dict[str, LightSlot] = {}
        """By mid."""
        self.publications: dict[str, PublishedMedia] = {}
        """Our own, by mid: `audio` and `video`."""
        self.disconnected: str | None = None
        """Why the websocket ended, if the server or the network ended it."""
        self.malformed = 0
        self.connection: Final = LightConnection(
            loop,
            certificate,
            on_rtp=self._on_rtp,
            on_rtcp=self._on_rtcp,
            on_state=self._on_state,
            impairment=spec.impairment,
            accept_address=spec.accept_address,
        )
        self.publisher: Final = LightPublisher(
            loop,
            send_rtp=self.connection.send_rtp,
            audio=spec.audio,
            video=spec.video,
            stamp=spec.stamp,
            clock_offset_us=spec.clock_offset_us,
            rng=random.Random(spec.seed),
            recorded_audio=spec.recorded_audio,
            recorded_video=spec.recorded_video,
        )

    @classmethod
    async def join(
        cls,
        url: str,
        spec: LightSpec,
        *,
        certificate: Certificate | None = None,
        on_packet: PacketObserver = ignore_packet,
        on_event: Callable[[Event], None] = ignore_event,
        on_lost: Callable[[str], None] = ignore_reason,
    ) -> Self:
        """A bot whose media is connected. Bots of one process may share a certificate."""
        peer = cls(spec, certificate or Certificate(), on_packet, on_event, on_lost)
        try:
            await peer._enter(url)
        except BaseException:
            await peer.close()
            raise
        return peer

    async def request(self, message_type: str, **fields: Any) -> None:
        """Any request that the server answers with ok: `subscription`, `mute`, `unpublish`."""
        await self._connected_signal().request(Ok, message_type, **fields)

    async def set_wish(self, publication: str, **wish: Any) -> None:
        """What we want of a publication: paused, max_width, max_height, max_spatial, max_temporal, max_fps, slot."""
        await self.request("subscription", publication=publication, **wish)

    async def mute(self, mid: str, *, muted: bool) -> None:
        """Mute or unmute our `audio` or `video`, in its media and for the others to see."""
        if mid == AUDIO_MID:
            self.publisher.audio_muted = muted
        else:
            self.publisher.video_muted = muted
        await self.request("mute", publication=self.publications[mid].id, muted=muted)

    def request_keyframe(self, mid: str) -> None:
        slot = self.slots[mid]
        slot.statistics.keyframe_requests += 1
        self._send_rtcp([PictureLossIndication(sender=self._report_ssrc, media=slot.ssrc)])

    async def close(self, *, silently: bool = False) -> None:
        """Leave and let go of everything. `silently`: as a process that dies, without a word."""
        self._on_lost = ignore_reason
        self.publisher.stop()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if self.connection.state is TransportState.CONNECTED and not silently and self.publisher.streams:
            self._send_rtcp([Goodbye(tuple(stream.ssrc for stream in self.publisher.streams))])
        self.connection.close(silently=silently)
        signal, self._signal = self._signal, None
        if signal is not None:
            await (signal.abort() if silently else signal.close())

    # Joining

    async def _enter(self, url: str) -> None:
        self._signal = signal = await Signal.open(
            url, self._on_event, self._on_disconnected, verify_tls=self.spec.verify_tls
        )
        optional = {"identity": self.spec.identity, "token": self.spec.token}
        await signal.request(
            Joined,
            "join",
            self.roster.join,
            version=PROTOCOL_VERSION,
            room=self.spec.room,
            name=self.spec.name,
            **{name: value for name, value in optional.items() if value is not None},
        )
        await self._negotiate(signal)
        await self.connection.wait_connected()

    async def _negotiate(self, signal: Signal) -> None:
        self._offers += 1
        sdp = write_offer(
            self._sections(),
            ufrag=self.connection.ice.ufrag,
            password=self.connection.ice.password,
            fingerprint=self.connection.fingerprint,
            setup=self.spec.setup,
            version=self._offers,
        )
        await signal.request(Answer, "offer", self._take_answer, sdp=sdp, tracks=self._tracks())

    def _take_answer(self, answer: Answer) -> None:
        facts = read_answer(answer.sdp)
        self.publications = {publication.mid: publication for publication in answer.publications}
        self.publisher.set_numbers({mid: publication.number for mid, publication in self.publications.items()})
        pairs = {slot.mid: slot.pair for slot in answer.slots}
        for mid, section in facts.sections.items():
            if section.direction == "sendonly":
                clock_rate_hz = CLOCK_RATE_HZ["audio" if section.kind == "audio" else "video"]
                slot = LightSlot(section, pairs.get(mid), clock_rate_hz)
                self.slots[mid] = slot
                self._streams |= {ssrc: slot for ssrc in (slot.ssrc, slot.rtx_ssrc) if ssrc}
        self.connection.start(facts, self.spec.setup)

    def _sections(self) -> list[OfferedSection]:
        audio = self.publisher.audio_stream
        videos = self.publisher.video_streams
        sections = []
        if audio is not None:
            sections.append(OfferedSection(AUDIO_MID, "audio", True, audio.ssrc, stream_id="bot", cname=self._cname))
        if videos:
            rids = tuple(stream.rid for stream in videos if stream.rid)
            first = videos[0]
            recorded = self.spec.recorded_video
            codec = "VP8" if recorded is None else recorded.codec
            sections.append(
                OfferedSection(VIDEO_MID, "video", True, first.ssrc, first.rtx_ssrc, rids, "bot", self._cname, codec)
            )
        sections += [OfferedSection(f"v{number}", "video") for number in range(self.spec.video_slots)]
        audio_slots = self.spec.video_slots + self.spec.audio_slots
        return [*sections, *(OfferedSection(f"a{number}", "audio") for number in range(audio_slots))]

    def _tracks(self) -> list[dict[str, Any]]:
        tracks: list[dict[str, Any]] = []
        if self.spec.audio is not None:
            tracks.append({"mid": AUDIO_MID, "source": "microphone"})
        if self.spec.video is not None:
            layers = [
                {
                    "rid": layer.rid if len(self.spec.video.layers) > 1 else "",
                    "width": layer.width,
                    "height": layer.height,
                    "max_bitrate_bps": layer.bitrate_bps,
                    "max_fps": self.spec.video.fps,
                }
                for layer in self.spec.video.layers
            ]
            tracks.append({"mid": VIDEO_MID, "source": "camera", "layers": layers})
        return tracks

    def _connected_signal(self) -> Signal:
        if self._signal is None:
            raise ConnectionError("the bot has left")
        return self._signal

    # What comes in

    def _on_event(self, event: Event) -> None:
        self.roster.take(event)
        if isinstance(event, SlotBound) and event.mid in self.slots:
            slot = self.slots[event.mid]
            slot.publication, slot.number = event.publication, event.number
            slot.generation, slot.rtp_timestamp = event.generation, event.rtp_timestamp
        elif isinstance(event, PublishLayers) and self.spec.dynacast:
            active = {layer.rid for layer in event.layers if layer.active}
            self.publisher.set_active_layers(
                index for index, stream in enumerate(self.publisher.video_streams) if stream.rid in active
            )
        self._on_event_observer(event)

    def _on_disconnected(self, reason: str) -> None:
        self.disconnected = reason
        self._tell_lost(f"websocket: {reason}")

    def _tell_lost(self, reason: str) -> None:
        tell, self._on_lost = self._on_lost, ignore_reason
        tell(reason)

    def _on_state(self, state: TransportState) -> None:
        if state is TransportState.CONNECTED:
            self.publisher.start()
            self._report()
            self._feed_back()
            if self.spec.nack:
                self._check_losses()
        elif state in (TransportState.FAILED, TransportState.CLOSED):
            self.publisher.stop()
            self._tell_lost(f"media: {self.connection.failure or 'closed'}")

    def _on_rtp(self, data: bytes, arrived_us: int) -> None:
        try:
            packet = RtpPacket.parse(data)
        except ValueError:
            self.malformed += 1
            return
        if TRANSPORT_CC in packet.extensions:
            self._arrivals.add(int.from_bytes(packet.extensions[TRANSPORT_CC], "big"), arrived_us)
        slot = self._streams.get(packet.ssrc)
        if slot is None:
            self.malformed += 1
            return
        if packet.ssrc == slot.ssrc:
            slot.take(packet, arrived_us)
            self._on_packet(ReceivedPacket(slot, data, packet, arrived_us, retransmission=False))
            return
        restored = slot.restore(packet)
        if restored is not None:
            slot.take_recovered(restored)
            self._on_packet(ReceivedPacket(slot, data, restored, arrived_us, retransmission=True))

    def _on_rtcp(self, data: bytes, arrived_us: int) -> None:
        try:
            messages = parse_compound(data)
        except ValueError:
            self.malformed += 1
            return
        for message in messages:
            self.publisher.take(message)
            if isinstance(message, SenderReport) and message.ssrc in self._streams:
                self._streams[message.ssrc].take_report(message, arrived_us)

    # What goes out by itself

    @property
    def _report_ssrc(self) -> int:
        streams = self.publisher.streams
        return streams[0].ssrc if streams else 1

    def _report(self) -> None:
        """Sender reports of all streams, and reports on all slots: as many datagrams as it takes."""
        self._timers["report"] = self._loop.call_later(REPORT_INTERVAL_S, self._report)
        blocks = [block for slot in self.slots.values() if (block := slot.report_block(now_us())) is not None]
        first, *others = [
            ReceiverReport(self._report_ssrc, tuple(blocks[at : at + MAX_REPORT_BLOCKS]))
            for at in range(0, len(blocks) or 1, MAX_REPORT_BLOCKS)
        ]
        description = SourceDescription(self._report_ssrc, self._cname.encode())
        self._send_rtcp([*self.publisher.reports(), first, description])
        for more in others:
            self._send_rtcp([more, description])

    def _feed_back(self) -> None:
        """When packets arrived, for the server's bandwidth estimate."""
        self._timers["feedback"] = self._loop.call_later(FEEDBACK_INTERVAL_S, self._feed_back)
        for packet in self._arrivals.feedback(self._report_ssrc, 0):
            self.connection.send_rtcp(packet)

    def _check_losses(self) -> None:
        self._timers["nack"] = self._loop.call_later(NACK_CHECK_INTERVAL_S, self._check_losses)
        for slot in self.slots.values():
            due = slot.due_nacks(now_us()) if slot.rtx_ssrc else ()
            if due:
                self._send_rtcp([Nack(self._report_ssrc, slot.ssrc, due)])
            if slot.take_repair_wanted():
                self.request_keyframe(slot.mid)

    def _send_rtcp(self, messages: list[Packet]) -> None:
        self.connection.send_rtcp(serialize_compound(messages))
