# SPDX-License-Identifier: Apache-2.0
"""Two ends of a DTLS association in memory: datagrams are queued, so that a test can drop, repeat and reorder them."""

from __future__ import annotations

import functools
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from OpenSSL import SSL

from sfu.transport.certificate import Certificate, PrivateKey, digest
from sfu.transport.dtls import DtlsEndpoint, Role, Timers, TransportState

KeyName = Literal["ecdsa-p256", "ecdsa-p384", "rsa-2048", "rsa-4096"]
KEYS: tuple[KeyName, ...] = ("ecdsa-p256", "ecdsa-p384", "rsa-2048", "rsa-4096")


@functools.cache
def private_key(name: KeyName) -> PrivateKey:
    """Cached: an RSA key takes seconds."""
    match name:
        case "ecdsa-p256":
            return ec.generate_private_key(ec.SECP256R1())
        case "ecdsa-p384":
            return ec.generate_private_key(ec.SECP384R1())
        case "rsa-2048":
            return rsa.generate_private_key(65537, 2048)
        case "rsa-4096":
            return rsa.generate_private_key(65537, 4096)


@dataclass
class ManualTimer:
    due: float
    callback: Callable[[], object]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class ManualTimers:
    """Time that moves only when the test says so."""

    now: float = 0.0
    timers: list[ManualTimer] = field(default_factory=list)

    def call_later(self, delay: float, callback: Callable[[], object], /) -> ManualTimer:
        timer = ManualTimer(self.now + delay, callback)
        self.timers.append(timer)
        return timer

    def advance(self, seconds: float) -> None:
        self.now += seconds
        due = [timer for timer in self.pending() if timer.due <= self.now]
        for timer in due:
            timer.cancelled = True
            timer.callback()

    def pending(self) -> list[ManualTimer]:
        return [timer for timer in self.timers if not timer.cancelled]


class End:
    """A `DtlsEndpoint` with what came out of it."""

    def __init__(self, timers: Timers, certificate: Certificate) -> None:
        self.certificate = certificate
        self.sent: list[bytes] = []
        self.unsent: deque[bytes] = deque()
        self.states: list[TransportState] = []
        self.data: list[bytes] = []
        self.endpoint = DtlsEndpoint(
            certificate, timers, send=self._send, on_state=self.states.append, on_data=self.data.append
        )

    def _send(self, datagram: bytes) -> None:
        self.sent.append(datagram)
        self.unsent.append(datagram)

    @property
    def fingerprints(self) -> list[tuple[str, str]]:
        algorithm, value = self.certificate.fingerprint.split(" ")
        return [(algorithm, value)]


class Association:
    """A client and a server end. `pump` carries datagrams until both are quiet; `dropped` names those to lose, by
    ("client" | "server", n).
    """

    def __init__(
        self,
        timers: Timers,
        *,
        client: Certificate | None = None,
        server: Certificate | None = None,
        dropped: Sequence[tuple[Role, int]] = (),
        repeated: Sequence[tuple[Role, int]] = (),
    ) -> None:
        self.client = End(timers, client or Certificate())
        self.server = End(timers, server or Certificate())
        self._dropped = set(dropped)
        self._repeated = set(repeated)
        self._numbers: dict[Role, itertools.count[int]] = {"client": itertools.count(), "server": itertools.count()}

    def start(self) -> None:
        self.server.endpoint.start("server", self.client.fingerprints)
        self.client.endpoint.start("client", self.server.fingerprints)

    def pump(self) -> None:
        while self.client.unsent or self.server.unsent:
            self._carry("client", self.client, self.server)
            self._carry("server", self.server, self.client)

    def _carry(self, sender: Role, source: End, sink: End) -> None:
        while source.unsent:
            datagram = source.unsent.popleft()
            number = (sender, next(self._numbers[sender]))
            if number in self._dropped:
                continue
            for _ in range(2 if number in self._repeated else 1):
                sink.endpoint.datagram(datagram)

    @property
    def states(self) -> tuple[TransportState, TransportState]:
        return self.client.endpoint.state, self.server.endpoint.state


class PlainPeer:
    """A peer of nothing but pyOpenSSL, with its own context: what another implementation's endpoint looks like from
    here.
    """

    def __init__(
        self, role: Role, key: KeyName, profiles: bytes = b"SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_128_GCM"
    ) -> None:
        source = Certificate(key=private_key(key))
        context = SSL.Context(SSL.DTLS_METHOD)
        context.use_certificate(source.x509)
        context.use_privatekey(private_key(key))
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
        context.set_options(SSL.OP_NO_QUERY_MTU)
        if profiles:
            context.set_tlsext_use_srtp(profiles)
        self.ssl = SSL.Connection(context)
        self.ssl.set_ciphertext_mtu(1200)
        if role == "client":
            self.ssl.set_connect_state()
        else:
            self.ssl.set_accept_state()
        self.certificate: x509.Certificate = source.x509
        self.connected = False
        self.closed = False
        self.error: SSL.Error | None = None
        self.data: list[bytes] = []

    def fingerprint(self, algorithm: str = "sha-256") -> tuple[str, str]:
        return algorithm, digest(self.certificate, algorithm)

    def exchange(self, end: End) -> None:
        """Run until neither has anything to say."""
        busy = True
        while busy:
            busy = False
            self._step()
            for datagram in self._output():
                end.endpoint.datagram(datagram)
                busy = True
            while end.unsent:
                self.ssl.bio_write(end.unsent.popleft())
                self._step()
                busy = True

    def _step(self) -> None:
        try:
            if not self.connected:
                self.ssl.do_handshake()
                self.connected = True
            while True:
                self.data.append(self.ssl.recv(16384))
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self.closed = True
        except SSL.Error as error:
            self.error = error

    def _output(self) -> list[bytes]:
        try:
            return records(self.ssl.bio_read(65536))
        except SSL.WantReadError:
            return []


def records(datagram: bytes) -> list[bytes]:
    """The DTLS records of a datagram or of a whole flight; it must hold nothing else."""
    found = []
    position = 0
    while position < len(datagram):
        end = position + 13 + int.from_bytes(datagram[position + 11 : position + 13])
        found.append(datagram[position:end])
        position = end
    assert position == len(datagram)
    return found
