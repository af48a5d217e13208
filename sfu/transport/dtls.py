# SPDX-License-Identifier: Apache-2.0
"""A synchronous DTLS endpoint over datagrams: handshake, SRTP keys, application data. No task, no queue, no socket.

It is written for hostile input. Only whole, plausible records reach OpenSSL; an alert that no key protects is never
believed; and until a ClientHello was answered, whatever upsets OpenSSL costs only the SSL object, which is made anew.
"""

from __future__ import annotations

import contextlib
import enum
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from OpenSSL import SSL

from sfu.transport.certificate import FINGERPRINT_HASHES, Certificate, SrtpProfile, matches

logger = logging.getLogger(__name__)

# Largest datagram sent. Fits every path that IPv6 allows (1,280 bytes) with room for the headers of a tunnel.
MTU: Final = 1200
# Largest datagram taken: the engine's receive buffer. Peers cut their flights to about `MTU`.
MAX_DATAGRAM: Final = 2048
# From `start` to connected. OpenSSL repeats a lost flight after 1, 2, 4 and 8 s.
HANDSHAKE_DEADLINE_S: Final = 15.0
# A fast client's ClientHello may come before its SDP is handled; held until `start`. A flight is at most 3 or 4
# datagrams.
MAX_EARLY_DATAGRAMS: Final = 8
# OpenSSL's timer may be due already; never spin on it.
MIN_TIMER_S: Final = 0.01

# Record header: type (1), version (2), epoch (2), sequence number (6), length (2) (RFC 6347, section 4.1).
RECORD_HEADER_SIZE: Final = 13
RECORD_VERSION_MAJOR: Final = 0xFE
ALERT: Final = 21
HANDSHAKE: Final = 22
RECORD_TYPES: Final = frozenset({20, ALERT, HANDSHAKE, 23})  # change cipher spec, alert, handshake, application data
# Explicit nonce and tag of AES-GCM (RFC 5288), the only cipher we negotiate. OpenSSL takes a shorter record, which
# anybody can send, for a fatal error of the association.
MIN_PROTECTED_SIZE: Final = 8 + 16
# Handshake message header: type (1), length (3), message number (2), fragment offset (3), fragment length (3)
# (RFC 6347, section 4.2.2).
MESSAGE_HEADER_SIZE: Final = 12
CLIENT_HELLO: Final = 1

# Largest plaintext of one record (RFC 6347, section 4.1), and more than a flight can hold.
MAX_PLAINTEXT: Final = 16384
MAX_OUTPUT: Final = 65536

EXPORTER_LABEL: Final = b"EXTRACTOR-dtls_srtp"  # RFC 5764, section 4.2

Role = Literal["client", "server"]


class TransportState(enum.StrEnum):
    """Of a DTLS endpoint, and of the peer transport around it."""

    NEW = "new"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    FAILED = "failed"
    CLOSED = "closed"


class Timer(Protocol):
    def cancel(self) -> None: ...


class Timers(Protocol):
    """What an asyncio loop offers; a test may hand in its own."""

    def call_later(self, delay: float, callback: Callable[[], object], /) -> Timer: ...


@dataclass(frozen=True, slots=True)
class SrtpKeys:
    """What a finished handshake gives to SRTP: master key followed by master salt, per direction."""

    profile: SrtpProfile
    receive: bytes
    send: bytes


def _ignore_data(_: bytes) -> None:
    """A peer without data channels has nobody who wants application data."""


