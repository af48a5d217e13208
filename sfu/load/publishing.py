# SPDX-License-Identifier: Apache-2.0
"""What one light bot publishes: its streams, their clocks, and what the server asks of them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from sfu.load.connection import now_us
from sfu.load.description import AUDIO_LEVEL, CLOCK_RATE_HZ, OPUS, VP8, VP8_RTX
from sfu.load.media import AUDIO_FRAME_US, AudioSpec, OpusSource, Stamp, VideoSpec, Vp8Source
from sfu.load.recording import RecordedAudio, RecordedAudioSource, RecordedVideo, RecordedVideoSource
from sfu.load.sending import RtpStream, TransportSequence, ntp_from_unix_us
from sfu.wire.rtcp_messages import FullIntraRequest, Nack, Packet, PictureLossIndication, ReceiverReport, SenderReport

# The sections that a bot publishes in.
AUDIO_MID: Final = "audio"
VIDEO_MID: Final = "video"
# A process that stalled does not send what it missed: it goes on from now.
MAX_LATE_S: Final = 0.5


class _Ticker:
    """Calls back with 0, 1, 2, … at a steady rate on the loop's clock; after a long stall numbers are left out."""

    def __init__(self, loop: asyncio.AbstractEventLoop, interval_us: int, callback: Callable[[int], None]) -> None:
        self._loop = loop
        self._interval_us = interval_us
        self._callback = callback
        self._started_s = 0.0
        self._count = 0
        self._handle: asyncio.TimerHandle | None = None

    def start(self, at_s: float) -> None:
        self._started_s = at_s
        self._count = 0
        self._tick()

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _tick(self) -> None:
        count = self._count
        late_s = self._loop.time() - self._due_s(count)
        if late_s > MAX_LATE_S:
            count += int(late_s * 1_000_000) // self._interval_us
        self._count = count + 1
        self._handle = self._loop.call_at(self._due_s(self._count), self._tick)
        self._callback(count)

    def _due_s(self, count: int) -> float:
        return self._started_s + count * self._interval_us / 1_000_000


@dataclass(slots=True)
class _Encoding:
    stream: RtpStream
    source: Vp8Source | RecordedVideoSource
    active: bool = True


