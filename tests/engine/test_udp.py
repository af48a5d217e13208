# SPDX-License-Identifier: Apache-2.0
"""The socket shell on the loopback interface: addresses both ways, batches, errors that concern one packet only."""

import contextlib
import errno
import os
import select
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import sfu
from sfu.engine.datagram_socket import DatagramSocket

Received = tuple[bytes, tuple[str, int], str]
BATCH = 64
TIMEOUT_S = 10
ERROR_COUNTERS = ("unreachable", "refused", "forbidden", "too_big", "invalid", "no_memory", "other_errors")


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        probe.bind(("::1", 0))
        return True
    return False


LOOPBACKS = ["127.0.0.1", "127.0.0.2", *(["::1"] if has_ipv6() else [])]


@contextlib.contextmanager
def client_of(host: str, port: int) -> Iterator[socket.socket]:
    """Connected: it hears only what comes from the very address it asked."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(TIMEOUT_S)
        client.connect((host, port))
        yield client


def receive(udp: DatagramSocket, n: int) -> list[Received]:
    """Waits until n datagrams are there."""
    datagrams: list[Received] = []
    while len(datagrams) < n:
        batch = udp.receive()
        datagrams += batch
        # Of what a batch had no room for no poll tells.
        assert batch or select.select([udp], [], [], TIMEOUT_S)[0], f"{len(datagrams)} of {n} came"
    return datagrams


def errors(udp: DatagramSocket) -> dict[str, int]:
    counters = udp.counters
    return {name: counters[name] for name in ERROR_COUNTERS if counters[name]}


def test_an_answer_leaves_from_the_address_that_was_asked() -> None:
    udp = DatagramSocket()
    for host in LOOPBACKS:
        with client_of(host, udp.port) as client:
            client.send(b"question")
            ((data, remote, local_ip),) = receive(udp, 1)
            assert (data, remote, local_ip) == (b"question", client.getsockname()[:2], host)
            assert udp.send([(b"answer", remote, local_ip)]) == 1
            assert client.recv(100) == b"answer"
    assert errors(udp) == {}


def test_without_a_local_address_the_kernel_chooses() -> None:
    udp = DatagramSocket()
    for host in LOOPBACKS:
        with client_of(host, udp.port) as client:
            client.send(b"question")
            ((_, remote, _),) = receive(udp, 1)
            assert udp.send([(b"answer", remote, None)]) == 1
            if host != "127.0.0.2":
                assert client.recv(100) == b"answer"


def test_one_address_only() -> None:
    for host in LOOPBACKS:
        udp = DatagramSocket(host)
        with client_of(host, udp.port) as client:
            client.send(b"question")
            ((_, remote, local_ip),) = receive(udp, 1)
            assert local_ip == host
            udp.send([(b"answer", remote, local_ip)])
            assert client.recv(100) == b"answer"
        udp.close()


def link_local_address() -> str | None:
    with contextlib.suppress(OSError):
        for line in Path("/proc/net/if_inet6").read_text().splitlines():
            address, index, _, scope, _, _ = line.split()
            if scope == "20":
                return socket.inet_ntop(socket.AF_INET6, bytes.fromhex(address)) + f"%{int(index, 16)}"
    return None


@pytest.mark.skipif(link_local_address() is None, reason="no link-local address on this machine")
def test_link_local_addresses_keep_their_interface() -> None:
    address = link_local_address()
    assert address is not None
    ip, index = address.split("%")
    udp = DatagramSocket()
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
        client.settimeout(TIMEOUT_S)
        client.connect((ip, udp.port, 0, int(index)))
        client.send(b"question")
        ((_, remote, local_ip),) = receive(udp, 1)
        assert remote[0] == address
        assert local_ip.split("%")[0] == ip
        udp.send([(b"answer", remote, local_ip)])
        assert client.recv(100) == b"answer"


def test_datagrams_come_in_batches_of_64() -> None:
    udp = DatagramSocket("127.0.0.1")
    assert udp.receive() == []
    with client_of("127.0.0.1", udp.port) as client:
        for number in range(100):
            client.send(number.to_bytes(2, "big"))
        batches = [udp.receive(), udp.receive(), udp.receive()]
        assert [len(batch) for batch in batches] == [BATCH, 100 - BATCH, 0]
        assert [int.from_bytes(data, "big") for batch in batches for data, _, _ in batch] == list(range(100))
        for _ in range(3):
            client.send(b"more")
        assert [len(udp.receive(2)), len(udp.receive(2))] == [2, 1]
    assert udp.counters["received"] == 103


def test_what_is_too_long_is_dropped_and_counted() -> None:
    udp = DatagramSocket("127.0.0.1")
    with client_of("127.0.0.1", udp.port) as client:
        for size in (2048, 2049, 0, 60_000, 1):
            client.send(bytes(size))
        assert [len(data) for data, _, _ in receive(udp, 3)] == [2048, 0, 1]
    assert (udp.counters["received"], udp.counters["truncated"]) == (3, 2)


def test_what_the_kernel_drops_is_counted() -> None:
    udp = DatagramSocket("127.0.0.1")
    with socket.socket(fileno=os.dup(udp.fileno())) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)
    with client_of("127.0.0.1", udp.port) as client:
        for _ in range(500):
            client.send(bytes(1000))
        while udp.receive():
            pass
        client.send(b"tells about the loss")
        receive(udp, 1)
    counters = udp.counters
    assert counters["kernel_dropped"] > 0
    assert counters["received"] + counters["kernel_dropped"] == 501


def test_an_error_of_one_packet_leaves_the_others_alone() -> None:
    udp = DatagramSocket()
    receiver = DatagramSocket("127.0.0.1")
    there = ("127.0.0.1", receiver.port)
    packets = [
        (b"first", there, None),
        (bytes(65_535), there, None),
        (b"broadcast is not allowed", ("255.255.255.255", 9), None),
        (b"not our address", there, "192.0.2.1"),
        (b"last", there, "127.0.0.1"),
    ]
    assert udp.send(packets) == len(packets)
    assert [data for data, _, _ in receive(receiver, 2)] == [b"first", b"last"]
    seen = errors(udp)
    assert (seen.pop("too_big"), seen.pop("forbidden")) == (1, 1)
    assert seen in ({"invalid": 1}, {"unreachable": 1}), "kernels differ on an address that is not ours"
    assert udp.counters["sent"] == 2
    assert udp.counters["sent_bytes"] == len(b"first" + b"last")


def test_more_than_one_system_call_takes() -> None:
    udp, receiver = DatagramSocket(gso=False), DatagramSocket("127.0.0.1")
    sizes = [1 + number % 7 for number in range(1300)]
    assert udp.send((bytes(size), ("127.0.0.1", receiver.port), None) for size in sizes) == 1300
    assert [len(data) for data, _, _ in receive(receiver, 1300)] == sizes
    assert udp.counters["sent_gso_batches"] == 0
    assert udp.send([]) == 0


def test_a_taken_port_is_explained() -> None:
    udp = DatagramSocket()
    with pytest.raises(OSError, match=f"UDP port {udp.port} of all addresses: .*choose another --udp-port") as caught:
        DatagramSocket(port=udp.port)
    assert caught.value.errno == errno.EADDRINUSE
    assert not udp.ipv4_only or not has_ipv6()


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
def test_an_address_of_another_machine_is_explained(host: str) -> None:
    with pytest.raises(OSError, match=f"{host}: .*choose (another|an IPv4) --udp-host"):
        DatagramSocket(host)


@pytest.mark.parametrize("host", ["example.org", "", "1.2.3", "fe80::1%nosuchinterface"])
def test_what_is_no_address_is_explained(host: str) -> None:
    with pytest.raises(ValueError, match=r"not an IP address|does not exist"):
        DatagramSocket(host)


@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_port_out_of_range_is_explained(port: int) -> None:
    with pytest.raises(ValueError, match="to 65535"):
        DatagramSocket(port=port)


def test_closing_gives_the_port_back() -> None:
    udp = DatagramSocket("127.0.0.1")
    port = udp.port
    udp.close()
    udp.close()
    with pytest.raises(ValueError, match="closed"):
        udp.fileno()
    assert DatagramSocket("127.0.0.1", port).port == port


def test_buffers_are_asked_for() -> None:
    udp = DatagramSocket()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        default = plain.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
    assert min(udp.buffers) >= min(default, 4 << 20)


# A seccomp filter: socket(AF_INET6, …) fails as on a machine that was started with ipv6.disable=1.
NO_IPV6 = """
    import ctypes, platform, struct
    number = {"x86_64": 41, "aarch64": 198}[platform.machine()]
    program = b"".join(struct.pack("HBBI", *step) for step in [
        (0x20, 0, 0, 0), (0x15, 0, 3, number),              # the system call's number: not socket → allow
        (0x20, 0, 0, 16), (0x15, 0, 1, 10),                 # its first argument: not AF_INET6 → allow
        (0x06, 0, 0, 0x00050000 | 97), (0x06, 0, 0, 0x7FFF0000),    # EAFNOSUPPORT; allow
    ])
    steps = ctypes.create_string_buffer(program)
    header = struct.pack("HxxxxxxQ", 6, ctypes.addressof(steps))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0                  # PR_SET_NO_NEW_PRIVS
    assert libc.prctl(22, 2, header, 0, 0) == 0, ctypes.get_errno()     # PR_SET_SECCOMP
