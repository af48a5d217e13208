# SPDX-License-Identifier: Apache-2.0
"""The HTTP API for backends and moderators: see who is where, send out, mute, change permissions. `docs/protocol.md`.

Each request carries an access token of its own: `roomList` to list the rooms, `roomAdmin` with `room` for all else.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Final

import msgspec
from aiohttp import web
from msgspec import UNSET, Struct, UnsetType

from sfu.engine.drops import DropReason
from sfu.engine.egress_events import EgressRecord
from sfu.rooms.conductor import Conductor
from sfu.rooms.directory import Directory
from sfu.rooms.errors import RoomError
from sfu.rooms.member import Member
from sfu.rooms.model import LeaveReason, Permissions, Source
from signaling.auth import Authenticator
from signaling.refusals import HttpError
from signaling.rulings import Rulings
from signaling.ws import messages, translate

PREFIX: Final = "/admin/v1"
MAX_BODY_BYTES: Final = 16 * 1024
BEARER: Final = "bearer "


class PermissionsChange(Struct, forbid_unknown_fields=True):
    """What is left out stays as it is."""

    can_publish: bool | UnsetType = UNSET
    can_publish_sources: list[messages.SourceName] | UnsetType | None = UNSET
    can_subscribe: bool | UnsetType = UNSET
    can_publish_data: bool | UnsetType = UNSET
    can_update_metadata: bool | UnsetType = UNSET
    hidden: bool | UnsetType = UNSET
    room_admin: bool | UnsetType = UNSET

    def applied_to(self, before: Permissions) -> Permissions:
        changes = {name: value for name, value in msgspec.structs.asdict(self).items() if value is not UNSET}
        sources = changes.get("can_publish_sources")
        if sources is not None:
            changes["can_publish_sources"] = frozenset(Source(name) for name in sources)
        return replace(before, **changes)


class RoomInfo(Struct):
    name: str
    participants: int


class Rooms(Struct):
    rooms: list[RoomInfo]


class ParticipantState(Struct):
    id: str
    identity: str
    name: str
    metadata: str
    attributes: dict[str, str]
    connected: Annotated[bool, msgspec.Meta(description="its media flows")]
    permissions: messages.PermissionsInfo
    publications: list[messages.PublicationInfo]


class Participants(Struct):
    participants: list[ParticipantState]


class EgressEntry(Struct, omit_defaults=True):
    """One event of an outgoing stream; times on the engine's monotonic clock, `sequence` extended beyond 16 bits."""

    now_us: int
    event: str
    sequence: int
    timestamp: int
    csrc: int
    count: int = 1
    until_us: int = 0
    spatial: int = -1
    temporal: int = -1
    reason: str = ""


class EgressLogs(Struct):
    slots: Annotated[dict[str, list[EgressEntry]], msgspec.Meta(description="by mid, oldest first")]


