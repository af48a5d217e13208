# SPDX-License-Identifier: Apache-2.0
"""docs/protocol.md names everything that goes over the wire. What it says of each is for people to check."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import msgspec
import pytest
from aiohttp import web

from sfu.rooms.events import PauseReason
from sfu.rooms.model import LeaveReason
from signaling.admin import Admin
from signaling.auth import AuthCode, VideoGrant
from signaling.ws import messages

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "protocol.md").read_text("utf-8")


def message_types() -> list[type[msgspec.Struct]]:
    def below(kind: type[msgspec.Struct]) -> list[type[msgspec.Struct]]:
        return [found for one in kind.__subclasses__() for found in (one, *below(one))]

    return [*get_args(messages.ClientMessage), *below(messages.Message)]


def fields() -> list[str]:
    parts: list[type[msgspec.Struct]] = [messages.PermissionsInfo, messages.ParticipantInfo, messages.PublicationInfo]
    structs = [*message_types(), *parts]
    return sorted({name for struct in structs for name in struct.__struct_fields__})


@pytest.mark.parametrize("tag", sorted({str(one.__struct_config__.tag) for one in message_types()} - {"None"}))
def test_every_message(tag: str) -> None:
    if tag not in ("Response", "Message"):
        assert tag in PAGE


@pytest.mark.parametrize("field", fields())
def test_every_field(field: str) -> None:
    assert field in PAGE


@pytest.mark.parametrize("code", list(AuthCode))
def test_every_reason_why_a_token_does_not_open(code: AuthCode) -> None:
    assert f"| `{code}` |" in PAGE


@pytest.mark.parametrize("grant", VideoGrant.__struct_encode_fields__)
def test_every_grant(grant: str) -> None:
    assert f"| `{grant}` |" in PAGE


@pytest.mark.parametrize("reason", [*LeaveReason, *PauseReason])
def test_every_reason_in_an_event(reason: str) -> None:
    assert f"`{reason}`" in PAGE


def test_every_admin_route() -> None:
    app = web.Application()
    Admin(*[None] * 3).add_routes(app.router)  # type: ignore[arg-type]
    routes = [route for route in app.router.routes() if route.method != "HEAD"]
    assert len(routes) == 7
    for route in routes:
        assert route.resource is not None
        assert f"`{route.method} {route.resource.canonical}`" in PAGE
