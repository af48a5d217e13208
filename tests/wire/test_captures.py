# SPDX-License-Identifier: Apache-2.0
"""What Chromium really sent, read by everything in sfu.wire; tests/data/wire/README.md says how it was recorded."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from sfu.wire import stun
from sfu.wire.extensions import HeaderExtension
from sfu.wire.h264 import parse_payload
from sfu.wire.rtcp_messages import Nack, Packet, ReceiverReport, SenderReport, SourceDescription, TransportFeedback
from sfu.wire.rtcp_packets import parse_compound, serialize_compound
from sfu.wire.rtp import RtpPacket, looks_like_rtcp, parse_extensions
from sfu.wire.vp8 import parse_descriptor, write_descriptor
from tests.reference import wire_rtcp

CAPTURE = Path(__file__).parent.parent / "data" / "wire" / "chromium-156.txt"
PASSWORD = b"SNixBtV3ScyXl5l6ATBOr8"
IDS = {
    1: HeaderExtension.AUDIO_LEVEL,
    2: HeaderExtension.ABS_SEND_TIME,
    3: HeaderExtension.TRANSPORT_CC,
    4: HeaderExtension.MID,
}


@pytest.fixture(scope="module")
def capture() -> dict[str, list[bytes]]:
    datagrams: dict[str, list[bytes]] = {}
    for line in CAPTURE.read_text().splitlines():
        if not line.startswith("#"):
            kind, data = line.split()
            datagrams.setdefault(kind, []).append(bytes.fromhex(data))
    return datagrams


def test_binding_requests(capture: dict[str, list[bytes]]) -> None:
    for data in capture["stun"]:
        message = stun.parse_message(data)
        assert message.type == 1
        assert message.username == b"1Mbe:Tuyn"
        assert message.use_candidate  # aiortc is no ICE-lite peer: Chromium nominates at once
        assert message.controlling
        assert message.has_fingerprint
        assert stun.verify(data, PASSWORD)


def test_rtcp_is_read_and_written_as_chromium_does(capture: dict[str, list[bytes]]) -> None:
    kinds: Counter[type[Packet]] = Counter()
    for data in capture["rtcp"]:
        assert looks_like_rtcp(data)
        packets = parse_compound(data)
        assert packets == wire_rtcp.parse_compound(data)
        assert serialize_compound(packets) == data
        kinds.update(map(type, packets))
    assert set(kinds) == {SenderReport, SourceDescription, ReceiverReport, Nack, TransportFeedback}
    assert kinds[TransportFeedback] > 50


def test_feedback_tells_every_sequence_number_once(capture: dict[str, list[bytes]]) -> None:
    packets = [packet for data in capture["rtcp"] for packet in parse_compound(data)]
    feedback = [packet for packet in packets if isinstance(packet, TransportFeedback)]
    expected = feedback[0].base_sequence
    for packet in feedback:
        assert packet.base_sequence == expected
        assert any(time is not None for time in packet.arrivals_us)
        expected = (packet.base_sequence + len(packet.arrivals_us)) % 65536
    assert expected < feedback[0].base_sequence  # the numbers wrapped round on the way
    lost = [time is None for packet in feedback for time in packet.arrivals_us]
    assert 0 < sum(lost) < len(lost) / 4


def test_vp8_with_temporal_layers(capture: dict[str, list[bytes]]) -> None:
    packets = [RtpPacket.parse(data) for data in capture["vp8"]]
    descriptors = [parse_descriptor(packet.payload) for packet in packets]
    assert descriptors[0].keyframe
    assert (descriptors[0].width, descriptors[0].height) == (320, 180)
    assert {descriptor.temporal for descriptor in descriptors} == {0, 1, 2}
    for packet, descriptor in zip(packets, descriptors, strict=True):
        assert not packet.extensions.keys() - IDS.keys()
        # Written as Chromium writes it: what the rewriter changes is only the two numbers.
        assert write_descriptor(descriptor) == packet.payload[: descriptor.size]
    starts = [descriptor for descriptor in descriptors if descriptor.start_of_frame]
    for before, after in pairwise(starts):
        assert after.picture_id is not None
        assert before.picture_id is not None
        assert after.tl0_picture_index is not None
        assert before.tl0_picture_index is not None
        assert (after.picture_id - before.picture_id) % 2**15 == 1
        assert (after.tl0_picture_index - before.tl0_picture_index) % 256 == int(after.temporal == 0)


def test_h264(capture: dict[str, list[bytes]]) -> None:
    packets = [RtpPacket.parse(data) for data in capture["h264"]]
    first = parse_payload(packets[0].payload)
    assert first.keyframe
    assert (first.width, first.height) == (320, 180)
    new_frame = True
    for packet in packets:
        if new_frame:
            assert parse_payload(packet.payload).start_of_frame_hint
        new_frame = packet.marker


def test_extensions(capture: dict[str, list[bytes]]) -> None:
    for kind, mid in (("opus", b"0"), ("vp8", b"1"), ("h264", b"2")):
        data = capture[kind][0]
        values = parse_extensions(data, IDS)
        assert values[HeaderExtension.MID] == mid
        assert len(values[HeaderExtension.TRANSPORT_CC]) == 2
        assert values == {IDS[number]: value for number, value in RtpPacket.parse(data).extensions.items()}


def test_probes_are_padding_only(capture: dict[str, list[bytes]]) -> None:
    for data in capture["rtx"]:
        packet = RtpPacket.parse(data)
        assert packet.payload == b""
        assert packet.padding_size == 255
