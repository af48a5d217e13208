# SPDX-License-Identifier: Apache-2.0
"""Runs that the kernel hands over as one (UDP_GRO) come apart into what was sent, in order, whatever fits a batch."""

import os
import select
import socket
import textwrap
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.engine.datagram_socket import DatagramSocket
from tests.engine.test_udp import LOOPBACKS, run_alone
from tests.engine.test_udp_gso import numbered

BATCH = 64
LONGEST = 2048
TIMEOUT_S = 10
ENOPROTOOPT = 92

pytestmark = pytest.mark.skipif(
    not (DatagramSocket().gso and DatagramSocket().gro), reason="this kernel has no UDP_SEGMENT or no UDP_GRO"
)


def send(sizes: Sequence[int], to: DatagramSocket, host: str = "127.0.0.1") -> list[bytes]:
    """As runs, wherever sizes allow; they have arrived when this returns, as loopback delivers at once."""
    packets = numbered(list(sizes))
    sender = DatagramSocket(host)
    assert sender.send((data, (host, to.port), host) for data in packets) == len(packets)
    sender.close()
    return packets


def take(udp: DatagramSocket, n: int) -> list[bytes]:
    """The next batch's data, of `n` datagrams at most."""
    return [data for data, _, _ in udp.receive(n)]


def drain(udp: DatagramSocket, n: int = BATCH) -> list[bytes]:
    found: list[bytes] = []
    while batch := take(udp, n):
        found += batch
    return found


@pytest.mark.parametrize("host", LOOPBACKS)
@pytest.mark.parametrize("sizes", [[1200] * 10, [1200] * 9 + [1], [3, 2], [1199] * 32], ids=str)
def test_a_run_comes_apart_into_what_was_sent(host: str, sizes: list[int]) -> None:
    udp = DatagramSocket()
    sender = DatagramSocket(host)
    packets = numbered(sizes)
    sender.send((data, (host, udp.port), host) for data in packets)
    assert udp.receive() == [(data, (host, sender.port), host) for data in packets]
    assert udp.receive() == []
    counters = udp.counters
    assert (counters["received"], counters["received_messages"], counters["received_gro_batches"]) == (len(sizes), 1, 1)


def test_runs_and_single_datagrams_mix() -> None:
    udp = DatagramSocket("127.0.0.1")
    packets = send([50, 1200, 1200, 0, 1200, 700, 900], udp)
    assert drain(udp) == packets
    counters = udp.counters
    assert (counters["received"], counters["received_messages"], counters["received_gro_batches"]) == (7, 5, 2)


def test_what_a_batch_has_no_room_for_comes_with_the_next() -> None:
    udp = DatagramSocket("127.0.0.1")
    packets = send([1000] * 32 + [999] * 32 + [998] * 32, udp)
    batches = [take(udp, BATCH), take(udp, BATCH), take(udp, BATCH)]
    assert [len(batch) for batch in batches] == [64, 32, 0]
    assert batches[0] + batches[1] == packets


@pytest.mark.parametrize("room", [1, 5, 31, 33])
def test_what_comes_meanwhile_stands_behind_what_is_left(room: int) -> None:
    udp = DatagramSocket("127.0.0.1")
    packets = send([500] * 32, udp)
    first = take(udp, room)
    assert len(first) == min(room, 32)
    packets += send([400] * 3, udp)
    assert first + drain(udp, room) == packets


def test_no_poll_tells_of_what_is_left() -> None:
    """What `udp_receive` promises, and the worker relies on: it never rests before a receive has returned nothing."""
    udp = DatagramSocket("127.0.0.1")
    packets = send([500] * 20, udp)
    assert take(udp, 1) == packets[:1]
    assert select.select([udp], [], [], 0)[0] == []
    assert drain(udp) == packets[1:]


def test_every_datagram_of_a_run_knows_whence_it_came() -> None:
    udp = DatagramSocket()
    one, two = DatagramSocket("127.0.0.1"), DatagramSocket("127.0.0.2")
    for sender, host in ((one, "127.0.0.1"), (two, "127.0.0.2")):
        sender.send([(b"equal", (host, udp.port), host)] * 3)
    found = udp.receive(2) + udp.receive(3) + udp.receive()
    assert [(remote, local) for _, remote, local in found] == [
        *[(("127.0.0.1", one.port), "127.0.0.1")] * 3,
        *[(("127.0.0.2", two.port), "127.0.0.2")] * 3,
    ]


def test_each_datagram_that_is_too_long_is_counted() -> None:
    udp = DatagramSocket("127.0.0.1")
    packets = send([9000] * 5 + [100], udp)
    packets += send([LONGEST] * 3 + [LONGEST + 1] * 2 + [LONGEST], udp)
    packets += send([60_000, 7], udp)
    assert drain(udp) == [data for data in packets if len(data) <= LONGEST]
    assert udp.counters["truncated"] == 5 + 2 + 1
    assert udp.counters["received"] == 1 + 4 + 1


