# SPDX-License-Identifier: Apache-2.0
"""What a light bot sends: VP8 simulcast and Opus without a picture or a sound in them, but legal in every header."""

from __future__ import annotations

import itertools
import random
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sfu.load.description import Kind
from sfu.wire.descriptors import Vp8
from sfu.wire.vp8 import write_descriptor

# Leaves room in 1,200 bytes for RTP, header extensions, the SRTP tag and, at the server, CSRC and original sequence
# number.
MAX_PAYLOAD: Final = 1100
# Of an inter frame's mean size; four consecutive frames of three layers add up to four.
TEMPORAL_WEIGHTS: Final = (1.6, 1.0, 0.7)
KEYFRAME_WEIGHT: Final = 4.0

AUDIO_FRAME_US: Final = 20_000
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
    """Which packet of its source this is, for a stamp. Numbers count from 0 per layer; `references` are frames.

    `publication` is the number that the server gave: the CSRC of the packets that it makes of this one.
    """

    kind: Kind
    publication: int
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
    """One frame of a temporal pattern: which of VP8's buffers (L last, G golden, A altref) it reads and updates."""

    temporal: int
    reads: str
    updates: str


# libwebrtc's default temporal layers. A keyframe fills all buffers, and the altref keeps it.
_PATTERNS: Final[dict[int, Sequence[_Step]]] = {
    1: (_Step(0, "L", "L"),),
    2: (_Step(0, "LA", "L"), _Step(1, "L", "G"), _Step(0, "LA", "L"), _Step(1, "LGA", "G")),
    3: (
        _Step(0, "LA", "L"),
        _Step(2, "L", ""),
        _Step(1, "LA", "G"),
        _Step(2, "LGA", ""),
        _Step(0, "LA", "L"),
        _Step(2, "LGA", ""),
        _Step(1, "LGA", "G"),
        _Step(2, "LGA", ""),
    ),
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
        self._buffers: dict[str, tuple[int, int]] = {}  # frame number and temporal layer of what each holds
        self._picture_id = rng.randrange(PICTURE_IDS)
        self._tl0 = rng.randrange(TL0_INDICES)
        self.publication = 0
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
        frame, self.frames = self.frames, self.frames + 1
        read = [] if keyframe else [self._buffers[name] for name in step.reads]
        for name in "LGA" if keyframe else step.updates:
            self._buffers[name] = (frame, step.temporal)
        weight = KEYFRAME_WEIGHT if keyframe else TEMPORAL_WEIGHTS[step.temporal] if len(self._pattern) > 1 else 1.0
        descriptor = Vp8(
            non_reference=not (keyframe or step.updates),
            picture_id=self._picture_id,
            tl0_picture_index=self._tl0,
            temporal=step.temporal,
            layer_sync=step.temporal > 0 and all(temporal == 0 for _, temporal in read),
        )
        references = tuple(sorted({number for number, _ in read}))
        return self._packets(descriptor, keyframe, frame, references, round(self._mean_size * weight))

    def _packets(
        self, descriptor: Vp8, keyframe: bool, frame: int, references: tuple[int, ...], size: int
    ) -> Iterator[tuple[bytes, bool]]:
        count = max(1, -(-size // MAX_PAYLOAD))
        temporal = descriptor.temporal or 0
        for index in range(count):
            header = self._frame_header(keyframe, size) if index == 0 else b""
            mark = PacketMark(
                "video", self.publication, self._index, temporal, keyframe, frame, index, count, references
            )
            head = write_descriptor(replace(descriptor, start_of_partition=index == 0)) + header + self._stamp(mark)
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
        self._size = spec.bitrate_bps * AUDIO_FRAME_US // 8_000_000
        self._stamp = stamp
        self._numbers = itertools.count()
        self.publication = 0

    def next_frame(self) -> bytes:
        head = bytes((OPUS_TOC,)) + self._stamp(
            PacketMark("audio", self.publication, 0, 0, False, next(self._numbers), 0, 1, ())
        )
        return head + bytes(max(0, self._size - len(head)))
