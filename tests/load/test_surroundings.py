# SPDX-License-Identifier: Apache-2.0
"""What a load test finds around it: tokens, the server's metrics, the limits of the machine."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from sfu.client.signal import ClientError
from sfu.load.figures import ServerSample
from sfu.load.limits import Limits, problems, read_limits, warnings
from sfu.load.server_metrics import MetricsReader, metrics_address, read_metrics
from sfu.load.tokens import ask, mint, read_answer, read_key
from sfu.server import Server
from signaling.auth import Authenticator

SECRET = "a secret of the tests; long enough for HS256"
METRICS = """# HELP process_cpu_seconds_total x
process_cpu_seconds_total 12.5
process_resident_memory_bytes 1.5e+08
pysfu_packets_total{direction="in",worker="0"} 10.0
pysfu_packets_total{direction="in",worker="1"} 5.0
pysfu_packets_total{direction="out",worker="0"} 100.0
pysfu_drops_total{reason="malformed",worker="0"} 1.0
pysfu_drops_total{reason="paused",worker="0"} 2.0
"""


def test_tokens_that_are_signed_here_open() -> None:
    grant = Authenticator({"bots": SECRET}, open_to_all=False).admit(
        mint(read_key(f"bots: {SECRET}, other: x"), "load-1", "light-7"), "load-1", "light-7", ""
    )
    assert grant is not None
    assert grant.identity == "light-7"
    assert grant.permissions.can_publish


@pytest.fixture
async def backend() -> AsyncIterator[str]:
    async def token(request: web.Request) -> web.Response:
        if request.query["room"] == "shut":
            return web.Response(status=403, text="no")
        return web.Response(text=f"token of {request.query['identity']} for {request.query['room']}")

    app = web.Application()
    app.router.add_get("/token", token)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/token?room={{room}}&identity={{identity}}"
    await runner.cleanup()


async def test_tokens_that_are_asked_for(backend: str) -> None:
    assert await ask(backend, "a b&c", "ada") == "token of ada for a b&c"
    with pytest.raises(ClientError, match="status 403: no"):
        await ask(backend, "shut", "ada")
    with pytest.raises(ClientError, match="check --token-url"):
        await ask("http://127.0.0.1:1/{room}{identity}", "tea", "ada")


def test_answers_with_tokens() -> None:
    assert read_answer("ey.x.y") == "ey.x.y"
    assert read_answer('{"token": "ey"}') == "ey"
    with pytest.raises(ClientError, match="no token"):
        read_answer('{"tokens": "ey"}')


async def test_a_development_server_gives_tokens_to_bots(server: Server) -> None:
    token = await ask(server.url + "token?room={room}&identity={identity}", "load-1", "light-1")
    assert token.count(".") == 2


def test_metrics_are_summed() -> None:
    assert read_metrics(METRICS) == ServerSample(12.5, 1.5e8, 15.0, 100.0, 3.0)
    assert read_metrics("something_else 1\n") is None


def test_where_metrics_are() -> None:
    assert metrics_address("wss://sfu.example/ws", None) == "https://sfu.example/metrics"
    assert metrics_address("http://127.0.0.1:8080/", None) == "http://127.0.0.1:8080/metrics"
    assert metrics_address("http://x/", "http://y:9/m") == "http://y:9/m"
    assert metrics_address("http://x/", "off") is None


async def test_a_real_server_tells_its_cpu(server: Server) -> None:
    reader = MetricsReader(metrics_address(server.url, None))
    sample = await reader.read()
    await reader.close()
    assert sample is not None
    assert sample.cpu_s > 0
    assert sample.memory_bytes > 1 << 20
    assert reader.problem is None


async def test_metrics_that_cannot_be_had_are_a_remark_and_no_failure() -> None:
    reader = MetricsReader("http://127.0.0.1:1/metrics")
    assert await reader.read() is None
    assert reader.problem is not None
    await reader.close()
    assert await MetricsReader(None).read() is None


def test_limits_that_are_too_small_are_said_with_the_remedy() -> None:
    small = Limits(open_files=1000, ports=500, receive_buffer=200_000, memory_bytes=100 << 20)
    files, ports = problems(small, 1000)
    assert "2064 open files and 1000 are allowed" in files
    assert "ulimit -Hn 2064" in files
    assert "ip_local_port_range" in ports
    assert ["rmem_max" in warning for warning in warnings(small, 1000)] == [True, False]
    unknown = Limits(open_files=100_000, ports=None, receive_buffer=None, memory_bytes=None)
    assert problems(unknown, 1000) == warnings(unknown, 1000) == []


def test_this_machine_has_limits() -> None:
    limits = read_limits()
    assert problems(limits, 1) == []
