# SPDX-License-Identifier: Apache-2.0
"""The websocket to the server: requests with their answers, events, and the news that it is gone."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import msgspec

from sfu.client.messages import ErrorMessage, Event, Pong, Response, decode

logger = logging.getLogger(__name__)

REQUEST_LIMIT_S: Final = 15.0
# The server forgets a client that it does not hear of; websocket pings from here are answered by every server.
HEARTBEAT_S: Final = 10.0
# An answer to an offer with 49 slots is 100 to 250 kB.
MAX_MESSAGE_BYTES: Final = 1 << 20

Answered = TypeVar("Answered", bound=Response)


class ClientError(Exception):
    """What the server refused, or what failed on the way: `code` for programs, the message for people."""

    def __init__(self, code: str, message: str, advice: str = "", *, fatal: bool = False) -> None:
        super().__init__(f"{code}: {message}" + (f" ({advice})" if advice else ""))
        self.code = code
        self.message = message
        self.advice = advice
        self.fatal = fatal

    @classmethod
    def from_message(cls, message: ErrorMessage) -> Self:
        return cls(message.code, message.message, message.advice, fatal=message.fatal)


def websocket_url(url: str) -> str:
    """The websocket of a server named by its page (http, https) or by the websocket itself; a bare host gets `/ws`."""
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    return urlunsplit((scheme, parts.netloc, "/ws" if parts.path in ("", "/") else parts.path, "", ""))


def _ignore_reason(_: str) -> None:
    """Who cut the connection knows that it is gone."""


class Signal:
    """One open websocket. It never reconnects. `on_event` and `on_closed` are called from its reader task."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        websocket: aiohttp.ClientWebSocketResponse,
        on_event: Callable[[Event], None],
        on_closed: Callable[[str], None],
    ) -> None:
        self._http = http
        self._websocket = websocket
        self._on_event = on_event
        self._on_closed = on_closed
        self._ids = itertools.count(1)
        self._pending: dict[int, Callable[[Response | ClientError], None]] = {}
        self._reader = asyncio.create_task(self._read(), name="signal reader")

    @classmethod
    async def open(
        cls,
        url: str,
        on_event: Callable[[Event], None],
        on_closed: Callable[[str], None],
        *,
        verify_tls: bool = True,
    ) -> Self:
        """`verify_tls=False` takes any certificate, such as one that the server made itself (`--tls self`)."""
        http = aiohttp.ClientSession()
        try:
            websocket = await http.ws_connect(
                websocket_url(url), heartbeat=HEARTBEAT_S, max_msg_size=MAX_MESSAGE_BYTES, compress=0, ssl=verify_tls
            )
        except (aiohttp.ClientError, OSError) as error:
            await http.close()
            raise ClientError("unreachable", f"{url}: {error}", "check the address and the network") from error
        except BaseException:
            await http.close()
            raise
        return cls(http, websocket, on_event, on_closed)

    @property
    def closed(self) -> bool:
        return self._websocket.closed or self._reader.done()

    async def request(
        self,
        wanted: type[Answered],
        message_type: str,
        at_once: Callable[[Answered], None] | None = None,
        **fields: Any,
    ) -> Answered:
        """Send a request and wait for its answer; `ClientError` if the server refuses, or does not answer in time.

        `at_once` is called with the answer before any later message is looked at: whoever waits for the answer may get
        to it only when events that build on it are through.
        """
        if self.closed:
            raise ClientError("connection_lost", "the websocket is closed")
        number = next(self._ids)
        future: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()

        def take(answer: Response | ClientError) -> None:
            if future.done():
                return
            try:
                future.set_result(_expect(wanted, message_type, answer, at_once))
            except Exception as error:
                future.set_exception(error)

        self._pending[number] = take
        try:
            async with asyncio.timeout(REQUEST_LIMIT_S):
                await self._send({"type": message_type, "id": number, **fields})
                return await future
        except TimeoutError:
            raise ClientError("timeout", f"no answer to {message_type!r} within {REQUEST_LIMIT_S:.0f} s") from None
        finally:
            self._pending.pop(number, None)

    async def ping(self) -> None:
        await self.request(Pong, "ping")

    async def close(self) -> None:
        """Leave the room and close. Safe to call twice."""
        if not self.closed:
            with contextlib.suppress(ClientError):
                await self._send({"type": "leave", "id": next(self._ids)})
        self._reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reader
        await self._websocket.close()
        await self._http.close()

    async def abort(self) -> None:
        """Cut the connection without a word, as a process that dies."""
        self._on_closed = _ignore_reason
        await self._http.close()
        await self._reader

    async def _send(self, message: dict[str, Any]) -> None:
        try:
            await self._websocket.send_str(msgspec.json.encode(message).decode())
        except ConnectionError as error:
            raise ClientError("connection_lost", "the websocket is closed") from error

    async def _read(self) -> None:
        reason: str | None = None
        try:
            async for frame in self._websocket:
                if frame.type is aiohttp.WSMsgType.TEXT:
                    self._take(frame.data)
            reason = f"closed by the server ({self._websocket.close_code})"
        except ClientError as error:
            reason = str(error)
        except Exception as error:
            logger.exception("an event handler failed")
            reason = f"{type(error).__name__}: {error}"
        finally:
            for take in self._pending.values():
                take(ClientError("connection_lost", reason or "closed here"))
            if reason is not None:
                self._on_closed(reason)

    def _take(self, text: str) -> None:
        try:
            number, message = decode(text)
        except msgspec.DecodeError as error:
            raise ClientError("protocol", f"the server sent {text[:200]!r}: {error}") from error
        take = None if number is None else self._pending.get(number)
        if take is not None and message is not None:
            take(message)  # type: ignore[arg-type]
        elif message is not None:
            self._on_event(message)  # type: ignore[arg-type]


def _expect(
    wanted: type[Answered],
    message_type: str,
    answer: Response | ClientError,
    at_once: Callable[[Answered], None] | None,
) -> Answered:
    if isinstance(answer, ErrorMessage):
        raise ClientError.from_message(answer)
    if isinstance(answer, ClientError):
        raise answer
    if not isinstance(answer, wanted):
        raise ClientError("protocol", f"{message_type!r} was answered by {type(answer).__name__}")
    if at_once is not None:
        at_once(answer)
    return answer