class DtlsEndpoint:
    """One end of one DTLS association.

    `send` gets datagrams of at most `MTU` bytes. `on_state` is called on each change; when it says connected, `keys`
    are there. `on_data` gets each record of application data.
    """

    def __init__(
        self,
        certificate: Certificate,
        timers: Timers,
        *,
        send: Callable[[bytes], None],
        on_state: Callable[[TransportState], None],
        on_data: Callable[[bytes], None] = _ignore_data,
    ) -> None:
        self._certificate = certificate
        self._timers = timers
        self._send = send
        self._on_state = on_state
        self._on_data = on_data
        self._role: Role = "server"
        self._fingerprints: tuple[tuple[str, str], ...] = ()
        self._ssl: SSL.Connection | None = None
        self._early: list[bytes] = []
        self._retransmission: Timer | None = None
        self._deadline: Timer | None = None
        self._answered = False  # a flight of ours has left: the SSL object holds a handshake worth keeping
        self._last_trouble = ""
        self.state = TransportState.NEW
        self.keys: SrtpKeys | None = None
        self.failure: str | None = None
        """Why `state` is failed, for the log."""

    @property
    def role(self) -> Role:
        return self._role

    def start(self, role: Role, fingerprints: Sequence[tuple[str, str]]) -> None:
        """Begin the handshake; as a server, be ready for it. `fingerprints` are the peer's: (hash function, value)."""
        if self.state is not TransportState.NEW:
            raise RuntimeError(f"DTLS endpoint is {self.state}, start() needs a new one")
        self._role = role
        self._fingerprints = tuple(fingerprints)
        if not any(algorithm.lower() in FINGERPRINT_HASHES for algorithm, _ in self._fingerprints):
            self._fail("no fingerprint with a hash function we accept: " + ", ".join(FINGERPRINT_HASHES))
            return
        self._renew()
        self._deadline = self._timers.call_later(HANDSHAKE_DEADLINE_S, self._on_deadline)
        self._set(TransportState.CONNECTING)
        self._handshake()
        early, self._early = self._early, []
        for datagram in early:
            self.datagram(datagram)

    def datagram(self, datagram: bytes) -> None:
        """Take what came from the peer. Anything at all may be in it."""
        if len(datagram) > MAX_DATAGRAM:
            return
        if self.state is TransportState.NEW:
            if len(self._early) < MAX_EARLY_DATAGRAMS:
                self._early.append(datagram)
            return
        ssl = self._ssl
        if ssl is None:
            return
        records = b"".join(self._plausible_records(datagram))
        if not records:
            return
        ssl.bio_write(records)
        if self.state is TransportState.CONNECTING:
            self._handshake()
        if self.state is TransportState.CONNECTED:
            self._receive()

    def send(self, data: bytes) -> None:
        """Send application data as one record."""
        if self.state is not TransportState.CONNECTED or self._ssl is None:
            raise ConnectionError(f"DTLS is {self.state}")
        if not 0 < len(data) <= MAX_PLAINTEXT:
            raise ValueError(f"{len(data)} bytes do not make a DTLS record; 1 to {MAX_PLAINTEXT} do")
        self._ssl.send(data)
        self._flush()

    def close(self) -> None:
        """Say goodbye, if there is anybody to say it to, and forget everything. Safe to call in any state."""
        if self.state is TransportState.CONNECTED:
            self._notify_close()
        if self.state not in (TransportState.FAILED, TransportState.CLOSED):
            self._set(TransportState.CLOSED)

    # Records

    def _plausible_records(self, datagram: bytes) -> Iterator[bytes]:
        """The records worth showing to OpenSSL. Its memory BIO is a byte stream, so that a torn record would spoil the
        next datagram.
        """
        position = 0
        while position + RECORD_HEADER_SIZE <= len(datagram):
            end = position + RECORD_HEADER_SIZE + int.from_bytes(datagram[position + 11 : position + 13])
            if end > len(datagram):
                return
            record = datagram[position:end]
            if self._is_plausible(record):
                yield record
            position = end

    def _is_plausible(self, record: bytes) -> bool:
        if record[0] not in RECORD_TYPES or record[1] != RECORD_VERSION_MAJOR:
            return False
        body = record[RECORD_HEADER_SIZE:]
        protected = record[3:5] != b"\0\0"  # epoch 0 is plaintext: anybody can have written it
        if protected and len(body) < MIN_PROTECTED_SIZE:
            return False
        if record[0] == ALERT and not protected:
            self._last_trouble = f"unprotected alert {body[:2].hex(' ')}"
            return False
        if self.state is TransportState.CONNECTED:
            return protected
        if self._role == "server" and not self._answered:
            # Anything but a first ClientHello would use up the record number that the real one comes with.
            return record[0] == HANDSHAKE and not protected and _is_first_client_hello(body)
        return True

    # Handshake

    def _renew(self) -> None:
        ssl = SSL.Connection(self._certificate.context)
        ssl.set_ciphertext_mtu(MTU)
        if self._role == "server":
            ssl.set_accept_state()
        else:
            ssl.set_connect_state()
        self._ssl = ssl

    def _handshake(self) -> None:
        if self._ssl is None:
            return
        try:
            self._ssl.do_handshake()
        except SSL.WantReadError:
            if self._flush():
                self._answered = True
            self._arm()
        except SSL.Error as error:
            self._handshake_error(error)
        else:
            self._flush()
            self._verify()

    def _handshake_error(self, error: SSL.Error) -> None:
        if self._answered:
            self._flush()  # the alert: this peer has shown that it is there
            self._fail(f"handshake: {_describe(error)}")
            return
        # Before the ClientHello nobody has shown anything. The alert is swallowed too: it would go to a peer that may
        # not be the culprit.
        self._last_trouble = _describe(error)
        self._renew()

    def _verify(self) -> None:
        if self._ssl is None:
            return
        peer = self._ssl.get_peer_certificate(as_cryptography=True)
        if peer is None or not matches(peer, self._fingerprints):
            self._notify_close()
            self._fail("the peer's certificate has another fingerprint than its SDP")
            return
        profile = self._certificate.profile_named(self._ssl.get_selected_srtp_profile())
        if profile is None:
            self._notify_close()
            self._fail("no common SRTP profile")
            return
        client, server = profile.split(self._ssl.export_keying_material(EXPORTER_LABEL, profile.exported_size))
        if self._role == "server":
            self.keys = SrtpKeys(profile, receive=client, send=server)
        else:
            self.keys = SrtpKeys(profile, receive=server, send=client)
        self._set(TransportState.CONNECTED)

    def _arm(self) -> None:
        if self._retransmission is not None:
            self._retransmission.cancel()
            self._retransmission = None
        delay_s = self._ssl.DTLSv1_get_timeout() if self._ssl is not None else None
        if delay_s is not None:
            self._retransmission = self._timers.call_later(max(delay_s, MIN_TIMER_S), self._on_retransmission)

    def _on_retransmission(self) -> None:
        self._retransmission = None
        if self.state is not TransportState.CONNECTING or self._ssl is None:
            return
        try:
            self._ssl.DTLSv1_handle_timeout()
        except SSL.Error as error:
            self._fail(f"retransmission: {_describe(error)}")
            return
        self._flush()
        self._arm()

    def _on_deadline(self) -> None:
        self._deadline = None
        trouble = f"; last seen: {self._last_trouble}" if self._last_trouble else ""
        self._fail(f"no handshake within {HANDSHAKE_DEADLINE_S:.0f} s{trouble}")

    # Data

    def _receive(self) -> None:
        """Hand out every record of the datagram. The callback may close us."""
        while self.state is TransportState.CONNECTED and self._ssl is not None:
            try:
                data = self._ssl.recv(MAX_PLAINTEXT)
            except SSL.WantReadError:
                break
            except SSL.ZeroReturnError:
                self._notify_close()
                self._set(TransportState.CLOSED)
                return
            except SSL.Error as error:
                self._fail(f"connection: {_describe(error)}")
                return
            self._on_data(data)
        self._flush()  # a lost last flight is repeated from here

    def _flush(self) -> bool:
        """Send what OpenSSL wrote. It is a byte stream: cut at record borders into datagrams of at most `MTU` bytes."""
        if self._ssl is None:
            return False
        try:
            output = self._ssl.bio_read(MAX_OUTPUT)
        except SSL.WantReadError:
            return False
        start = end = 0
        while end + RECORD_HEADER_SIZE <= len(output):
            size = RECORD_HEADER_SIZE + int.from_bytes(output[end + 11 : end + 13])
            if end > start and end + size - start > MTU:
                self._send(output[start:end])
                start = end
            end += size
        self._send(output[start:])
        return True

    # State

    def _notify_close(self) -> None:
        if self._ssl is not None:
            with contextlib.suppress(SSL.Error):
                self._ssl.shutdown()
            self._flush()

    def _fail(self, reason: str) -> None:
        self.failure = reason
        logger.info("DTLS failed: %s", reason)
        self._set(TransportState.FAILED)

    def _set(self, state: TransportState) -> None:
        self.state = state
        if state is not TransportState.CONNECTING:
            for timer in (self._retransmission, self._deadline):
                if timer is not None:
                    timer.cancel()
            self._retransmission = self._deadline = None
        if state in (TransportState.FAILED, TransportState.CLOSED):
            self._ssl = None  # about 100 kB
            self._early.clear()
        self._on_state(state)


def _is_first_client_hello(body: bytes) -> bool:
    """Whether a handshake record holds the first message of a client, or a fragment of it."""
    if len(body) < MESSAGE_HEADER_SIZE or body[0] != CLIENT_HELLO or body[4:6] != b"\0\0":
        return False
    return int.from_bytes(body[9:12]) == len(body) - MESSAGE_HEADER_SIZE


def _describe(error: SSL.Error) -> str:
    """OpenSSL's reason without its library and function names."""
    entries = error.args[0] if error.args else ()
    if isinstance(entries, list) and entries:
        return "; ".join(str(entry[-1]) for entry in entries)
    return type(error).__name__
