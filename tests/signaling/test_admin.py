# SPDX-License-Identifier: Apache-2.0
"""The API for backends and moderators: who may use it, and that what it does holds at once."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from sfu.server import Server
from tests.signaling.conftest import running
from tests.signaling.signed import OTHER_SECRET, admin_token, join_token, token
from tests.signaling.test_permissions import enter, forbidden, offer
from tests.signaling.websocket import Clients, Json

# Of a token that was issued before whatever a test decides.
EARLIER_S = 5


class Api:
    def __init__(self, http: aiohttp.ClientSession, server: Server) -> None:
        self._http = http
        self._server = server

    async def __call__(
        self, method: str, path: str, body: Any = None, *, signed: str | None = None, expect: int = 200
    ) -> Json:
        headers = {"Authorization": f"Bearer {admin_token() if signed is None else signed}"} if signed != "" else {}
        url = f"{self._server.url}admin/v1/rooms{path}"
        data = body if isinstance(body, str | bytes) else None
        json = None if data is not None else body
        async with self._http.request(method, url, json=json, data=data, headers=headers) as response:
            text = await response.text()
            assert response.status == expect, text
            answer: Json = await response.json() if text else {}
        if expect >= 400:
            assert answer["message"]
            assert answer["advice"]
        return answer


@pytest.fixture
def api(http: aiohttp.ClientSession, guarded_server: Server) -> Api:
    return Api(http, guarded_server)


async def test_rooms_and_participants(api: Api, guests: Clients) -> None:
    ada, answer = await enter(guests, "ada", "cam")
    await enter(guests, "spy", hidden=True)
    lister = admin_token(None, roomList=True)
    assert await api("GET", "", signed=lister) == {"rooms": [{"name": "tea", "participants": 2}]}
    people = (await api("GET", "/tea/participants"))["participants"]
    assert [one["identity"] for one in people] == ["ada", "spy"]
    assert people[0] == {
        "id": ada.id,
        "identity": "ada",
        "name": "Ada",
        "metadata": "",
        "attributes": {},
        "connected": False,
        "permissions": {
            "can_publish": True,
            "can_publish_sources": None,
            "can_subscribe": True,
            "can_publish_data": True,
            "can_update_metadata": False,
            "hidden": False,
            "room_admin": False,
        },
        "publications": people[0]["publications"],
    }
    assert people[0]["publications"][0]["id"] == answer["publications"][0]["id"]
    for name in (ada.id, "ada"):
        assert await api("GET", f"/tea/participants/{name}") == people[0]


@pytest.mark.parametrize(
    ("signed", "status", "code"),
    [
        ("", 401, "token_required"),
        ("nonsense", 401, "token_malformed"),
        (token(OTHER_SECRET, video={"roomAdmin": True, "room": "tea"}), 401, "token_signature"),
        (token(exp=time.time() - 60, video={"roomAdmin": True, "room": "tea"}), 401, "token_expired"),
        (token(algorithm="HS512", video={"roomAdmin": True, "room": "tea"}), 401, "token_algorithm"),
        (join_token("ada"), 403, "token_grant"),
        (admin_token("coffee"), 403, "token_room"),
        (admin_token(None, roomAdmin=True), 403, "token_room"),
        (admin_token(None, roomList=True), 403, "token_grant"),
    ],
)
async def test_who_may_not(api: Api, guests: Clients, signed: str, status: int, code: str) -> None:
    ada, _ = await enter(guests, "ada", "cam")
    for method, path, body in (
        ("GET", "/tea/participants", None),
        ("GET", "/tea/participants/ada", None),
        ("DELETE", "/tea/participants/ada", None),
        ("POST", "/tea/participants/ada/permissions", {"can_publish": False}),
        ("POST", "/tea/publications/pu_1/mute", None),
        ("DELETE", "/tea/participants/nobody", None),
    ):
        assert (await api(method, path, body, signed=signed, expect=status))["code"] == code
    assert await ada.still_works()
    assert [one["type"] for one in ada.told] == []


async def test_listing_the_rooms_is_a_grant_of_its_own(api: Api) -> None:
    assert (await api("GET", "", expect=403))["code"] == "token_grant"


async def test_what_is_not_there(api: Api, guests: Clients) -> None:
    assert (await api("GET", "/tea/participants", expect=404))["code"] == "not_found"
    await enter(guests, "ada")
    for method, path in (
        ("GET", "/tea/participants/bob"),
        ("DELETE", "/tea/participants/bob"),
        ("POST", "/tea/publications/pu_1/mute"),
    ):
        assert (await api(method, path, expect=404))["code"] == "not_found"


async def test_publishing_forbidden_in_the_call(api: Api, guests: Clients) -> None:
    ada, answer = await enter(guests, "ada", "cam", "mic")
    bob, _ = await enter(guests, "bob")
    camera, microphone = (one["id"] for one in answer["publications"])
    await bob.hears("slot", lambda message: message["publication"] == camera)
    changed = await api("POST", "/tea/participants/ada/permissions", {"can_publish_sources": ["microphone"]})
    assert changed["permissions"]["can_publish_sources"] == ["microphone"]
    assert [one["id"] for one in changed["publications"]] == [microphone]
    assert (await ada.hears("permissions_changed"))["permissions"] == changed["permissions"]
    withdrawn = await ada.hears("unpublished")
    assert (withdrawn["participant"], withdrawn["publication"]) == (ada.id, camera)
    assert (await bob.hears("unpublished"))["publication"] == camera
    assert (await bob.hears("slot", lambda message: message["mid"] == "v0"))["publication"] is None
    tracks = [{"mid": "cam", "source": "camera"}]
    assert forbidden(await ada.request("offer", sdp=offer("cam", "mic"), tracks=tracks))
    await api("POST", "/tea/participants/ada/permissions", {"can_publish_sources": None})
    assert (await ada.request("offer", sdp=offer("cam", "mic"), tracks=tracks))["type"] == "answer"


async def test_subscribing_forbidden_in_the_call(api: Api, guests: Clients) -> None:
    _, answer = await enter(guests, "ada", "cam")
    bob, _ = await enter(guests, "bob")
    camera = answer["publications"][0]["id"]
    await bob.hears("slot", lambda message: message["publication"] == camera)
    await api("POST", "/tea/participants/bob/permissions", {"can_subscribe": False})
    assert (await bob.hears("slot"))["publication"] is None
    await api("POST", "/tea/participants/bob/permissions", {"can_subscribe": True})
    assert (await bob.hears("slot"))["publication"] == camera


async def test_a_moderator_is_made_in_the_call(api: Api, guests: Clients) -> None:
    _, answer = await enter(guests, "ada", "mic")
    bob, _ = await enter(guests, "bob")
    await api("POST", "/tea/participants/bob/permissions", {"room_admin": True})
    assert (await bob.request("mute", publication=answer["publications"][0]["id"], muted=True))["type"] == "ok"


async def test_a_change_survives_a_new_connection(api: Api, guests: Clients) -> None:
    signed = join_token("ada", issued_at=time.time() - EARLIER_S)
    await guests.join(token=signed)
    await api("POST", "/tea/participants/ada/permissions", {"can_publish": False})
    again = await guests.connect()
    assert (await again.join(token=signed))["permissions"]["can_publish"] is False
    newer = await guests.connect()
    joined = await newer.join(token=join_token("ada", issued_at=time.time() + EARLIER_S))
    assert joined["permissions"]["can_publish"] is True


async def test_removal(api: Api, guests: Clients) -> None:
    signed = join_token("ada", issued_at=time.time() - EARLIER_S)
    ada = await guests.join(token=signed)
    bob, _ = await enter(guests, "bob")
    await api("DELETE", f"/tea/participants/{ada.id}", expect=204)
    closing = await ada.hears("closing")
    assert (closing["reason"], closing["retry_after_ms"]) == ("removed", None)
    assert await ada.closed() == 1000
    left = await bob.hears("participant_left")
    assert (left["participant"], left["reason"]) == (ada.id, "removed")
    again = await guests.connect()
    error = await again.request("join", version=1, room="tea", token=signed)
    assert (error["code"], error["fatal"]) == ("token_revoked", True)


async def test_muting(api: Api, guests: Clients) -> None:
    ada, answer = await enter(guests, "ada", "mic")
    await api("POST", f"/tea/publications/{answer['publications'][0]['id']}/mute", expect=204)
    assert (await ada.hears("publication_updated"))["publication"]["muted"] is True


@pytest.mark.parametrize(
    "body",
    [
        "",
        "no json",
        "[]",
        {"can_publish": "no"},
        {"can_publish": None},
        {"can_fly": True},
        {"can_publish_sources": ["radio"]},
        {"hidden": 1},
    ],
)
async def test_a_body_that_is_wrong_changes_nothing(api: Api, guests: Clients, body: Any) -> None:
    ada, _ = await enter(guests, "ada", "cam")
    assert (await api("POST", "/tea/participants/ada/permissions", body, expect=400))["code"] == "bad_message"
    assert await ada.still_works()
    assert ada.told == []


async def test_a_body_that_is_too_large(api: Api, guests: Clients) -> None:
    await enter(guests, "ada")
    refused = await api("POST", "/tea/participants/ada/permissions", " " * 20_000, expect=413)
    assert refused["code"] == "too_large"


async def test_names_with_anything_in_them(api: Api, guests: Clients) -> None:
    room, identity = "a/b?c#d e%2F", "ü/..//x"
    client = await guests.join(room=room, token=join_token(identity, room=room))
    signed = admin_token(room)
    path = f"/{quote(room, safe='')}/participants/{quote(identity, safe='')}"
    assert (await api("GET", path, signed=signed))["id"] == client.id
    await api("DELETE", path, signed=signed, expect=204)
    assert await client.closed() == 1000


async def test_an_egress_log_tells_of_binds_where_it_is_kept(
    api: Api, guests: Clients, http: aiohttp.ClientSession, guarded_server: Server
) -> None:
    await enter(guests, "ada", "cam")
    await enter(guests, "ben")
    assert (await api("GET", "/tea/participants/ben/egress"))["slots"] == {"v0": [], "a0": []}
    await api("GET", "/tea/participants/ben/egress", signed=join_token("ada"), expect=403)
    await api("GET", "/tea/participants/nobody/egress", expect=404)

    settings = guarded_server.settings.model_copy(update={"egress_log": 8})
    async for keeping in running(settings):
        others = Clients(http, keeping.url)
        try:
            _, answer = await enter(others, "ada", "cam")
            ben, _ = await enter(others, "ben")
            await ben.hears("slot")
            slots = (await Api(http, keeping)("GET", "/tea/participants/ben/egress"))["slots"]
        finally:
            await others.close()
    bound, *_ = slots["v0"]
    assert bound["event"] == "bound"
    assert bound["csrc"] == answer["publications"][0]["number"]
    assert slots["a0"] == []