class LightPublisher:
    """Synthetic microphone and camera. Nothing is sent before `start`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        send_rtp: Callable[[bytes], None],
        audio: AudioSpec | None,
        video: VideoSpec | None,
        stamp: Stamp,
        clock_offset_us: int,
        rng: random.Random,
        recorded_audio: RecordedAudio | None = None,
        recorded_video: RecordedVideo | None = None,
    ) -> None:
        """`clock_offset_us`: how far this bot's wall clock, as its sender reports tell it, is off. A recording takes
        the place of what is made up; `video` still says its size and rate, and has one layer.
        """
        self._loop = loop
        self._send_rtp = send_rtp
        self._clock_offset_us = clock_offset_us
        self._started_us = now_us()
        self._tickers: list[_Ticker] = []
        self._encodings: list[_Encoding] = []
        self._audio_stream: RtpStream | None = None
        self._audio_talking = False
        transport_sequence = TransportSequence()
        self.audio = audio
        self.audio_muted = False
        self.video_muted = False
        if audio is not None:
            self._opus = OpusSource(audio, stamp) if recorded_audio is None else RecordedAudioSource(recorded_audio)
            self._audio_stream = RtpStream(
                mid=AUDIO_MID,
                rid="",
                payload_type=OPUS,
                rtx_payload_type=0,
                clock_rate_hz=CLOCK_RATE_HZ["audio"],
                transport_sequence=transport_sequence,
                rng=rng,
            )
            self._tickers.append(_Ticker(loop, AUDIO_FRAME_US, self._send_audio))
        if video is not None:
            simulcast = len(video.layers) > 1
            for index, layer in enumerate(video.layers):
                stream = RtpStream(
                    mid=VIDEO_MID,
                    rid=layer.rid if simulcast else "",
                    payload_type=VP8,
                    rtx_payload_type=VP8_RTX,
                    clock_rate_hz=CLOCK_RATE_HZ["video"],
                    transport_sequence=transport_sequence,
                    rng=rng,
                )
                source: Vp8Source | RecordedVideoSource
                if recorded_video is None:
                    source = Vp8Source(layer, index, video, rng, stamp)
                else:
                    source = RecordedVideoSource(recorded_video)
                self._encodings.append(_Encoding(stream, source))
            self._video_interval_us = round(1_000_000 / video.fps)
            self._tickers.append(_Ticker(loop, self._video_interval_us, self._send_video))

    @property
    def audio_stream(self) -> RtpStream | None:
        return self._audio_stream

    @property
    def video_streams(self) -> tuple[RtpStream, ...]:
        """Lowest layer first."""
        return tuple(encoding.stream for encoding in self._encodings)

    @property
    def streams(self) -> tuple[RtpStream, ...]:
        return (*([self._audio_stream] if self._audio_stream else []), *self.video_streams)

    def start(self) -> None:
        self._started_us = now_us()
        at_s = self._loop.time()
        for ticker in self._tickers:
            ticker.start(at_s)

    def stop(self) -> None:
        for ticker in self._tickers:
            ticker.stop()

    def set_numbers(self, numbers: Mapping[str, int]) -> None:
        """The publications' numbers by mid, for the stamps."""
        if self.audio is not None:
            self._opus.publication = numbers.get(AUDIO_MID, 0)
        for encoding in self._encodings:
            encoding.source.publication = numbers.get(VIDEO_MID, 0)

    def set_active_layers(self, layers: Iterable[int]) -> None:
        """Send only these encodings, as a browser without bandwidth; one that comes back begins with a keyframe."""
        wanted = set(layers)
        for index, encoding in enumerate(self._encodings):
            encoding.source.keyframe_wanted |= index in wanted and not encoding.active
            encoding.active = index in wanted

    def reports(self) -> list[SenderReport]:
        """One for each stream that has sent."""
        media_us = now_us() - self._started_us
        ntp = ntp_from_unix_us(time.time_ns() // 1000 + self._clock_offset_us)
        return [stream.report(media_us, ntp) for stream in self.streams if stream.statistics.packets]

    def take(self, message: Packet) -> None:
        """RTCP from the server."""
        match message:
            case PictureLossIndication(media=media):
                self._request_keyframe(media)
            case FullIntraRequest(entries=entries):
                for media, _ in entries:
                    self._request_keyframe(media)
            case Nack(media=media, sequences=sequences):
                self._retransmit(media, sequences)
            case ReceiverReport(reports=reports) | SenderReport(reports=reports):
                reported = {report.ssrc for report in reports}
                for stream in self.streams:
                    stream.reported = stream.reported or stream.ssrc in reported
                    stream.rtx_reported = stream.rtx_reported or stream.rtx_ssrc in reported
            case _:
                pass

    def _request_keyframe(self, ssrc: int) -> None:
        for encoding in self._encodings:
            if encoding.stream.ssrc == ssrc:
                encoding.source.keyframe_wanted = True
                encoding.stream.statistics.keyframe_requests += 1

    def _retransmit(self, ssrc: int, sequences: Iterable[int]) -> None:
        for stream in self.video_streams:
            if stream.ssrc == ssrc:
                packets = (stream.retransmission(sequence) for sequence in sequences)
                for packet in packets:
                    if packet is not None:
                        self._send_rtp(packet)

    def _send_audio(self, count: int) -> None:
        stream = self._audio_stream
        if stream is None or self.audio is None or self.audio_muted:
            self._audio_talking = False
            return
        level = (0x80 if self.audio.voice else 0) | self.audio.level & 0x7F
        timestamp = stream.timestamp(count * AUDIO_FRAME_US)
        marker, self._audio_talking = not self._audio_talking, True
        payload = self._opus.next_frame()
        extensions = {AUDIO_LEVEL: bytes((level,))}
        self._send_rtp(stream.packet(payload, marker=marker, timestamp=timestamp, extensions=extensions))

    def _send_video(self, count: int) -> None:
        if self.video_muted:
            return
        for encoding in self._encodings:
            if not encoding.active:
                continue
            timestamp = encoding.stream.timestamp(count * self._video_interval_us)
            for payload, marker in encoding.source.next_frame():
                self._send_rtp(encoding.stream.packet(payload, marker=marker, timestamp=timestamp, extensions={}))
