# SPDX-License-Identifier: Apache-2.0
"""One peer's transport: its ICE credentials and path in the engine, its DTLS association, its SRTP keys."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

from sfu.engine.events import DtlsDatagram, TransportEstimate, TransportExpired, TransportPath
from sfu.transport.certificate import Certificate
from sfu.transport.dtls import DtlsEndpoint, Role, TransportState
from sfu.transport.engine_port import EnginePort, TransportEvent
from sfu.transport.ice_lite import make_password

logger = logging.getLogger(__name__)

# a=setup of the peer's offer → our role. Being the DTLS server is preferred: then our order of SRTP profiles wins.
ROLES: Final[dict[str, Role]] = {"actpass": "server", "active": "server", "passive": "client"}


class PeerTransport:
    """From the offer to the keys, and from there to the end.

    DTLS starts when both are known: an address that passed ICE (from the engine) and the peer's fingerprints (from its
    SDP). `on_state` is called on each change of `state`; failed and closed are final, and by then the engine knows
    nothing of this transport any more.
    """

    def __init__(
        self,
        port: EnginePort,
        certificate: Certificate,
        candidates: Sequence[str],
        on_state: Callable[[TransportState], None],
    ) -> None:
        self._port = port
        self._on_state = on_state
        self._remote: tuple[Role, tuple[tuple[str, str], ...]] | None = None
        self._dtls = DtlsEndpoint(certificate, port.loop, send=self._send_dtls, on_state=self._on_dtls_state)
        self.candidates: Final = tuple(candidates)
        self.fingerprint: Final = certificate.fingerprint
        self.password: Final = make_password()
        self.handle, ufrag = port.commands.add_transport(self.password.encode())
        self.ufrag: Final = ufrag.decode()
        self.state = TransportState.NEW
        self.failure: str | None = None
        """Why `state` is failed, for the log and the peer's error message."""
        self.on_estimate: Callable[[int, int], None] | None = None
        """Hears what the link to the peer carries, and its congestion state, when they change."""
        self.path: TransportPath | None = None
        """Where the peer is reached, once it is known."""
        port.watch_transport(self.handle, self._on_event)

    def set_remote(self, fingerprints: Sequence[tuple[str, str]], setup: str) -> None:
        """What the peer's SDP says. A later offer must say the same: another identity needs another transport."""
        role = ROLES.get(setup.lower())
        if role is None:
            raise ValueError(f"a=setup:{setup} is not one of {', '.join(ROLES)}")
        remote = (role, tuple(fingerprints))
        if self._remote is None:
            self._remote = remote
            self._start_when_ready()
        elif remote[1] != self._remote[1]:
            raise ValueError("the DTLS fingerprint cannot change within a connection; a new one is needed")

    def close(self) -> None:
        """Tell the peer, and leave nothing behind."""
        self._end(TransportState.CLOSED)

    def _on_event(self, event: TransportEvent) -> None:
        if isinstance(event, DtlsDatagram):
            self._dtls.datagram(event.data)
        elif isinstance(event, TransportPath):
            self.path = event
            self._start_when_ready()
        elif isinstance(event, TransportEstimate):
            if self.on_estimate is not None:
                self.on_estimate(event.rate_bps, event.state)
        elif isinstance(event, TransportExpired):
            self.failure = "the peer has not been heard of for the consent time"
            self._end(TransportState.FAILED)

    def _start_when_ready(self) -> None:
        if self._remote is not None and self.path is not None and self._dtls.state is TransportState.NEW:
            self._dtls.start(*self._remote)

    def _send_dtls(self, datagram: bytes) -> None:
        self._port.commands.send_dtls(self.handle, datagram)

    def _on_dtls_state(self, state: TransportState) -> None:
        if state is TransportState.CONNECTED:
            keys = self._dtls.keys
            assert keys is not None
            # In the same batch as the last flight: the engine has the keys before the peer can have sent a packet.
            self._port.commands.set_keys(self.handle, keys.profile.number, keys.receive, keys.send)
            self._set(state)
        elif state is TransportState.CONNECTING:
            self._set(state)
        else:
            self.failure = self.failure or self._dtls.failure
            self._end(state)

    def _end(self, state: TransportState) -> None:
        if self.state in (TransportState.FAILED, TransportState.CLOSED):
            return
        self.state = state  # first: closing DTLS below comes back here
        self._dtls.close()
        self._port.unwatch_transport(self.handle)
        self._port.commands.remove_transport(self.handle)
        if state is TransportState.FAILED:
            logger.info("transport %s failed: %s", self.ufrag, self.failure)
        self._on_state(state)

    def _set(self, state: TransportState) -> None:
        self.state = state
        self._on_state(state)
