# SPDX-License-Identifier: Apache-2.0
"""Publishers that cost next to nothing, with pictures and sound that browsers decode: bots that play a recording."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import av
import numpy as np

from sfu.load.media import AudioSpec, VideoLayer, VideoSpec
from sfu.load.peer import LightPeer, LightSpec
from sfu.load.recording import RecordedAudio, RecordedVideo, VideoCodec

FPS = 15
BITRATE_BPS = 300_000
RECORDED_S = 2
ENCODERS: dict[VideoCodec, tuple[str, str, dict[str, str]]] = {
    "VP8": ("libvpx", "yuv420p", {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}),
    "H264": (
        "libx264",
        "yuv420p",
        {"preset": "ultrafast", "tune": "zerolatency", "profile": "baseline", "level": "31"},
    ),
}
SAMPLE_RATE, SAMPLES = 48_000, 960
# A whole number of waves in a recording: it begins again without a click.
TONE_HZ = 300


@cache
def moving_picture(codec: VideoCodec, width: int, height: int) -> RecordedVideo:
    """A bar that crosses a grey ramp."""
    name, pixels, options = ENCODERS[codec]
    encoder = av.CodecContext.create(name, "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, pixels
    encoder.bit_rate, encoder.time_base, encoder.framerate = BITRATE_BPS, Fraction(1, FPS), Fraction(FPS)
    encoder.gop_size = 1000
    encoder.options = options
    ramp = np.linspace(40, 160, width, dtype=np.uint8)
    frames = []
    for number in range(FPS * RECORDED_S):
        picture = np.repeat(ramp[np.newaxis, :, np.newaxis], height, axis=0).repeat(3, axis=2)
        left = number * width // (FPS * RECORDED_S)
        picture[:, left : left + width // 10] = (230, 120, 30)
        frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format=pixels)
        frame.pts, frame.time_base = number, encoder.time_base
        frames += encoder.encode(frame)
    frames += encoder.encode(None)
    assert frames[0].is_keyframe
    assert len(frames) == FPS * RECORDED_S
    return RecordedVideo(codec, tuple(bytes(packet) for packet in frames))


@cache
def tone() -> RecordedAudio:
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.format, encoder.layout = SAMPLE_RATE, "s16", "mono"
    encoder.bit_rate = 32_000
    encoder.options = {"application": "voip"}
    at = np.arange(SAMPLE_RATE * RECORDED_S)
    samples = (8000 * np.sin(2 * np.pi * TONE_HZ * at / SAMPLE_RATE)).astype(np.int16)
    packets = []
    for number, chunk in enumerate(samples.reshape(-1, SAMPLES)):
        frame = av.AudioFrame.from_ndarray(chunk[np.newaxis, :], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, number * SAMPLES, Fraction(1, SAMPLE_RATE)
        packets += encoder.encode(frame)
    assert len(packets) >= SAMPLE_RATE * RECORDED_S // SAMPLES - 1
    return RecordedAudio(tuple(bytes(packet) for packet in packets))


async def publish(
    url: str, room: str, name: str, width: int, height: int, codec: VideoCodec = "VP8", clock_offset_us: int = 0
) -> LightPeer:
    """One camera layer and a tone. `clock_offset_us`: how far its clock is off, as its sender reports tell it."""
    spec = LightSpec(
        room=room,
        name=name,
        audio=AudioSpec(),
        video=VideoSpec((VideoLayer("", width, height, BITRATE_BPS),), FPS, 1),
        video_slots=0,
        recorded_audio=tone(),
        recorded_video=moving_picture(codec, width, height),
        clock_offset_us=clock_offset_us,
    )
    return await LightPeer.join(url, spec)
