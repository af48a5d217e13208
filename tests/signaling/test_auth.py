# SPDX-License-Identifier: Apache-2.0
"""Access tokens in LiveKit's claim format: who gets in, as whom, with which permissions."""

from __future__ import annotations

import time
from typing import Any

import aiohttp
import jwt
import pytest

from sfu.rooms.model import Permissions
from sfu.server import Server
from signaling.auth import LEEWAY_SECONDS, Authenticator, AuthError
from tests.signaling.conftest import SECRET
from tests.signaling.websocket import Clients

OTHER_SECRET = "another secret of the tests, as long as the first"


def token(secret: str = SECRET, video: dict[str, Any] | None = None, algorithm: str = "HS256", **claims: Any) -> str:
    payload = {
        "iss": "backend",
        "sub": "ada",
        "name": "Ada",
        "nbf": time.time(),
        "exp": time.time() + 600,
        "video": {"roomJoin": True, "room": "tea"} if video is None else video,
    }
    payload |= claims
    return jwt.encode({key: value for key, value in payload.items() if value is not None}, secret, algorithm)


@pytest.fixture
def guard() -> Authenticator:
    return Authenticator({"backend": SECRET, "other": OTHER_SECRET}, open_to_all=False)


def refused(guard: Authenticator, text: str | None, identity: str | None = None) -> str:
    with pytest.raises(AuthError) as caught:
        guard.admit(text, "tea", identity, "")
    assert caught.value.message
    assert caught.value.advice
    return caught.value.code


def test_a_good_token(guard: Authenticator) -> None:
    grant = guard.admit(token(), "tea", None, "typed in")
    assert grant is not None
    assert (grant.identity, grant.name, grant.permissions) == ("ada", "Ada", Permissions())
    assert guard.admit(token(), "tea", "ada", "") is not None


def test_each_key_signs_for_itself(guard: Authenticator) -> None:
    assert guard.admit(token(OTHER_SECRET, iss="other"), "tea", None, "") is not None
    assert refused(guard, token(OTHER_SECRET)) == "unauthorized"
    assert refused(guard, token(SECRET, iss="other")) == "unauthorized"


def test_without_a_name_in_the_token_the_typed_one_counts(guard: Authenticator) -> None:
    grant = guard.admit(token(name=None), "tea", None, "typed in")
    assert grant is not None
    assert grant.name == "typed in"


@pytest.mark.parametrize(
    ("video", "permissions"),
    [
        ({}, Permissions(True, True)),
        ({"canPublish": False}, Permissions(False, True)),
        ({"canSubscribe": False}, Permissions(True, False)),
        ({"canPublish": True, "canSubscribe": None}, Permissions(True, True)),
    ],
)
def test_permissions(guard: Authenticator, video: dict[str, Any], permissions: Permissions) -> None:
    grant = guard.admit(token(video={"roomJoin": True, "room": "tea"} | video), "tea", None, "")
    assert grant is not None
    assert grant.permissions == permissions


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"exp": time.time() - LEEWAY_SECONDS - 5}, "unauthorized"),
        ({"exp": None}, "unauthorized"),
        ({"nbf": time.time() + LEEWAY_SECONDS + 60}, "unauthorized"),
        ({"iss": "nobody"}, "unauthorized"),
        ({"iss": None}, "unauthorized"),
        ({"sub": None}, "unauthorized"),
        ({"sub": ""}, "unauthorized"),
        ({"sub": "x" * 129}, "unauthorized"),
        ({"video": {"room": "tea"}}, "forbidden"),
        ({"video": {"roomJoin": "yes", "room": "tea"}}, "forbidden"),
        ({"video": {"roomJoin": True}}, "forbidden"),
        ({"video": {"roomJoin": True, "room": "coffee"}}, "forbidden"),
        ({"video": ["roomJoin"]}, "forbidden"),
        ({"secret": OTHER_SECRET}, "unauthorized"),
        ({"algorithm": "HS384"}, "unauthorized"),
    ],
)
def test_tokens_that_do_not_open(guard: Authenticator, claims: dict[str, Any], code: str) -> None:
    assert refused(guard, token(**claims)) == code


def test_no_algorithm_is_no_signature(guard: Authenticator) -> None:
    unsigned = jwt.encode({"iss": "backend", "sub": "ada", "exp": time.time() + 60}, "", algorithm="none")
    assert refused(guard, unsigned) == "unauthorized"


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "..", "é.é.é", "eyJ0eXAi" * 1000])
def test_what_is_no_token(guard: Authenticator, text: str) -> None:
    assert refused(guard, text) == "unauthorized"


def test_no_token(guard: Authenticator) -> None:
    assert refused(guard, None) == "unauthorized"


def test_another_identity_than_the_tokens(guard: Authenticator) -> None:
    assert refused(guard, token(), identity="bob") == "forbidden"


def test_open_to_all_lets_in_without_a_token_but_believes_no_bad_one() -> None:
    assert Authenticator({}, open_to_all=True).admit("whatever", "tea", None, "") is None
    with_keys = Authenticator({"backend": SECRET}, open_to_all=True)
    assert with_keys.admit(None, "tea", None, "") is None
    assert with_keys.admit(token(), "tea", None, "") is not None
    assert refused(with_keys, token(OTHER_SECRET)) == "unauthorized"


def test_nobody_could_join_without_keys() -> None:
    with pytest.raises(ValueError, match="no keys"):
        Authenticator({}, open_to_all=False)


async def test_a_guarded_server(http: aiohttp.ClientSession, guarded_server: Server) -> None:
    clients = Clients(http, guarded_server.url)
    stranger = await clients.connect()
    error = await stranger.request("join", version=1, room="tea", name="Eve")
    assert (error["code"], error["fatal"]) == ("unauthorized", True)
    assert await stranger.closed() == 1008
    listener = await clients.connect()
    video = {"roomJoin": True, "room": "tea", "canPublish": False}
    joined = await listener.join(name="typed in", token=token(video=video))
    assert (joined["identity"], joined["can_publish"]) == ("ada", False)
    async with http.get(guarded_server.url) as page:
        assert page.status == 404
    async with http.get(guarded_server.url + "client.js") as library:
        assert library.status == 200
    await clients.close()
