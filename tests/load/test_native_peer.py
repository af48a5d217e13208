# SPDX-License-Identifier: Apache-2.0
"""Bots whose media runs in a native thread, in a room of a real server, with a light bot that looks at each packet."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from sfu.load.media import AudioSpec, VideoLayer, VideoSpec
from sfu.load.native import AUDIO_GROUP, VIDEO_GROUP, NativePeer, TrafficHub
from sfu.load.peer import LightSpec
from sfu.load.programs import Media, bursts, synthetic_video
from sfu.load.receiving import ReceivedPacket
from sfu.load.traffic import Traffic
from sfu.server import Server
from sfu.transport.certificate import SRTP_PROFILES, Certificate
from sfu.wire.vp8 import parse_descriptor
from tests.load.conftest import Join, until

SMALL = VideoSpec(
    (VideoLayer("q", 160, 90, 60_000), VideoLayer("h", 320, 180, 150_000), VideoLayer("f", 640, 360, 300_000))
)
# One layer, in a loop of a second.
SHORT = VideoSpec((VideoLayer("f", 640, 360, 300_000),), fps=20)

Enter = Callable[..., Awaitable[NativePeer]]


@pytest.fixture(params=[False, True], ids=["datagrams", "gro"])
async def hub(request: pytest.FixtureRequest) -> AsyncIterator[TrafficHub]:
    hub = TrafficHub(Traffic(gro=request.param, sample_every=4, sample_markers=True))
    yield hub
    hub.close()


@pytest.fixture
async def enter(server: Server, hub: TrafficHub) -> AsyncIterator[Enter]:
    certificate = Certificate()
    entered: list[NativePeer] = []

    async def one(name: str, **wishes: Any) -> NativePeer:
        media = wishes.pop("media", None)
        own = wishes.pop("certificate", certificate)
        spec = LightSpec(room="tea", name=name, **wishes)
        peer = await NativePeer.enter(server.url, spec, hub, media=media, certificate=own)
        entered.append(peer)
        return peer

    yield one
    for peer in entered:
        await peer.close()


def received(peer: NativePeer, group: int) -> int:
    return sum(stream.packets for stream in peer.streams() if stream.group == group)


async def test_audio_and_simulcast_reach_all_and_nothing_is_lost(enter: Enter, hub: TrafficHub) -> None:
    ada = await enter("Ada", video=SMALL)
    bob = await enter("Bob", audio=AudioSpec(), video=None)
    eve = await enter("Eve", audio=None, video=None)
    await until(lambda: all(received(peer, VIDEO_GROUP) > 60 for peer in (bob, eve)))
    await until(lambda: received(ada, AUDIO_GROUP) > 60 and received(eve, AUDIO_GROUP) > 120)
    for peer in (ada, bob, eve):
        for stream in peer.streams():
            assert stream.lost == stream.duplicates == stream.forged == 0
            assert stream.verified > 0 or stream.packets < 4
    assert {counts.ssrc for counts in ada.senders()} == {stream.ssrc for stream in ada.publisher.streams}
    assert all(counts.packets > 0 and counts.failed == 0 for counts in ada.senders())
    totals = hub.traffic.totals()
    assert (
        totals.unknown == totals.bad_rtcp == totals.kernel_dropped == totals.control_lost == totals.send_failures == 0
    )
    assert totals.received >= received(bob, VIDEO_GROUP) + received(eve, VIDEO_GROUP)
    for group in (VIDEO_GROUP, AUDIO_GROUP):
        latency = hub.traffic.latency(group)
        assert latency.total > 0
        assert 0 < latency.percentile_us(50) <= latency.percentile_us(99) <= latency.highest_us
    assert any(
        frame.receivers == 2 and 0 < frame.first_us <= frame.last_us for frame in hub.traffic.frames(VIDEO_GROUP)
    )


async def test_its_video_is_continuous_for_who_looks_at_it(join: Join, enter: Enter) -> None:
    """Picture ids, sequence numbers and timestamps go on where a keyframe was asked for."""
    packets: list[ReceivedPacket] = []

    def look(packet: ReceivedPacket) -> None:
        if packet.slot.kind == "video" and packet.packet.payload and not packet.retransmission:
            packets.append(packet)

    eve = await join("Eve", audio=None, video=None, on_packet=look)
    ada = await enter("Ada", audio=None, video=SHORT)
    await until(lambda: len(packets) > 40)
    before = sum(counts.keyframes for counts in ada.senders())
    eve.request_keyframe(packets[0].slot.mid)
    await until(lambda: sum(counts.keyframes for counts in ada.senders()) > before)
    already = len(packets)
    await until(lambda: len(packets) > already + 40)
    described = [(packet.packet, parse_descriptor(packet.packet.payload)) for packet in packets]
    assert described[0][1].keyframe
    keyframes = {packet.timestamp for packet, descriptor in described if descriptor.keyframe}
    assert len(keyframes) >= 2
    for (one, first), (other, second) in itertools.pairwise(described):
        assert (other.sequence_number - one.sequence_number) % (1 << 16) == 1
        assert first.picture_id is not None
        assert second.picture_id is not None
        same = one.timestamp == other.timestamp
        assert (second.picture_id - first.picture_id) % (1 << 15) == (0 if same else 1)
        assert (other.timestamp - one.timestamp) % (1 << 32) < 90_000
        assert one.marker is not same
    assert ada.streams()[0].forged == 0


async def test_it_leaves_as_others_do(join: Join, enter: Enter, hub: TrafficHub) -> None:
    ada = await join("Ada", audio=None, video=None)
    bob = await enter("Bob", video=None)
    await until(lambda: len(ada.roster.members) == 1)
    await bob.close()
    assert bob.streams() == [] == bob.senders()
    assert bob.number is None
    await until(lambda: len(ada.roster.members) == 0)
    again = await enter("Bob", video=None)
    await until(lambda: hub.traffic.totals().sent > 0 and sum(counts.packets for counts in again.senders()) > 0)


async def test_every_srtp_profile_works(enter: Enter) -> None:
    peers = [
        await enter(f"bot {profile.number}", video=None, video_slots=3, certificate=Certificate([profile]))
        for profile in SRTP_PROFILES
    ]
    await until(lambda: all(received(peer, AUDIO_GROUP) > 50 for peer in peers))
    assert all(stream.forged == 0 for peer in peers for stream in peer.streams())


async def test_frames_of_a_burst_program_are_all_alike(enter: Enter) -> None:
    spec = VideoSpec((VideoLayer("f", 1280, 720, 1_000_000),), fps=25)
    ada = await enter("Ada", audio=None, video=spec, media=Media(layers=(bursts(4, 1000, 25.0),)))
    bob = await enter("Bob", audio=None, video=None)
    await until(lambda: received(bob, VIDEO_GROUP) > 100)
    (counts,) = ada.senders()
    assert counts.packets == 4 * counts.frames
    assert counts.octets == 4000 * counts.frames


def test_a_program_lasts_as_long_as_its_frames() -> None:
    program = synthetic_video(SHORT.layers[0], SHORT)
    assert program.seconds == pytest.approx(16.0)
    assert program.packets_per_second > SHORT.fps
