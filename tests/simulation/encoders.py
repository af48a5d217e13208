# SPDX-License-Identifier: Apache-2.0
"""Synthetic encoders: frames of the right shape, size and dependencies, with a mark in each packet; nothing to see."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Protocol

from tests.simulation.h264_payload import (
    FU_A,
    NAL_IDR,
    NAL_SLICE,
    REFERENCE_IDC,
    build_pps,
    build_sps,
    build_stap_a,
)
from tests.simulation.tags import TAG_BYTES, FrameTag, write_tag
from tests.simulation.vp8_payload import Vp8Descriptor, build_vp8_descriptor, build_vp8_frame_header

MAXIMUM_PAYLOAD_BYTES = 1100
SMALLEST_PAYLOAD_BYTES = TAG_BYTES + 24
KEYFRAME_FACTOR = 6.0
"""A keyframe is so many times larger than the mean frame."""
SIZE_SPREAD = 0.12
"""Standard deviation of frame sizes, as a share."""
TEMPORAL_WEIGHTS = {1: (1.0,), 2: (1.25, 0.75), 3: (1.5, 1.1, 0.7)}
"""Frame size by temporal layer, as a share of the mean."""
NAL_SEI = 6
OPUS_TOC = 0x78
"""RFC 6716 §3.1: CELT, full band, 20 ms, mono, one frame."""
_FILLER = bytes(random.Random(7741).choices(range(1, 256), k=4096))


def filler(seed: int, size: int) -> bytes:
    """Bytes without zeros (an H.264 unit may hold no start code), different for each seed."""
    start = seed * 31 % (len(_FILLER) // 2)
    return (_FILLER[start:] + _FILLER * (size // len(_FILLER) + 1))[:size]


def share(size: int, parts: int) -> list[int]:
    """Parts that differ by at most one byte, as libwebrtc's packetizers make them."""
    return [size // parts + (1 if part < size % parts else 0) for part in range(parts)]


class Encoder(Protocol):
    """One layer's encoder."""

    def encode(self, *, keyframe: bool) -> list[bytes]:
        """The payloads of the next frame (the first one is a keyframe in any case)."""


@dataclass(slots=True)
class _Frames:
    """What all encoders count and draw."""

    random: random.Random
    publication: int
    layer: int
    mean_bytes: int
    number: int = -1

    def size(self, factor: float) -> int:
        return int(self.mean_bytes * factor * max(0.3, self.random.gauss(1.0, SIZE_SPREAD)))

    def tag(self, index: int, count: int, *, keyframe: bool, temporal: int, references: tuple[int, ...]) -> bytes:
        tag = FrameTag(self.publication, self.layer, temporal, keyframe, self.number, index, count, references)
        return write_tag(tag)


@dataclass(frozen=True, slots=True)
class _Step:
    """One frame of a temporal pattern: which of VP8's buffers it reads and updates."""

    temporal: int
    reads: str
    updates: str


PATTERNS = {
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
"""libwebrtc's default temporal layers: L = last, G = golden, A = altref, which holds the last keyframe. The first frame
of each upper layer in a period needs base frames only: it is the layer sync."""


@dataclass(slots=True)
class Vp8Encoder:
    """VP8 with 1–3 temporal layers."""

    frames: _Frames
    width: int
    height: int
    temporal_layers: int
    picture_id: int = 0
    tl0_picture_index: int = 0
    _step: int = 0
    _buffers: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Frame number and temporal layer of what each buffer holds."""

    def encode(self, *, keyframe: bool) -> list[bytes]:
        """The payloads of the next frame."""
        frames = self.frames
        frames.number += 1
        keyframe = keyframe or frames.number == 0
        pattern = PATTERNS[self.temporal_layers]
        if keyframe:
            self._step = 0
        step = pattern[self._step]
        self._step = (self._step + 1) % len(pattern)
        read = [] if keyframe else [self._buffers[name] for name in step.reads]
        updates = "LGA" if keyframe else step.updates
        self.picture_id = (self.picture_id + 1) % (1 << 15)
        if step.temporal == 0:
            self.tl0_picture_index = (self.tl0_picture_index + 1) % 256
        for name in updates:
            self._buffers[name] = (frames.number, step.temporal)
        descriptor = Vp8Descriptor(
            non_reference=not updates,
            picture_id=self.picture_id,
            long_picture_id=True,
            tl0_picture_index=self.tl0_picture_index,
            temporal=step.temporal,
            layer_sync=step.temporal > 0 and all(temporal == 0 for _, temporal in read),
        )
        references = tuple(sorted({number for number, _ in read}))
        return self._packetize(descriptor, keyframe=keyframe, references=references)

    def _packetize(self, descriptor: Vp8Descriptor, *, keyframe: bool, references: tuple[int, ...]) -> list[bytes]:
        frames = self.frames
        temporal = descriptor.temporal or 0
        size = frames.size(KEYFRAME_FACTOR if keyframe else TEMPORAL_WEIGHTS[self.temporal_layers][temporal])
        size = max(size, SMALLEST_PAYLOAD_BYTES)
        count = -(-size // MAXIMUM_PAYLOAD_BYTES)
        payloads = []
        for index, part in enumerate(share(size, count)):
            descriptor.start_of_frame = index == 0
            head = build_vp8_descriptor(descriptor)
            if index == 0:
                head += build_vp8_frame_header(keyframe, size, self.width, self.height)
            head += frames.tag(index, count, keyframe=keyframe, temporal=temporal, references=references)
            payloads.append(head + filler(frames.number + index, max(part - len(head), 0)))
        return payloads


@dataclass(slots=True)
class H264Encoder:
    """H.264, each frame after its predecessor; packetization mode 1, or 0 with a slice per packet."""

    frames: _Frames
    width: int
    height: int
    packetization_mode: int = 1

    def encode(self, *, keyframe: bool) -> list[bytes]:
        """The payloads of the next frame."""
        self.frames.number += 1
        keyframe = keyframe or self.frames.number == 0
        size = max(self.frames.size(KEYFRAME_FACTOR if keyframe else 1.0), SMALLEST_PAYLOAD_BYTES)
        return self._single_units(keyframe, size) if self.packetization_mode == 0 else self._fragments(keyframe, size)

    def _tag(self, index: int, count: int, *, keyframe: bool) -> bytes:
        references = () if keyframe else (self.frames.number - 1,)
        return self.frames.tag(index, count, keyframe=keyframe, temporal=0, references=references)

    def _slice(self, index: int, size: int, tag: bytes, *, first: bool) -> bytes:
        # first_mb_in_slice is ue(v): 0 is the single bit 1, anything else begins with a 0.
        head = (b"\x88" if first else b"\x48") + tag
        return head + filler(self.frames.number + index, max(size - len(head), 0))

    def _fragments(self, keyframe: bool, size: int) -> list[bytes]:
        slices = -(-size // MAXIMUM_PAYLOAD_BYTES)
        count = slices + keyframe
        payloads = []
        if keyframe:
            mark = self._tag(0, count, keyframe=True)
            sei = bytes([NAL_SEI, 5, len(mark)]) + mark + b"\x80"
            payloads.append(build_stap_a([build_sps(self.width, self.height), build_pps(), sei]))
        unit = NAL_IDR if keyframe else NAL_SLICE
        for index, part in enumerate(share(size, slices)):
            data = self._slice(index, part, self._tag(index + keyframe, count, keyframe=keyframe), first=index == 0)
            if slices == 1:
                payloads.append(bytes([REFERENCE_IDC | unit]) + data)
            else:
                position = (0x80 if index == 0 else 0) | (0x40 if index == slices - 1 else 0)
                payloads.append(bytes([REFERENCE_IDC | FU_A, position | unit]) + data)
        return payloads

    def _single_units(self, keyframe: bool, size: int) -> list[bytes]:
        count = -(-size // MAXIMUM_PAYLOAD_BYTES)
        unit = NAL_IDR if keyframe else NAL_SLICE
        payloads = [build_sps(self.width, self.height), build_pps()] if keyframe else []
        for index, part in enumerate(share(size, count)):
            data = self._slice(index, part, self._tag(index, count, keyframe=keyframe), first=index == 0)
            payloads.append(bytes([REFERENCE_IDC | unit]) + data)
        return payloads


@dataclass(slots=True)
class OpusEncoder:
    """Opus, 20 ms a packet."""

    frames: _Frames

    def encode(self, *, keyframe: bool) -> list[bytes]:
        """The payload of the next frame."""
        self.frames.number += 1
        mark = self.frames.tag(0, 1, keyframe=True, temporal=0, references=())
        size = max(self.frames.size(1.0) - len(mark), 8)
        return [bytes([OPUS_TOC]) + mark + filler(self.frames.number, size)]


def vp8_encoder(
    seed: random.Random, publication: int, layer: int, *, width: int, height: int, mean_bytes: int, temporal_layers: int
) -> Vp8Encoder:
    """With counters that start anywhere."""
    frames = _Frames(seed, publication, layer, mean_bytes)
    first_picture, first_tl0 = seed.randrange(1 << 15), seed.randrange(256)
    return Vp8Encoder(frames, width, height, temporal_layers, first_picture, first_tl0)


def h264_encoder(
    seed: random.Random, publication: int, layer: int, *, width: int, height: int, mean_bytes: int, mode: int = 1
) -> H264Encoder:
    """A baseline encoder."""
    return H264Encoder(_Frames(seed, publication, layer, mean_bytes), width, height, mode)


def opus_encoder(seed: random.Random, publication: int, *, mean_bytes: int = 110) -> OpusEncoder:
    """A microphone."""
    return OpusEncoder(_Frames(seed, publication, 0, mean_bytes))
