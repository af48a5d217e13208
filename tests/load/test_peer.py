# SPDX-License-Identifier: Apache-2.0
"""Light bots in a room of a real server."""

from __future__ import annotations

import asyncio
import functools
import gc
from pathlib import Path

import pytest

from sfu.load.media import AudioSpec, VideoLayer, VideoSpec
from sfu.load.network import Impairment
from sfu.load.peer import LightPeer
from sfu.load.receiving import LightSlot, ReceivedPacket
from sfu.server import Server
from sfu.transport.dtls import TransportState
from sfu.wire.vp8 import parse_descriptor
from tests.load.conftest import Join, until

SMALL = VideoSpec(
    (VideoLayer("q", 160, 90, 60_000), VideoLayer("h", 320, 180, 150_000), VideoLayer("f", 640, 360, 300_000))
)


def bound(peer: LightPeer, kind: str) -> list[LightSlot]:
    return [slot for slot in peer.slots.values() if slot.kind == kind and slot.publication is not None]


async def test_two_bots_receive_each_other(join: Join) -> None:
    packets: list[ReceivedPacket] = []
    ada = await join("Ada", video=SMALL, on_packet=packets.append)
    bob = await join("Bob", video=SMALL)
    await until(lambda: len(bound(ada, "video")) == len(bound(ada, "audio")) == 1)
    (video,), (audio,) = bound(ada, "video"), bound(ada, "audio")
    assert video.pair == audio.pair
    await until(lambda: video.statistics.frames >= 30 and audio.statistics.packets >= 50)
    assert video.number == video.last_csrc == bob.publications["video"].number
    assert audio.number == audio.last_csrc == bob.publications["audio"].number
    assert video.rtp_timestamp is not None
    assert {packet.slot.mid for packet in packets} == {video.mid, audio.mid}
    for slot in (video, audio):
        assert slot.statistics.lost == slot.statistics.duplicates == 0
    assert ada.malformed == ada.connection.statistics.srtp_errors == 0
    assert [member.name for member in ada.roster.members.values()] == ["Bob"]


async def test_the_first_picture_is_a_keyframe_and_the_top_layer_follows(join: Join) -> None:
    sizes: list[tuple[int, int]] = []

    def look(received: ReceivedPacket) -> None:
        if received.slot.kind == "video" and received.packet.payload:
            descriptor = parse_descriptor(received.packet.payload)
            if descriptor.keyframe:
                sizes.append((descriptor.width, descriptor.height))
            else:
                assert sizes

    await join("Ada", video=SMALL)
    await join("Bob", audio=None, video=None, on_packet=look)
    await until(lambda: sizes and sizes[-1] == (640, 360))


async def test_a_wish_forces_each_layer(join: Join) -> None:
    sizes: list[tuple[int, int]] = []

    def look(received: ReceivedPacket) -> None:
        descriptor = parse_descriptor(received.packet.payload) if received.slot.kind == "video" else None
        if descriptor is not None and descriptor.keyframe:
            sizes.append((descriptor.width, descriptor.height))

    ada = await join("Ada", audio=None, video=SMALL)
    bob = await join("Bob", audio=None, video=None, on_packet=look)
    publication = ada.publications["video"].id
    for spatial in (0, 2, 1, 2):
        await bob.set_wish(publication, max_spatial=spatial)
        wanted = (SMALL.layers[spatial].width, SMALL.layers[spatial].height)
        await until(functools.partial(lambda size: sizes and sizes[-1] == size, wanted))
    (slot,) = bound(bob, "video")
    assert slot.statistics.lost == 0
    assert ada.publisher.video_streams[0].statistics.keyframe_requests >= 1


async def test_losses_are_repaired_both_ways(join: Join) -> None:
    ada = await join("Ada", video=SMALL, impairment=Impairment(outbound_loss=0.05, seed=1))
    bob = await join("Bob", audio=None, video=None, impairment=Impairment(inbound_loss=0.05, seed=2))
    await until(lambda: bound(bob, "video"))
    (slot,) = bound(bob, "video")
    await until(lambda: slot.statistics.recovered >= 10 and slot.statistics.late >= 10)
    assert sum(stream.statistics.retransmitted for stream in ada.publisher.video_streams) > 0
    assert ada.connection.statistics.impaired
    assert bob.connection.statistics.impaired
    assert slot.statistics.given_up == 0


