# SPDX-License-Identifier: Apache-2.0
"""The router's VP9 and AV1 is legal by payload and dependency descriptor; each rule catches a broken stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import pytest

from sfu.engine.codecs import Codec
from tests.captures.depacketize import body, pictures
from tests.captures.layers import in_order
from tests.captures.replay import CAPTURES, DESCRIPTOR_ID, Capture, Viewer, load, replay
from tests.captures.scalable_checker import Broken, check_descriptors, check_vp9
from tests.captures.test_decoding import SPATIAL, SWITCHERS, TEMPORAL, switches
from tests.reference.wire_dependency_descriptor import ReferenceReader
from tests.reference.wire_vp9 import parse_vp9, rewrite_vp9
from tests.simulation.rtp_packets import RtpPacket

NAMES = [name for name in CAPTURES if name.startswith(("vp9", "av1"))]
# Chromium's encoder left a picture out there and did not count it in the id, only in the differences behind it.
PUBLISHERS_OWN = {"vp9-simulcast": {Broken.VP9_REFERENCE}}
VP9_RULES = [rule for rule in Broken if not rule.name.startswith("DD")]
Stream = list[RtpPacket]


def cut_pictures(capture: Capture, got: Sequence[RtpPacket]) -> set[int]:
    """Those that the publisher itself cut short, or in the middle of which another simulcast layer took over."""
    ends = set()
    for ssrc in capture.ssrcs:
        for picture in pictures(in_order([one for _, one in capture.parsed() if one.ssrc == ssrc])):
            if not picture.packets[-1].marker:
                ends.add(body(capture.codec, picture.packets[-1].payload))
    gaps: list[int] = []
    found = pictures(got, gaps)
    return {found[at - 1].timestamp for at in gaps} | {
        one.timestamp for one in found if body(capture.codec, one.packets[-1].payload) in ends
    }


@pytest.mark.parametrize(
    ("name", "descriptors"), [(name, True) for name in NAMES] + [(name, False) for name in NAMES if "vp9" in name]
)
def test_forwarded_streams_are_legal(name: str, descriptors: bool) -> None:
    capture = load(name)
    viewers = [Viewer([(0, (spatial, temporal))], descriptors) for spatial in SPATIAL for temporal in TEMPORAL]
    viewers += [Viewer(switches(seed, capture.packets[-1].at_us), descriptors) for seed in range(SWITCHERS)]
    replay(capture, viewers, descriptors=descriptors)
    for viewer in viewers:
        got = [packet for _, packet in viewer.got]
        cut = cut_pictures(capture, got)
        broken = check_descriptors(got, DESCRIPTOR_ID, cut) if descriptors else set()
        if capture.codec is Codec.VP9:
            broken |= check_vp9(got, cut) - PUBLISHERS_OWN.get(name, set())
        assert not broken, viewer.targets


@cache
def legal(name: str) -> tuple[RtpPacket, ...]:
    """A whole stream at the highest layers, up to the first picture that is cut."""
    capture = load(name)
    viewer = Viewer([(0, (2, 2))])
    replay(capture, [viewer])
    got = [packet for _, packet in viewer.got]
    cut = cut_pictures(capture, got)
    end = next((at for at, packet in enumerate(got) if packet.timestamp in cut), len(got))
    return tuple(got[:end])


def without(stream: Stream, at: int, count: int = 1) -> Stream:
    """Left out as a router does that closes the sequence numbers up."""
    kept = stream[:at] + stream[at + count :]
    return [replace(packet, sequence=(stream[0].sequence + n) & 0xFFFF) for n, packet in enumerate(kept)]


def edited(stream: Stream, at: int, **changes: object) -> Stream:
    return [replace(packet, **changes) if n == at else packet for n, packet in enumerate(stream)]  # type: ignore[arg-type]


def first(stream: Stream, wanted: Callable[[RtpPacket], bool], after: int = 0) -> int:
    return next(at for at, packet in enumerate(stream) if at >= after and wanted(packet))


def picture_without(stream: Stream, wanted: Callable[[RtpPacket], bool], after: int = 1) -> Stream:
    timestamp = stream[first(stream, wanted, after)].timestamp
    at = first(stream, lambda packet: packet.timestamp == timestamp)
    return without(stream, at, sum(packet.timestamp == timestamp for packet in stream))


def base_interframe(packet: RtpPacket) -> bool:
    found = parse_vp9(packet.payload)
    return found.temporal == 0 and found.inter_picture_predicted and found.start_of_frame


def middle_layer(packet: RtpPacket) -> bool:
    return parse_vp9(packet.payload).spatial == 1


def renumbered(stream: Stream, at: int, picture_id: int) -> Stream:
    payload = stream[at].payload
    return edited(stream, at, payload=rewrite_vp9(payload, picture_id, 0) + body(Codec.VP9, payload))


def broken_vp9(rule: Broken, stream: Stream) -> Stream:
    if rule is Broken.MARKER:
        return edited(stream, len(stream) - 1, marker=False)
    if rule is Broken.START:
        return picture_without(stream, lambda packet: True, 0)
    if rule is Broken.FRAME:
        return without(stream, first(stream, lambda packet: not parse_vp9(packet.payload).start_of_frame))
    if rule is Broken.VP9_PICTURE_ID:
        last = parse_vp9(stream[-1].payload).picture_id or 0
        return renumbered(stream, len(stream) - 1, (last - 100) % (1 << 15))
    if rule is Broken.VP9_SPATIAL:
        at = first(stream, middle_layer)
        count = first(stream, lambda packet: not middle_layer(packet), at) - at
        return without(stream, at, count)
    assert rule is Broken.VP9_REFERENCE
    return picture_without(stream, base_interframe)


@pytest.mark.parametrize("rule", [rule for rule in VP9_RULES if rule is not Broken.VP9_TL0])
def test_a_broken_vp9_stream_is_caught(rule: Broken) -> None:
    stream = list(legal("vp9-l3t3-key"))
    assert not check_vp9(stream)
    assert rule in check_vp9(broken_vp9(rule, stream))


@pytest.mark.parametrize("step", [0, 2])
def test_a_base_index_that_does_not_count_is_caught(step: int) -> None:
    # Non-flexible mode, which Chromium does not send: I, L, B, E set, a 15-bit id, layer 0, TL0PICIDX.
    def stream(indices: Sequence[int]) -> Stream:
        base = legal("vp9-l3t3-key")[0]
        payloads = [bytes([0xAC | (0x40 if n else 0), 0x80, n, 0, index, 1]) for n, index in enumerate(indices)]
        return [
            replace(base, sequence=n, timestamp=3000 * n, marker=True, payload=payload)
            for n, payload in enumerate(payloads)
        ]

    assert not check_vp9(stream([254, 255, 0, 1]))
    assert check_vp9(stream([7, 8, 8 + step])) == {Broken.VP9_TL0}


def with_descriptor(stream: Stream, at: int, change: Callable[[ReferenceReader, bytes], bytes]) -> Stream:
    reader = ReferenceReader()
    for packet in stream[:at]:
        reader.read(dict(packet.extensions)[DESCRIPTOR_ID])
    extensions = tuple(
        (identifier, change(reader, value) if identifier == DESCRIPTOR_ID else value)
        for identifier, value in stream[at].extensions
    )
    return edited(stream, at, extensions=extensions)


def base_frame(stream: Stream) -> tuple[int, int]:
    """The first lowest frame that refers to another, as (index, packets)."""
    reader = ReferenceReader()
    read = [reader.read(dict(packet.extensions)[DESCRIPTOR_ID]) for packet in stream]
    at = next(n for n, one in enumerate(read) if one.fdiffs and not one.spatial and not one.temporal)
    return at, sum(one.frame_number == read[at].frame_number for one in read)


def broken_descriptors(rule: Broken, stream: Stream) -> Stream:
    def number(value: bytes) -> int:
        return int.from_bytes(value[1:3], "big")

    last = len(stream) - 1
    start = max(at for at, packet in enumerate(stream) if dict(packet.extensions)[DESCRIPTOR_ID][0] & 0x80)
    if rule is Broken.MARKER:
        return edited(stream, last, marker=False)
    if rule is Broken.START:
        return picture_without(stream, lambda packet: True, 0)[:5]
    if rule is Broken.FRAME:
        return with_descriptor(stream, last, lambda reader, value: bytes([value[0] & 0xBF]) + value[1:])
    if rule is Broken.DD_STRUCTURE:
        return with_descriptor(stream, last, lambda reader, value: value[:2])
    if rule is Broken.DD_NUMBER:
        return with_descriptor(
            stream, start, lambda reader, value: reader.rewrite(value, (number(value) - 99) & 0xFFFF)
        )
    if rule is Broken.DD_INACTIVE:
        return with_descriptor(stream, start, lambda reader, value: reader.rewrite(value, number(value), 0))
    assert rule in {Broken.DD_REFERENCE, Broken.DD_CHAIN}
    return without(stream, *base_frame(stream))


@pytest.mark.parametrize("rule", [rule for rule in Broken if not rule.name.startswith("VP9")])
def test_a_broken_descriptor_stream_is_caught(rule: Broken) -> None:
    stream = list(legal("av1-l3t3"))
    assert not check_descriptors(stream, DESCRIPTOR_ID)
    assert rule in check_descriptors(broken_descriptors(rule, stream), DESCRIPTOR_ID)
