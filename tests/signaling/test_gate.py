# SPDX-License-Identifier: Apache-2.0
"""A web page of somebody else's must not get at the server on its reader's machine."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from yarl import URL

from sfu.config import Settings, load
from sfu.server import Server
from tests.signaling.conftest import running
from tests.signaling.signed import SECRET

FRIEND = "https://app.example.com"


@pytest.fixture
async def friendly() -> AsyncIterator[Server]:
    """With a page of another origin that may use it."""
    settings = load({"dev": True, "http_port": 0, "udp_port": 0, "allow_origin": [FRIEND + "/"]}, environment={})
    async for one in running(settings):
        yield one


async def opens(http: aiohttp.ClientSession, server: Server, **headers: str) -> str:
    """ "open", or the code that the websocket was refused with."""
    try:
        socket = await http.ws_connect(
            server.url + "ws", headers={name.title(): text for name, text in headers.items()}
        )
    except aiohttp.WSServerHandshakeError:
        pass  # asked again below, for what stands in the answer
    else:
        await socket.send_json({"type": "ping"})
        assert (await socket.receive_json())["type"] == "pong"
        await socket.close()
        return "open"
    async with http.get(server.url + "ws", headers={name.title(): text for name, text in headers.items()}) as response:
        assert response.status == 403
        refused = await response.json()
        assert refused["message"]
        assert "--allow-origin" in refused["advice"]
        return str(refused["code"])


def authority(server: Server) -> str:
    url = URL(server.url)
    return f"{url.host}:{url.port}"


async def test_what_is_no_browser_is_not_asked(http: aiohttp.ClientSession, server: Server) -> None:
    assert await opens(http, server) == "open"


async def test_the_servers_own_page(http: aiohttp.ClientSession, server: Server) -> None:
    assert await opens(http, server, origin=f"http://{authority(server)}") == "open"
    assert await opens(http, server, origin=f"HTTP://{authority(server)}") == "open"


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://127.0.0.1",
        "http://127.0.0.1:1",
        "http://localhost:3000",
        "null",
        "",
        "://",
        "http://[",
    ],
)
async def test_foreign_pages(http: aiohttp.ClientSession, server: Server, origin: str) -> None:
    assert await opens(http, server, origin=origin) == "forbidden_origin"


async def test_a_page_whose_own_name_leads_here(http: aiohttp.ClientSession, server: Server) -> None:
    """DNS rebinding: for the browser the page and the server have the same origin."""
    host = f"evil.example:{URL(server.url).port}"
    assert await opens(http, server, origin=f"http://{host}", host=host) == "forbidden_host"
    for path in ("", "token?room=tea", "metrics", "client.js"):
        async with http.get(server.url + path, headers={"Host": host}) as response:
            assert response.status == 403


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "[::1]",
        "192.0.2.7",
        "[2001:db8::7]",
        "sfu",
        "room.localhost",
        "host.docker.internal",
        socket.gethostname(),
    ],
)
async def test_names_that_are_our_own(http: aiohttp.ClientSession, server: Server, host: str) -> None:
    named = f"{host}:{URL(server.url).port}"
    assert await opens(http, server, origin=f"http://{named}", host=named) == "open"


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "x.local", "[", "a@b.c"]
)
async def test_names_that_are_not(http: aiohttp.ClientSession, server: Server, host: str) -> None:
    assert await opens(http, server, host=host) == "forbidden_host"


async def test_listed_origins(http: aiohttp.ClientSession, friendly: Server) -> None:
    assert await opens(http, friendly, origin=FRIEND) == "open"
    assert await opens(http, friendly, origin="http://app.example.com") == "forbidden_origin"
    assert await opens(http, friendly, origin="https://app.example.com:8443") == "forbidden_origin"
    assert await opens(http, friendly, host="app.example.com") == "open", "behind a proxy of that name"
    async with http.get(friendly.url + "token?room=tea", headers={"Origin": FRIEND}) as response:
        assert response.headers["Access-Control-Allow-Origin"] == FRIEND


async def test_everything_allowed(http: aiohttp.ClientSession) -> None:
    settings = Settings(dev=True, http_port=0, udp_port=0, allow_origin=("*",))
    async for server in running(settings):
        assert await opens(http, server, origin="https://evil.example", host="evil.example") == "open"


async def test_tokens_are_minted_for_no_foreign_page(http: aiohttp.ClientSession, server: Server) -> None:
    for headers in (
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        async with http.get(server.url + "token?room=tea", headers=headers) as response:
            assert response.status == 403
            assert (await response.json())["code"] == "forbidden_origin"
    for headers in ({"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}):
        async with http.get(server.url + "token?room=tea", headers=headers) as response:
            assert response.status == 200
            assert "Access-Control-Allow-Origin" not in response.headers


async def test_with_keys_the_name_does_not_matter_but_the_page_does(http: aiohttp.ClientSession) -> None:
    settings = load(
        {"http_host": "127.0.0.1", "http_port": 0, "udp_port": 0, "announce_ip": ["127.0.0.1"]},
        environment={"SFU_KEYS": f"backend: {SECRET}"},
    )
    async for server in running(settings):
        assert await opens(http, server, origin="https://sfu.example", host="sfu.example") == "open"
        assert await opens(http, server, origin="https://sfu.example", host="sfu.example:443") == "open"
        assert await opens(http, server, origin="https://app.example", host="sfu.example") == "forbidden_origin"
