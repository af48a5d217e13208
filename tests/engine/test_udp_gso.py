# SPDX-License-Identifier: Apache-2.0
"""Which packets leave in one UDP_SEGMENT send, and that each arrives as its own datagram whatever becomes of it."""

import os
import socket
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.engine.datagram_socket import DatagramSocket
from tests.engine import test_udp
from tests.engine.test_udp import has_ipv6

MAX_SEGMENTS = 32
MAX_SIZE = 65_507
TIMEOUT_S = 10


def kernel_has_gso() -> bool:
    return DatagramSocket().gso


pytestmark = pytest.mark.skipif(not kernel_has_gso(), reason="this kernel has no UDP_SEGMENT")


def receive(udp: DatagramSocket, n: int) -> list[bytes]:
    return [data for data, _, _ in test_udp.receive(udp, n)]


def numbered(sizes: list[int]) -> list[bytes]:
    """Packets of these sizes that differ from one another."""
    return [bytes([number % 256]) * size for number, size in enumerate(sizes)]


def batches_of(packets: list[tuple[bytes, int]]) -> list[list[bytes]]:
    """What the sends must be: (data, destination) grouped by the rule of sfu/engine/udp.pxd, in plain Python."""
    batches: list[list[bytes]] = []
    last_port = None
    for data, port in packets:
        batch = batches[-1] if batches else []
        fits = (
            port == last_port
            and 0 < len(data) <= len(batch[0])
            and len(batch[-1]) == len(batch[0])
            and len(batch) < MAX_SEGMENTS
            and sum(map(len, batch)) + len(data) <= MAX_SIZE
        )
        if fits:
            batch.append(data)
        else:
            batches.append([data])
        last_port = port
    return batches


@pytest.mark.parametrize(
    ("sizes", "batches"),
    [
        ([1200] * 10, 1),
        ([1200] * 9 + [300], 1),
        ([1200, 300, 300], 1),
        ([300, 1200, 1200], 1),
        ([1200, 300, 1200, 1200], 2),
        ([1, 2, 3, 4], 0),
        ([1200] * 33, 1),
        ([1200] * 64, 2),
        ([2000] * 33, 1),
        ([0, 0, 0], 0),
        ([5, 0, 5], 0),
    ],
)
def test_equal_sizes_leave_together(sizes: list[int], batches: int) -> None:
    udp, receiver = DatagramSocket(), DatagramSocket("127.0.0.1")
    packets = numbered(sizes)
    assert udp.send((data, ("127.0.0.1", receiver.port), "127.0.0.1") for data in packets) == len(packets)
    assert receive(receiver, len(packets)) == packets
    assert udp.counters["sent_gso_batches"] == batches
    assert udp.counters["sent"] == len(packets)
    assert udp.counters["sent_bytes"] == sum(sizes)


def test_a_send_stays_below_the_longest_datagram() -> None:
    udp = DatagramSocket()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.settimeout(TIMEOUT_S)
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        receiver.bind(("127.0.0.1", 0))
        packets = numbered([9000] * 9)
        assert udp.send((data, receiver.getsockname(), None) for data in packets) == 9
        assert [receiver.recv(MAX_SIZE) for _ in packets] == packets
    assert udp.counters["sent_gso_batches"] == 2
    assert udp.counters["too_big"] == 0


def test_another_path_is_another_send() -> None:
    udp, one, two = DatagramSocket(), DatagramSocket(), DatagramSocket()
    data = b"equal"
    packets = [
        *[(data, ("127.0.0.1", one.port), "127.0.0.1")] * 2,
        *[(data, ("127.0.0.1", one.port), "127.0.0.2")] * 2,
        *[(data, ("127.0.0.1", two.port), "127.0.0.2")] * 2,
        *[(data, ("127.0.0.2", two.port), "127.0.0.2")] * 2,
    ]
    assert udp.send(packets) == 8
    assert len(receive(one, 4)) == len(receive(two, 4)) == 4
    assert udp.counters["sent_gso_batches"] == 4


def test_any_mix_arrives_whole_and_in_order(scaled: Callable[[int], int]) -> None:
    udp = DatagramSocket()
    receivers = [DatagramSocket("127.0.0.1"), DatagramSocket("127.0.0.1")]

    @settings(max_examples=scaled(100), deadline=None)
    @given(
        st.lists(
            st.tuples(st.sampled_from([1, 20, 1200, 1200, 1201, 2048]), st.integers(0, 1), st.integers(1, 40)),
            max_size=25,
        )
    )
    def check(runs: list[tuple[int, int, int]]) -> None:
        packets = [(bytes([number]) * size, to) for number, (size, to, n) in enumerate(runs) for _ in range(n)]
        before = udp.counters
        assert udp.send((data, ("127.0.0.1", receivers[to].port), None) for data, to in packets) == len(packets)
        for number, receiver in enumerate(receivers):
            wanted = [data for data, to in packets if to == number]
            assert receive(receiver, len(wanted)) == wanted
        assert udp.counters["sent"] - before["sent"] == len(packets)
        # A system call's end may cut a run in two.
        cuts = len(packets) // 128
        wanted_batches = sum(len(batch) > 1 for batch in batches_of(packets))
        assert abs(udp.counters["sent_gso_batches"] - before["sent_gso_batches"] - wanted_batches) <= cuts

    check()


def test_gso_can_be_turned_off() -> None:
    udp, receiver = DatagramSocket(gso=False), DatagramSocket("127.0.0.1")
    assert not udp.gso
    assert udp.send([(b"equal", ("127.0.0.1", receiver.port), None)] * 5) == 5
    assert receive(receiver, 5) == [b"equal"] * 5
    assert udp.counters["sent_gso_batches"] == 0


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")
def test_what_the_kernel_refuses_to_segment_is_sent_singly() -> None:
    udp, receiver = DatagramSocket(), DatagramSocket("::1")
    ipv6_mtu = 24
    with socket.socket(fileno=os.dup(udp.fileno())) as same:
        same.setsockopt(socket.IPPROTO_IPV6, ipv6_mtu, 1280)
    packets = numbered([1400] * 5 + [1000] * 5)
    assert udp.send((data, ("::1", receiver.port), "::1") for data in packets) == 10
    assert receive(receiver, 10) == packets
    counters = udp.counters
    assert counters["gso_fallbacks"] == 1
    assert counters["sent"] == 10
    assert counters["sent_gso_batches"] == 1, "the smaller ones fit"


def test_a_local_address_that_is_gone_is_counted_per_packet() -> None:
    udp, receiver = DatagramSocket(), DatagramSocket("127.0.0.1")
    there = ("127.0.0.1", receiver.port)
    packets = [(b"lost", there, "192.0.2.1")] * 4 + [(b"sent", there, "127.0.0.1")] * 4
    assert udp.send(packets) == 8
    assert receive(receiver, 4) == [b"sent"] * 4
    counters = udp.counters
    assert counters["invalid"] + counters["unreachable"] == 4, "kernels differ on an address that is not ours"
    assert counters["sent"] == 4