class Admin:
    def __init__(self, directory: Directory, authenticator: Authenticator, rulings: Rulings) -> None:
        self._directory = directory
        self._authenticator = authenticator
        self._rulings = rulings

    def add_routes(self, router: web.UrlDispatcher) -> None:
        room = PREFIX + "/rooms/{room}"
        participant = room + "/participants/{participant}"
        router.add_get(PREFIX + "/rooms", self._list_rooms)
        router.add_get(room + "/participants", self._list_participants)
        router.add_get(participant, self._participant)
        router.add_get(participant + "/egress", self._egress)
        router.add_delete(participant, self._remove)
        router.add_post(participant + "/permissions", self._change_permissions)
        router.add_post(room + "/publications/{publication}/mute", self._mute)

    async def _list_rooms(self, request: web.Request) -> web.Response:
        self._authenticator.check_admin(_token(request), "roomList")
        conductors = self._directory.conductors.items()
        return _json(Rooms([RoomInfo(name, len(conductor.members)) for name, conductor in conductors]))

    async def _list_participants(self, request: web.Request) -> web.Response:
        conductor = self._room(request)
        return _json(Participants([_state(member) for member in conductor.members.values()]))

    async def _participant(self, request: web.Request) -> web.Response:
        return _json(_state(_member(self._room(request), request)))

    async def _egress(self, request: web.Request) -> web.Response:
        """Why a receiver's picture stood still: what its streams did lately."""
        logs = _member(self._room(request), request).media.egress_logs()
        return _json(EgressLogs({mid: [_egress_entry(record) for record in log] for mid, log in logs.items()}))

    async def _remove(self, request: web.Request) -> web.Response:
        conductor = self._room(request)
        member = _member(conductor, request)
        self._rulings.remove(conductor.room.name, member.participant.identity)
        conductor.leave(member, LeaveReason.REMOVED)
        return web.Response(status=204)

    async def _change_permissions(self, request: web.Request) -> web.Response:
        _member(self._room(request), request)  # before its body is believed
        change = await _body(request, PermissionsChange)
        # Anew, because the body may have taken its time.
        conductor = self._room(request)
        member = _member(conductor, request)
        permissions = change.applied_to(member.participant.permissions)
        self._rulings.permit(conductor.room.name, member.participant.identity, permissions)
        conductor.set_permissions(member, permissions)
        return _json(_state(member))

    async def _mute(self, request: web.Request) -> web.Response:
        self._room(request).mute(request.match_info["publication"])
        return web.Response(status=204)

    def _room(self, request: web.Request) -> Conductor:
        """The room of the path, after a look at the token."""
        name = request.match_info["room"]
        self._authenticator.check_admin(_token(request), "roomAdmin", name)
        conductor = self._directory.conductors.get(name)
        if conductor is None:
            raise RoomError(
                "not_found", f"there is nobody in the room {name[:128]!r}", "rooms open with their first join"
            )
        return conductor


def _member(conductor: Conductor, request: web.Request) -> Member:
    """By id, else by identity: backends know the identity that they put into the token."""
    wanted = request.match_info["participant"]
    found = conductor.members.get(wanted)
    if found is None:
        participant = conductor.room.find_identity(wanted)
        if participant is None:
            raise RoomError("not_found", f"there is no participant {wanted[:128]!r}", "name one by its id or identity")
        found = conductor.members[participant.id]
    return found


def _state(member: Member) -> ParticipantState:
    one = member.participant
    return ParticipantState(
        id=one.id,
        identity=one.identity,
        name=one.name,
        metadata=one.metadata,
        attributes=one.attributes,
        connected=member.media.connected,
        permissions=translate.permissions_info(one.permissions),
        publications=[translate.publication_info(publication) for publication in one.publications.values()],
    )


def _egress_entry(record: EgressRecord) -> EgressEntry:
    return EgressEntry(
        now_us=record.now_us,
        event=record.event.name.lower(),
        sequence=record.sequence,
        timestamp=record.timestamp,
        csrc=record.csrc,
        count=record.count,
        until_us=record.until_us if record.until_us != record.now_us else 0,
        spatial=record.spatial,
        temporal=record.temporal,
        reason="" if record.reason is None else DropReason(record.reason).name.lower(),
    )


def _token(request: web.Request) -> str | None:
    header = request.headers.get("Authorization", "")
    return header[len(BEARER) :].strip() if header.lower().startswith(BEARER) else None


async def _body(request: web.Request, wanted: type[PermissionsChange]) -> PermissionsChange:
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise HttpError(413, "too_large", f"a body of more than {MAX_BODY_BYTES} bytes", "send only what changes")
    body = await request.read()
    try:
        return msgspec.json.decode(body, type=wanted)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise HttpError(400, "bad_message", str(error), "compare it with docs/protocol.md") from None


def _json(content: Struct) -> web.Response:
    return web.Response(body=msgspec.json.encode(content), content_type="application/json")
