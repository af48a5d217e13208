# SPDX-License-Identifier: Apache-2.0
"""What a light bot sends: VP8 simulcast and Opus without a picture or a sound in them, but legal in every header."""

from __future__ import annotations

import itertools
import random
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sfu.wire.descriptors import Vp8
from sfu.wire.vp8 import write_descriptor

# Leaves room in 1,200 bytes for RTP, header extensions, the SRTP tag and, at the server, CSRC and original sequence
# number.
MAX_PAYLOAD: Final = 1100
# Of an inter frame's mean size; the four frames of a period add up to four.
TEMPORAL_WEIGHTS: Final = (1.6, 1.0, 0.7)
KEYFRAME_WEIGHT: Final = 4.0

AUDIO_FRAME_MS: Final = 20
AUDIO_FRAME_SAMPLES: Final = 960
# Opus table of contents: configuration 15 (hybrid, fullband, 20 ms), mono, one frame (RFC 6716, section 3.1).
OPUS_TOC: Final = 15 << 3

PICTURE_IDS: Final = 1 << 15
TL0_INDICES: Final = 1 << 8
START_CODE: Final = b"\x9d\x01\x2a"


@dataclass(frozen=True, slots=True)
class VideoLayer:
    """One simulcast encoding."""

    rid: str
    width: int
    height: int
    bitrate_bps: int


@dataclass(frozen=True, slots=True)
class VideoSpec:
    """A synthetic camera. Several layers make a simulcast section, one a plain one."""

    layers: tuple[VideoLayer, ...] = (
        VideoLayer("q", 240, 135, 80_000),
        VideoLayer("h", 480, 270, 250_000),
        VideoLayer("f", 960, 540, 700_000),
    )
    fps: float = 15.0
    temporal_layers: int = 3


@dataclass(frozen=True, slots=True)
class AudioSpec:
    """A synthetic microphone. `level` is in -dBov as RFC 6464 counts: 0 the loudest, 127 silence."""

    bitrate_bps: int = 32_000
    level: int = 40
    voice: bool = True


@dataclass(frozen=True, slots=True)
class PacketMark:
    """Which packet of its source this is, for a stamp. Numbers count from 0 per layer; `references` are frames."""

    layer: int
    temporal: int
    keyframe: bool
    frame: int
    index: int
    count: int
    references: tuple[int, ...]


# Makes bytes that are put right behind the codec's headers: a checker's ground truth. The same length for each packet.
Stamp = Callable[[PacketMark], bytes]


def no_stamp(_: PacketMark) -> bytes:
    return b""


@dataclass(frozen=True, slots=True)
class _Step:
    """One frame of the temporal pattern: its layer, whether it needs nothing but the base layer, whether others need
    it.
    """

    temporal: int
    layer_sync: bool
    is_reference: bool


# libvpx's patterns. The second frame of the highest layer builds on the middle one, so it is no point to switch up at.
_PATTERNS: Final[dict[int, Sequence[_Step]]] = {
    1: (_Step(0, False, True),),
    2: (_Step(0, False, True), _Step(1, True, False)),
    3: (_Step(0, False, True), _Step(2, True, False), _Step(1, True, True), _Step(2, False, False)),
}


class Vp8Source:
    """One encoding. Each call of `next_frame` is one picture; a wished keyframe comes with the next one."""

    def __init__(self, layer: VideoLayer, index: int, spec: VideoSpec, rng: random.Random, stamp: Stamp) -> None:
        self._layer = layer
        self._index = index
        self._pattern = _PATTERNS[spec.temporal_layers]
        self._mean_size = layer.bitrate_bps / 8 / spec.fps
        self._stamp = stamp
        self._position = 0
        self._newest: list[int | None] = [None] * len(TEMPORAL_WEIGHTS)  # newest frame of each temporal layer
        self._picture_id = rng.randrange(PICTURE_IDS)
        self._tl0 = rng.randrange(TL0_INDICES)
        self.frames = 0
        self.keyframes = 0
        self.keyframe_wanted = True

    def next_frame(self) -> Iterator[tuple[bytes, bool]]:
        """(payload, marker) of each packet."""
        keyframe, self.keyframe_wanted = self.keyframe_wanted, False
        if keyframe:
            self._position = 0
            self.keyframes += 1
        step = self._pattern[self._position]
        self._position = (self._position + 1) % len(self._pattern)
        self._picture_id = (self._picture_id + 1) % PICTURE_IDS
        if step.temporal == 0:
            self._tl0 = (self._tl0 + 1) % TL0_INDICES
        references = () if keyframe else self._references(step)
        weight = KEYFRAME_WEIGHT if keyframe else TEMPORAL_WEIGHTS[step.temporal] if len(self._pattern) > 1 else 1.0
        frame, self.frames = self.frames, self.frames + 1
        self._newest[step.temporal] = frame
        return self._packets(step, keyframe, frame, references, round(self._mean_size * weight))

    def _references(self, step: _Step) -> tuple[int, ...]:
        needed = self._newest[1] if step.temporal == 2 and not step.layer_sync else self._newest[0]
        return () if needed is None else (needed,)

    def _packets(
        self, step: _Step, keyframe: bool, frame: int, references: tuple[int, ...], size: int
    ) -> Iterator[tuple[bytes, bool]]:
        count = max(1, -(-size // MAX_PAYLOAD))
        for index in range(count):
            descriptor = write_descriptor(
                Vp8(
                    start_of_partition=index == 0,
                    non_reference=not step.is_reference,
                    picture_id=self._picture_id,
                    tl0_picture_index=self._tl0,
                    temporal=step.temporal,
                    layer_sync=step.layer_sync,
                )
            )
            header = self._frame_header(keyframe, size) if index == 0 else b""
            mark = PacketMark(self._index, step.temporal, keyframe, frame, index, count, references)
            head = descriptor + header + self._stamp(mark)
            yield head + bytes(max(0, size // count - len(head))), index == count - 1

    def _frame_header(self, keyframe: bool, size: int) -> bytes:
        """RFC 6386, section 9.1: frame type, version 0, shown, size of the first partition; then start code and picture
        size.
        """
        tag = (0 if keyframe else 1) | 1 << 4 | min(size, 0x7FFFF) << 5
        header = tag.to_bytes(3, "little")
        return header + START_CODE + struct.pack("<HH", self._layer.width, self._layer.height) if keyframe else header


class OpusSource:
    """Frames of 20 ms."""

    def __init__(self, spec: AudioSpec, stamp: Stamp) -> None:
        self._size = spec.bitrate_bps * AUDIO_FRAME_MS // 8000
        self._stamp = stamp
        self._numbers = itertools.count()

    def next_frame(self) -> bytes:
        head = bytes((OPUS_TOC,)) + self._stamp(PacketMark(0, 0, False, next(self._numbers), 0, 1, ()))
        return head + bytes(max(0, self._size - len(head)))
