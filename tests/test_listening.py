# SPDX-License-Identifier: Apache-2.0
"""Ports: free ones, taken ones, a stop and another try."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator

import aiohttp
import pytest

from sfu import listening
from sfu.config import ConfigError, Settings, load
from sfu.server import Server

KEYS = "backend: a secret of the tests; long enough for HS256"
LOCAL = {"http_host": "127.0.0.1", "udp_host": "127.0.0.1", "http_port": 0, "udp_port": 0}


@pytest.fixture
def taken_tcp() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


@pytest.fixture
def taken_udp() -> Iterator[int]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def settings_of(**flags: object) -> Settings:
    return load(LOCAL | flags, environment={"SFU_KEYS": KEYS})


def test_development_goes_on_to_the_next_free_port(taken_tcp: int, caplog: pytest.LogCaptureFixture) -> None:
    with listening.listen(settings_of(dev=True, http_port=taken_tcp)) as listener:
        port = listener.getsockname()[1]
    assert taken_tcp < port <= taken_tcp + listening.PORTS_TRIED
    assert f"http_port {taken_tcp} is in use: taking {port}" in caplog.text


def test_otherwise_the_flag_is_named(taken_tcp: int, taken_udp: int) -> None:
    with pytest.raises(ConfigError, match=f"http_port = {taken_tcp} .*--http-port or SFU_HTTP_PORT"):
        listening.listen(settings_of(http_port=taken_tcp))
    with pytest.raises(ConfigError, match=f"udp_port = {taken_udp} .*--udp-port or SFU_UDP_PORT"):
        listening.open_worker(0, settings_of(udp_port=taken_udp), taken_udp)


@pytest.mark.parametrize("kind", ["http", "udp"])
def test_an_address_that_is_not_this_machines(kind: str) -> None:
    settings = settings_of(**{f"{kind}_host": "192.0.2.7"})
    with pytest.raises(ConfigError, match=f"{kind}_host = '192.0.2.7' .*--{kind}-host"):
        listening.listen(settings) if kind == "http" else listening.open_worker(0, settings, 0)


async def test_workers_follow_one_another_past_a_taken_port(taken_udp: int) -> None:
    server = Server(settings_of(dev=True, udp_port=taken_udp, workers=3))
    await server.start()
    ports = [worker.port for worker in server.workers]
    await server.stop()
    assert ports == sorted(set(ports))
    assert ports[0] > taken_udp


async def test_a_failed_start_leaves_nothing_and_can_be_repeated() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            udp_port = probe.getsockname()[1]
        server = Server(settings_of(http_port=port, udp_port=udp_port))
        for _ in range(2):
            with pytest.raises(ConfigError, match="http_port"):
                await server.start()
            assert server.workers == []
    await server.start()
    async with aiohttp.ClientSession() as http, http.get(server.url + "readyz") as response:
        assert response.status == 200
    assert server.workers[0].port == udp_port
    await server.stop()


def test_addresses_for_other_devices_are_sorted_for_typing() -> None:
    interfaces = [ipaddress.ip_address(text) for text in ("::1", "2001:db8::7", "fe80::1", "127.0.0.1", "192.0.2.7")]
    assert list(map(str, listening.outside_addresses(True, interfaces))) == ["192.0.2.7", "2001:db8::7"]
    assert list(map(str, listening.outside_addresses(False, interfaces))) == ["192.0.2.7"]


def test_urls_of_one_address_and_of_all() -> None:
    with listening.listen(settings_of(dev=True)) as listener:
        port = listener.getsockname()[1]
        assert listening.urls(listener, "http", ()) == (f"http://127.0.0.1:{port}/",)
        assert not listening.is_for_others(listener)
    with listening.listen(settings_of(http_host="0.0.0.0")) as listener:
        port = listener.getsockname()[1]
        assert listening.urls(listener, "http", ())[0] == f"http://localhost:{port}/"
        assert listening.urls(listener, "https", ("a.example", "*.b.example")) == (f"https://a.example:{port}/",)
        assert listening.is_for_others(listener)


def test_without_a_host_it_is_reached_by_ipv4_in_any_case() -> None:
    settings = load({"http_port": 0, "udp_port": 0}, environment={"SFU_KEYS": KEYS})
    with (
        listening.listen(settings) as listener,
        socket.create_connection(("127.0.0.1", listener.getsockname()[1]), timeout=5) as client,
    ):
        assert client.getpeername()[0] == "127.0.0.1"
