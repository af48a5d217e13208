# SPDX-License-Identifier: Apache-2.0
"""Random scalable streams with losses and switches, through the router: each forwarded frame is whole, and decodable
from what was forwarded before it. (That it is the right one, `test_against_the_twin.py` asks.)"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sfu.engine.codecs import Codec
from sfu.engine.commands import Payload
from sfu.wire.dependencies import UnknownTemplateError
from sfu.wire.extensions import HeaderExtension
from tests.engine.router_driver import Driver
from tests.reference.layer_graph import Frame, Graph, Mode
from tests.reference.wire_dependency_descriptor import ReferenceReader
from tests.reference.wire_vp9 import parse_vp9
from tests.simulation.rtp_packets import RtpPacket

SSRC, SLOT_SSRC = 0x77, 0x1000
PAYLOAD_TYPE, OUT_PAYLOAD_TYPE = 45, 46
DESCRIPTOR_ID, OUT_DESCRIPTOR_ID, MID_ID = 12, 9, 4
PICTURE_TICKS, PICTURE_US = 3_000, 33_000
EXAMPLES = 60
MARK = b"FRAME"

Wishes = dict[int, tuple[int, int]]
"""Frame number → what is wanted from there on."""


@dataclass
class Play:
    """A graph, what happens to it, and what came of it."""

    graph: Graph
    wishes: Wishes
    lost: frozenset[int]
    first: int
    packets: list[RtpPacket] = field(default_factory=list)
    forwarded: list[Frame] = field(default_factory=list)


@st.composite
def plays(draw: st.DrawFn, modes: tuple[Mode, ...] = ("full", "key", "none")) -> Play:
    pictures = draw(st.integers(2, 40))
    graph = Graph.build(
        draw(st.integers(1, 3)),
        draw(st.integers(1, 3)),
        draw(st.sampled_from(modes)),
        frozenset(draw(st.lists(st.integers(0, 40), max_size=4))),
        draw(st.lists(st.booleans(), min_size=pictures, max_size=pictures)),
    )
    frames = st.integers(0, len(graph.frames) - 1)
    # Spatial -1 pauses; 3 is more than there is.
    wish = st.tuples(st.sampled_from((-1, 0, 0, 1, 1, 2, 2, 3)), st.integers(0, 3))
    wishes = draw(st.dictionaries(frames, wish, max_size=8))
    wishes[0] = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    lost = draw(st.one_of(st.just(frozenset[int]()), st.frozensets(frames, max_size=6)))
    return Play(graph, wishes, lost, draw(st.sampled_from((0, 700, 0x7FF0, 0xFFF0))))


def run(play: Play, codec: Codec, headers: list[bytes], extension: Callable[[Frame], bytes | None]) -> None:
    """Through the router: two packets a frame where its number is even."""
    driver = Driver()
    publisher, viewer = driver.connect("publisher"), driver.connect("viewer")
    kinds = {MID_ID: int(HeaderExtension.MID), DESCRIPTOR_ID: int(HeaderExtension.DEPENDENCY_DESCRIPTOR)}
    driver.commands.set_receive_extensions(publisher.handle, kinds)
    track = driver.video_track(publisher, payloads=[Payload(PAYLOAD_TYPE, codec, 90_000, nack=True, pli=True)])
    out = {int(HeaderExtension.DEPENDENCY_DESCRIPTOR): OUT_DESCRIPTOR_ID}
    slot = driver.commands.add_forwarder(viewer.handle, "video", b"5", SLOT_SSRC, SLOT_SSRC + 1, out)
    driver.flush()
    spatial, temporal = play.wishes[0]
    driver.bind(slot, track, spatial=spatial, temporal=temporal, payloads=[(PAYLOAD_TYPE, OUT_PAYLOAD_TYPE, None)])
    sequence, top = 65_500, play.graph.spatial - 1
    for frame in play.graph.frames:
        if frame.number in play.wishes:
            driver.target(slot, *play.wishes[frame.number])
        parts = 2 - frame.number % 2
        for part in range(parts):
            sequence += 1
            if frame.number in play.lost:
                continue
            payload = headers[frame.number] + MARK + b"%d/%d" % (frame.number, part)
            if codec is Codec.VP9:
                payload = (
                    bytes([payload[0] & ~(0x08 if part else 0) & ~(0 if part == parts - 1 else 0x04)]) + payload[1:]
                )
            extensions = [(MID_ID, b"1")]
            descriptor = extension(frame)
            if descriptor is not None:
                bits = (0x80 if part == 0 else 0) | (0x40 if part == parts - 1 else 0)
                extensions.append((DESCRIPTOR_ID, bytes([descriptor[0] & 0x3F | bits]) + descriptor[1:]))
            last = frame.spatial == top and part == parts - 1
            timestamp = (7_000 + frame.picture * PICTURE_TICKS) & 0xFFFFFFFF
            publisher.send(
                RtpPacket(PAYLOAD_TYPE, last, sequence & 0xFFFF, timestamp, SSRC, (), tuple(extensions), payload)
            )
            driver.pump()
        if frame.spatial == top:
            driver.now_us += PICTURE_US
    driver.assert_accounts_balance()
    play.packets = [packet for packet in viewer.take_rtp(SLOT_SSRC) if packet.payload]
    play.forwarded = [play.graph.frames[number] for number in dict.fromkeys(map(number_of, play.packets))]


def number_of(packet: RtpPacket) -> int:
    return int(packet.payload[packet.payload.index(MARK) + len(MARK) :].split(b"/")[0])


def assert_decodable(play: Play, unknown: Iterable[int] = ()) -> None:
    """What a frame refers to was forwarded, unless it was lost before it came to us."""
    forwarded = {frame.number for frame in play.forwarded}
    excused = play.lost.union(unknown)
    for frame in play.forwarded:
        missing = {one.number for one in frame.refs} - forwarded - excused
        assert not missing, f"frame {frame.number} went out without {missing}"


def assert_whole(play: Play) -> None:
    """All packets of each frame, numbers that only go up and leave out no more than was lost, one marker a picture."""
    for frame in play.forwarded:
        parts = [packet for packet in play.packets if number_of(packet) == frame.number]
        assert len(parts) == 2 - frame.number % 2
    steps = [(b.sequence - a.sequence) & 0xFFFF for a, b in zip(play.packets, play.packets[1:], strict=False)]
    assert all(0 < step < 1 << 15 for step in steps)
    # Beside what was lost, one for each picture in the middle of which nothing was wanted any more.
    pauses = sum(wish[0] < 0 for wish in play.wishes.values())
    assert sum(step - 1 for step in steps) <= 2 * len(play.lost) + pauses or play.lost
    marked = [play.graph.frames[number_of(packet)].picture for packet in play.packets if packet.marker]
    assert len(marked) == len(set(marked)), "two ends of one picture"


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plays())
def test_by_dependency_descriptor(play: Play) -> None:
    descriptors = play.graph.descriptors(play.first)
    run(play, Codec.AV1, [b"\x10"] * len(descriptors), lambda frame: descriptors[frame.number])
    unknown = unread(play, descriptors)
    assert_decodable(play, unknown)
    assert_whole(play)
    assert_readable(play)


def unread(play: Play, descriptors: list[bytes]) -> list[int]:
    """Frames that could not be read: what brought their structure was lost."""
    reader = ReferenceReader()
    found = []
    for frame in play.graph.frames:
        if frame.number not in play.lost:
            try:
                reader.read(descriptors[frame.number])
            except UnknownTemplateError:
                found.append(frame.number)
    return found


def assert_readable(play: Play) -> None:
    """A receiver can read each descriptor, and frame numbers are moved by one offset from keyframe to keyframe."""
    reader = ReferenceReader()
    offsets: dict[int, int] = {}
    for packet in play.packets:
        frame = play.graph.frames[number_of(packet)]
        read = reader.read(dict(packet.extensions)[OUT_DESCRIPTOR_ID])
        assert (read.spatial, read.temporal) == (frame.spatial, frame.temporal)
        assert {read.frame_number - fdiff for fdiff in read.fdiffs} == {
            read.frame_number - (frame.number - one.number) for one in frame.refs
        }
        offset = (read.frame_number - frame.number) & 0xFFFF
        key = max(one.picture for one in frame.needs if one.key)
        assert offsets.setdefault(key, offset) == offset


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plays())
def test_vp9_by_payload_descriptor(play: Play) -> None:
    headers = play.graph.vp9_descriptors(play.first & 0x7FFF)
    run(play, Codec.VP9, headers, lambda _: None)
    if not play.lost:
        assert_decodable(play)
    assert_whole(play)
    pictures = {
        (parse_vp9(p.payload).picture_id or 0) - play.graph.frames[number_of(p)].picture & 0x7FFF for p in play.packets
    }
    starts: Literal[1] | int = 1 + sum(wish[0] < 0 for wish in play.wishes.values())
    assert len(pictures) <= starts
