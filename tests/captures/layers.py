# SPDX-License-Identifier: Apache-2.0
"""What a capture holds, picture by picture, read by the twins in tests/reference and decoded layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from sfu.engine.codecs import Codec
from tests.captures.decode import decode
from tests.captures.depacketize import STAP_A, Picture, body, pictures
from tests.captures.replay import Capture, load
from tests.reference.wire_dependency_descriptor import ReferenceReader
from tests.reference.wire_vp8 import parse_vp8
from tests.reference.wire_vp9 import parse_vp9
from tests.simulation.rtp_packets import RtpPacket

H264_SPS = 7
NEW_CODED_VIDEO_SEQUENCE = 0x08  # N of AV1's aggregation header
HALF = 1 << 15


@dataclass(frozen=True)
class SourcePicture:
    """One picture of one stream, as the publisher sent it."""

    stream: int
    at_us: int
    timestamp: int
    temporal: int
    spatials: frozenset[int]
    """Of a scalable stream; of a simulcast layer its index."""
    digests: dict[int, str]
    """By layer."""


@dataclass(frozen=True)
class Contents:
    """From each stream's first keyframe on, without what Chromium cut short: when a keyframe is asked for, it throws
    away what waits to be sent, in the middle of a picture (the sequence numbers go on without a gap)."""

    pictures: tuple[SourcePicture, ...]
    by_body: dict[bytes, list[int]]
    """A packet's payload without its descriptor → the pictures that it is of: parameter sets come again."""

    def find(self, capture: Capture, picture: Picture, after: dict[int, int]) -> SourcePicture | None:
        """The one that all its packets belong to, later than those of its stream that were found before."""
        sets = [set(self.by_body.get(body(capture.codec, packet.payload), ())) for packet in picture.packets]
        for at in sorted(set.intersection(*sets)):
            if at > after.get(self.pictures[at].stream, -1):
                after[self.pictures[at].stream] = at
                return self.pictures[at]
        return None


def is_keyframe(codec: Codec, payload: bytes) -> bool:
    if codec is Codec.VP8:
        return parse_vp8(payload).keyframe
    if codec is Codec.VP9:
        return parse_vp9(payload).keyframe
    if codec is Codec.AV1:
        return bool(payload[0] & NEW_CODED_VIDEO_SEQUENCE)
    kinds = {payload[0] & 0x1F, payload[3] & 0x1F if payload[0] & 0x1F == STAP_A else 0}
    return H264_SPS in kinds


def in_order(packets: Sequence[RtpPacket]) -> list[RtpPacket]:
    first = packets[0].sequence
    return sorted(packets, key=lambda packet: (packet.sequence - first + HALF) % (2 * HALF))


@cache
def contents(name: str) -> Contents:
    capture = load(name)
    found: list[SourcePicture] = []
    by_body: dict[bytes, list[int]] = {}
    arrivals = {(packet.ssrc, packet.sequence): at_us for at_us, packet in capture.parsed()}
    for stream, ssrc in enumerate(capture.ssrcs):
        packets = in_order([packet for _, packet in capture.parsed() if packet.ssrc == ssrc])
        start = next(at for at, packet in enumerate(packets) if is_keyframe(capture.codec, packet.payload))
        own = [picture for picture in pictures(packets[start:]) if picture.packets[-1].marker]
        widths = [width for width, _ in capture.sizes]
        digests: list[dict[int, str]] = [{} for _ in own]
        for one in decode(capture.codec, own, all_layers=capture.scalable):
            digests[one.index][widths.index(one.width)] = one.digest
        for picture, decoded, temporal in zip(own, digests, temporal_ids(capture, own), strict=True):
            assert decoded, f"the publisher's own picture {picture.timestamp} does not decode"
            at_us = max(arrivals[ssrc, packet.sequence] for packet in picture.packets)
            source = SourcePicture(stream, at_us, picture.timestamp, temporal, frozenset(decoded), decoded)
            for packet in picture.packets:
                by_body.setdefault(body(capture.codec, packet.payload), []).append(len(found))
            found.append(source)
    return Contents(tuple(found), by_body)


def temporal_ids(capture: Capture, own: Sequence[Picture]) -> list[int]:
    reader = ReferenceReader()
    found = []
    for picture in own:
        descriptors = [capture.descriptor(packet) for packet in picture.packets]
        if capture.codec is Codec.VP8:
            found.append(parse_vp8(picture.packets[0].payload).temporal or 0)
        elif capture.codec is Codec.VP9:
            found.append(parse_vp9(picture.packets[0].payload).temporal or 0)
        else:
            found.append(next(reader.read(one) for one in descriptors if one is not None).temporal)
    return found
