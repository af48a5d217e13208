# SPDX-License-Identifier: Apache-2.0
"""A recording leaves a bot as the encoder made it, over and over, and from its keyframe when one is asked for."""

from __future__ import annotations

import random

import pytest

from sfu.engine.codecs import Codec
from sfu.load.media import MAX_PAYLOAD
from sfu.load.recording import START_CODE, RecordedVideo, RecordedVideoSource, VideoCodec
from tests.captures.depacketize import Picture, frames
from tests.simulation.rtp_packets import RtpPacket

SIZES = (1, 2, MAX_PAYLOAD - 1, MAX_PAYLOAD, MAX_PAYLOAD + 1, 2 * (MAX_PAYLOAD - 2) + 1, 4000)


def unit(kind: int, size: int) -> bytes:
    """A NAL unit, without bytes that could be taken for a start code."""
    return START_CODE + bytes((3 << 5 | kind,)) + random.Random(size).randbytes(size).replace(b"\x00", b"\x01")


def recording(codec: VideoCodec) -> RecordedVideo:
    if codec == "H264":
        return RecordedVideo(codec, tuple(unit(7, 20) + unit(5, size) for size in SIZES))
    return RecordedVideo(codec, tuple(random.Random(size).randbytes(size) for size in SIZES))


def next_frame(source: RecordedVideoSource, codec: Codec) -> bytes:
    packets = list(source.next_frame())
    assert [marker for _, marker in packets] == [False] * (len(packets) - 1) + [True]
    assert all(len(payload) <= MAX_PAYLOAD + 8 for payload, _ in packets)
    sent = [RtpPacket(96, False, index, 0, 1, payload=payload) for index, (payload, _) in enumerate(packets)]
    [frame] = frames(codec, Picture(0, sent))
    return frame.replace(b"\x00\x00\x00\x01", START_CODE) if codec is Codec.H264 else frame


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_a_recording_arrives_whole_and_begins_again(codec: VideoCodec) -> None:
    recorded = recording(codec)
    source = RecordedVideoSource(recorded)
    got = [next_frame(source, Codec[codec]) for _ in range(2 * len(SIZES))]
    assert got == [*recorded.frames] * 2
    next_frame(source, Codec[codec])
    source.keyframe_wanted = True
    assert next_frame(source, Codec[codec]) == recorded.frames[0]
    assert source.keyframes == 4
