# SPDX-License-Identifier: Apache-2.0
"""A server whose media goes through a tap: what browsers send and get, decrypted, with the time of each packet."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, cast
from unittest import mock

import sfu.server
import sfu.transport.ice_lite
import sfu.transport.peer
from sfu.config import Settings
from sfu.engine.srtp import SrtpError, SrtpSession
from sfu.transport.dtls import TransportState
from tests.simulation.rtp_packets import is_rtcp

HOST = "127.0.0.1"
Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Tapped:
    """One RTP packet in plaintext."""

    at_us: int
    data: bytes


@dataclass
class Line:
    """What one browser sent and got, still encrypted, and the keys as soon as they are agreed."""

    sent: list[tuple[int, bytes]] = field(default_factory=list)
    got: list[tuple[int, bytes]] = field(default_factory=list)
    profile: int = 0
    sent_key: bytes = b""
    got_key: bytes = b""

    def sent_rtp(self) -> list[Tapped]:
        return _decrypt(self.sent, self.profile, self.sent_key)

    def got_rtp(self) -> list[Tapped]:
        return _decrypt(self.got, self.profile, self.got_key)


def _decrypt(datagrams: list[tuple[int, bytes]], profile: int, key: bytes) -> list[Tapped]:
    if not key:
        return []
    session = SrtpSession(profile, key, False)
    plain = []
    for at_us, data in datagrams:
        if len(data) > 12 and 128 <= data[0] < 192 and not is_rtcp(data):
            try:
                plain.append(Tapped(at_us, session.unprotect(data)))
            except SrtpError:  # a replay
                continue
    return plain


class _Upstream(asyncio.DatagramProtocol):
    def __init__(self, tap: Wiretap, browser: Address, line: Line) -> None:
        self.tap, self.browser, self.line = tap, browser, line
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.line.got.append((time.monotonic_ns() // 1000, data))
        if self.tap.transport is not None:
            self.tap.transport.sendto(data, self.browser)


class Wiretap(asyncio.DatagramProtocol):
    """Between browsers and the server's media port."""

    def __init__(self) -> None:
        self.lines: dict[int, Line] = {}
        """By the port from which the server sees that browser."""
        self.transport: asyncio.DatagramTransport | None = None
        self.server_port = 0
        self._upstreams: dict[Address, asyncio.Task[_Upstream]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        at_us = time.monotonic_ns() // 1000
        if addr not in self._upstreams:
            self._upstreams[addr] = asyncio.ensure_future(self._open(addr))
        task = self._upstreams[addr]
        if task.done():
            self._up(task.result(), at_us, data)
        else:
            task.add_done_callback(lambda done: self._up(done.result(), at_us, data))

    @staticmethod
    def _up(upstream: _Upstream, at_us: int, data: bytes) -> None:
        upstream.line.sent.append((at_us, data))
        if upstream.transport is not None:
            upstream.transport.sendto(data)

    async def _open(self, browser: Address) -> _Upstream:
        line = Line()
        transport, upstream = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Upstream(self, browser, line), remote_addr=(HOST, self.server_port)
        )
        self.lines[transport.get_extra_info("sockname")[1]] = line
        return upstream

    @property
    def port(self) -> int:
        assert self.transport is not None
        return int(self.transport.get_extra_info("sockname")[1])

    def line_of(self, peer: sfu.transport.peer.PeerTransport) -> Line | None:
        return None if peer.path is None else self.lines.get(peer.path.remote[1])


@dataclass
class TappedServer:
    url: str
    tap: Wiretap
    server: sfu.server.Server
    patches: list[Any]

    @classmethod
    async def start(cls) -> TappedServer:
        loop = asyncio.get_running_loop()
        _, tap = await loop.create_datagram_endpoint(Wiretap, local_addr=(HOST, 0))
        candidates = sfu.transport.ice_lite.host_candidates
        on_state = sfu.transport.peer.PeerTransport._on_dtls_state

        def tapped_candidates(addresses: Any, port: int) -> Any:
            tap.server_port = port
            return candidates(addresses, tap.port)

        def noting_keys(peer: sfu.transport.peer.PeerTransport, state: TransportState) -> None:
            line, keys = tap.line_of(peer), peer._dtls.keys
            if state is TransportState.CONNECTED and line is not None and keys is not None:
                line.profile, line.sent_key, line.got_key = keys.profile.number, keys.receive, keys.send
            on_state(peer, state)

        patches: list[Any] = [
            mock.patch.object(sfu.server, "host_candidates", tapped_candidates),
            mock.patch.object(sfu.transport.peer.PeerTransport, "_on_dtls_state", noting_keys),
        ]
        for patch in patches:
            patch.start()
        server = sfu.server.Server(Settings(dev=True, http_port=0, udp_port=0, udp_host=HOST))
        await server.start()
        return cls(server.url.rstrip("/"), tap, server, patches)

    async def stop(self) -> None:
        await self.server.stop()
        for patch in self.patches:
            patch.stop()
