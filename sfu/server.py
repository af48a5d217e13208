# SPDX-License-Identifier: Apache-2.0
"""The composition root: builds the parts, wires them, starts and stops them.

A stop is orderly and bounded: no new joins, every client is told, transports say goodbye, then the workers end. What
takes longer than the grace time is left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
from typing import Final

from aiohttp import web

from sfu import listening
from sfu.config import DEV_KEY_ID, ENVIRONMENT_PREFIX, ConfigError, Settings
from sfu.engine.worker import Worker
from sfu.rooms.directory import Directory
from sfu.rooms.media import MediaPlane
from sfu.rooms.model import Source
from sfu.rooms.placement import Spread
from sfu.rooms.rules import PublishRules
from sfu.telemetry.health import Health, Phase
from sfu.telemetry.metrics import make_registry
from sfu.transport.certificate import Certificate
from sfu.transport.engine_port import EnginePort
from sfu.transport.ice_lite import candidate_addresses, host_candidates, interface_addresses
from sfu.transport.relay import RelayMesh, relay_address
from signaling import tls
from signaling.app import Door
from signaling.auth import Authenticator
from signaling.gate import Gate
from signaling.rulings import Rulings
from signaling.ws.session import Services

logger = logging.getLogger(__name__)

# Below this a keyframe to a few dozen receivers does not fit.
SMALL_BUFFER: Final = 1 << 20
# The part of the grace time that clients have to answer their close frames; the rest is for the workers.
CLIENTS_SHARE: Final = 0.6
# Of the cycle collector: of a thousand participants' objects hardly any are garbage in cycles. Python's own thresholds
# took 6 % of its time while people joined, and stopped it for 0.2 s.
GC_THRESHOLDS: Final = (10_000, 20, 50)


class Server:
    """Start it, wait, stop it; several can live in one process (tests do that)."""

    def __init__(self, settings: Settings) -> None:
        self.settings: Final = settings
        self.health: Final = Health()
        self.workers: list[Worker] = []
        self.directory: Directory
        self.urls: tuple[str, ...] = ()
        """Where browsers find it, this machine's own first."""
        self.fingerprint: str | None = None
        """Of a certificate that was made for this run."""
        self.for_others = False
        """Whether HTTP is open to other machines."""
        self._ports: list[EnginePort] = []
        self._door: Door
        self._runner: web.AppRunner | None = None
        self._clock_task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return self.urls[0] if self.urls else ""

    async def start(self) -> None:
        """ConfigError if an address or a port cannot be had. Nothing is left running then; it can be tried again."""
        self.health.phase = Phase.STARTING
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
            # One that had to go further up is followed by the others.
            lowest = self.workers[-1].port + 1 if self.workers and udp_port else 0
            worker = listening.open_worker(index, settings, max(udp_port, lowest))
            self.workers.append(worker)
            worker.commands.egress_log = settings.egress_log
            worker.start()
            port = EnginePort(worker, loop)
            port.start()
            self._ports.append(port)
            planes.append(MediaPlane(port, certificate, host_candidates(addresses, worker.port)))
        mesh = RelayMesh({plane.port: relay_address(settings.udp_host, plane.port.port) for plane in planes})
        spread = Spread(settings.room_spread)
        self.directory = Directory(
            planes, mesh.open, shed_load=settings.shed_load, spread=spread, rules=_publish_rules(settings)
        )

    async def _start_http(self) -> None:
        settings = self.settings
        keys = settings.signing_keys
        authenticator = Authenticator(keys, open_to_all=settings.dev)
        services = Services(self.directory, authenticator, Rulings(), self.health)
        registry = make_registry([worker.statistics for worker in self.workers], self.directory)
        gate = Gate(settings.allow_origin, check_host=settings.dev)
        page_key = (DEV_KEY_ID, keys[DEV_KEY_ID]) if settings.dev else None
        self._door = Door(services, registry, gate, page=settings.serves_page, page_key=page_key)
        secured = _open_tls(settings)
        listener = listening.listen(settings)
        try:
            self._runner = web.AppRunner(self._door.make_app(), handle_signals=False, access_log=None)
            await self._runner.setup()
            await web.SockSite(self._runner, listener, ssl_context=secured.context if secured else None).start()
        except BaseException:
            listener.close()
            raise
        # A certificate of our own making is for every name of this machine, one that was given for those that count.
        names = secured.names if secured and settings.tls is None else ()
        self.urls = listening.urls(listener, "https" if secured else "http", names)
        self.fingerprint = secured.fingerprint if secured and settings.tls == "self" else None
        self.for_others = listening.is_for_others(listener)


def _publish_rules(settings: Settings) -> PublishRules:
    limits_kbps = {Source.CAMERA: settings.camera_limit_kbps, Source.SCREEN_SHARE: settings.screen_limit_kbps}
    limits_bps = {source: 1000 * limit for source, limit in limits_kbps.items() if limit}
    return PublishRules(limits_bps, settings.video_codecs)


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
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    ports = ", ".join(str(worker.port) for worker in server.workers)
    received, sent = (min(sizes) for sizes in zip(*(worker.socket_buffers for worker in server.workers), strict=True))
    logger.info("media on UDP port %s", ports, extra={"fields": {"receive_buffer": received, "send_buffer": sent}})
    if min(received, sent) < SMALL_BUFFER:
        logger.warning(
            "the kernel grants small socket buffers (%d and %d bytes): bursts will be lost under load; raise "
            "net.core.rmem_max and net.core.wmem_max to 4194304", received, sent,
        )  # fmt: skip
    _announce(server)
    await stop.wait()
    logger.info("stopping")
    await server.stop()


def _announce(server: Server) -> None:
    """On standard output; the first line is for programs as well."""
    print(f"pysfu is ready: {' '.join(server.urls)}", flush=True)  # noqa: T201
    if server.fingerprint is not None:
        print(f"its certificate is made for this run; SHA-256: {server.fingerprint}", flush=True)  # noqa: T201
    settings = server.settings
    if settings.tls == "self" and not server.for_others:
        logger.warning("only this machine reaches it; for other devices add --http-host 0.0.0.0")
    elif settings.dev and server.for_others and not server.urls[0].startswith("https:"):
        logger.warning("other devices get no camera and no microphone over plain HTTP: add --tls self")


def _open_tls(settings: Settings) -> tls.Tls | None:
    try:
        if settings.tls_cert is not None:
            return tls.from_files(settings.tls_cert, settings.tls_key)
    except tls.TlsError as error:
        value = getattr(settings, error.setting)
        names = f"--{error.setting.replace('_', '-')} or {ENVIRONMENT_PREFIX}{error.setting.upper()}"
        shown = "" if value is None else f" = {str(value)!r}"
        raise ConfigError([f"{error.setting}{shown} cannot be used: {error.message} (set it by {names})"]) from None
    if settings.tls is None:
        return None
    hostname = socket.gethostname()
    announced = candidate_addresses(None, settings.announce_ip, dev=True)
    return tls.self_signed([hostname, f"{hostname}.local", "localhost"], [*interface_addresses(), *announced])
