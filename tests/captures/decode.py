# SPDX-License-Identifier: Apache-2.0
"""Pictures as FFmpeg's decoders see them, each as a digest of its pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import av
import av.logging

from sfu.engine.codecs import Codec
from tests.captures.depacketize import Picture, frames

DECODERS = {Codec.VP8: "vp8", Codec.VP9: "vp9", Codec.H264: "h264", Codec.AV1: "libdav1d"}


@dataclass(frozen=True)
class Decoded:
    index: int
    """Of the picture that it belongs to."""
    width: int
    digest: str


def decode(codec: Codec, pictures: Sequence[Picture], *, all_layers: bool = False) -> list[Decoded]:
    """av.FFmpegError where a decoder stumbles. Of a picture's spatial layers only the highest, unless `all_layers`."""
    av.logging.set_level(av.logging.PANIC)
    layers = {"alllayers": str(int(all_layers)), "max_frame_delay": "1"} if codec is Codec.AV1 else {}
    context: Any = av.CodecContext.create(DECODERS[codec], "r")
    context.options = {"err_detect": "explode", **layers}
    context.thread_count = 1
    found: list[Decoded] = []
    for index, picture in enumerate(pictures):
        for chunk in frames(codec, picture):
            packet = av.Packet(chunk)
            packet.pts = index
            found += [_decoded(frame) for frame in context.decode(packet)]
    found += [_decoded(frame) for frame in context.decode(None)]
    if codec is Codec.VP9 and not all_layers:
        found = [
            one
            for one, after in zip(found, [*found[1:], None], strict=True)
            if after is None or after.index != one.index
        ]
    return found


def _decoded(frame: av.VideoFrame) -> Decoded:
    digest = hashlib.blake2b(digest_size=16)
    for number, plane in enumerate(frame.planes):
        rows = memoryview(plane)
        width = frame.width if number == 0 else (frame.width + 1) // 2
        for row in range(frame.height if number == 0 else (frame.height + 1) // 2):
            digest.update(rows[row * plane.line_size : row * plane.line_size + width])
    assert frame.pts is not None
    return Decoded(frame.pts, frame.width, digest.hexdigest())
