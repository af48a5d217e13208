# SPDX-License-Identifier: Apache-2.0
"""Access tokens in LiveKit's claim format: who gets in, as whom, with which permissions, and why somebody does not."""

from __future__ import annotations

import time
from typing import Any

import aiohttp
import jwt
import pytest

from sfu.rooms.model import Permissions, Source
from sfu.server import Server
from signaling.auth import LEEWAY_SECONDS, MAX_METADATA_CHARACTERS, AuthCode, Authenticator, AuthError
from tests.signaling.signed import KEYS, OTHER_SECRET, SECRET, token
from tests.signaling.websocket import Clients


@pytest.fixture
def guard() -> Authenticator:
    return Authenticator(KEYS, open_to_all=False)


def refused(guard: Authenticator, text: str | None, identity: str | None = None) -> AuthCode:
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
    assert refused(guard, token(OTHER_SECRET)) == AuthCode.SIGNATURE
    assert refused(guard, token(SECRET, iss="other")) == AuthCode.SIGNATURE


def test_without_a_name_in_the_token_the_typed_one_counts(guard: Authenticator) -> None:
    grant = guard.admit(token(name=None), "tea", None, "typed in")
    assert grant is not None
    assert grant.name == "typed in"


def test_metadata_and_attributes(guard: Authenticator) -> None:
    grant = guard.admit(token(metadata='{"team": 7}', attributes={"role": "host"}), "tea", None, "")
    assert grant is not None
    assert (grant.metadata, grant.attributes) == ('{"team": 7}', {"role": "host"})


def test_when_it_was_issued(guard: Authenticator) -> None:
    now = int(time.time())
    for claims, issued_at in (({"iat": now - 5}, now - 5), ({"nbf": now - 7}, now - 7), ({"nbf": None}, 0)):
        grant = guard.admit(token(**claims), "tea", None, "")
        assert grant is not None
        assert grant.issued_at == issued_at


@pytest.mark.parametrize(
    ("video", "permissions"),
    [
        ({}, Permissions()),
        ({"canPublish": False}, Permissions(can_publish=False)),
        ({"canSubscribe": False}, Permissions(can_subscribe=False)),
        ({"canPublishData": False}, Permissions(can_publish_data=False)),
        ({"canPublish": True, "canSubscribe": None}, Permissions()),
        ({"canPublishSources": []}, Permissions()),
        (
            {"canPublishSources": ["microphone", "unheard_of"]},
            Permissions(can_publish_sources=frozenset({Source.MICROPHONE})),
        ),
        ({"canPublishSources": ["unheard_of"]}, Permissions(can_publish_sources=frozenset())),
        ({"hidden": True, "recorder": True}, Permissions(hidden=True)),
        ({"roomAdmin": True, "canUpdateOwnMetadata": True}, Permissions(room_admin=True, can_update_metadata=True)),
    ],
)
def test_permissions(guard: Authenticator, video: dict[str, Any], permissions: Permissions) -> None:
    grant = guard.admit(token(video={"roomJoin": True, "room": "tea"} | video), "tea", None, "")
    assert grant is not None
    assert grant.permissions == permissions


def test_sources_do_not_widen_what_may_not_be_published() -> None:
    some = Permissions(can_publish_sources=frozenset({Source.CAMERA}))
    assert [source for source in Source if some.may_publish(source)] == [Source.CAMERA]
    assert not Permissions(can_publish=False, can_publish_sources=frozenset(Source)).may_publish(Source.CAMERA)
    assert not Permissions(hidden=True).may_publish(Source.CAMERA)


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"exp": time.time() - LEEWAY_SECONDS - 5}, AuthCode.EXPIRED),
        ({"exp": None}, AuthCode.CLAIMS),
        ({"exp": "soon"}, AuthCode.MALFORMED),
        ({"nbf": time.time() + 7200, "exp": time.time() + 9000}, AuthCode.NOT_YET_VALID),
        ({"iat": time.time() + 7200}, AuthCode.NOT_YET_VALID),
        ({"iss": "nobody"}, AuthCode.UNKNOWN_KEY),
        ({"iss": None}, AuthCode.UNKNOWN_KEY),
        ({"sub": None}, AuthCode.CLAIMS),
        ({"sub": ""}, AuthCode.CLAIMS),
        ({"sub": 7}, AuthCode.CLAIMS),
        ({"sub": "x" * 129}, AuthCode.CLAIMS),
        ({"name": 7}, AuthCode.CLAIMS),
        ({"attributes": {"role": 7}}, AuthCode.CLAIMS),
        ({"metadata": "x" * (MAX_METADATA_CHARACTERS + 1)}, AuthCode.CLAIMS),
        ({"video": ["roomJoin"]}, AuthCode.CLAIMS),
        ({"video": {"roomJoin": "yes", "room": "tea"}}, AuthCode.CLAIMS),
        ({"video": {"roomJoin": True, "room": "tea", "canPublish": "no"}}, AuthCode.CLAIMS),
        ({"video": {"roomJoin": True, "room": "tea", "hidden": 1}}, AuthCode.CLAIMS),
        ({"video": {}}, AuthCode.GRANT),
        ({"video": {"room": "tea"}}, AuthCode.GRANT),
        ({"video": {"roomJoin": False, "room": "tea"}}, AuthCode.GRANT),
        ({"video": {"roomAdmin": True, "room": "tea"}}, AuthCode.GRANT),
        ({"video": {"roomJoin": True}}, AuthCode.ROOM),
        ({"video": {"roomJoin": True, "room": ""}}, AuthCode.ROOM),
        ({"video": {"roomJoin": True, "room": "coffee"}}, AuthCode.ROOM),
        ({"secret": OTHER_SECRET}, AuthCode.SIGNATURE),
        ({"algorithm": "HS384"}, AuthCode.ALGORITHM),
        ({"algorithm": "HS512"}, AuthCode.ALGORITHM),
    ],
)
def test_tokens_that_do_not_open(guard: Authenticator, claims: dict[str, Any], code: AuthCode) -> None:
    assert refused(guard, token(**claims)) == code


