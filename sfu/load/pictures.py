# SPDX-License-Identifier: Apache-2.0
"""A picture that tells when it was made, in blocks that survive an encoder, and a tone: what full bots publish.

Everything in a picture follows from its time, so that a receiver can draw it again and compare.
"""

from __future__ import annotations

import asyncio
import fractions
import time
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from aiortc import AudioStreamTrack, VideoStreamTrack
from av import AudioFrame, VideoFrame

Plane = npt.NDArray[np.uint8]

# 24 bits of milliseconds and 4 of a checksum, in two rows of blocks.
TIME_BITS: Final = 24
CHECK_BITS: Final = 4
ROWS: Final = 2
COLUMNS: Final = (TIME_BITS + CHECK_BITS) // ROWS
# Of the picture's height, each.
ROW_SHARE: Final = 8
DARK, BRIGHT, MIDDLE = 40, 215, 128
WAVE_MS: Final = 4000

SAMPLE_RATE_HZ: Final = 48_000
SAMPLES: Final = 960
TONE_HZ: Final = 440.0
AMPLITUDE: Final = 0.5
VIDEO_TICKS: Final = 90_000
BEST_PSNR_DB: Final = 60.0
SILENCE_DBFS: Final = -100.0


def clock_ms() -> int:
    """What a picture can tell: comparable within one boot of one machine."""
    return time.monotonic_ns() // 1_000_000 % (1 << TIME_BITS)


def age_ms(made_ms: int, now_ms: int) -> int:
    """Across the wrap after 4.6 hours."""
    return (now_ms - made_ms) % (1 << TIME_BITS)


def checksum(made_ms: int) -> int:
    return sum(made_ms >> shift & 0xF for shift in range(0, TIME_BITS, 4)) % 16 ^ 0xA


def draw_luma(made_ms: int, width: int, height: int) -> Plane:
    """A slow wave that moves, behind the blocks."""
    across = np.sin(2 * np.pi * (np.arange(width) / width * 1.5 + made_ms / WAVE_MS))
    down = np.cos(2 * np.pi * np.arange(height) / height)
    luma = (MIDDLE + 70 * np.outer(down, across)).astype(np.uint8)
    word = made_ms << CHECK_BITS | checksum(made_ms)
    row_height = height // ROW_SHARE
    edges = np.linspace(0, width, COLUMNS + 1).astype(int)
    for index in range(ROWS * COLUMNS):
        row, column = divmod(index, COLUMNS)
        bit = word >> (ROWS * COLUMNS - 1 - index) & 1
        luma[row * row_height : (row + 1) * row_height, edges[column] : edges[column + 1]] = BRIGHT if bit else DARK
    return luma


def read_time(luma: Plane) -> int | None:
    """When the picture was made; None: it does not say, or cannot be read."""
    height, width = luma.shape
    row_height = height // ROW_SHARE
    if row_height < 4 or width < 4 * COLUMNS:
        return None
    edges = np.linspace(0, width, COLUMNS + 1).astype(int)
    word = 0
    for index in range(ROWS * COLUMNS):
        row, column = divmod(index, COLUMNS)
        top, left, right = row * row_height, edges[column], edges[column + 1]
        quarter_y, quarter_x = row_height // 4, (right - left) // 4
        middle = luma[top + quarter_y : top + row_height - quarter_y, left + quarter_x : right - quarter_x]
        word = word << 1 | int(middle.mean() > MIDDLE)
    made_ms = word >> CHECK_BITS
    return made_ms if word & 0xF == checksum(made_ms) else None


def psnr_db(luma: Plane, made_ms: int) -> float:
    """Against the picture as it was drawn, at the size at which it came."""
    height, width = luma.shape
    error = luma.astype(np.float64) - draw_luma(made_ms, width, height)
    mean = float(np.mean(error * error))
    return BEST_PSNR_DB if mean == 0 else min(BEST_PSNR_DB, 10 * float(np.log10(255.0 * 255.0 / mean)))


def luma_of(frame: VideoFrame) -> Plane:
    planes = np.asarray(frame.to_ndarray(format="yuv420p"), np.uint8)
    return planes[: frame.height]


def level_dbfs(frame: AudioFrame) -> float:
    samples = frame.to_ndarray().astype(np.float64) / 32768
    mean = float(np.mean(samples * samples))
    return SILENCE_DBFS if mean <= 0 else max(SILENCE_DBFS, 10 * float(np.log10(mean)))


class PictureTrack(VideoStreamTrack):
    def __init__(self, width: int, height: int, fps: float) -> None:
        super().__init__()
        self._width, self._height, self._fps = width // 2 * 2, height // 2 * 2, fps
        self._started_s = time.monotonic()
        self._count = 0
        self._chroma = np.full((self._height // 2, self._width), 128, np.uint8)

    async def recv(self) -> VideoFrame:
        self._count += 1
        await asyncio.sleep(max(0.0, self._started_s + self._count / self._fps - time.monotonic()))
        luma = draw_luma(clock_ms(), self._width, self._height)
        frame = VideoFrame.from_ndarray(np.concatenate([luma, self._chroma]), format="yuv420p")
        frame.pts = int(self._count * VIDEO_TICKS / self._fps)
        frame.time_base = fractions.Fraction(1, VIDEO_TICKS)
        return frame


class ToneTrack(AudioStreamTrack):
    def __init__(self) -> None:
        super().__init__()
        self._started_s = time.monotonic()
        self._sample = 0

    async def recv(self) -> AudioFrame:
        await asyncio.sleep(max(0.0, self._started_s + self._sample / SAMPLE_RATE_HZ - time.monotonic()))
        at = (np.arange(SAMPLES) + self._sample) / SAMPLE_RATE_HZ
        samples = (AMPLITUDE * 32767 * np.sin(2 * np.pi * TONE_HZ * at)).astype(np.int16)
        frame = AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        frame.pts = self._sample
        frame.time_base = fractions.Fraction(1, SAMPLE_RATE_HZ)
        self._sample += SAMPLES
        return frame


def open_media(path: str) -> tuple[Any, Any]:
    """(video track, audio track) of a file, played over and over; None where it has none."""
    from aiortc.contrib.media import MediaPlayer

    player = MediaPlayer(path, loop=True)
    return player.video, player.audio
