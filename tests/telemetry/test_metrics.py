# SPDX-License-Identifier: Apache-2.0
"""What a real server exports: it follows what happens, and does not grow with how many take part."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from sfu.load.media import VideoLayer, VideoSpec
from sfu.load.peer import LightPeer, LightSpec
from sfu.rooms.journal import CONNECT_BOUNDS_S, Durations
from sfu.server import Server
from sfu.transport.certificate import Certificate
from tests.load.conftest import until
from tests.signaling.conftest import http, server
from tests.signaling.websocket import Clients

__all__ = ["http", "server"]

CAMERA = VideoSpec((VideoLayer("q", 160, 90, 60_000), VideoLayer("h", 320, 180, 150_000)))
FEW, MANY = 4, 200
GROWTH = 1.1


async def exported(http: aiohttp.ClientSession, server: Server) -> tuple[str, dict[str, float]]:
    """The text, and name{labels but the worker} → value."""
    async with http.get(server.url + "metrics") as response:
        text = await response.text()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    values = {}
    for one in samples:
        labels = ",".join(f"{name}={value}" for name, value in sorted(one.labels.items()) if name != "worker")
        values[f"{one.name}{{{labels}}}" if labels else one.name] = one.value
    return text, values


async def test_it_follows_a_call(http: aiohttp.ClientSession, server: Server) -> None:
    certificate = Certificate()

    async def join(name: str) -> LightPeer:
        return await LightPeer.join(server.url, LightSpec("tea", name, video=CAMERA), certificate=certificate)

    ada, bob = await join("Ada"), await join("Bob")
    try:
        await until(lambda: all(sum(s.statistics.packets > 20 for s in p.slots.values()) == 2 for p in (ada, bob)))
        (video,) = [slot.mid for slot in ada.slots.values() if slot.kind == "video" and slot.publication]
        ada.request_keyframe(video)

        async def seen(what: Callable[[dict[str, float]], bool]) -> dict[str, float]:
            async with asyncio.timeout(10):
                while not what(values := (await exported(http, server))[1]):
                    await asyncio.sleep(0.1)
            return values

        values = await seen(lambda v: "pysfu_estimate_bps{quantile=0.5}" in v)
        assert values["pysfu_rooms"] == 1
        assert values["pysfu_publications"] == 4
        assert values["pysfu_joins_total"] == 2
        assert values["pysfu_connect_seconds_count"] == 2
        assert values["pysfu_connect_seconds_bucket{le=+Inf}"] == 2
        assert 0 < values["pysfu_connect_seconds_sum"] < 2 * CONNECT_BOUNDS_S[-1]
        assert values["pysfu_engine_objects{kind=transports}"] == 2
        assert values["pysfu_engine_objects{kind=tracks}"] == 4
        assert sum(values[f"pysfu_receivers{{congestion={state}}}"] for state in ("none", "warning", "congested")) == 2
        assert values["pysfu_keyframe_requests_total"] > 0
        assert values["pysfu_layer_switches_total"] > 0
        assert values["pysfu_rtcp_packets_total{direction=in}"] > 0
        assert values["pysfu_dtls_packets_total{direction=in}"] > 0
        assert values["pysfu_stun_packets_total"] > 0
        forwarded = values["pysfu_media_packets_total{stage=forwarded}"]
        assert 0 < forwarded <= values["pysfu_media_packets_total{stage=offered}"]
        await bob.close()
        values = await seen(lambda v: v["pysfu_leaves_total{reason=left}"] == 1)
        assert values["pysfu_participants"] == 1
    finally:
        await asyncio.gather(ada.close(), bob.close())


async def test_it_does_not_grow_with_the_participants(http: aiohttp.ClientSession, server: Server) -> None:
    unlimited = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    clients = Clients(unlimited, server.url)
    try:
        for number in range(FEW):
            await clients.join(room=f"room {number}")
        few, _ = await exported(http, server)
        for number in range(FEW, MANY):
            await clients.join(room=f"room {number}")
        many, values = await exported(http, server)
        assert values["pysfu_participants"] == MANY
        assert len(many) < GROWTH * len(few)
    finally:
        await clients.close()
        await unlimited.close()


def test_durations_are_counted_cumulatively() -> None:
    durations = Durations((0.1, 1.0))
    for seconds in (0.05, 0.1, 0.5, 3.0):
        durations.add(seconds)
    assert durations.cumulative == [2, 3, 4]
    assert durations.sum_s == 3.65
