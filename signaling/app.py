# SPDX-License-Identifier: Apache-2.0
"""The HTTP door: the websocket, health, metrics, and the client library with its page."""

from __future__ import annotations

import importlib.resources
import logging
from collections.abc import Awaitable, Callable
from importlib.resources.abc import Traversable
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from sfu.telemetry.health import Health
from signaling.admin import Admin
from signaling.gate import Gate
from signaling.refusals import HttpError, answer_refusals
from signaling.tokens import PAGE_TTL_S, guest_identity, mint
from signaling.ws.session import (
    CLOSE_TIMEOUT_S,
    HARD_MESSAGE_BYTES,
    HEARTBEAT_S,
    Services,
    Session,
)

logger = logging.getLogger(__name__)

CONTENT_TYPES: Final = {
    ".css": "text/css",
    ".html": "text/html",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}
PAGE: Final = "index.html"
MAX_PARAMETER: Final = 128

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Door:
    """Owns the sessions, so that a stop can reach those that never joined."""

    def __init__(
        self,
        services: Services,
        registry: CollectorRegistry,
        gate: Gate,
        *,
        page: bool,
        page_key: tuple[str, str] | None,
    ) -> None:
        """`page`: serve it. `page_key` (dev only): sign tokens for whoever asks."""
        self._services = services
        self._registry = registry
        self._gate = gate
        self._serves_page = page
        self._page_key = page_key
        self._sessions: set[Session] = set()

    def make_app(self) -> web.Application:
        app = web.Application(middlewares=[answer_refusals, self._check_host])
        app.router.add_get("/ws", self._websocket)
        app.router.add_get("/healthz", _healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/", self._page)
        if self._page_key is not None:
            app.router.add_get("/token", self._token)
        Admin(self._services.directory, self._services.authenticator, self._services.rulings).add_routes(app.router)
        for path, file in _web_files(_web_root()):
            if path != PAGE:
                app.router.add_get(f"/{path}", _file_handler(file))
        return app

    def shut_down(self) -> None:
        """Sessions that have joined are told by their rooms; this is for the others."""
        for session in list(self._sessions):
            session.shut_down()

    @web.middleware
    async def _check_host(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._gate.check_host(request)
        return await handler(request)

    async def _websocket(self, request: web.Request) -> web.WebSocketResponse:
        self._gate.check_origin(request)
        socket = web.WebSocketResponse(
            heartbeat=HEARTBEAT_S, timeout=CLOSE_TIMEOUT_S, max_msg_size=HARD_MESSAGE_BYTES, compress=False
        )
        await socket.prepare(request)
        session = Session(socket, request, self._services)
        self._sessions.add(session)
        try:
            await session.run()
        finally:
            self._sessions.discard(session)
        return socket

    async def _readyz(self, request: web.Request) -> web.Response:
        health: Health = self._services.health
        return web.json_response({"status": health.phase}, status=200 if health.ready else 503)

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _token(self, request: web.Request) -> web.Response:
        """For the page of a development server: who asks may join."""
        origin = self._gate.check_origin(request)
        room, name, identity = (_parameter(request, key) for key in ("room", "name", "identity"))
        if not room:
            raise HttpError(400, "bad_message", "the parameter `room` is missing", "ask for /token?room=R&name=N")
        assert self._page_key is not None
        identity = identity or guest_identity()
        grants = {"roomJoin": True, "room": room, "canUpdateOwnMetadata": True}
        token = mint(self._page_key, grants, identity=identity, name=name, ttl_s=PAGE_TTL_S)
        headers = {"Cache-Control": "no-store", "Vary": "Origin"}
        if origin is not None:
            headers["Access-Control-Allow-Origin"] = origin
        return web.json_response({"token": token, "identity": identity, "expires_in_s": PAGE_TTL_S}, headers=headers)

    async def _page(self, request: web.Request) -> web.StreamResponse:
        if not self._serves_page:
            raise web.HTTPNotFound(text="pysfu. The page is served with --dev or --page only; the API is at /ws.\n")
        return await _file_handler(_web_root() / PAGE)(request)


async def _healthz(request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


def _parameter(request: web.Request, name: str) -> str | None:
    value = request.query.get(name) or None
    if value is not None and len(value) > MAX_PARAMETER:
        raise HttpError(
            400, "bad_message", f"`{name}` has more than {MAX_PARAMETER} characters", "choose a shorter one"
        )
    return value


def _web_root() -> Traversable:
    return importlib.resources.files("signaling") / "web"


def _web_files(root: Traversable, prefix: str = "") -> list[tuple[str, Traversable]]:
    """A fixed list made at the start: no request's path ever reaches the file system."""
    found = []
    for entry in root.iterdir():
        if entry.is_dir():
            found += _web_files(entry, f"{prefix}{entry.name}/")
        elif _suffix(entry.name) in CONTENT_TYPES:
            found.append((prefix + entry.name, entry))
    return found


def _file_handler(file: Traversable) -> Handler:
    content_type = CONTENT_TYPES[_suffix(file.name)]
    # The client library may be imported by pages of any origin. Revalidated each time: a server's update reaches open
    # tabs at a reload.
    headers = {"Access-Control-Allow-Origin": "*", "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}

    async def serve(request: web.Request) -> web.Response:
        return web.Response(body=file.read_bytes(), content_type=content_type, charset="utf-8", headers=headers)

    return serve


def _suffix(name: str) -> str:
    return name[name.rfind(".") :]
