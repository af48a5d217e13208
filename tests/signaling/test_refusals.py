# SPDX-License-Identifier: Apache-2.0
"""Whatever a client sends: a typed error with advice for it, nothing for the others, never a stack trace."""

from __future__ import annotations

import json
import logging
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sfu.server import Server
from signaling.ws import messages, session
from tests.signaling.websocket import Client, Clients

JOIN = {"type": "join", "id": 1, "version": 1, "room": "tea", "name": "Ada"}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "bad_json"),
        ("{", "bad_json"),
        ("[" * 100_000, "bad_message"),
        ('{"type": "ping", "id": ' + "[" * 5000 + "}", "bad_json"),
        ("[]", "bad_message"),
        ("17", "bad_message"),
        ("null", "bad_message"),
        ("{}", "unknown_type"),
        ('{"type": null}', "unknown_type"),
        ('{"type": 7}', "unknown_type"),
        ('{"type": "joined"}', "unknown_type"),
        ('{"type": "Join"}', "unknown_type"),
        ('{"type": "ping", "id": "7"}', "bad_message"),
        ('{"type": "ping", "id": -1}', "bad_message"),
        ('{"type": "ping", "id": 1e400}', "bad_message"),
        ('{"type": "ping", "more": 1}', "bad_message"),
        ('{"type": "join", "version": 1}', "bad_message"),
        ('{"type": "join", "version": "1", "room": "tea"}', "bad_message"),
        ('{"type": "join", "version": 1, "room": ""}', "bad_message"),
        (json.dumps(JOIN | {"room": "x" * 129}), "bad_message"),
        (json.dumps(JOIN | {"token": "x" * 40_000}), "bad_message"),
        ('{"type": "join", "version": 1, "room": "tea", "name": "\\ud800"}', "bad_json"),
        ('{"type": "offer", "sdp": "v=0"}', "not_joined"),
        ('{"type": "mute", "publication": "pu_1", "muted": true}', "not_joined"),
        ('{"type": "subscription", "publication": "pu_1"}', "not_joined"),
    ],
)
async def test_before_the_join(clients: Clients, text: str, code: str) -> None:
    client = await clients.connect()
    error = await client.raw(text)
    assert error["code"] == code
    check_error(error)
    assert await client.still_works()
    await client.join()


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (JOIN, "already_joined"),
        ({"type": "offer", "sdp": ""}, "bad_sdp"),
        ({"type": "offer", "sdp": "v=0\r\n" * 1000}, "bad_sdp"),
        ({"type": "offer", "sdp": "\x00\ufffe"}, "bad_sdp"),
        ({"type": "offer", "sdp": None}, "bad_message"),
        ({"type": "offer", "sdp": "", "tracks": [{"mid": "0", "source": "radio"}]}, "bad_message"),
        ({"type": "offer", "sdp": "", "tracks": [{"mid": "0", "source": "camera"}] * 129}, "bad_message"),
        ({"type": "mute", "publication": "pu_1", "muted": True}, "not_found"),
        ({"type": "mute", "publication": "pu_1"}, "bad_message"),
        ({"type": "unpublish", "publication": "pu_1"}, "not_found"),
        ({"type": "subscription", "publication": "pu_1"}, "not_found"),
        ({"type": "subscription", "publication": "pu_1", "max_spatial": 8}, "bad_message"),
        ({"type": "subscription", "publication": "pu_1", "max_width": 0}, "bad_message"),
        ({"type": "update", "name": ""}, "bad_message"),
        ({"type": "update", "metadata": "x" * 8193}, "bad_message"),
        ({"type": "update", "attributes": {"role": 7}}, "bad_message"),
        ({"type": "update", "attributes": {str(index): "" for index in range(33)}}, "bad_message"),
    ],
)
async def test_after_the_join(clients: Clients, fields: dict[str, Any], code: str) -> None:
    client, other = await clients.join(), await clients.join("Bob")
    await client.hears("participant_joined")
    await client.socket.send_json({"id": 77, **fields})
    error = await client.response(fields.get("id", 77))
    assert (error["type"], error["code"]) == ("error", code)
    check_error(error)
    assert await client.still_works()
    assert await other.still_works()
    assert other.told == []


async def test_the_id_is_echoed_even_of_what_cannot_be_decoded(clients: Clients) -> None:
    client = await clients.connect()
    assert (await client.raw('{"type": "pung", "id": 0}'))["id"] == 0
    assert (await client.raw('{"type": "mute", "id": 12, "muted": "yes"}'))["id"] == 12
    assert "id" not in await client.raw('{"type": "mute", "id": true}')


async def test_another_version_is_refused_for_good(clients: Clients) -> None:
    client = await clients.connect()
    error = await client.request("join", version=2, room="tea")
    assert (error["code"], error["fatal"]) == ("unsupported_version", True)
    assert await client.closed() == 1008


async def test_a_large_message_is_refused_and_a_huge_one_ends_the_session(clients: Clients) -> None:
    client, other = await clients.join(), await clients.join("Bob")
    large = json.dumps({"type": "offer", "sdp": "x" * messages.MAX_MESSAGE_BYTES})
    assert (await client.raw(large))["code"] == "too_large"
    assert await client.still_works()
    await client.socket.send_str("x" * (session.HARD_MESSAGE_BYTES + 1))
    assert await client.closed() == 1009
    assert await other.still_works()