def test_no_algorithm_is_no_signature(guard: Authenticator) -> None:
    claims = {"iss": "backend", "sub": "ada", "exp": time.time() + 60, "video": {"roomJoin": True, "room": "tea"}}
    unsigned = jwt.encode(claims, "", algorithm="none")
    assert refused(guard, unsigned) == AuthCode.ALGORITHM
    # The signature of another token does not make it one.
    assert refused(guard, unsigned + token().rpartition(".")[2]) == AuthCode.ALGORITHM


def test_a_signature_cut_off_or_changed(guard: Authenticator) -> None:
    head, _, signature = token().rpartition(".")
    assert refused(guard, head + ".") == AuthCode.SIGNATURE
    assert refused(guard, f"{head}.{signature[:-3]}") == AuthCode.SIGNATURE
    _, _, richer = token(video={"roomJoin": True, "room": "coffee"}).rpartition(".")
    assert refused(guard, f"{head}.{richer}") == AuthCode.SIGNATURE


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "..", "é.é.é", "eyJ0eXAi" * 1000, "[" * 5000])
def test_what_is_no_token(guard: Authenticator, text: str) -> None:
    assert refused(guard, text) == AuthCode.MALFORMED


def test_no_token(guard: Authenticator) -> None:
    assert refused(guard, None) == AuthCode.REQUIRED


def test_another_identity_than_the_tokens(guard: Authenticator) -> None:
    assert refused(guard, token(), identity="bob") == AuthCode.IDENTITY


def test_open_to_all_lets_in_without_a_token_but_believes_no_bad_one() -> None:
    open_guard = Authenticator({"backend": SECRET}, open_to_all=True)
    assert open_guard.admit(None, "tea", None, "") is None
    assert open_guard.admit(token(), "tea", None, "") is not None
    assert refused(open_guard, token(OTHER_SECRET)) == AuthCode.SIGNATURE
    assert refused(Authenticator({}, open_to_all=True), "whatever") == AuthCode.MALFORMED


def test_nobody_could_join_without_keys() -> None:
    with pytest.raises(ValueError, match="no keys"):
        Authenticator({}, open_to_all=False)


async def test_a_guarded_server(http: aiohttp.ClientSession, guarded_server: Server, guests: Clients) -> None:
    stranger = await guests.connect()
    error = await stranger.request("join", version=1, room="tea", name="Eve")
    assert (error["code"], error["fatal"]) == ("token_required", True)
    assert await stranger.closed() == 1008
    listener = await guests.connect()
    video = {"roomJoin": True, "room": "tea", "canPublish": False}
    joined = await listener.join(name="typed in", token=token(video=video))
    assert (joined["identity"], joined["permissions"]["can_publish"]) == ("ada", False)
    for path in ("", "token?room=tea"):
        async with http.get(guarded_server.url + path) as page:
            assert page.status == 404
    async with http.get(guarded_server.url + "client.js") as library:
        assert library.status == 200


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"exp": time.time() - 60}, "token_expired"),
        ({"video": {"roomJoin": True, "room": "coffee"}}, "token_room"),
        ({"secret": OTHER_SECRET}, "token_signature"),
        ({"video": {"room": "tea"}}, "token_grant"),
    ],
)
async def test_the_client_is_told_why(guests: Clients, claims: dict[str, Any], code: str) -> None:
    client = await guests.connect()
    error = await client.request("join", version=1, room="tea", token=token(**claims))
    assert (error["type"], error["code"], error["fatal"]) == ("error", code, True)
    assert error["message"]
    assert error["advice"]
    assert await client.closed() == 1008


async def test_metadata_of_the_token_is_told_to_the_others(guests: Clients) -> None:
    await guests.join(token=token(metadata="M", attributes={"role": "host"}))
    bob = await guests.connect()
    (ada,) = (await bob.join(token=token(sub="bob")))["participants"]
    assert (ada["metadata"], ada["attributes"]) == ("M", {"role": "host"})
