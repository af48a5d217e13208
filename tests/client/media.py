# SPDX-License-Identifier: Apache-2.0
"""Tracks whose content can be recognised after an encoder, a server and a decoder."""

from __future__ import annotations

import asyncio
import fractions
import time

import av
import numpy as np
from aiortc import AudioStreamTrack, VideoStreamTrack

SAMPLE_RATE_HZ = 48_000
SAMPLES = 960
VIDEO_TICKS = 90_000


class ColourTrack(VideoStreamTrack):
    """One colour all over, given as (Y, U, V)."""

    def __init__(self, colour: tuple[int, int, int], width: int = 320, height: int = 180, fps: int = 15) -> None:
        super().__init__()
        self._fps = fps
        self._started_s = time.monotonic()
        self._count = 0
        self._planes = np.concatenate(
            [
                np.full((height, width), colour[0], np.uint8),
                np.full((height // 4, width), colour[1], np.uint8),
                np.full((height // 4, width), colour[2], np.uint8),
            ]
        )

    async def recv(self) -> av.VideoFrame:
        self._count += 1
        await asyncio.sleep(max(0.0, self._started_s + self._count / self._fps - time.monotonic()))
        frame = av.VideoFrame.from_ndarray(self._planes, format="yuv420p")
        frame.pts = self._count * VIDEO_TICKS // self._fps
        frame.time_base = fractions.Fraction(1, VIDEO_TICKS)
        return frame


class ToneTrack(AudioStreamTrack):
    """A sine."""

    def __init__(self, frequency_hz: float) -> None:
        super().__init__()
        self._frequency_hz = frequency_hz
        self._started_s = time.monotonic()
        self._sample = 0

    async def recv(self) -> av.AudioFrame:
        await asyncio.sleep(max(0.0, self._started_s + self._sample / SAMPLE_RATE_HZ - time.monotonic()))
        at = (np.arange(SAMPLES) + self._sample) / SAMPLE_RATE_HZ
        samples = (0.5 * 32767 * np.sin(2 * np.pi * self._frequency_hz * at)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        frame.pts = self._sample
        frame.time_base = fractions.Fraction(1, SAMPLE_RATE_HZ)
        self._sample += SAMPLES
        return frame


def colour_of(frame: av.VideoFrame) -> tuple[float, float, float]:
    """Mean (Y, U, V)."""
    planes = frame.to_ndarray(format="yuv420p")
    height = frame.height
    return (
        float(planes[:height].mean()),
        float(planes[height : height + height // 4].mean()),
        float(planes[height + height // 4 :].mean()),
    )


def pitch_of(frames: list[av.AudioFrame]) -> float:
    """The loudest frequency of consecutive frames, in Hz."""
    channels = len(frames[0].layout.channels)
    samples = np.concatenate([frame.to_ndarray().reshape(-1, channels)[:, 0] for frame in frames])
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum[1:]) + 1) * frames[0].sample_rate / len(samples)
