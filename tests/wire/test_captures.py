# SPDX-License-Identifier: Apache-2.0
"""What Chromium sends: descriptors and payload descriptors read, and found to say the same of each packet."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from sfu.wire import av1, red, vp8, vp9
from sfu.wire.dependencies import Dependency
from sfu.wire.dependency_descriptor import DependencyReader
from tests.reference.wire_dependency_descriptor import ReferenceReader
from tests.reference.wire_red import parse_red
from tests.reference.wire_vp9 import parse_vp9

FOLDER = Path(__file__).parent.parent / "data" / "rtp"
LAYERED = ["av1-l3t3", "av1-l3t3-key", "av1-s3t3", "vp9-l3t3", "vp9-l3t3-key", "vp9-s2t2", "vp8-l1t3"]


@dataclass(frozen=True)
class Captured:
    timestamp: int
    marker: bool
    descriptor: bytes
    payload: bytes


def capture(name: str) -> list[Captured]:
    packets = []
    for line in (FOLDER / f"chromium-156-{name}.txt").read_text().splitlines():
        _, timestamp, marker, descriptor, _, payload = line.split()
        dd = bytes.fromhex(descriptor.strip("-"))
        packets.append(Captured(int(timestamp), marker == "1", dd, bytes.fromhex(payload)))
    return packets


def read(name: str) -> Iterator[tuple[Captured, Dependency]]:
    reader = DependencyReader()
    for packet in capture(name):
        yield packet, reader.read(packet.descriptor)


@pytest.mark.parametrize("name", LAYERED)
def test_reading_and_rewriting_agree_with_the_twin(name: str) -> None:
    reader, twin = DependencyReader(), ReferenceReader()
    for packet in capture(name):
        dd = packet.descriptor
        assert reader.rewrite(dd, int.from_bytes(dd[1:3], "big")) == dd
        for mask in (None, 0b1):
            assert reader.rewrite(dd, 0xABCD, mask) == twin.rewrite(dd, 0xABCD, mask)
        assert reader.read(dd) == twin.read(dd)


@pytest.mark.parametrize("name", LAYERED)
def test_frames_are_whole_and_refer_to_frames_before(name: str) -> None:
    numbers: set[int] = set()
    protected_by: tuple[int, ...] = ()
    active = 0
    current: Dependency | None = None
    for packet, frame in read(name):
        assert frame.start_of_frame == (current is None)
        assert current is None or current.frame_number == frame.frame_number
        assert frame.end_of_frame or not packet.marker
        current = None if frame.end_of_frame else frame
        if frame.structure is not None:
            protected_by = frame.structure.protected_by
        if frame.active_targets is not None:
            active = frame.active_targets
        if frame.start_of_frame:
            # A chain that protects no active decode target may refer to any frame (A.5). One of another simulcast layer
            # may name a frame that the encoder numbered and then dropped: S3T3 has such a one.
            targets = enumerate(zip(protected_by, frame.indications, strict=False))
            chains = {chain for target, (chain, indication) in targets if active >> target & 1 and indication}
            fdiffs = {*frame.fdiffs, *(frame.chain_fdiffs[chain] for chain in chains)} - {0}
            assert {frame.frame_number - fdiff for fdiff in fdiffs} <= numbers
            numbers.add(frame.frame_number)


@pytest.mark.parametrize("name", [name for name in LAYERED if name.startswith("vp9")])
def test_vp9_descriptor_says_the_same(name: str) -> None:
    for packet, frame in read(name):
        d = vp9.parse_descriptor(packet.payload)
        assert d == parse_vp9(packet.payload)
        assert (d.start_of_frame, d.end_of_frame) == (frame.start_of_frame, frame.end_of_frame)
        assert (d.spatial, d.temporal) == (frame.spatial, frame.temporal)
        assert d.inter_picture_predicted or not d.p_diffs
        if d.keyframe:
            assert frame.structure is not None
            assert frame.fdiffs == ()
            assert d.scalability is not None
        # Chromium uses the flexible mode always: picture ids must keep their distances.
        assert d.flexible
        assert d.long_picture_id
        assert d.tl0_picture_index is None
        assert vp9.rewrite_descriptor(packet.payload, d.picture_id or 0, 0) == packet.payload[: d.size]


@pytest.mark.parametrize("name", [name for name in LAYERED if name.startswith("av1")])
def test_av1_payload_says_the_same(name: str) -> None:
    for packet, frame in read(name):
        payload = av1.parse_payload(packet.payload)
        assert payload.new_sequence == payload.has_sequence_header == (frame.structure is not None)
        assert payload.starts_with_fragment == (not frame.start_of_frame)
        assert payload.ends_with_fragment == (not frame.end_of_frame)
        if payload.spatial is not None:
            assert (payload.spatial, payload.temporal) == (frame.spatial, frame.temporal)
        if frame.structure is not None:
            # The sequence header names the largest layer, also while only a smaller one is sent.
            assert (payload.width, payload.height) == frame.structure.resolutions[-1] == (1280, 720)


def test_vp8_says_nothing_of_layers_beside_a_dependency_descriptor() -> None:
    """Chromium leaves picture id, TL0PICIDX and temporal layer out of the VP8 descriptor then."""
    for packet, frame in read("vp8-l1t3"):
        d = vp8.parse_descriptor(packet.payload)
        assert (d.picture_id, d.tl0_picture_index, d.temporal) == (None, None, None)
        assert d.start_of_frame == frame.start_of_frame
        assert d.keyframe == (frame.structure is not None)
        assert d.non_reference == (max(frame.indications) == 1)


def test_simulcast_in_one_stream_brings_a_structure_with_each_layers_keyframe() -> None:
    spatial = [frame.spatial for _, frame in read("av1-s3t3") if frame.structure is not None]
    assert spatial == [0, 1, 2]


def test_active_targets_follow_the_layers_that_are_sent() -> None:
    reader = DependencyReader()
    announced = []
    for packet in capture("av1-l3t3"):
        active = reader.read(packet.descriptor).active_targets
        if active is not None and active not in announced:
            announced.append(active)
    assert announced == [reader.targets_within(1, 2), reader.targets_within(2, 2)]


def test_red_repeats_the_packet_before() -> None:
    packets = capture("red")
    for before, packet in pairwise(packets):
        ours = red.parse_payload(packet.payload)
        assert ours == parse_red(packet.payload)
        assert red.strip_to_primary(packet.payload) == (ours.primary.payload_type, ours.primary.data)
        assert ours.primary.payload_type == 111
        (old,) = ours.redundant
        assert old.timestamp_offset == packet.timestamp - before.timestamp
        assert (old.payload_type, old.data) == red.strip_to_primary(before.payload)
