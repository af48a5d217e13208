# SPDX-License-Identifier: Apache-2.0
"""Dependency descriptors through the router: what is announced, what came too late, and who has not negotiated them."""

from __future__ import annotations

import pytest

from sfu.engine.codecs import Codec
from sfu.engine.commands import Payload
from sfu.wire.extensions import HeaderExtension
from tests.engine.router_driver import Driver, Peer
from tests.reference.layer_graph import Graph
from tests.reference.wire_dependency_descriptor import ReferenceReader
from tests.simulation.rtp_packets import RtpPacket

IN_ID, OUT_ID, MID_ID = 12, 9, 4
SLOT_SSRC = 0x1000
AV1 = Payload(45, Codec.AV1, 90_000, nack=True, pli=True)
FRAMES_PER_PICTURE = 3


class Stage:
    """A stream of three spatial and three temporal layers, one packet a frame, with a keyframe in picture 4."""

    def __init__(self, *, descriptors: bool = True) -> None:
        self.driver = Driver()
        self.publisher, self.viewer = self.driver.connect("publisher"), self.driver.connect("viewer")
        kinds = {MID_ID: int(HeaderExtension.MID), IN_ID: int(HeaderExtension.DEPENDENCY_DESCRIPTOR)}
        self.driver.commands.set_receive_extensions(self.publisher.handle, kinds)
        self.track = self.driver.video_track(self.publisher, payloads=[AV1])
        out = {int(HeaderExtension.DEPENDENCY_DESCRIPTOR): OUT_ID} if descriptors else {}
        self.slot = self.driver.commands.add_forwarder(self.viewer.handle, "video", b"5", SLOT_SSRC, 0, out)
        self.driver.bind(self.slot, self.track, spatial=2, temporal=2, payloads=[(45, 46, None)])
        self.graph = Graph.build(3, 3, "full", frozenset({4}), [False] * 12)
        written = self.graph.descriptors(0)
        self.packets = [
            RtpPacket(
                *(45, frame.spatial == 2, 900 + frame.number, 3_000 * frame.picture, 0x77),
                extensions=((MID_ID, b"1"), (IN_ID, written[frame.number])),
                payload=b"\x10frame %d" % frame.number,
            )
            for frame in self.graph.frames
        ]

    def send(self, *numbers: int) -> None:
        for number in numbers:
            self.publisher.send(self.packets[number])
            self.driver.pump()

    def got(self) -> list[RtpPacket]:
        return self.viewer.take_rtp(SLOT_SSRC)


def numbers(packets: list[RtpPacket]) -> list[int]:
    return [int(packet.payload.split(b" ")[1]) for packet in packets]


def test_a_switch_down_announces_the_decode_targets_that_are_left() -> None:
    stage = Stage()
    reader = ReferenceReader()
    stage.send(*range(FRAMES_PER_PICTURE))
    assert all(reader.read(dict(packet.extensions)[OUT_ID]) for packet in stage.got())
    stage.driver.target(stage.slot, 1, 2)
    stage.send(*range(FRAMES_PER_PICTURE, 12))
    read = [reader.read(dict(packet.extensions)[OUT_ID]) for packet in stage.got()]
    announced = [(one.frame_number, one.active_targets) for one in read if one.has_mask]
    within = sum(1 << at for at, (spatial, _) in enumerate(stage.graph.targets) if spatial <= 1)
    assert announced == [(FRAMES_PER_PICTURE, within)]
    assert {one.spatial for one in read} == {0, 1}


def test_frames_before_their_structure_wait_for_it() -> None:
    """The keyframe's first packet is lost and comes again: what came in between could not be read, and is not lost."""
    stage = Stage()
    key = 4 * FRAMES_PER_PICTURE
    stage.send(*range(key))
    before = stage.got()
    stage.send(*range(key + 1, key + 8))
    assert stage.got() == []
    stage.send(key)
    after = stage.got()
    assert numbers(after) == list(range(key, key + 8))
    sequences = [packet.sequence for packet in before + after]
    assert sequences == list(range(sequences[0], sequences[0] + key + 8))


def test_who_has_not_negotiated_descriptors_gets_none() -> None:
    stage = Stage(descriptors=False)
    stage.send(*range(12))
    got = stage.got()
    assert numbers(got) == list(range(12))
    assert not any(packet.extensions for packet in got)


@pytest.mark.parametrize("redundant", [True, False])
def test_red_is_stripped_for_who_has_only_opus(redundant: bool) -> None:
    driver = Driver()
    publisher, viewer = driver.connect("publisher"), driver.connect("viewer")
    payloads = [Payload(111, Codec.OPUS, 48_000), Payload(63, Codec.RED, 48_000)]
    track = driver.audio_track(publisher, payloads=payloads)
    slot = driver.audio_slot(viewer)
    driver.bind(slot, track, payloads=[(111, 109, None), (63, 35 if redundant else 109, None)])
    # RFC 2198: one block of 3 bytes, 960 ticks old, then the new one.
    red = bytes([0x80 | 111]) + (960 << 10 | 3).to_bytes(3, "big") + bytes([111]) + b"old" + b"new"
    send_audio(publisher, red)
    driver.pump()
    (packet,) = viewer.take_rtp(0x2000)
    assert (packet.payload_type, packet.payload) == ((35, red) if redundant else (109, b"new"))


def send_audio(publisher: Peer, payload: bytes) -> None:
    publisher.send(RtpPacket(63, False, 1, 960, 0x99, extensions=((MID_ID, b"0"),), payload=payload))
