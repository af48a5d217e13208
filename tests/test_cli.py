# SPDX-License-Identifier: Apache-2.0
"""`sfu` as its users run it: in a process of its own."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from sfu.config import Settings
from sfu.listening import outside_addresses
from tests.sdp.descriptions import captured
from tests.signaling.websocket import Clients

READY = re.compile(r"^pysfu is ready: (https?://\S+/)( \S+)*$", re.MULTILINE)
KEYS = "backend: a secret of the tests; long enough for HS256"
WITHIN_S = 20
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("SFU_")}

Run = Callable[..., Awaitable[Process]]


@pytest.fixture
async def run() -> AsyncIterator[Run]:
    """Starts `sfu` with arguments and environment; what still runs at the end is killed."""
    started: list[Process] = []

    async def start(*arguments: str, **environment: str) -> Process:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sfu", *arguments),
            stdout=PIPE,
            stderr=PIPE,
            env=ENVIRONMENT | {"COLUMNS": "100"} | environment,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def finished(process: Process) -> tuple[int, str, str]:
    async with asyncio.timeout(WITHIN_S):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def url_of(process: Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(WITHIN_S):
        line = (await process.stdout.readline()).decode()
    found = READY.match(line)
    assert found, line
    return found[1]


async def serve(run: Run, *arguments: str, **environment: str) -> tuple[Process, str]:
    process = await run("serve", "--dev", "--http-port", "0", "--udp-port", "0", *arguments, **environment)
    return process, await url_of(process)


async def candidates(http: aiohttp.ClientSession, url: str) -> list[str]:
    """The candidate lines of an answer."""
    clients = Clients(http, url)
    client = await clients.join()
    answer = await client.request("offer", sdp=captured("chromium-156-slots-offer"))
    await clients.close()
    return [line for line in answer["sdp"].splitlines() if line.startswith("a=candidate:")]


async def media_port(http: aiohttp.ClientSession, url: str) -> int:
    return int((await candidates(http, url))[0].split()[5])


async def test_help_names_every_setting(run: Run) -> None:
    code, out, _ = await finished(await run("serve", "--help"))
    assert code == 0
    for flag in ("config", *(name.replace("_", "-") for name in Settings.model_fields if name != "keys")):
        assert f"--{flag}" in out
    assert "SFU_HTTP_PORT" in out
    assert "[dim]" not in out
    code, out, _ = await finished(await run("--help"))
    assert code == 0
    assert "serve" in out
    assert "token" in out


async def test_version(run: Run) -> None:
    code, out, _ = await finished(await run("--version"))
    assert (code, out.split()[0]) == (0, "pysfu")


async def test_without_dev_and_keys_it_refuses_to_start(run: Run) -> None:
    code, out, err = await finished(await run("serve"))
    assert code == 2
    assert out == ""
    assert "SFU_KEYS" in err
    assert "--dev" in err
    assert "Traceback" not in err


async def test_every_wrong_setting_is_named_at_once(run: Run) -> None:
    process = await run("serve", "--dev", "--http-port", "eighty", SFU_WORKERS="0")
    code, _, err = await finished(process)
    assert code == 2
    assert err.splitlines() == [
        "sfu: --http-port = 'eighty' is not allowed; allowed: a whole number from 0 to 65535 (0: the system chooses)",
        "sfu: SFU_WORKERS = '0' is not allowed; allowed: a whole number from 1 to 64, or auto (one for each core)",
    ]


async def test_a_port_that_is_taken_is_named(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        arguments = ("serve", "--http-host", "127.0.0.1", "--udp-port", "0", "--http-port", str(port))
        code, out, err = await finished(await run(*arguments, SFU_KEYS=KEYS))
    assert (code, out) == (2, "")
    assert f"http_port = {port}" in err
    assert "--http-port" in err
    assert "Traceback" not in err


async def test_a_udp_port_that_is_taken_is_named(run: Run) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        arguments = ("serve", "--http-port", "0", "--udp-host", "127.0.0.1", "--udp-port", str(port))
        code, out, err = await finished(await run(*arguments, SFU_KEYS=KEYS))
    assert (code, out) == (2, "")
    assert f"udp_port = {port}" in err
    assert "--udp-port" in err
    assert "Traceback" not in err


async def test_development_takes_the_next_free_ports_and_says_so(run: Run) -> None:
    _, url = await serve(run, "--udp-host", "127.0.0.1")
    async with aiohttp.ClientSession() as http:
        http_port, udp_port = URL(url).port, await media_port(http, url)
        ports = (
            "--http-port",
            str(http_port),
            "--udp-port",
            str(udp_port),
            "--udp-host",
            "127.0.0.1",
            "--workers",
            "2",
        )
        second = await run("serve", "--dev", *ports)
        other = await url_of(second)
        assert http_port is not None
        assert (URL(other).port or 0) > http_port
        assert await media_port(http, other) > udp_port
        second.terminate()
        code, _, err = await finished(second)
    assert code == 0
    assert f"http_port {http_port} is in use" in err
    assert f"udp_port {udp_port} is in use" in err
    assert "ERROR" not in err


async def test_the_ready_line_names_the_addresses_for_other_devices(run: Run) -> None:
    process = await run("serve", "--dev", "--http-host", "0.0.0.0", "--http-port", "0", "--udp-port", "0")
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), WITHIN_S)).decode()
    first, *others = (URL(text) for text in line.removeprefix("pysfu is ready: ").split())
    assert first.host == "localhost"
    assert [url.host for url in others] == [str(ip) for ip in outside_addresses(False)][:5]
    assert {url.port for url in others} <= {first.port}
    process.terminate()
    _, _, err = await finished(process)
    assert "--tls self" in err, "how other devices get a camera"


async def test_a_certificate_for_the_run_is_announced(run: Run) -> None:
    process, url = await serve(run, "--tls", "self")
    assert url.startswith("https://127.0.0.1:")
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), WITHIN_S)).decode()
    assert re.search(r"SHA-256: ([0-9A-F]{2}:){31}[0-9A-F]{2}$", line)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as http:
        clients = Clients(http, url)
        assert await (await clients.join()).still_works()
        await clients.close()


async def test_a_second_start_after_a_failed_one(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        arguments = ("serve", "--http-host", "127.0.0.1", "--udp-port", "0", "--http-port", str(port))
        assert (await finished(await run(*arguments, SFU_KEYS=KEYS)))[0] == 2
    assert URL(await url_of(await run(*arguments, SFU_KEYS=KEYS))).port == port


async def test_both_addresses_that_are_announced_are_told(run: Run) -> None:
    _, url = await serve(run, "--announce-ip", "192.0.2.9", "--announce-ip", "2001:db8::9")
    async with aiohttp.ClientSession() as http:
        told = {line.split()[4] for line in await candidates(http, url)}
    assert told == {"192.0.2.9", "2001:db8::9"}


async def test_settings_from_file_and_environment(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "sfu.toml"
    file.write_text('dev = true\nhttp_port = 0\nudp_port = 0\nudp_host = "127.0.0.1"\nworkers = 2\n')
    process = await run("serve", SFU_CONFIG=str(file), SFU_ANNOUNCE_IP="192.0.2.9")
    url = await url_of(process)
    async with aiohttp.ClientSession() as http:
        async with http.get(url + "metrics") as response:
            assert 'worker="1"' in await response.text()
        assert {line.split()[4] for line in await candidates(http, url)} == {"192.0.2.9"}


async def test_rooms_go_to_the_least_busy_worker(run: Run) -> None:
    _, url = await serve(run, "--workers", "2", "--udp-host", "127.0.0.1")
    async with aiohttp.ClientSession() as http:
        clients = Clients(http, url)
        ports = []
        for room in ("one", "two", "one"):
            client = await clients.join(room=room)
            answer = await client.request("offer", sdp=captured("chromium-156-slots-offer"))
            candidate = next(line for line in answer["sdp"].splitlines() if line.startswith("a=candidate:"))
            ports.append(candidate.split()[5])
        await clients.close()
    assert ports[0] == ports[2] != ports[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_in_good_order(run: Run, number: signal.Signals) -> None:
    process, url = await serve(run)
    async with aiohttp.ClientSession() as http:
        clients = Clients(http, url)
        joined, waiting = await clients.join(), await clients.connect()
        started = time.monotonic()
        process.send_signal(number)
        for client in (joined, waiting):
            closing = await client.hears("closing")
            assert closing["reason"] == "shutdown"
            assert closing["retry_after_ms"] > 0
            assert await client.closed() == 1001
        code, _, err = await finished(process)
        await clients.close()
    assert code == 0
    assert time.monotonic() - started < 5
    assert "Traceback" not in err
    assert "ERROR" not in err


async def test_a_client_that_does_not_answer_does_not_hold_it_up(run: Run) -> None:
    process, url = await serve(run, "--grace-seconds", "1")
    async with aiohttp.ClientSession() as http:
        clients = Clients(http, url)
        deaf = await clients.join()
        deaf.socket._response.connection.transport.pause_reading()  # type: ignore[union-attr]
        started = time.monotonic()
        process.terminate()
        code, _, _ = await finished(process)
        assert code == 0
        assert time.monotonic() - started < 3, "the grace time, and the interpreter's own end"
        deaf.vanish()
        await clients.close()
