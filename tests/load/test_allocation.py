# SPDX-License-Identifier: Apache-2.0
"""Budgets, rest for layers and overload, with bots on a real server: what is decided is what is sent."""

from __future__ import annotations

import asyncio
from collections import Counter

import aiohttp
import pytest

from sfu.client.messages import Event, PublishLayers, Quality, SubscriptionPaused
from sfu.client.signal import ClientError
from sfu.load.media import VideoLayer, VideoSpec
from sfu.load.peer import LightPeer
from sfu.rooms.member import Member
from sfu.rooms.shedding import LEVELS
from sfu.server import Server
from tests.load.conftest import Join, until

CAMERA = VideoSpec(
    (VideoLayer("q", 160, 90, 60_000), VideoLayer("h", 320, 180, 200_000), VideoLayer("f", 640, 360, 500_000)), fps=10
)
AMPLE_BPS = 20_000_000
SETTLED_S = 1.0


class Viewer:
    """A bot that only watches, with a link that the test makes up."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.peer: LightPeer
        self.member: Member

    async def join(self, join: Join, server: Server, name: str) -> Viewer:
        self.peer = await join(name, audio=None, video=None, on_event=self.events.append)
        conductor = server.directory.conductors["tea"]
        self.member = next(one for one in conductor.members.values() if one.participant.name == name)
        transport = self.member.media._connection
        assert transport is not None
        transport.transport.on_estimate = None
        self.link(AMPLE_BPS)
        return self

    def link(self, rate_bps: int, state: int = 0) -> None:
        self.member.on_estimate(rate_bps, state)

    def layers(self) -> dict[str, int]:
        """Whose video it has a target for: the layer."""
        return {
            self.member.bound[mid].participant.name: state.target.spatial
            for mid, state in self.member.media.slots.items()
            if state.target is not None and mid.startswith("v")
        }

    def paused(self) -> int:
        """How many publications it knows to be paused."""
        states = {event.publication: event.paused for event in self.events if isinstance(event, SubscriptionPaused)}
        return sum(states.values())

    async def received(self, kind: str, seconds: float) -> Counter[str]:
        """Packets by slot over that time."""
        before = {slot.mid: slot.statistics.packets for slot in self.peer.slots.values() if slot.kind == kind}
        await asyncio.sleep(seconds)
        return Counter(
            {
                mid: self.peer.slots[mid].statistics.packets - count
                for mid, count in before.items()
                if self.peer.slots[mid].number
            }
        )


async def test_budgets_are_kept_and_sound_is_never_paused(join: Join, server: Server) -> None:
    await join("Ada", video=CAMERA)
    await join("Bob", video=CAMERA)
    viewer = await Viewer().join(join, server, "Cy")
    await until(lambda: viewer.layers() == {"Ada": 2, "Bob": 2})

    viewer.link(650_000)
    await until(lambda: viewer.layers() == {"Ada": 1, "Bob": 1})

    viewer.link(20_000)
    await until(lambda: viewer.layers() == {"Ada": -1, "Bob": -1})
    await until(lambda: viewer.paused() == 2)
    await asyncio.sleep(SETTLED_S)
    assert sum((await viewer.received("video", SETTLED_S)).values()) == 0
    sound = await viewer.received("audio", SETTLED_S)
    assert min(sound.values()) >= 30
    assert len(sound) == 2

    viewer.link(AMPLE_BPS)
    await until(lambda: viewer.layers() == {"Ada": 2, "Bob": 2})
    await until(lambda: viewer.paused() == 0)
    pictures = await viewer.received("video", SETTLED_S)
    assert min(pictures.values()) >= 10
    assert len(pictures) == 2


async def test_layers_that_nobody_watches_are_not_sent(join: Join, server: Server) -> None:
    told: list[Event] = []
    ada = await join("Ada", video=CAMERA, dynacast=True, on_event=told.append)
    viewer = await Viewer().join(join, server, "Cy")
    await until(lambda: viewer.layers() == {"Ada": 2})
    camera = ada.publications["video"].id

    def sends() -> list[bool]:
        events = [event for event in told if isinstance(event, PublishLayers) and event.publication == camera]
        return [layer.active for layer in events[-1].layers] if events else []

    def top_layer() -> int:
        return ada.publisher.video_streams[2].statistics.packets

    await viewer.peer.set_wish(camera, max_width=160)
    await until(lambda: sends() == [True, False, False])
    rested = top_layer()
    await asyncio.sleep(SETTLED_S)
    assert top_layer() == rested
    assert sum((await viewer.received("video", SETTLED_S)).values()) > 0

    await viewer.peer.set_wish(camera)
    await until(lambda: sends() == [True, True, True])
    await until(lambda: top_layer() > rested)
    await until(lambda: viewer.layers() == {"Ada": 2})
    statistics = server.workers[0].statistics
    (forwarder,) = (
        state.forwarder
        for mid, state in viewer.member.media.slots.items()
        if mid in viewer.member.bound and mid[0] == "v"
    )
    await until(lambda: statistics().forwarders[forwarder].spatial == 2)


async def test_overload_lowers_pictures_and_then_closes_the_door(join: Join, server: Server) -> None:
    await join("Ada", video=CAMERA)
    viewer = await Viewer().join(join, server, "Cy")
    await until(lambda: viewer.layers() == {"Ada": 2})
    (shedding,) = server.directory.shedding
    shedding.level = len(LEVELS) - 1
    await until(lambda: viewer.layers() == {"Ada": 1})
    assert min((await viewer.received("audio", SETTLED_S)).values()) >= 30
    async with aiohttp.ClientSession() as http, http.get(server.url + "metrics") as response:
        lines = (await response.text()).splitlines()
    assert f'pysfu_shedding_level{{worker="0"}} {shedding.level}.0' in lines
    with pytest.raises(ClientError) as caught:
        await join("Dan")
    assert caught.value.code == "overloaded"
    shedding.level = 0
    await until(lambda: viewer.layers() == {"Ada": 2})
    await join("Dan")


async def test_everybody_hears_how_good_connections_are(join: Join, server: Server) -> None:
    await join("Ada", video=CAMERA)
    viewer = await Viewer().join(join, server, "Cy")

    def known() -> set[str]:
        return {one.id for event in viewer.events if isinstance(event, Quality) for one in event.participants}

    await until(lambda: len(known()) == 2)
    scores = [one.score for event in viewer.events if isinstance(event, Quality) for one in event.participants]
    assert all(1 <= score <= 5 for score in scores)