async def test_binary_frames_are_refused(clients: Clients) -> None:
    client = await clients.connect()
    await client.socket.send_bytes(b"\x00\x01")
    assert (await client.hears("error"))["code"] == "bad_message"
    assert await client.still_works()


async def test_who_asks_too_fast_is_told_so(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "REQUEST_BURST", 20.0)
    monkeypatch.setattr(session, "REQUEST_RATE", 10.0)
    client, other = await clients.join(), await clients.join("Bob")
    for index in range(40):
        await client.socket.send_json({"type": "ping", "id": 1000 + index})
    responses = [await client.response(1000 + index) for index in range(40)]
    refused = [one for one in responses if one["type"] == "error"]
    assert {one["code"] for one in refused} == {"rate_limited"}
    assert 15 <= len(refused) <= 25
    assert await other.still_works()


async def test_offers_have_a_limit_of_their_own(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "OFFER_BURST", 2.0)
    client = await clients.join()
    codes = [(await client.request("offer", sdp=""))["code"] for _ in range(4)]
    assert codes == ["bad_sdp", "bad_sdp", "rate_limited", "rate_limited"]
    assert await client.still_works()


async def test_one_error_after_another_ends_the_session(clients: Clients) -> None:
    client, other = await clients.connect(), await clients.join("Bob")
    for _ in range(int(session.ERROR_BURST) + 50):
        await client.socket.send_str("nonsense")
    assert await client.closed() == 1008
    assert client.told[-1]["code"] == "too_many_errors"
    assert await other.still_works()


async def test_who_never_joins_is_sent_away(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "JOIN_TIMEOUT_S", 0.05)
    client = await clients.connect()
    assert await client.closed() == 1008
    assert client.told[-1]["code"] == "join_timeout"


async def test_a_fault_of_the_server_is_told_without_its_insides(
    clients: Clients, server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client, other = await clients.join(), await clients.join("Bob")

    def fail(*_: object) -> None:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(server.directory.conductors["tea"], "set_muted", fail)
    error = await client.request("mute", publication="pu_1", muted=True)
    assert error["code"] == "internal"
    assert "secret" not in json.dumps(error)
    check_error(error)
    assert "a secret detail" in caplog.text, "the operator gets to see it"
    assert await client.still_works()
    assert await other.still_works()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
near_requests = st.fixed_dictionaries(
    {"type": st.sampled_from(sorted(messages.REQUEST_TYPES - {"leave"}))},
    optional={
        "id": st.integers() | json_values,
        "version": st.just(1) | json_values,
        "room": st.text(max_size=140) | json_values,
        "name": st.text(max_size=140) | json_values,
        "identity": st.text(max_size=140) | json_values,
        "token": st.text(max_size=40) | json_values,
        "sdp": st.text(max_size=400) | json_values,
        "tracks": st.lists(st.fixed_dictionaries({"mid": st.text(max_size=20), "source": st.just("camera")})),
        "publication": st.text(max_size=70) | json_values,
        "muted": st.booleans() | json_values,
        "paused": st.booleans() | json_values,
        "max_width": st.integers(-1, 70_000) | json_values,
        "slot": st.text(max_size=20) | json_values,
        "metadata": st.text(max_size=20) | json_values,
        "attributes": st.dictionaries(st.text(max_size=10), st.text(max_size=10)) | json_values,
    },
)


async def test_hostile_requests(
    http: aiohttp.ClientSession, server: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many at once on one session; a bystander in the same room must not notice."""
    monkeypatch.setattr(session, "REQUEST_RATE", 1e9)
    monkeypatch.setattr(session, "REQUEST_BURST", 1e9)
    monkeypatch.setattr(session, "OFFER_BURST", 1e9)
    monkeypatch.setattr(session, "UPDATE_BURST", 1e9)
    monkeypatch.setattr(session, "ERROR_BURST", 1e9)
    clients = Clients(http, server.url)
    bystander = await clients.join("Bob")
    hostile = await clients.join("Eve", identity="eve")
    for text in hostile_texts():
        await hostile.socket.send_str(text)
    answers = 0
    while not answers:
        response = await hostile.request("ping")
        answers += response["type"] == "pong"
    assert await bystander.still_works()
    assert {one["type"] for one in bystander.told} <= {"participant_joined", "participant_updated"}
    codes = {one.get("code") for one in hostile.told if one["type"] == "error"}
    assert "internal" not in codes
    for one in hostile.told:
        if one["type"] == "error":
            check_error(one)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
    await clients.close()


def hostile_texts() -> list[str]:
    texts: list[str] = []

    @settings(max_examples=300, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(near_requests.map(json.dumps) | json_values.map(json.dumps) | st.text(max_size=100))
    def collect(text: str) -> None:
        texts.append(text)

    collect()
    return [text for text in texts if text.isprintable()]


def check_error(error: dict[str, Any]) -> None:
    assert error["message"]
    assert error["advice"]
    assert isinstance(error["fatal"], bool)
    assert "Traceback" not in json.dumps(error)
    assert ".py" not in json.dumps(error)


async def test_joins_end_with_the_drain(clients: Clients, server: Server) -> None:
    client: Client = await clients.connect()
    server.health.phase = type(server.health.phase).DRAINING
    error = await client.request("join", version=1, room="tea")
    assert (error["code"], error["fatal"]) == ("not_ready", True)
