# SPDX-License-Identifier: Apache-2.0
"""The controlling side of ICE towards a server: checks, nomination, consent. No socket: datagrams in and out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from aioice import stun
from aioice.candidate import Candidate

logger = logging.getLogger(__name__)

Address = tuple[str, int]

CHECK_INTERVAL_S: Final = 0.1
CHECK_LIMIT_S: Final = 10.0
# RFC 7675, section 5.1: every 5 s, varied by a fifth; consent ends 30 s after the last answer.
CONSENT_INTERVAL_S: Final = 5.0
CONSENT_VARIATION: Final = 0.2
CONSENT_EXPIRY_S: Final = 30.0
MAX_OUTSTANDING: Final = 64
# RFC 8445, section 5.1.2 for a peer-reflexive candidate of ours: type preference 110, any local preference.
PRIORITY: Final = (110 << 24) + (65535 << 8) + 255


def read_candidates(lines: Sequence[str]) -> list[Address]:
    """Addresses of the UDP host candidates, the most preferred first."""
    candidates = [Candidate.from_sdp(line) for line in lines]
    usable = [
        candidate for candidate in candidates if candidate.transport.lower() == "udp" and candidate.component == 1
    ]
    return [(c.host, c.port) for c in sorted(usable, key=lambda candidate: -candidate.priority)]


class IceClient:
    """`on_selected` is called once, at the first answer; `on_lost` when there was none in time, with the reason."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        send: Callable[[bytes, Address], None],
        on_selected: Callable[[Address], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._send = send
        self._on_selected = on_selected
        self._on_lost = on_lost
        self._tie_breaker = secrets.randbits(64)
        self._outstanding: OrderedDict[bytes, tuple[Address, bool]] = OrderedDict()
        self._remotes: tuple[Address, ...] = ()
        self._username = ""
        self._remote_password = b""
        self._timer: asyncio.TimerHandle | None = None
        self._last_answer_s = 0.0
        self.ufrag: Final = secrets.token_hex(4)
        self.password: Final = secrets.token_hex(12)
        self.selected: Address | None = None
        self.nominated = False
        self.answers = 0

    def start(self, ufrag: str, password: str, remotes: Sequence[Address]) -> None:
        """Check the server's addresses, all at once."""
        self._username = f"{ufrag}:{self.ufrag}"
        self._remote_password = password.encode()
        self._remotes = tuple(remotes)
        self._last_answer_s = self._loop.time()
        self._tick()

    def check_now(self) -> None:
        """Ask again at once, as after a change of our own address."""
        self.nominated = False
        self._tick()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._outstanding.clear()
        self._remotes = ()

    def take(self, datagram: bytes) -> None:
        """A STUN message came."""
        try:
            message = stun.parse_message(datagram)
        except ValueError:
            return
        if message.message_class is stun.Class.REQUEST:
            self._respond(message)
            return
        known = self._outstanding.pop(message.transaction_id, None)
        if known is None:
            return
        if message.message_class is not stun.Class.RESPONSE:
            logger.info("the server refused a check of %s: %s", known[0], message)
            return
        if not message.check_message_integrity(self._remote_password):
            return
        self.answers += 1
        self._last_answer_s = self._loop.time()
        remote, nominating = known
        if nominating:
            self.nominated = True
        elif self.selected is None:
            self.selected = remote
            self._on_selected(remote)
            if self._remotes:  # unless that closed us
                self._tick()

    def _respond(self, request: stun.Message) -> None:
        """A server that is not lite checks us, too."""
        remote = self.selected or (self._remotes[0] if self._remotes else None)
        if remote is None or not request.check_message_integrity(self.password.encode()):
            return
        response = stun.Message(
            message_method=stun.Method.BINDING,
            message_class=stun.Class.RESPONSE,
            transaction_id=request.transaction_id,
        )
        response.attributes["XOR-MAPPED-ADDRESS"] = remote
        response.add_message_integrity(self.password.encode())
        with contextlib.suppress(OSError):
            self._send(bytes(response), remote)

    def _tick(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        silent_s = self._loop.time() - self._last_answer_s
        limit_s = CHECK_LIMIT_S if self.selected is None else CONSENT_EXPIRY_S
        if silent_s > limit_s:
            self.close()
            self._on_lost(f"no answer to connectivity checks for {limit_s:.0f} s")
            return
        for remote in self._remotes if self.selected is None else (self.selected,):
            self._check(remote, nominate=self.selected is not None)
        delay_s = CHECK_INTERVAL_S
        if self.nominated:
            delay_s = CONSENT_INTERVAL_S * random.uniform(1 - CONSENT_VARIATION, 1 + CONSENT_VARIATION)
        self._timer = self._loop.call_later(delay_s, self._tick)

    def _check(self, remote: Address, *, nominate: bool) -> None:
        request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
        request.attributes["USERNAME"] = self._username
        request.attributes["PRIORITY"] = PRIORITY
        request.attributes["ICE-CONTROLLING"] = self._tie_breaker
        if nominate:
            request.attributes["USE-CANDIDATE"] = None
        request.add_message_integrity(self._remote_password)
        self._outstanding[request.transaction_id] = (remote, nominate)
        if len(self._outstanding) > MAX_OUTSTANDING:
            self._outstanding.popitem(last=False)
        with contextlib.suppress(OSError):  # an address of a family, or a network, that we do not have
            self._send(bytes(request), remote)
