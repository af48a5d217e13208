# SPDX-License-Identifier: Apache-2.0
"""Health, metrics, and the files of the page."""

from __future__ import annotations

import asyncio
import importlib.resources
import re

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from sfu.engine.drops import DropReason
from sfu.server import Server
from sfu.telemetry.health import Phase
from tests.signaling.websocket import Clients

WEB = importlib.resources.files("signaling") / "web"
SCRIPTS = sorted(entry.name for entry in WEB.iterdir() if entry.name.endswith(".js"))


async def metrics(http: aiohttp.ClientSession, server: Server) -> dict[tuple[str, str], float]:
    """(sample name, its labels but the worker) → value."""
    async with http.get(server.url + "metrics") as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/plain")
        families = list(text_string_to_metric_families(await response.text()))
    samples = [sample for family in families for sample in family.samples]
    return {
        (one.name, ",".join(value for name, value in sorted(one.labels.items()) if name != "worker")): one.value
        for one in samples
    }


async def test_health_and_readiness(http: aiohttp.ClientSession, server: Server) -> None:
    for path in ("healthz", "readyz"):
        async with http.get(server.url + path) as response:
            assert response.status == 200
    server.health.phase = Phase.DRAINING
    async with http.get(server.url + "readyz") as response:
        assert response.status == 503
        assert await response.json() == {"status": "draining"}
    async with http.get(server.url + "healthz") as response:
        assert response.status == 200


async def test_metrics_count_rooms_and_participants(
    http: aiohttp.ClientSession, server: Server, clients: Clients
) -> None:
    for room in ("tea", "tea", "coffee"):
        await clients.join(room=room)
    seen = await metrics(http, server)
    assert seen["pysfu_rooms", ""] == 2
    assert seen["pysfu_participants", ""] == 3


async def test_metrics_count_what_the_engine_received_and_dropped(http: aiohttp.ClientSession, server: Server) -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, remote_addr=("127.0.0.1", server.workers[0].port)
    )
    for _ in range(10):
        transport.sendto(b"\x80" + bytes(40))
    transport.close()
    async with asyncio.timeout(5):
        while (seen := await metrics(http, server))["pysfu_drops_total", "unknown_address"] < 10:
            await asyncio.sleep(0.05)
    assert seen["pysfu_packets_total", "in"] == 10
    assert seen["pysfu_bytes_total", "in"] == 410
    assert seen["pysfu_packets_total", "out"] == 0


async def test_what_the_process_costs_is_exported(http: aiohttp.ClientSession, server: Server) -> None:
    seen = await metrics(http, server)
    assert seen["process_cpu_seconds_total", ""] > 0
    assert seen["process_resident_memory_bytes", ""] > 1 << 20


async def test_every_drop_reason_is_exported(http: aiohttp.ClientSession, server: Server) -> None:
    exported = {labels for name, labels in await metrics(http, server) if name == "pysfu_drops_total"}
    assert exported == {reason.name.lower() for reason in DropReason}


async def test_the_page_and_everything_it_refers_to(http: aiohttp.ClientSession, server: Server) -> None:
    async with http.get(server.url) as response:
        assert response.content_type == "text/html"
        page = await response.text()
    for path in re.findall(r'(?:src|href)="/?([\w./-]+)"', page):
        async with http.get(server.url + path.removeprefix("./")) as response:
            assert response.status == 200, path


@pytest.mark.parametrize("name", SCRIPTS)
async def test_every_script_is_served_to_any_origin(http: aiohttp.ClientSession, server: Server, name: str) -> None:
    async with http.get(server.url + name) as response:
        assert response.content_type == "text/javascript"
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["nothing", "index.htm", "..%2fapp.py", "%2e%2e/app.py", "web/../../app.py"])
async def test_nothing_else_is_served(http: aiohttp.ClientSession, server: Server, path: str) -> None:
    async with http.get(server.url + path) as response:
        assert response.status == 404
