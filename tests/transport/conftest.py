# SPDX-License-Identifier: Apache-2.0
"""A worker with its port on the test's loop, and bots' connections to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from sfu.engine.worker import Worker
from sfu.load.connection import LightConnection
from sfu.load.description import Answer, Setup
from sfu.transport.certificate import Certificate
from sfu.transport.dtls import TransportState
from sfu.transport.engine_port import EnginePort
from sfu.transport.ice_lite import candidate_addresses, host_candidates
from sfu.transport.peer import PeerTransport

POLL_S = 0.005
LIMIT_S = 10.0


async def until(condition: Callable[[], object]) -> None:
    """Wait until it holds; fail if it does not for too long."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(POLL_S)


class Engine:
    """One running worker, and transports on it."""

    def __init__(self, worker: Worker, port: EnginePort, candidates: tuple[str, ...]) -> None:
        self.worker = worker
        self.port = port
        self.candidates = candidates
        self.certificate = Certificate()
        self.states: dict[int, list[TransportState]] = {}

    def peer(self) -> PeerTransport:
        states: list[TransportState] = []
        peer = PeerTransport(self.port, self.certificate, self.candidates, states.append)
        self.states[peer.handle] = states
        return peer

    @property
    def live_transports(self) -> int:
        return self.worker.commands.live_handles[0]


class Remote:
    """The other end: a light bot's connection, and what came through it."""

    def __init__(self, certificate: Certificate) -> None:
        self.rtp: list[bytes] = []
        self.rtcp: list[bytes] = []
        self.states: list[TransportState] = []
        self.certificate = certificate
        self.connection = LightConnection(
            asyncio.get_running_loop(),
            certificate,
            on_rtp=lambda data, _: self.rtp.append(data),
            on_rtcp=lambda data, _: self.rtcp.append(data),
            on_state=self.states.append,
        )

    @property
    def fingerprints(self) -> list[tuple[str, str]]:
        algorithm, value = self.certificate.fingerprint.split(" ")
        return [(algorithm, value)]

    def start(self, peer: PeerTransport, offered: Setup = "actpass") -> None:
        algorithm, value = peer.fingerprint.split(" ")
        answer = Answer(
            ufrag=peer.ufrag,
            password=peer.password,
            fingerprints=((algorithm, value),),
            setup="active" if offered == "passive" else "passive",
            ice_lite=True,
            candidates=tuple(line.removeprefix("candidate:") for line in peer.candidates),
            sections={},
        )
        self.connection.start(answer, offered)


@contextlib.asynccontextmanager
async def running_engine(host: str | None) -> AsyncIterator[Engine]:
    worker = Worker(0, host, 0)
    port = EnginePort(worker, asyncio.get_running_loop())
    worker.start()
    port.start()
    addresses = candidate_addresses(host, [], dev=True)
    try:
        yield Engine(worker, port, host_candidates(addresses, worker.port))
    finally:
        port.stop()
        worker.stop()


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    async with running_engine("127.0.0.1") as running:
        yield running


@pytest.fixture
async def remotes() -> AsyncIterator[Callable[..., Remote]]:
    """Makes remotes; all are closed at the end."""
    made: list[Remote] = []

    def make(certificate: Certificate | None = None) -> Remote:
        remote = Remote(certificate or Certificate())
        made.append(remote)
        return remote

    yield make
    for remote in made:
        remote.connection.close()
