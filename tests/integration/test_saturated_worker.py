# SPDX-License-Identifier: Apache-2.0
"""Control does not starve: with more to forward than the worker can, a control call waits for two slices at most.

A real worker and real sockets: one publisher floods a track with a hundred receivers, who never read.
"""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from aioice import stun

from sfu.engine.codecs import Codec
from sfu.engine.commands import Payload
from sfu.engine.srtp import PROFILES, SrtpSession, key_salt_size
from sfu.engine.worker import Worker

HOST = "127.0.0.1"
RECEIVERS = 100
CONTROL_CALLS = 1000
LONGEST_PAUSE_S = 0.003  # between two: a slice takes half a millisecond, and is met at any point of it
MOST_SLICES = 2
OVERLOAD = ("fanout_full", "overtaken")  # drop reasons
WITHIN_S = 20.0
UNREAD_BYTES = 1 << 12
PASSWORD = b"0123456789abcdef01234567"
GCM = PROFILES["SRTP_AEAD_AES_128_GCM"]
OPUS = Payload(111, Codec.OPUS, 48_000)
OPUS_BYTES = 80
FRAME_TICKS = 960
PUBLISHER_SSRC = 0x1234
RTP = struct.Struct("!BBHII")


def key(name: str) -> bytes:
    return random.Random(name).randbytes(key_salt_size(GCM))


@dataclass
class Peer:
    """A transport of the worker and the socket at its far end."""

    worker: Worker
    name: str
    socket: socket.socket

    def __post_init__(self) -> None:
        self.handle, self.ufrag = self.worker.commands.add_transport(PASSWORD)
        self.worker.commands.set_keys(self.handle, GCM, key(f"{self.name} sends"), key(f"{self.name} receives"))
        self.worker.flush()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UNREAD_BYTES)
        self.socket.settimeout(WITHIN_S)
        self.socket.connect((HOST, self.worker.port))

    def connect(self) -> None:
        """One connectivity check, and its answer."""
        request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
        request.attributes["USERNAME"] = self.ufrag.decode() + ":peer"
        request.attributes["PRIORITY"] = 1
        request.attributes["ICE-CONTROLLING"] = 7
        request.attributes["USE-CANDIDATE"] = None
        request.add_message_integrity(PASSWORD)
        self.socket.send(bytes(request))
        assert stun.parse_message(self.socket.recv(2048)).message_class is stun.Class.RESPONSE


def flood(peer: Peer, ended: threading.Event) -> None:
    """Audio without a pause."""
    session = SrtpSession(GCM, key(f"{peer.name} sends"), True)
    payload = bytes(OPUS_BYTES)
    number = 0
    while not ended.is_set():
        header = RTP.pack(0x80, 111, number & 0xFFFF, number * FRAME_TICKS & 0xFFFFFFFF, PUBLISHER_SSRC)
        peer.socket.send(session.protect(header + payload))
        number += 1


@contextmanager
def flooding(peer: Peer) -> Iterator[None]:
    ended = threading.Event()
    thread = threading.Thread(target=flood, args=(peer, ended), name="flood")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def working() -> Iterator[Worker]:
    worker = Worker(0, HOST, 0)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


def overload(worker: Worker) -> int:
    """What fan-out did not come to in time: while this grows it never has nothing to do."""
    drops = worker.statistics().drops
    return sum(drops.get(name, 0) for name in OVERLOAD)


def wait_for_more_overload(worker: Worker) -> None:
    before, deadline = overload(worker), time.monotonic() + WITHIN_S
    while overload(worker) == before:
        assert time.monotonic() < deadline, "the flood does not saturate the worker"
        time.sleep(0.01)


def slots(worker: Worker, track: int, peers: list[Peer]) -> list[int]:
    handles = []
    for number, peer in enumerate(peers):
        forwarder = worker.commands.add_forwarder(peer.handle, "audio", b"a0", 0x10000 + number, 0, {})
        worker.commands.bind(forwarder, track, 77, 1, [(111, 111, None)])
        worker.commands.set_target(forwarder, 0, 0)
        handles.append(forwarder)
    worker.flush()
    return handles


def test_a_control_call_waits_two_slices_at_most(
    scaled: Callable[[int], int], measured: Callable[[str, float, str], None]
) -> None:
    with ExitStack() as resources:
        worker = resources.enter_context(working())
        publisher, *receivers = (
            Peer(worker, f"peer {number}", resources.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)))
            for number in range(RECEIVERS + 1)
        )
        for peer in (publisher, *receivers):
            peer.connect()
        track = worker.commands.add_track(publisher.handle, "audio", b"a", [OPUS])
        worker.commands.add_layer(track, b"", PUBLISHER_SSRC, 0)
        forwarders = slots(worker, track, receivers)
        resources.enter_context(flooding(publisher))
        wait_for_more_overload(worker)

        calls, waits_ms = scaled(CONTROL_CALLS), []
        choose = random.Random(1)
        before, forwarded, from_s = overload(worker), worker.statistics().media_forwarded, time.monotonic()
        for call in range(calls):
            time.sleep(choose.uniform(0, LONGEST_PAUSE_S))
            worker.commands.set_target(choose.choice(forwarders), call % 2 - 1, 0)
            called_ns = time.monotonic_ns()
            worker.flush()
            waits_ms.append((time.monotonic_ns() - called_ns) / 1e6)
            worker.events()
        took_s = time.monotonic() - from_s
        wait_for_more_overload(worker)

        statistics = worker.statistics()
        assert overload(worker) > before
        assert statistics.media_forwarded > forwarded, "control calls kept the worker from forwarding"
        measured(f"most slices waited in {2 * calls} control calls", worker.most_slices_waited, "")
        measured("control call, longest", round(max(waits_ms), 2), "ms")
        measured("control call, median", round(sorted(waits_ms)[calls // 2], 3), "ms")
        measured("forwarded meanwhile", round((statistics.media_forwarded - forwarded) / took_s), "packets/s")
        assert worker.most_slices_waited <= MOST_SLICES
