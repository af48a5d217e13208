# SPDX-License-Identifier: Apache-2.0
"""The composition root: builds the parts, wires them, starts and stops them.

A stop is orderly and bounded: no new joins, every client is told, transports say goodbye, then the workers end. What
takes longer than the grace time is left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
from typing import Final

from aiohttp import web

from sfu.config import ConfigError, Settings
from sfu.engine.worker import Worker
from sfu.rooms.directory import Directory
from sfu.rooms.media import MediaPlane
from sfu.telemetry.health import Health, Phase
from sfu.telemetry.metrics import make_registry
from sfu.transport.certificate import Certificate
from sfu.transport.engine_port import EnginePort
from sfu.transport.ice_lite import candidate_addresses, host_candidates
from signaling.app import Door
from signaling.auth import Authenticator
from signaling.ws.session import Services

logger = logging.getLogger(__name__)

LOOPBACK: Final = "127.0.0.1"

# The part of the grace time that clients have to answer their close frames; the rest is for the workers.
CLIENTS_SHARE: Final = 0.6


class Server:
    """Start it, wait, stop it; several can live in one process (tests do that)."""

    def __init__(self, settings: Settings) -> None:
        self.settings: Final = settings
        self.health: Final = Health()
        self.workers: list[Worker] = []
        self.directory: Directory
        self.url = ""
        self._ports: list[EnginePort] = []
        self._door: Door
        self._runner: web.AppRunner | None = None
        self._clock_task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """ConfigError if an address or a port cannot be had. Nothing is left running then."""
        try:
            self._start_media()
            await self._start_http()
        except BaseException:
            await self.stop()
            raise
        self._clock_task = asyncio.create_task(self.directory.run(), name="rooms' clock")
        self.health.phase = Phase.READY

    async def stop(self) -> None:
        """Within the grace time. Idempotent."""
        self.health.phase = Phase.DRAINING
        deadline = asyncio.get_running_loop().time() + self.settings.grace_seconds
        if self._clock_task is not None:
            self._clock_task.cancel()
            await asyncio.gather(self._clock_task, return_exceptions=True)
            self._clock_task = None
        if self._runner is not None:
            self.directory.close()
            self._door.shut_down()
            runner, self._runner = self._runner, None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.settings.grace_seconds * CLIENTS_SHARE):
                    await runner.cleanup()
        ports, self._ports = self._ports, []
        for port in ports:
            port.stop()
        workers, self.workers = self.workers, []
        # Each joins its thread, which the loop must not wait for.
        stopping = [asyncio.create_task(asyncio.to_thread(worker.stop)) for worker in workers]
        if stopping:
            left = max(0.1, deadline - asyncio.get_running_loop().time())
            _, late = await asyncio.wait(stopping, timeout=left)
            if late:
                logger.error("%d workers did not stop in time", len(late))

    def _start_media(self) -> None:
        settings = self.settings
        loop = asyncio.get_running_loop()
        certificate = Certificate()
        try:
            addresses = candidate_addresses(settings.udp_host, settings.announce_ip, dev=settings.dev)
        except ValueError as error:
            raise ConfigError([str(error)]) from None
        planes = []
        for index, udp_port in enumerate(settings.udp_ports):
            worker = _open_worker(index, settings.udp_host, udp_port)
            self.workers.append(worker)
            worker.start()
            port = EnginePort(worker, loop)
            port.start()
            self._ports.append(port)
            planes.append(MediaPlane(port, certificate, host_candidates(addresses, worker.port)))
        self.directory = Directory(planes)

    async def _start_http(self) -> None:
        settings = self.settings
        keys = {key_id: secret.get_secret_value() for key_id, secret in settings.keys.items()}
        services = Services(self.directory, Authenticator(keys, open_to_all=settings.dev), self.health)
        registry = make_registry([worker.statistics for worker in self.workers], self.directory)
        self._door = Door(services, registry, dev=settings.dev)
        listener = _listen(settings)
        self._runner = web.AppRunner(self._door.make_app(), handle_signals=False, access_log=None)
        await self._runner.setup()
        await web.SockSite(self._runner, listener).start()
        host, port = listener.getsockname()[:2]
        self.url = f"http://{_shown_host(host)}:{port}/"


async def serve(settings: Settings) -> None:
    """Until SIGTERM or SIGINT; a second one ends the process at once."""
    server = Server(settings)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    await server.start()
    ports = ", ".join(str(worker.port) for worker in server.workers)
    logger.info("media on UDP port %s", ports)
    print(f"pysfu is ready: {server.url}", flush=True)  # noqa: T201
    await stop.wait()
    logger.info("stopping")
    await server.stop()


def _open_worker(index: int, host: str | None, port: int) -> Worker:
    try:
        return Worker(index, host, port)
    except (OSError, ValueError) as error:
        name = "udp_port" if getattr(error, "errno", None) == errno.EADDRINUSE else "udp_host"
        value = port if name == "udp_port" else host
        reason = getattr(error, "strerror", None) or error
        raise ConfigError([f"{name} = {value!r} cannot be used by worker {index}: {reason}"]) from None


def _listen(settings: Settings) -> socket.socket:
    """One listening socket; without a host it takes both families where the machine has both."""
    host, port = settings.http_host, settings.http_port
    if host is None and settings.dev:
        host = LOOPBACK
    try:
        if host is None and socket.has_dualstack_ipv6():
            return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
        family = socket.AF_INET6 if host is not None and ":" in host else socket.AF_INET
        return socket.create_server((host or "0.0.0.0", port), family=family, backlog=1024)
    except OSError as error:
        name, value = ("http_port", port) if error.errno in (errno.EADDRINUSE, errno.EACCES) else ("http_host", host)
        raise ConfigError([f"{name} = {value!r} cannot be used: {os.strerror(error.errno or 0)}"]) from None


def _shown_host(host: str) -> str:
    """As it can be typed into a browser on this machine."""
    if host in ("0.0.0.0", "::"):
        return "localhost"
    return f"[{host}]" if ":" in host else host
