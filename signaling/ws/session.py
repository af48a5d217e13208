# SPDX-License-Identifier: Apache-2.0
"""One websocket: takes requests in their order, answers each, and hands on what happens in the room.

Nothing that a client sends may hurt another one: whatever goes wrong here becomes an `error` message, or the end of
this session.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from typing import Final

from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from sfu.rooms.conductor import Conductor
from sfu.rooms.directory import Directory
from sfu.rooms.errors import RoomError
from sfu.rooms.events import ParticipantEvent, Removed
from sfu.rooms.member import Member
from sfu.rooms.model import LeaveReason, Permissions
from sfu.sdp.negotiation import SdpError
from sfu.telemetry.health import Health
from signaling.auth import Authenticator, AuthError, Grant
from signaling.rulings import Rulings
from signaling.tokens import guest_identity
from signaling.ws import messages, translate
from signaling.ws.limits import TokenBucket
from signaling.ws.messages import MAX_MESSAGE_BYTES, ProtocolError

logger = logging.getLogger(__name__)

# A message up to this size gets a typed error; beyond it the library closes the connection (1009).
HARD_MESSAGE_BYTES: Final = 2 * MAX_MESSAGE_BYTES
# Pings of the websocket itself; half of it without a pong ends the connection.
HEARTBEAT_S: Final = 10.0
# How long the client may take to answer our close frame.
CLOSE_TIMEOUT_S: Final = 2.0
# From the connection to the join.
JOIN_TIMEOUT_S: Final = 15.0
# Requests per second, and at once. A client of a full room sends one wish per tile when its layout changes.
REQUEST_RATE: Final = 50.0
REQUEST_BURST: Final = 200.0
# Offers are the dear ones: tens of milliseconds of parsing for a large pool.
OFFER_RATE: Final = 1.0
OFFER_BURST: Final = 10.0
# Each of these is told to everybody in the room.
UPDATE_RATE: Final = 1.0
UPDATE_BURST: Final = 10.0
# A session that goes on making mistakes is not worth its answers.
ERROR_RATE: Final = 1.0
ERROR_BURST: Final = 100.0
# Unsent messages of a client that does not read.
MAX_QUEUED_BYTES: Final = 4 * 1024 * 1024
# Of who brings no token, which is possible with --dev only.
GUEST: Final = Permissions(can_update_metadata=True)


@dataclass(frozen=True, slots=True)
class Services:
    """What sessions need of the server."""

    directory: Directory
    authenticator: Authenticator
    rulings: Rulings
    health: Health


@dataclass(frozen=True, slots=True)
class _Close:
    code: int
    reason: str


class _Texts:
    """What is told to everybody in a room is encoded once: an event is one object for all, one after another."""

    def __init__(self) -> None:
        self._event: ParticipantEvent | None = None
        self._texts: tuple[str, ...] = ()

    def of(self, event: ParticipantEvent) -> tuple[str, ...]:
        if event is not self._event:
            self._texts = tuple(messages.encode(one) for one in translate.event(event))
            self._event = event
        return self._texts


_texts: Final = _Texts()


class Session:
    def __init__(self, socket: web.WebSocketResponse, request: web.Request, services: Services) -> None:
        self._socket = socket
        self._request = request
        self._services = services
        clock = asyncio.get_running_loop().time
        self._requests = TokenBucket(REQUEST_RATE, REQUEST_BURST, clock)
        self._offers = TokenBucket(OFFER_RATE, OFFER_BURST, clock)
        self._updates = TokenBucket(UPDATE_RATE, UPDATE_BURST, clock)
        self._errors = TokenBucket(ERROR_RATE, ERROR_BURST, clock)
        self._outgoing: deque[str | _Close] = deque()
        self._queued_bytes = 0
        self._wake = asyncio.Event()
        self._closing = False
        self._writer: asyncio.Task[None] | None = None
        self._conductor: Conductor | None = None
        self._member: Member | None = None

    async def run(self) -> None:
        """Until the websocket is gone."""
        writer = self._writer = asyncio.create_task(self._write(), name="websocket writer")
        join_timer = asyncio.get_running_loop().call_later(JOIN_TIMEOUT_S, self._join_timed_out)
        try:
            async for message in self._socket:
                self._receive(message)
        except ConnectionResetError:
            # A ping came just before the end, and its answer went nowhere.
            pass
        finally:
            join_timer.cancel()
            self._disconnected()
            if self._closing:  # our own close frame is answered, or about to be given up
                await asyncio.wait((writer,), timeout=CLOSE_TIMEOUT_S)
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)

    def shut_down(self) -> None:
        """The server stops. Who has joined hears of it from the room."""
        if self._member is None:
            self._send_texts(_texts.of(Removed(LeaveReason.SHUTDOWN)))
            self._close(WSCloseCode.GOING_AWAY, "shutdown")

    # --- in

    def _receive(self, frame: WSMessage) -> None:
        if self._closing or frame.type is WSMsgType.ERROR:
            return
        request_id = None
        try:
            message = self._decode(frame)
            request_id = message.id
            self._handle(message)
        except ProtocolError as error:
            request_id = request_id if error.request_id is None else error.request_id
            self._refuse(error.code, error.message, error.advice, request_id, fatal=error.fatal)
        except AuthError as error:
            self._refuse(error.code, error.message, error.advice, request_id, fatal=True)
        except RoomError as error:
            self._refuse(error.code, error.message, error.advice, request_id)
        except SdpError as error:
            where = "" if error.line is None else f"line {error.line}: "
            self._refuse("bad_sdp", where + error.message, error.advice, request_id)
        except Exception:
            logger.exception("a request of %s failed", self._name)
            self._refuse(
                "internal", "the server failed on this request", "this is a fault of the server: report it", request_id
            )

    def _decode(self, frame: WSMessage) -> messages.ClientMessage:
        if frame.type is not WSMsgType.TEXT:
            raise ProtocolError("bad_message", "a message is a text frame", "send JSON as text, not as binary")
        size = len(frame.data.encode())
        if size > MAX_MESSAGE_BYTES:
            raise ProtocolError(
                "too_large",
                f"a message of {size} bytes; at most {MAX_MESSAGE_BYTES} are taken",
                "offer fewer sections, or fewer codecs in each (setCodecPreferences)",
            )
        message = messages.decode(frame.data)
        allowed = self._requests.take()
        if isinstance(message, messages.Offer):
            allowed = allowed and self._offers.take()
        elif isinstance(message, messages.Update):
            allowed = allowed and self._updates.take()
        if not allowed:
            raise ProtocolError(
                "rate_limited",
                "too many requests",
                f"in the long run at most {REQUEST_RATE:.0f} requests a second, {OFFER_RATE:.0f} of them an offer, "
                f"{UPDATE_RATE:.0f} an update",
                request_id=message.id,
            )
        return message

    def _handle(self, message: messages.ClientMessage) -> None:
        if isinstance(message, messages.Ping):
            self._send(messages.Pong(**translate.echo(message)))
        elif isinstance(message, messages.Join):
            self._join(message)
        elif isinstance(message, messages.Leave):
            self._leave(message)
        elif self._member is None or self._conductor is None:
            raise ProtocolError("not_joined", "join a room first", "`join` is the first request of a session")
        else:
            self._handle_joined(message, self._conductor, self._member)

    def _handle_joined(
        self,
        message: messages.Offer | messages.Mute | messages.Unpublish | messages.Subscription | messages.Update,
        conductor: Conductor,
        member: Member,
    ) -> None:
        response: messages.Message = messages.Ok(**translate.echo(message))
        match message:
            case messages.Offer():
                agreed = conductor.offer(member, message.sdp, translate.offered_tracks(message.tracks))
                response = translate.answer(agreed, message)
            case messages.Mute():
                conductor.set_muted(member, message.publication, message.muted)
            case messages.Unpublish():
                conductor.unpublish(member, message.publication)
            case messages.Subscription():
                conductor.set_wish(member, message.publication, translate.wish(message))
            case messages.Update():
                conductor.room.describe(
                    member.participant, name=message.name, metadata=message.metadata, attributes=message.attributes
                )
        self._send(response)

    def _join(self, message: messages.Join) -> None:
        if self._member is not None:
            raise ProtocolError("already_joined", "this session has joined already", "open another websocket")
        if message.version != messages.PROTOCOL_VERSION:
            raise ProtocolError(
                "unsupported_version",
                f"version {message.version} of the protocol is not spoken here",
                f"speak version {messages.PROTOCOL_VERSION}",
                fatal=True,
            )
        if not self._services.health.ready:
            raise ProtocolError("not_ready", "the server takes no joins now", "try again in a second", fatal=True)
        identity = message.identity or None
        grant = self._services.authenticator.admit(message.token, message.room, identity, message.name)
        if grant is None:
            grant = Grant(identity or guest_identity(), message.name, GUEST)
        else:
            grant = self._services.rulings.apply(message.room, grant)
        try:
            self._conductor, self._member = self._services.directory.join(
                message.room,
                grant.identity,
                grant.name or grant.identity,
                grant.permissions,
                self._on_event,
                metadata=grant.metadata,
                attributes=grant.attributes,
            )
        except RoomError as error:
            raise ProtocolError(error.code, error.message, error.advice, fatal=True) from None
        self._send(translate.joined(self._conductor, self._member, message))

    def _leave(self, message: messages.Leave) -> None:
        self._send(messages.Ok(**translate.echo(message)))
        if self._member is None or self._conductor is None:
            self._close(WSCloseCode.OK, "left")
        else:
            self._conductor.leave(self._member, LeaveReason.LEFT)

    def _disconnected(self) -> None:
        member, conductor = self._member, self._conductor
        if member is None or conductor is None:
            return
        # A page that is closed or reloaded says 1001; a network that breaks says nothing.
        if self._socket.close_code in (WSCloseCode.OK, WSCloseCode.GOING_AWAY):
            conductor.leave(member, LeaveReason.LEFT)
        else:
            conductor.signalling_lost(member)

    # --- out

    def _on_event(self, event: ParticipantEvent) -> None:
        if isinstance(event, Removed):
            if event.reason is not LeaveReason.LEFT:
                self._send_texts(_texts.of(event))
            going_away = event.reason is LeaveReason.SHUTDOWN
            self._close(WSCloseCode.GOING_AWAY if going_away else WSCloseCode.OK, event.reason)
        else:
            self._send_texts(_texts.of(event))

    def _refuse(
        self, code: str, message: str, advice: str, request_id: int | None = None, *, fatal: bool = False
    ) -> None:
        error = ProtocolError(code, message, advice, request_id=request_id, fatal=fatal)
        self._send(error.as_message())
        if fatal:
            self._close(WSCloseCode.POLICY_VIOLATION, code)
        elif not self._errors.take():
            self._refuse("too_many_errors", "one error after another", "mend the client", fatal=True)

    def _join_timed_out(self) -> None:
        if self._member is None:
            self._refuse("join_timeout", f"no join within {JOIN_TIMEOUT_S:.0f} s", "join at once", fatal=True)

    def _send(self, message: messages.Message) -> None:
        self._send_texts((messages.encode(message),))

    def _send_texts(self, texts: tuple[str, ...]) -> None:
        if self._closing:
            return
        self._queued_bytes += sum(map(len, texts))
        if self._queued_bytes > MAX_QUEUED_BYTES:
            logger.warning("%s does not read its messages: dropped", self._name)
            self._closing = True
            self._outgoing.clear()
            if self._writer is not None:
                self._writer.cancel()
            if self._request.transport is not None:
                self._request.transport.abort()
            return
        self._outgoing.extend(texts)
        self._wake.set()

    def _close(self, code: int, reason: str) -> None:
        """After what was sent before. Nothing is sent or taken any more."""
        if not self._closing:
            self._closing = True
            self._outgoing.append(_Close(code, reason))
            self._wake.set()

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._outgoing:
                item = self._outgoing.popleft()
                if isinstance(item, _Close):
                    await self._socket.close(code=item.code, message=item.reason.encode())
                    return
                self._queued_bytes -= len(item)
                await self._socket.send_str(item)

    @property
    def _name(self) -> str:
        return f"the client at {self._request.remote}" if self._member is None else self._member.participant.id
