# SPDX-License-Identifier: Apache-2.0
"""Programs for the native load client: rendered from the light bot's sources, or from recorded packets."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from sfu.load.media import AUDIO_FRAME_US, AudioSpec, OpusSource, VideoLayer, VideoSpec, Vp8Source, no_stamp
from sfu.load.program import Program
from sfu.wire.descriptors import Vp8
from sfu.wire.vp8 import parse_descriptor, write_descriptor

# One round of a synthetic program. It begins with a keyframe, and so does each further round.
ROUND_S: Final = 16.0
PATTERN_FRAMES: Final = 8
AUDIO_ROUND_FRAMES: Final = 50
# The first byte of the VP8 payload descriptor and the next one, RFC 7741, section 4.2.
EXTENDED, HAS_PICTURE_ID, HAS_TL0, LONG_PICTURE_ID = 0x80, 0x80, 0x40, 0x80

ProgramPacket = tuple[bytes, int, int]
ProgramFrame = tuple[int, bool, bool, Sequence[ProgramPacket]]


@dataclass(frozen=True)
class Media:
    """What one bot plays."""

    audio: Program | None = None
    layers: tuple[Program, ...] = ()
    """Lowest first, as many as its `VideoSpec` has."""


def vp8_packet(payload: bytes) -> ProgramPacket:
    """With where the numbers stand that have to go on over a loop's end."""
    if (
        len(payload) < 5
        or not payload[0] & EXTENDED
        or not payload[1] & HAS_PICTURE_ID
        or not payload[2] & LONG_PICTURE_ID
    ):
        return payload, 0, 0
    return payload, 2, 4 if payload[1] & HAS_TL0 else 0


@cache
def synthetic_video(layer: VideoLayer, spec: VideoSpec) -> Program:
    """One encoding of a synthetic camera."""
    source = Vp8Source(layer, 0, spec, random.Random(0), no_stamp)
    count = max(1, round(ROUND_S * spec.fps / PATTERN_FRAMES)) * PATTERN_FRAMES
    duration_us = round(1_000_000 / spec.fps)
    return Program(_vp8_frame(duration_us, [payload for payload, _ in source.next_frame()]) for _ in range(count))


@cache
def synthetic_audio(spec: AudioSpec) -> Program:
    """A synthetic microphone."""
    source = OpusSource(spec, no_stamp)
    return Program((AUDIO_FRAME_US, True, True, [(source.next_frame(), 0, 0)]) for _ in range(AUDIO_ROUND_FRAMES))


def synthetic(audio: AudioSpec | None, video: VideoSpec | None) -> Media:
    return Media(
        None if audio is None else synthetic_audio(audio),
        () if video is None else tuple(synthetic_video(layer, video) for layer in video.layers),
    )


@cache
def bursts(packets: int, payload_size: int, fps: float, *, seconds: float = 4.0) -> Program:
    """VP8 of one layer whose frames, keyframes too, are all `packets` × `payload_size` bytes."""
    count = max(1, round(seconds * fps))

    def frame(number: int) -> ProgramFrame:
        payloads = []
        for index in range(packets):
            head = write_descriptor(
                Vp8(
                    picture_id=number,
                    long_picture_id=True,
                    tl0_picture_index=0,
                    temporal=0,
                    start_of_partition=index == 0,
                )
            )
            if index == 0:
                size = packets * payload_size
                tag = (0 if number == 0 else 1) | 1 << 4 | min(size, 0x7FFFF) << 5
                head += tag.to_bytes(3, "little") + (b"\x9d\x01\x2a\x00\x05\xd0\x02" if number == 0 else b"")
            payloads.append(head + bytes(payload_size - len(head)))
        return _vp8_frame(round(1_000_000 / fps), payloads)

    return Program(frame(number) for number in range(count))


def recorded_video(packets: Iterable[tuple[int, int, bytes]], *, vp8: bool, clock_rate_hz: int = 90_000) -> Program:
    """From (RTP timestamp, sequence number, payload) of one stream, in order. It begins at the first VP8 keyframe."""
    frames = [
        (timestamp, [payload for _, _, payload in group])
        for timestamp, group in itertools.groupby(packets, key=lambda packet: packet[0])
    ]
    if vp8:
        frames = list(itertools.dropwhile(lambda frame: not parse_descriptor(frame[1][0]).keyframe, frames))
    if len(frames) < 2:
        raise ValueError("a program needs two frames at least, of which one is a keyframe")
    steps = [(later[0] - frame[0]) % (1 << 32) for frame, later in itertools.pairwise(frames)]
    typical = sorted(steps)[len(steps) // 2]
    durations_us = [step * 1_000_000 // clock_rate_hz for step in [*steps, typical]]
    return Program(
        _vp8_frame(duration_us, payloads) if vp8 else (duration_us, number == 0, True, [(p, 0, 0) for p in payloads])
        for number, (duration_us, (_, payloads)) in enumerate(zip(durations_us, frames, strict=True))
    )


def _vp8_frame(duration_us: int, payloads: Sequence[bytes]) -> ProgramFrame:
    first = parse_descriptor(payloads[0])
    return duration_us, first.keyframe, not first.temporal, [vp8_packet(payload) for payload in payloads]
