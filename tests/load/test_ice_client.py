# SPDX-License-Identifier: Apache-2.0
"""The bot's side of ICE against the server's own STUN code."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from sfu.load.ice_client import CHECK_LIMIT_S, CONSENT_EXPIRY_S, Address, IceClient, read_candidates
from sfu.wire import stun
from sfu.wire.stun_messages import Message

PASSWORD = "p" * 24
REMOTES: list[Address] = [("192.0.2.1", 7882), ("2001:db8::1", 7882)]


@dataclass
class ManualLoop:
    """The part of a loop that `IceClient` uses, with time that moves by hand."""

    now_s: float = 0.0
    timers: list[tuple[float, Callable[[], object], list[bool]]] = field(default_factory=list)

    def time(self) -> float:
        return self.now_s

    def call_later(self, delay: float, callback: Callable[[], object]) -> ManualTimer:
        cancelled = [False]
        self.timers.append((self.now_s + delay, callback, cancelled))
        return ManualTimer(cancelled)

    def advance(self, seconds: float) -> None:
        end_s = self.now_s + seconds
        while due := sorted((t for t in self.timers if not t[2][0] and t[0] <= end_s), key=lambda timer: timer[0]):
            at_s, callback, cancelled = due[0]
            cancelled[0] = True
            self.now_s = at_s
            callback()
        self.now_s = end_s


@dataclass
class ManualTimer:
    cancelled: list[bool]

    def cancel(self) -> None:
        self.cancelled[0] = True


class Bench:
    """A client and a server that answers at the addresses in `alive`."""

    def __init__(self, alive: set[Address]) -> None:
        self.alive = alive
        self.loop = ManualLoop()
        self.requests: list[tuple[Address, Message]] = []
        self.selected: list[Address] = []
        self.lost: list[str] = []
        loop: asyncio.AbstractEventLoop = self.loop  # type: ignore[assignment]
        self.client = IceClient(loop, send=self._send, on_selected=self.selected.append, on_lost=self.lost.append)

    def _send(self, datagram: bytes, remote: Address) -> None:
        request = stun.parse_message(datagram)
        assert stun.verify(datagram, PASSWORD.encode())
        self.requests.append((remote, request))
        if remote in self.alive:
            response = stun.write_success(request.transaction_id, "203.0.113.9", 50_000, PASSWORD.encode())
            self.loop.call_later(0.01, lambda: self.client.take(response))

    def start(self) -> None:
        self.client.start("server", PASSWORD, REMOTES)


def test_all_addresses_are_checked_and_the_first_answer_is_nominated() -> None:
    bench = Bench({REMOTES[1]})
    bench.start()
    assert [remote for remote, _ in bench.requests] == REMOTES
    first = bench.requests[0][1]
    assert first.username == f"server:{bench.client.ufrag}".encode()
    assert first.controlling
    assert first.has_fingerprint
    assert not first.use_candidate
    bench.loop.advance(0.05)
    assert bench.selected == [REMOTES[1]]
    assert bench.client.nominated
    assert bench.requests[-1][0] == REMOTES[1]
    assert bench.requests[-1][1].use_candidate


def test_consent_is_kept_and_expires() -> None:
    bench = Bench(set(REMOTES))
    bench.start()
    bench.loop.advance(60)
    assert bench.lost == []
    assert 10 <= len(bench.requests) <= 20
    bench.alive.clear()
    bench.loop.advance(CONSENT_EXPIRY_S + 10)
    assert len(bench.lost) == 1
    assert bench.selected == [REMOTES[0]]


def test_no_answer_at_all() -> None:
    bench = Bench(set())
    bench.start()
    bench.loop.advance(CHECK_LIMIT_S + 1)
    assert bench.lost == ["no answer to connectivity checks for 10 s"]
    sent = len(bench.requests)
    bench.loop.advance(60)
    assert len(bench.requests) == sent


def test_what_is_not_an_answer_is_ignored() -> None:
    bench = Bench(set())
    bench.start()
    request = bench.requests[0][1]
    bench.client.take(b"")
    bench.client.take(b"\x01\x01 noise")
    bench.client.take(stun.write_success(b"x" * 12, "203.0.113.9", 1, PASSWORD.encode()))
    bench.client.take(stun.write_success(request.transaction_id, "203.0.113.9", 1, b"another password"))
    bench.client.take(stun.write_error(bench.requests[1][1].transaction_id, 487, PASSWORD.encode()))
    assert bench.selected == []


def test_close_stops_everything() -> None:
    bench = Bench(set(REMOTES))
    bench.start()
    bench.client.close()
    bench.loop.advance(120)
    assert bench.selected == []
    assert bench.lost == []
    assert len(bench.requests) == 2


def test_candidates_are_ordered_by_priority() -> None:
    lines = [
        "2 1 udp 100 192.0.2.2 7882 typ host",
        "1 1 udp 200 192.0.2.1 7882 typ host",
        "3 1 tcp 300 192.0.2.3 9 typ host tcptype active",
        "4 2 udp 400 192.0.2.4 7883 typ host",
    ]
    assert read_candidates(lines) == [("192.0.2.1", 7882), ("192.0.2.2", 7882)]
    with pytest.raises(ValueError):
        read_candidates(["nonsense"])
