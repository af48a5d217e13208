# SPDX-License-Identifier: Apache-2.0
"""Dashboard, alerts and what is exported fit each other."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sfu.load.media import VideoLayer, VideoSpec
from sfu.load.peer import LightPeer, LightSpec
from sfu.server import Server
from sfu.transport.certificate import Certificate
from tests.signaling.conftest import http, server
from tools import dashboard

__all__ = ["http", "server"]

DOCKER = Path(__file__).resolve().parent.parent.parent / "docker"
CAMERA = VideoSpec((VideoLayer("q", 160, 90, 60_000), VideoLayer("h", 320, 180, 150_000)))
METRIC = re.compile(r"\b(?:pysfu|process)_\w+")
LABEL = re.compile(r'(\w+)(?:=~|=)"([^"]*)"')
SCRAPED_WITHIN_S = 60
needs_prometheus = pytest.mark.skipif(
    not shutil.which("prometheus"), reason="no prometheus on this machine (Debian: apt-get install prometheus)"
)


def queries() -> list[tuple[str, str]]:
    """(panel, query)"""
    return [
        (panel["title"], target["expr"])
        for panel in json.loads(dashboard.FILE.read_text())["panels"]
        for target in panel["targets"]
    ]


def test_the_dashboard_is_what_its_table_says() -> None:
    assert json.loads(dashboard.FILE.read_text()) == json.loads(json.dumps(dashboard.dashboard()))


async def test_what_is_asked_for_is_exported(http: aiohttp.ClientSession, server: Server) -> None:
    async with http.get(server.url + "metrics") as response:
        text = await response.text()
    # Alerts' own names and texts are no metrics.
    alerts = "\n".join(re.findall(r"expr: (.*)", (DOCKER / "prometheus" / "alerts.yml").read_text()))
    asked = set(METRIC.findall(alerts)).union(*(METRIC.findall(query) for _, query in queries()))
    declared = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    known = declared | {f"{name}_bucket" for name in declared}
    assert asked <= known
    assert len(asked) > 20
    for name, pattern in LABEL.findall(alerts):
        if name != "job":
            for value in pattern.split("|"):
                assert f'{name}="{value}"' in text, (name, value)


@contextlib.asynccontextmanager
async def call(server: Server) -> AsyncIterator[None]:
    """Two stay, others come and go."""
    certificate = Certificate()

    async def join(name: str) -> LightPeer:
        return await LightPeer.join(server.url, LightSpec("tea", name, video=CAMERA), certificate=certificate)

    async def come_and_go() -> None:
        while True:
            visitor = await join("visitor")
            await asyncio.sleep(2)
            await visitor.close()

    stay = [await join("Ada"), await join("Bob")]
    visits = asyncio.create_task(come_and_go())
    try:
        yield
    finally:
        visits.cancel()
        await asyncio.gather(visits, *(bot.close() for bot in stay), return_exceptions=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def ask(http: aiohttp.ClientSession, url: str, query: str) -> list[dict[str, Any]]:
    async with http.get(f"{url}/api/v1/query", params={"query": query.replace("$__rate_interval", "10s")}) as response:
        answer = await response.json()
    assert answer["status"] == "success", (query, answer)
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


@pytest.mark.slow
@needs_prometheus
async def test_every_query_of_the_dashboard_returns_data(
    http: aiohttp.ClientSession, server: Server, tmp_path: Path
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    shutil.copytree(DOCKER / "prometheus", tmp_path / "config")
    config = tmp_path / "config" / "prometheus.yml"
    target = server.url.removeprefix("http://").rstrip("/")
    config.write_text(
        config.read_text().replace("sfu:8080", target).replace("scrape_interval: 5s", "scrape_interval: 1s")
    )
    command = [
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (tmp_path / "log").open("w") as log:
        prometheus = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            async with call(server), asyncio.timeout(SCRAPED_WITHIN_S):
                empty = dict(queries())
                while empty:
                    await asyncio.sleep(1)
                    with contextlib.suppress(aiohttp.ClientConnectionError):
                        empty = {
                            title: query
                            for title, query in queries()
                            if not any(one["value"][1] != "NaN" for one in await ask(http, url, query))
                        }
        except TimeoutError:
            pytest.fail(f"no data for {empty}")
        finally:
            prometheus.terminate()
            prometheus.wait()


@needs_prometheus
def test_prometheus_takes_its_configuration() -> None:
    checked = subprocess.run(
        ["promtool", "check", "config", str(DOCKER / "prometheus" / "prometheus.yml")], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
    assert "rules found" in checked.stdout