def test_a_run_of_nothing_but_too_long_ones_does_not_stop_the_rest() -> None:
    udp = DatagramSocket("127.0.0.1")
    send([9000] * 7, udp)
    assert take(udp, BATCH) == []
    packets = send([10] * 2, udp)
    assert take(udp, BATCH) == packets
    assert udp.counters["truncated"] == 7


def test_runs_that_the_kernel_drops_are_counted() -> None:
    udp = DatagramSocket("127.0.0.1")
    with socket.socket(fileno=os.dup(udp.fileno())) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 40_000)
    for _ in range(30):
        send([1000] * 10, udp)
    drain(udp)
    send([1], udp)
    drain(udp)
    counters = udp.counters
    assert counters["kernel_dropped"] > 0
    assert counters["received_messages"] + counters["kernel_dropped"] == 31


def test_gro_can_be_turned_off() -> None:
    udp = DatagramSocket("127.0.0.1", gro=False)
    assert not udp.gro
    packets = send([1200] * 9 + [300], udp)
    assert drain(udp) == packets
    counters = udp.counters
    assert (counters["received"], counters["received_messages"], counters["received_gro_batches"]) == (10, 10, 0)


@pytest.mark.parametrize("gro", [True, False])
def test_any_mix_arrives_whole_and_in_order(gro: bool, scaled: Callable[[int], int]) -> None:
    udp, sender = DatagramSocket("127.0.0.1", gro=gro), DatagramSocket()

    @settings(max_examples=scaled(100), deadline=None)
    @given(
        st.lists(
            st.tuples(st.sampled_from([0, 1, 20, 1200, 1201, LONGEST, LONGEST + 1]), st.integers(1, 20)), max_size=8
        ),
        st.integers(1, BATCH),
    )
    def check(runs: list[tuple[int, int]], room: int) -> None:
        packets = [bytes([number]) * size for number, (size, n) in enumerate(runs) for _ in range(n)]
        before = udp.counters["truncated"]
        assert sender.send((data, ("127.0.0.1", udp.port), None) for data in packets) == len(packets)
        wanted = [data for data in packets if len(data) <= LONGEST]
        found: list[bytes] = []
        while len(found) < len(wanted):
            found += take(udp, room) or await_more(udp)
        assert found == wanted
        # What is left now, here or in the kernel, is too long.
        assert take(udp, room) == []
        while select.select([udp], [], [], 0)[0]:
            assert take(udp, room) == []
        assert udp.counters["truncated"] - before == len(packets) - len(wanted)

    check()


def await_more(udp: DatagramSocket) -> list[bytes]:
    assert select.select([udp], [], [], TIMEOUT_S)[0], "something did not come"
    return []


# A seccomp filter: setsockopt(…, IPPROTO_UDP, UDP_GRO, …) fails as on a kernel that does not know it.
NO_GRO = f"""
    import ctypes, platform, struct
    number = {{"x86_64": 54, "aarch64": 208}}[platform.machine()]
    program = b"".join(struct.pack("HBBI", *step) for step in [
        (0x20, 0, 0, 0), (0x15, 0, 5, number),              # the system call's number: not setsockopt → allow
        (0x20, 0, 0, 24), (0x15, 0, 3, 17),                 # the level: not IPPROTO_UDP → allow
        (0x20, 0, 0, 32), (0x15, 0, 1, 104),                # the option: not UDP_GRO → allow
        (0x06, 0, 0, 0x00050000 | {ENOPROTOOPT}), (0x06, 0, 0, 0x7FFF0000),
    ])
    steps = ctypes.create_string_buffer(program)
    header = struct.pack("HxxxxxxQ", 8, ctypes.addressof(steps))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0                  # PR_SET_NO_NEW_PRIVS
    assert libc.prctl(22, 2, header, 0, 0) == 0, ctypes.get_errno()     # PR_SET_SECCOMP
"""

REFUSED = """
    from sfu.engine.datagram_socket import DatagramSocket
    udp, sender = DatagramSocket("127.0.0.1"), DatagramSocket("127.0.0.1")
    assert not udp.gro
    packets = [bytes([number]) * 1200 for number in range(9)]
    assert sender.send((data, ("127.0.0.1", udp.port), None) for data in packets) == 9
    assert [data for data, _, _ in udp.receive()] == packets
    assert udp.counters["received_messages"] == 9
    print("done")
"""


@pytest.mark.skipif(os.uname().machine not in ("x86_64", "aarch64"), reason="the filter names system calls by number")
def test_a_kernel_without_it_hands_over_one_by_one() -> None:
    assert run_alone(textwrap.dedent(NO_GRO) + textwrap.dedent(REFUSED)) == "done\n"