async def test_paused_layers_fall_away_and_come_back(join: Join) -> None:
    ada = await join("Ada", audio=None, video=SMALL)
    bob = await join("Bob", audio=None, video=None)
    await until(lambda: bound(bob, "video"))
    (slot,) = bound(bob, "video")
    await until(lambda: slot.statistics.frames > 10)
    ada.publisher.set_active_layers([0])
    frames = slot.statistics.frames
    await until(lambda: slot.statistics.frames > frames + 15)
    ada.publisher.set_active_layers([0, 1, 2])
    frames = slot.statistics.frames
    await until(lambda: slot.statistics.frames > frames + 15)
    assert slot.statistics.lost == 0


async def test_mute_is_told_and_heard(join: Join) -> None:
    ada = await join("Ada", video=None)
    bob = await join("Bob", audio=None, video=None)
    await until(lambda: bound(bob, "audio") and bound(bob, "audio")[0].statistics.packets > 10)
    publication = ada.publications["audio"].id
    await ada.mute("audio", muted=True)
    await until(lambda: bob.roster.publications[publication].muted)
    await ada.mute("audio", muted=False)
    await until(lambda: not bob.roster.publications[publication].muted)


async def test_speakers_are_told(join: Join) -> None:
    await join("Ada", video=None, audio=AudioSpec(level=127, voice=False))
    bob = await join("Bob", video=None, audio=AudioSpec(level=10))
    carol = await join("Carol", audio=None, video=None)
    await until(lambda: bob.roster.own_id in carol.roster.speakers)


async def test_a_bot_that_is_the_dtls_server(join: Join) -> None:
    ada = await join("Ada", video=None, setup="passive")
    bob = await join("Bob", audio=None, video=None)
    await until(lambda: bound(bob, "audio") and bound(bob, "audio")[0].statistics.packets > 10)
    assert ada.connection.state is TransportState.CONNECTED


async def test_one_layer_declared_by_ssrc(join: Join) -> None:
    await join("Ada", audio=None, video=VideoSpec((VideoLayer("", 320, 180, 150_000),), temporal_layers=1))
    bob = await join("Bob", audio=None, video=None)
    await until(lambda: bound(bob, "video") and bound(bob, "video")[0].statistics.frames > 20)


async def test_leaving_is_seen_at_once_and_dying_is_seen(join: Join, server: Server) -> None:
    ada = await join("Ada")
    bob = await join("Bob")
    await until(lambda: bob.roster.members)
    await ada.close()
    await until(lambda: not bob.roster.members)
    carol = await join("Carol")
    await until(lambda: bob.roster.members)
    await carol.close(silently=True)
    assert carol.connection.state is TransportState.CLOSED
    assert bob.disconnected is None


async def test_a_network_change_goes_on(join: Join) -> None:
    ada = await join("Ada", audio=None, video=SMALL)
    bob = await join("Bob", audio=None, video=None)
    await until(lambda: bound(bob, "video") and bound(bob, "video")[0].statistics.frames > 5)
    (slot,) = bound(bob, "video")
    for peer in (ada, bob):
        peer.connection.rebind()
        frames = slot.statistics.frames
        await until(functools.partial(lambda before: slot.statistics.frames > before + 10, frames))


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors by /proc")
async def test_nothing_is_left_behind(join: Join, server: Server) -> None:
    await (await join("Warm")).close()
    await asyncio.sleep(0.2)
    gc.collect()
    files, tasks = open_files(), len(asyncio.all_tasks())
    handles = server.workers[0].commands.live_handles
    for silently in (False, True):
        for peer in [await join(f"Bot {number}", video=SMALL) for number in range(4)]:
            await peer.close()
            await peer.close(silently=silently)
    await until(lambda: server.workers[0].commands.live_handles == handles)
    await until(lambda: len(asyncio.all_tasks()) <= tasks)
    gc.collect()
    await until(lambda: open_files() <= files)
