# SPDX-License-Identifier: Apache-2.0
"""A light bot's transport: one UDP socket with ICE, DTLS and SRTP on it."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import random
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sfu.engine.srtp import SrtpError, SrtpSession
from sfu.load.description import Answer, Setup
from sfu.load.ice_client import Address, IceClient, read_candidates
from sfu.load.network import DelayLine, Impairment, Link
from sfu.transport.certificate import Certificate
from sfu.transport.dtls import DtlsEndpoint, Role, SrtpKeys, TransportState

MAX_DATAGRAM: Final = 2048
# Read per wake-up, so that one bot's flood does not starve the others of the process.
READ_BATCH: Final = 64
RECEIVE_BUFFER: Final = 1 << 20
# Linux: the kernel notes when each datagram came, as a timespec of the real-time clock. Python has no name for it.
SO_TIMESTAMPNS: Final = 35
TIMESPEC: Final = struct.Struct("@qq")
ANCILLARY_SIZE: Final = socket.CMSG_SPACE(TIMESPEC.size)
CONNECT_LIMIT_S: Final = 20.0

# RFC 7983: what the first byte says; RFC 5761: the RTCP packet types in the second.
STUN_LAST: Final = 3
DTLS_FIRST, DTLS_LAST = 20, 63
RTP_FIRST, RTP_LAST = 128, 191
RTCP_FIRST, RTCP_LAST = 192, 223


@dataclass(slots=True)
class ConnectionStatistics:
    received: int = 0
    sent: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0
    send_errors: int = 0
    srtp_errors: int = 0
    unexpected: int = 0
    """Datagrams of no known protocol, or media before the keys."""
    impaired: int = 0
    """Lost on purpose."""


def now_us() -> int:
    """The monotonic clock that the engine uses too."""
    return time.monotonic_ns() // 1000


def arrival_us(ancillary: Sequence[tuple[int, int, bytes]]) -> int:
    """When the kernel received a datagram, on the clock of `now_us`: however long this process took to come to it."""
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS and len(data) == TIMESPEC.size:
            seconds, nanoseconds = TIMESPEC.unpack(data)
            age_ns: int = time.time_ns() - (seconds * 1_000_000_000 + nanoseconds)
            return now_us() - max(0, age_ns) // 1000
    return now_us()


class LightConnection:
    """Media in and out of one bot. `on_rtp` and `on_rtcp` get decrypted packets and when the kernel received them."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        certificate: Certificate,
        *,
        on_rtp: Callable[[bytes, int], None],
        on_rtcp: Callable[[bytes, int], None],
        on_state: Callable[[TransportState], None],
        impairment: Impairment | None = None,
        accept_address: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """`accept_address` chooses among the server's addresses (a test that wants IPv6, say)."""
        self._loop = loop
        self._on_rtp = on_rtp
        self._on_rtcp = on_rtcp
        self._on_state = on_state
        impairment = impairment or Impairment()
        rng = random.Random(impairment.seed)
        self._inbound_link = Link(impairment, impairment.inbound_loss, rng)
        self._outbound_link = Link(impairment, impairment.outbound_loss, rng)
        self._inbound_line = DelayLine(loop, now_us)
        self._outbound_line = DelayLine(loop, now_us)
        self._accept_address = accept_address
        self._socket = self._open_socket()
        self._remote: Address | None = None
        self._start_dtls: tuple[Role, Sequence[tuple[str, str]]] | None = None
        self._inbound: SrtpSession | None = None
        self._outbound: SrtpSession | None = None
        self._connected: asyncio.Future[None] = loop.create_future()
        self._dtls = DtlsEndpoint(certificate, loop, send=self._send, on_state=self._on_dtls_state)
        self.ice = IceClient(loop, send=self._send_check, on_selected=self._on_selected, on_lost=self._fail)
        self.fingerprint: Final = certificate.fingerprint
        self.statistics = ConnectionStatistics()
        self.state = TransportState.NEW
        self.failure: str | None = None

    @property
    def local_address(self) -> Address:
        host, port = self._socket.getsockname()[:2]
        return host, port

    def start(self, answer: Answer, offered: Setup) -> None:
        """Connect as the answer says. Our DTLS role follows from what we offered and what the server chose."""
        role: Role = "server" if answer.setup == "active" or offered == "passive" else "client"
        remotes = [remote for remote in read_candidates(answer.candidates) if self._accept_address(remote[0])]
        if not remotes:
            raise ValueError(f"none of the server's addresses is accepted: {answer.candidates}")
        self._start_dtls = (role, answer.fingerprints)
        self._set(TransportState.CONNECTING)
        self.ice.start(answer.ufrag, answer.password, remotes)

    async def wait_connected(self) -> None:
        """ConnectionError if it fails, TimeoutError if it takes too long."""
        async with asyncio.timeout(CONNECT_LIMIT_S):
            await asyncio.shield(self._connected)

    def rebind(self) -> None:
        """Go on from another local port, as after a change of network."""
        self._close_socket()
        self._socket = self._open_socket()
        if self._remote is not None:
            self._socket.connect(self._remote)
        self.ice.check_now()

    def hand_over(self) -> tuple[int, SrtpKeys]:
        """Once connected: the socket's descriptor and the keys, for one who carries the media from now on.

        What is not media that one brings back by `take_control`; checks and goodbyes still leave from here.
        """
        if self._dtls.keys is None:
            raise ValueError("there are no keys before the connection is there")
        self._loop.remove_reader(self._socket.fileno())
        self._inbound = self._outbound = None
        return self._socket.fileno(), self._dtls.keys

    def take_control(self, datagram: bytes) -> None:
        """STUN or DTLS that somebody else read from our socket."""
        self._take(datagram, now_us())

    def send_rtp(self, packet: bytes) -> None:
        if self._outbound is not None:
            self._send_media(self._outbound.protect(packet))

    def send_rtcp(self, packet: bytes) -> None:
        if self._outbound is not None:
            self._send_media(self._outbound.protect_rtcp(packet))

    def close(self, *, silently: bool = False) -> None:
        """`silently`: without telling the server, as a process that dies."""
        if self.state is TransportState.CLOSED:
            return
        if silently:
            self._close_socket()  # first: the goodbye below finds none
        self.state = TransportState.CLOSED
        self._dtls.close()
        self._release()
        self._on_state(self.state)

    def _open_socket(self) -> socket.socket:
        """Dual-stack where the machine has IPv6."""
        try:
            sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.bind(("::", 0))
        except OSError:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind(("0.0.0.0", 0))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._on_readable)
        return sock

    def _close_socket(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    # In

    def _on_readable(self) -> None:
        for _ in range(READ_BATCH):
            try:
                datagram, ancillary, _, _ = self._socket.recvmsg(MAX_DATAGRAM, ANCILLARY_SIZE)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error of something sent earlier, or closed by a callback
                return
            self.statistics.received += 1
            self.statistics.received_bytes += len(datagram)
            self._take(datagram, arrival_us(ancillary))

    def _take(self, datagram: bytes, arrived_us: int) -> None:
        first = datagram[0] if datagram else 255
        if RTP_FIRST <= first <= RTP_LAST:
            self._take_media(datagram, arrived_us)
        elif first <= STUN_LAST:
            self.ice.take(datagram)
        elif DTLS_FIRST <= first <= DTLS_LAST:
            self._dtls.datagram(datagram)
        else:
            self.statistics.unexpected += 1

    def _take_media(self, datagram: bytes, arrived_us: int) -> None:
        if self._inbound is None or len(datagram) < 2:
            self.statistics.unexpected += 1
            return
        if self._inbound_link.is_clear:
            self._unprotect(datagram, arrived_us)
            return
        at_us = self._inbound_link.leaves_us(len(datagram), arrived_us)
        if at_us is None or not self._inbound_line.put(at_us, lambda: self._unprotect(datagram, at_us)):
            self.statistics.impaired += 1

    def _unprotect(self, datagram: bytes, arrived_us: int) -> None:
        if self._inbound is None:  # closed while it was under way
            return
        is_rtcp = RTCP_FIRST <= datagram[1] <= RTCP_LAST
        try:
            packet = self._inbound.unprotect_rtcp(datagram) if is_rtcp else self._inbound.unprotect(datagram)
        except SrtpError:
            self.statistics.srtp_errors += 1
            return
        (self._on_rtcp if is_rtcp else self._on_rtp)(packet, arrived_us)

    # Out

    def _send_media(self, datagram: bytes) -> None:
        if self._outbound_link.is_clear:
            self._send(datagram)
            return
        at_us = self._outbound_link.leaves_us(len(datagram), now_us())
        if at_us is None or not self._outbound_line.put(at_us, lambda: self._send(datagram)):
            self.statistics.impaired += 1

    def _send(self, datagram: bytes) -> None:
        if self._remote is None or self._socket.fileno() < 0:
            return
        try:
            self._socket.send(datagram)
        except OSError:  # a full buffer or a network that is away: the datagram is lost, as any may be
            self.statistics.send_errors += 1
            return
        self.statistics.sent += 1
        self.statistics.sent_bytes += len(datagram)

    def _send_check(self, datagram: bytes, remote: Address) -> None:
        self._socket.sendto(datagram, self._native(remote))

    def _native(self, remote: Address) -> Address:
        """The address in the form that our socket's family wants."""
        host, port = remote
        if self._socket.family == socket.AF_INET6 and ipaddress.ip_address(host).version == 4:
            return f"::ffff:{host}", port
        return remote

    # State

    def _on_selected(self, remote: Address) -> None:
        self._remote = self._native(remote)
        self._socket.connect(self._remote)  # from now on the kernel drops what comes from another address
        if self._start_dtls is not None:
            self._dtls.start(*self._start_dtls)

    def _on_dtls_state(self, state: TransportState) -> None:
        if state is TransportState.CONNECTED:
            keys = self._dtls.keys
            assert keys is not None
            self._inbound = SrtpSession(keys.profile.number, keys.receive, outbound=False)
            self._outbound = SrtpSession(keys.profile.number, keys.send, outbound=True)
            self._set(state)
            if not self._connected.done():
                self._connected.set_result(None)
        elif state is TransportState.FAILED:
            self._fail(f"DTLS: {self._dtls.failure}")
        elif state is TransportState.CLOSED and self.state is not TransportState.CLOSED:
            self._fail("the server closed the connection")

    def _fail(self, reason: str) -> None:
        if self.state in (TransportState.FAILED, TransportState.CLOSED):
            return
        self.failure = reason
        self.state = TransportState.FAILED
        self._dtls.close()
        self._release()
        self._on_state(self.state)

    def _release(self) -> None:
        self.ice.close()
        self._inbound_line.close()
        self._outbound_line.close()
        self._close_socket()
        self._inbound = self._outbound = None
        if not self._connected.done():
            self._connected.set_exception(ConnectionError(self.failure or "closed"))
            with contextlib.suppress(ConnectionError):
                self._connected.exception()

    def _set(self, state: TransportState) -> None:
        self.state = state
        self._on_state(state)
