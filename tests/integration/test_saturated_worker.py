# SPDX-License-Identifier: Apache-2.0
"""Control does not starve: with more to forward than the worker can, a control call waits for two slices at most.

A real worker and real sockets: a process floods a track with a hundred receivers, who never read.
"""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from sfu.engine.codecs import Codec
from sfu.engine.commands import Payload
from sfu.engine.worker import Worker
from tests.integration import flooder
from tests.integration.bare_peer import GCM, MAX_DATAGRAM, connectivity_check, is_success, made_up_key
from tests.integration.processes import Child

RECEIVERS = 100
CONTROL_CALLS = 300
LONGEST_PAUSE_S = 0.003  # between two: a slice takes half a millisecond, and is met at any point of it
MOST_SLICES = 2
OVERLOAD = ("fanout_full", "overtaken")  # drop reasons
WITHIN_S = 20.0
UNREAD_BYTES = 1 << 12
PASSWORD = b"0123456789abcdef01234567"
OPUS = Payload(flooder.PAYLOAD_TYPE, Codec.OPUS, 48_000)
PUBLISHER_SSRC = 0x1234


@dataclass(frozen=True)
class Receiver:
    forwarder: int
    sock: socket.socket
    check: bytes


@contextmanager
def working() -> Iterator[Worker]:
    worker = Worker(0, flooder.HOST, 0)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


def add_transport(worker: Worker, name: str) -> tuple[int, str]:
    handle, ufrag = worker.commands.add_transport(PASSWORD)
    worker.commands.set_keys(handle, GCM, made_up_key(f"{name} sends"), made_up_key(f"{name} receives"))
    worker.flush()
    return handle, ufrag.decode()


def add_receiver(worker: Worker, track: int, number: int, sock: socket.socket) -> Receiver:
    """A slot bound to the track, whose far end reads no media."""
    handle, ufrag = add_transport(worker, f"receiver {number}")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UNREAD_BYTES)
    sock.settimeout(WITHIN_S)
    sock.connect((flooder.HOST, worker.port))
    sock.send(connectivity_check(ufrag, PASSWORD))
    assert is_success(sock.recv(MAX_DATAGRAM), PASSWORD)
    forwarder = worker.commands.add_forwarder(handle, "audio", b"a0", 0x10000 + number, 0, {})
    worker.commands.bind(forwarder, track, 77, 1, [(flooder.PAYLOAD_TYPE, flooder.PAYLOAD_TYPE, None)])
    worker.commands.set_target(forwarder, 0, 0)
    worker.flush()
    return Receiver(forwarder, sock, connectivity_check(ufrag, PASSWORD))


def overload(worker: Worker) -> int:
    """What fan-out did not come to in time: while this grows it never has nothing to do."""
    drops = worker.statistics().drops
    return sum(drops.get(name, 0) for name in OVERLOAD)


def wait_for_more_overload(worker: Worker) -> None:
    before, deadline = overload(worker), time.monotonic() + WITHIN_S
    while overload(worker) == before:
        assert time.monotonic() < deadline, "the flood does not saturate the worker"
        time.sleep(0.01)


def control(worker: Worker, receivers: Sequence[Receiver], calls: int) -> list[float]:
    """Control calls at odd moments, as a loop makes them: commands, then events. How long each took, in ms."""
    choose = random.Random(1)
    times_ms = []
    consent_s = 0.0
    for call in range(calls):
        time.sleep(choose.uniform(0, LONGEST_PAUSE_S))
        if time.monotonic() - consent_s > flooder.CONSENT_EVERY_S:
            consent_s = time.monotonic()
            for receiver in receivers:
                receiver.sock.send(receiver.check)
        worker.commands.set_target(choose.choice(receivers).forwarder, 0, call % 2)
        called_ns = time.monotonic_ns()
        worker.flush()
        worker.events()
        times_ms.append((time.monotonic_ns() - called_ns) / 1e6)
    return sorted(times_ms)


async def test_a_control_call_waits_two_slices_at_most(
    scaled: Callable[[int], int], measured: Callable[[str, float, str], None]
) -> None:
    with ExitStack() as resources:
        worker = resources.enter_context(working())
        publisher, ufrag = add_transport(worker, flooder.NAME)
        track = worker.commands.add_track(publisher, "audio", b"a", [OPUS])
        worker.commands.add_layer(track, b"", PUBLISHER_SSRC, 0)
        sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(RECEIVERS)]
        receivers = [
            add_receiver(worker, track, number, resources.enter_context(sock)) for number, sock in enumerate(sockets)
        ]
        arguments = (str(worker.port), ufrag, PASSWORD.decode(), str(PUBLISHER_SSRC))
        flood = await Child.start("tests.integration.flooder", *arguments)
        try:
            await flood.hear()
            wait_for_more_overload(worker)
            forwarded = worker.statistics().media_forwarded
            times_ms = control(worker, receivers, scaled(CONTROL_CALLS))
            wait_for_more_overload(worker)
        finally:
            await flood.stop()

        calls = len(times_ms)
        shares = [worker.statistics().forwarders[receiver.forwarder].packets for receiver in receivers]
        assert min(shares) * 2 > max(shares), "some receivers got what others did not"
        assert worker.statistics().media_forwarded > forwarded, "control calls kept the worker from forwarding"
        measured(f"most slices waited in {2 * calls} calls", worker.most_slices_waited, "")
        for name, at in (("median", calls // 2), ("99 %", calls * 99 // 100), ("longest", calls - 1)):
            measured(f"two control calls, {name}", round(times_ms[at], 3), "ms")
        latency = worker.statistics().latency_audio
        assert latency.count > 0
        for percent in (50, 99):
            measured(f"time in the server, {percent} %", round(latency.percentile_us(percent) / 1e3, 2), "ms")
        assert worker.most_slices_waited <= MOST_SLICES
