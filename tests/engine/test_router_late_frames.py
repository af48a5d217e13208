# SPDX-License-Identifier: Apache-2.0
"""Scalable streams out of order: what comes late may not break what flows, and a keyframe begins at its beginning."""

from __future__ import annotations

from sfu.engine.codecs import Codec
from sfu.engine.commands import Payload
from sfu.wire.payloads import Vp9
from tests.engine.media import Vp8Stream, bodies
from tests.engine.router_driver import Driver
from tests.engine.test_router_descriptors import IN_ID, MID_ID, OUT_ID, Stage, numbers
from tests.reference.layer_graph import Graph
from tests.reference.wire_dependency_descriptor import ReferenceReader
from tests.reference.wire_vp9 import write_vp9
from tests.simulation.rtp_packets import RtpPacket

LAYERS = 3


def with_descriptor(packet: RtpPacket, descriptor: bytes) -> RtpPacket:
    extensions = tuple((key, descriptor if key == IN_ID else value) for key, value in packet.extensions)
    return RtpPacket(
        *(packet.payload_type, packet.marker, packet.sequence, packet.timestamp, packet.ssrc, ()),
        extensions,
        packet.payload,
    )


def descriptor_of(packet: RtpPacket, identifier: int = IN_ID) -> bytes:
    return dict(packet.extensions)[identifier]


def test_a_late_frame_above_the_spatial_layer_that_flows_is_not_forwarded() -> None:
    """VP9 by its payload descriptor: the upper layer's frames before it were held back, too."""
    driver = Driver()
    publisher, viewer = driver.connect("p"), driver.connect("v")
    track = driver.video_track(publisher, payloads=[Payload(45, Codec.VP9, 90_000)])
    slot = driver.video_slot(viewer)
    driver.bind(slot, track, spatial=0, payloads=[(45, 46, None)])
    packets: list[RtpPacket] = []
    for picture in range(4):
        for spatial in range(LAYERS):
            head = write_vp9(
                Vp9(
                    start_of_frame=True,
                    end_of_frame=True,
                    inter_picture_predicted=picture > 0,
                    flexible=True,
                    picture_id=picture,
                    temporal=0,
                    spatial=spatial,
                    inter_layer=spatial > 0,
                    p_diffs=(1,) if picture else (),
                )
            )
            last = spatial == LAYERS - 1
            packets.append(
                RtpPacket(
                    *(45, last, 100 + len(packets), 3_000 * picture, 7),
                    extensions=((4, b"1"),),
                    payload=head + b"%d/%d" % (picture, spatial),
                )
            )
    late = packets.pop(2 * LAYERS + 1)
    publisher.send(*packets[: 2 * LAYERS + 2], late, *packets[2 * LAYERS + 2 :])
    driver.pump()
    got = [packet.payload[-3:] for packet in viewer.take_rtp(0x1000) if packet.payload]
    assert got == [b"0/0", b"1/0", b"2/0", b"3/0"]


def test_a_late_frame_that_refers_to_what_was_held_back_is_not_forwarded() -> None:
    """It belongs to the decode target that flows since, but the frame that it refers to does not."""
    stage = Stage()
    stage.driver.target(stage.slot, 0, 2)
    late = 2 * LAYERS + 2
    stage.send(*range(late))
    stage.driver.target(stage.slot, 2, 2)
    stage.send(*range(late + 1, 4 * LAYERS), *range(4 * LAYERS, 5 * LAYERS), late)
    got = numbers([packet for packet in stage.got() if packet.payload])
    assert 4 * LAYERS + 2 in got, "the keyframe brought the top layer"
    assert late not in got


def test_a_keyframe_begins_with_its_first_packet() -> None:
    """Where each packet of it brings the structure, the middle of one whose first packet was held back is no start."""
    stage = Stage()
    stage.driver.target(stage.slot, -1, 2)
    key = stage.packets[0]
    first = with_descriptor(key, bytes([descriptor_of(key)[0] & ~0x40]) + descriptor_of(key)[1:])
    rest = with_descriptor(key, bytes([descriptor_of(key)[0] & ~0x80]) + descriptor_of(key)[1:])
    rest.sequence = first.sequence + 1
    stage.publisher.send(first)
    stage.driver.pump()
    stage.driver.target(stage.slot, 2, 2)
    stage.publisher.send(rest)
    stage.driver.pump()
    assert stage.got() == []


