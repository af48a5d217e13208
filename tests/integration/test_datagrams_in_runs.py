# SPDX-License-Identifier: Apache-2.0
"""A worker's peer that sends in runs (UDP_SEGMENT, as another worker does): each datagram is decrypted where it lies,
between its neighbours, and none waits for the next one to come.
"""

from __future__ import annotations

import select
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sfu.engine.datagram_socket import DatagramSocket
from sfu.engine.srtp import PROFILES, SrtpSession, key_salt_size
from sfu.engine.statistics import Statistics
from sfu.engine.worker import Worker
from tests.integration.bare_peer import connectivity_check, is_success

HOST = "127.0.0.1"
PASSWORD = b"0123456789abcdef01234567"
RUN = 32
RUNS = 20  # ten slices of a worker, and in one call of the kernel
WITHIN_S = 10.0
RTP = struct.Struct("!BBHII")


@contextmanager
def working(*, gro: bool) -> Iterator[Worker]:
    worker = Worker(0, HOST, 0, gro=gro)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


def connect(worker: Worker, profile: int) -> tuple[DatagramSocket, SrtpSession]:
    """A peer that may send; no track waits for it."""
    key = bytes(key_salt_size(profile))
    handle, ufrag = worker.commands.add_transport(PASSWORD)
    worker.commands.set_keys(handle, profile, key, key[::-1])
    worker.flush()
    peer = DatagramSocket(HOST)
    peer.send([(connectivity_check(ufrag.decode(), PASSWORD), (HOST, worker.port), None)])
    assert select.select([peer], [], [], WITHIN_S)[0]
    ((answer, _, _),) = peer.receive()
    assert is_success(answer, PASSWORD)
    return peer, SrtpSession(profile, key, True)


def runs_of(session: SrtpSession) -> Iterator[bytes]:
    """Of odd sizes; the last of each run is shorter."""
    for number in range(RUN * RUNS):
        size = 301 + number // RUN - (number % RUN == RUN - 1)
        yield session.protect(RTP.pack(0x80, 96, number, 0, 7) + bytes(size))


def settled(worker: Worker, received: int) -> Statistics:
    """The statistics once so many datagrams were worked off."""
    deadline = time.monotonic() + WITHIN_S
    while worker.statistics().packets_received < received:
        assert time.monotonic() < deadline, f"{worker.statistics().packets_received} of {received} were worked off"
        time.sleep(0.01)
    return worker.statistics()


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
@pytest.mark.parametrize("gro", [True, False], ids=["gro", "no gro"])
def test_each_of_a_run_is_decrypted(gro: bool, profile: int) -> None:
    with working(gro=gro) as worker:
        peer, session = connect(worker, profile)
        packets = list(runs_of(session))
        assert peer.send((data, (HOST, worker.port), None) for data in packets) == len(packets)
        found = settled(worker, 1 + len(packets))
        # No track takes them, which is told only of what was authentic.
        assert {name: count for name, count in found.drops.items() if count} == {"no_route": len(packets)}
        assert found.socket["received"] == 1 + len(packets)
        if peer.gso:
            assert found.socket["received_gro_batches"] == (RUNS if worker.gro else 0)
