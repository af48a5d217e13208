# SPDX-License-Identifier: Apache-2.0
"""Encoded media that a light bot sends again and again, so that whoever receives it has something to decode."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from sfu.load.media import MAX_PAYLOAD, PICTURE_IDS, TL0_INDICES
from sfu.wire.descriptors import Vp8
from sfu.wire.vp8 import write_descriptor

VideoCodec = Literal["VP8", "H264"]

START_CODE: Final = b"\x00\x00\x01"
# RFC 6184, section 5.4.
FU_A: Final = 28
NAL_TYPE: Final = 0x1F
NAL_IMPORTANCE: Final = 0xE0
FU_START, FU_END = 0x80, 0x40


@dataclass(frozen=True, slots=True)
class RecordedVideo:
    """Frames as an encoder gives them (H.264 in Annex B form), the first a keyframe, in one temporal layer."""

    codec: VideoCodec
    frames: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class RecordedAudio:
    """Opus packets of 20 ms."""

    packets: tuple[bytes, ...]


class RecordedVideoSource:
    """Plays from the beginning, and begins again where the recording ends or a keyframe is asked for."""

    def __init__(self, recorded: RecordedVideo) -> None:
        self._recorded = recorded
        self._position = 0
        self._picture = 0
        self._tl0 = 0
        self.publication = 0
        self.frames = 0
        self.keyframes = 0
        self.keyframe_wanted = True

    def next_frame(self) -> Iterator[tuple[bytes, bool]]:
        """(payload, marker) of each packet."""
        if self.keyframe_wanted:
            self._position = 0
            self.keyframe_wanted = False
        frame = self._recorded.frames[self._position]
        self.keyframes += self._position == 0
        self._position = (self._position + 1) % len(self._recorded.frames)
        self.frames += 1
        payloads = self._vp8(frame) if self._recorded.codec == "VP8" else packetize_h264(frame)
        return ((payload, index == len(payloads) - 1) for index, payload in enumerate(payloads))

    def _vp8(self, frame: bytes) -> list[bytes]:
        self._picture = (self._picture + 1) % PICTURE_IDS
        self._tl0 = (self._tl0 + 1) % TL0_INDICES
        payloads = []
        for at in range(0, len(frame), MAX_PAYLOAD):
            head = Vp8(picture_id=self._picture, tl0_picture_index=self._tl0, temporal=0, start_of_partition=at == 0)
            payloads.append(write_descriptor(head) + frame[at : at + MAX_PAYLOAD])
        return payloads


class RecordedAudioSource:
    def __init__(self, recorded: RecordedAudio) -> None:
        self._packets = itertools.cycle(recorded.packets)
        self.publication = 0

    def next_frame(self) -> bytes:
        return next(self._packets)


def packetize_h264(frame: bytes) -> Sequence[bytes]:
    """RFC 6184, packetization mode 1: NAL units alone or in fragments, never aggregated."""
    payloads: list[bytes] = []
    for unit in (part.rstrip(b"\x00") for part in frame.split(START_CODE)):
        if not unit:
            continue
        if len(unit) <= MAX_PAYLOAD:
            payloads.append(unit)
            continue
        head = unit[0]
        room = MAX_PAYLOAD - 2
        for at in range(1, len(unit), room):
            bounds = (FU_START if at == 1 else 0) | (FU_END if at + room >= len(unit) else 0)
            fragment = bytes((head & NAL_IMPORTANCE | FU_A, bounds | head & NAL_TYPE))
            payloads.append(fragment + unit[at : at + room])
    return payloads