def test_the_publishers_active_decode_targets_are_narrowed_to_what_flows() -> None:
    stage = Stage()
    stage.driver.target(stage.slot, 0, 2)
    stage.send(*range(LAYERS))
    reader = ReferenceReader()
    reader.read(descriptor_of(stage.packets[0]))
    everything = (1 << len(stage.graph.targets)) - 1
    packet = stage.packets[LAYERS]
    told = reader.rewrite(descriptor_of(packet), LAYERS, everything)
    stage.got()
    stage.publisher.send(with_descriptor(packet, told))
    stage.driver.pump()
    (got,) = stage.got()
    within = sum(1 << at for at, (spatial, _) in enumerate(stage.graph.targets) if spatial == 0)
    assert reader.read(descriptor_of(got, OUT_ID)).active_targets == within


def test_padding_before_the_first_frame_makes_no_keyframe_late() -> None:
    """The stream's first packet to arrive is padding; the keyframe before it is in time."""
    driver = Driver()
    publisher, viewer = driver.connect("p"), driver.connect("v")
    track = driver.video_track(publisher)
    slot = driver.video_slot(viewer)
    driver.bind(slot, track)
    stream = Vp8Stream(5, 96, timestamp=0xFFFFFFFF - 20_000)
    key = stream.key()
    publisher.send(stream.padding_only(), *key)  # numbered behind the keyframe
    driver.pump()
    assert bodies([packet for packet in viewer.take_rtp(0x1000) if packet.payload]) == bodies(key)


def test_padding_belongs_to_no_frame_not_even_to_number_0() -> None:
    """Frame 0 is held back; what is missing between it and the padding is the next frame, and keeps its place."""
    stage = Stage()
    graph = Graph.build(LAYERS, 1, "none", frozenset(), [False] * 4)
    zero = LAYERS + 1
    written = graph.descriptors(-zero)
    top = [frame.number for frame in graph.frames if frame.spatial == LAYERS - 1]
    packets = [
        RtpPacket(
            *(45, frame.number in top, 900 + frame.number + (frame.number > zero + 1), 3_000 * frame.picture, 7),
            extensions=((MID_ID, b"1"), (IN_ID, written[frame.number])),
            payload=b"\x10frame %d" % frame.number,
        )
        for frame in graph.frames
    ]
    late = packets[zero + 1]
    padding = RtpPacket(45, False, late.sequence + 1, late.timestamp, 7, (), ((MID_ID, b"1"),), b"", 40)
    stage.publisher.send(*packets[: zero + 1], padding, late, *packets[zero + 2 :])
    stage.driver.pump()
    got = stage.got()
    assert numbers(got) == [0, *top]
    assert [packet.sequence - got[0].sequence for packet in got] == list(range(len(got)))


def test_a_keyframe_whose_sequence_is_over_is_not_forwarded() -> None:
    """It comes after the next one; its decode targets are not those that flow, though their numbers are the same."""
    stage = Stage()
    graph = Graph.build(1, 1, "none", frozenset({1, 2}), [False] * 4)
    packets = [
        RtpPacket(
            *(45, True, 900 + frame.number, 3_000 * frame.picture, 7),
            extensions=((MID_ID, b"1"), (IN_ID, descriptor)),
            payload=b"\x10frame %d" % frame.number,
        )
        for frame, descriptor in zip(graph.frames, graph.descriptors(0), strict=True)
    ]
    stage.publisher.send(*(packets[number] for number in (0, 2, 1, 3)))
    stage.driver.pump()
    got = stage.got()
    assert numbers([packet for packet in got if packet.payload]) == [0, 2, 3]
    assert sorted(packet.sequence - got[0].sequence for packet in got) == [0, 1, 2, 3], "its number is filled"