"""

WITHOUT_IPV6 = """
    import socket
    from sfu.engine.datagram_socket import DatagramSocket
    for host, asked in ((None, "127.0.0.1"), (None, "127.0.0.2"), ("127.0.0.2", "127.0.0.2")):
        udp = DatagramSocket(host)
        assert udp.ipv4_only
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.settimeout(10)
        client.connect((asked, udp.port))
        client.send(b"question")
        ((data, remote, local_ip),) = udp.receive()
        assert (data, remote, local_ip) == (b"question", client.getsockname(), asked)
        assert udp.send([(b"answer", remote, local_ip)] * 3 + [(b"end", remote, local_ip)]) == 4
        assert [client.recv(100) for _ in range(4)] == [b"answer"] * 3 + [b"end"]
        assert udp.counters["sent"] == 4
        assert udp.counters["sent_gso_batches"] == udp.gso
    try:
        DatagramSocket("::1")
    except OSError as error:
        assert "has no IPv6" in str(error), error
    else:
        raise AssertionError("bound ::1 without IPv6")
    print("done")
"""


def run_alone(code: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(Path(sfu.__file__).parents[1])}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.skipif(os.uname().machine not in ("x86_64", "aarch64"), reason="the filter names system calls by number")
def test_a_machine_without_ipv6() -> None:
    assert run_alone(textwrap.dedent(NO_IPV6) + textwrap.dedent(WITHOUT_IPV6)) == "done\n"
