# SPDX-License-Identifier: Apache-2.0
"""Tokens that are made: by us, by a development server for its page, and by LiveKit's own library."""

from __future__ import annotations

import datetime

import aiohttp
import pytest
from livekit import api

from sfu.config import DEV_KEY_ID, DEV_SECRET
from sfu.rooms.model import Permissions, Source
from sfu.server import Server
from signaling.auth import AuthCode, Authenticator, AuthError
from signaling.tokens import mint, parse_ttl
from tests.signaling.signed import SECRET
from tests.signaling.websocket import Clients


@pytest.fixture
def guard() -> Authenticator:
    return Authenticator({"backend": SECRET}, open_to_all=False)


def test_what_is_minted_opens(guard: Authenticator) -> None:
    signed = mint(
        ("backend", SECRET),
        {"roomJoin": True, "room": "tea", "canPublish": False, "hidden": None},
        identity="ada",
        name="Ada",
        metadata="M",
        attributes={"role": "host"},
    )
    grant = guard.admit(signed, "tea", None, "")
    assert grant is not None
    assert (grant.identity, grant.name, grant.metadata, grant.attributes) == ("ada", "Ada", "M", {"role": "host"})
    assert grant.permissions == Permissions(can_publish=False)


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("15m", 900), ("6h", 21_600), ("2 d", 172_800)])
def test_times(text: str, seconds: int) -> None:
    assert parse_ttl(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-5", "1.5h", "6 hours", "367d", "9999999999"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="6h"):
        parse_ttl(text)


def test_livekits_library_makes_tokens_that_open(guard: Authenticator) -> None:
    grants = api.VideoGrants(
        room_join=True,
        room="tea",
        can_publish=True,
        can_publish_sources=["camera", "microphone"],
        can_subscribe=False,
        can_publish_data=False,
        can_update_own_metadata=True,
        hidden=False,
        room_admin=True,
    )
    signed = (
        api.AccessToken("backend", SECRET)
        .with_identity("ada")
        .with_name("Ada")
        .with_metadata("M")
        .with_attributes({"role": "host"})
        .with_grants(grants)
        .with_ttl(datetime.timedelta(minutes=5))
        .to_jwt()
    )
    grant = guard.admit(signed, "tea", None, "")
    assert grant is not None
    assert (grant.identity, grant.name, grant.metadata, grant.attributes) == ("ada", "Ada", "M", {"role": "host"})
    assert grant.permissions == Permissions(
        can_subscribe=False,
        can_publish_data=False,
        can_publish_sources=frozenset({Source.CAMERA, Source.MICROPHONE}),
        can_update_metadata=True,
        room_admin=True,
    )
    assert grant.issued_at > 0


def test_livekits_defaults_are_ours(guard: Authenticator) -> None:
    grants = api.VideoGrants(room_join=True, room="tea")
    signed = api.AccessToken("backend", SECRET).with_identity("ada").with_grants(grants).to_jwt()
    grant = guard.admit(signed, "tea", None, "Ada")
    assert grant is not None
    assert (grant.name, grant.permissions) == ("Ada", Permissions())


def test_livekits_library_makes_tokens_for_the_admin_api(guard: Authenticator) -> None:
    signed = api.AccessToken("backend", SECRET).with_grants(api.VideoGrants(room_admin=True, room="tea")).to_jwt()
    guard.check_admin(signed, "roomAdmin", "tea")
    with pytest.raises(AuthError) as caught:
        guard.check_admin(signed, "roomAdmin", "coffee")
    assert caught.value.code == AuthCode.ROOM
    with pytest.raises(AuthError) as caught:
        guard.check_admin(signed, "roomList")
    assert caught.value.code == AuthCode.GRANT
    guard.check_admin(
        api.AccessToken("backend", SECRET).with_grants(api.VideoGrants(room_list=True)).to_jwt(), "roomList"
    )


def test_livekits_library_reads_ours() -> None:
    signed = mint(("backend", SECRET), {"roomJoin": True, "room": "tea", "canPublish": False}, identity="ada")
    claims = api.TokenVerifier("backend", SECRET).verify(signed)
    assert claims.identity == "ada"
    assert claims.video is not None
    assert (claims.video.room_join, claims.video.room, claims.video.can_publish) == (True, "tea", False)


async def test_a_development_server_mints_for_its_page(
    http: aiohttp.ClientSession, server: Server, clients: Clients
) -> None:
    async with http.get(server.url + "token", params={"room": "tea & cake", "name": "Ada"}) as response:
        assert response.status == 200
        assert response.headers["Cache-Control"] == "no-store"
        told = await response.json()
    client = await clients.connect()
    joined = await client.join(room="tea & cake", token=told["token"])
    assert joined["identity"] == told["identity"]
    assert joined["permissions"] == {
        "can_publish": True,
        "can_publish_sources": None,
        "can_subscribe": True,
        "can_publish_data": True,
        "can_update_metadata": True,
        "hidden": False,
        "room_admin": False,
    }
    other = await clients.connect()
    error = await other.request("join", version=1, room="coffee", token=told["token"])
    assert error["code"] == "token_room"


async def test_the_page_may_keep_its_identity(http: aiohttp.ClientSession, server: Server) -> None:
    async with http.get(server.url + "token", params={"room": "tea", "identity": "ada"}) as response:
        assert (await response.json())["identity"] == "ada"


@pytest.mark.parametrize("query", ["", "?room=", "?room=" + "x" * 129, "?room=tea&name=" + "x" * 129])
async def test_a_token_for_nothing(http: aiohttp.ClientSession, server: Server, query: str) -> None:
    async with http.get(server.url + "token" + query) as response:
        assert response.status == 400
        refused = await response.json()
    assert refused["code"] == "bad_message"
    assert refused["advice"]


async def test_a_development_token_opens_development_servers_only(clients: Clients, guests: Clients) -> None:
    signed = mint((DEV_KEY_ID, DEV_SECRET), {"roomJoin": True, "room": "tea"}, identity="ada")
    assert (await clients.join(token=signed)).id
    stranger = await guests.connect()
    error = await stranger.request("join", version=1, room="tea", token=signed)
    assert error["code"] == "token_unknown_key"
