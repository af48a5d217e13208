# SPDX-License-Identifier: Apache-2.0
"""What only a network namespace of one's own shows: destinations without a route, and a send buffer that fills up."""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import sfu

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not shutil.which("unshare") or not shutil.which("ip"), reason="needs unshare and ip"),
]


def run_in_namespace(code: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(sfu.__file__).parents[1])}
    command = ["unshare", "-n", sys.executable, "-c", textwrap.dedent(code)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "done\n"


def test_a_destination_without_a_route_is_skipped() -> None:
    run_in_namespace("""
        import subprocess
        from sfu.engine.datagram_socket import DatagramSocket
        udp, receiver = DatagramSocket(), DatagramSocket()
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        lost = [(b"lost", ("198.51.100.1", 9), None)] * 5 + [(b"lost", ("2001:db8::1", 9), None)]
        kept = (b"kept", ("127.0.0.1", receiver.port), None)
        assert udp.send([kept, *lost, kept]) == 8
        assert [data for data, _, _ in receiver.receive()] == [b"kept"] * 2
        assert udp.counters["unreachable"] == 6, udp.counters
        assert udp.counters["sent"] == 2
        print("done")
    """)


def test_a_full_send_buffer_stops_the_batch_and_loses_nothing() -> None:
    # Datagrams wait for a neighbour that does not answer, until its address is told by hand.
    run_in_namespace("""
        import os, select, socket, subprocess
        from sfu.engine.datagram_socket import DatagramSocket
        def ip(*words):
            subprocess.run(["ip", *words], check=True)
        ip("link", "add", "near", "type", "veth", "peer", "name", "far")
        ip("address", "add", "10.9.9.1/24", "dev", "near")
        ip("link", "set", "near", "up")
        ip("link", "set", "far", "up")
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        wire.bind(("far", 0x0800))
        wire.settimeout(10)
        udp = DatagramSocket(gso=False)
        with socket.socket(fileno=os.dup(udp.fileno())) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 30_000)
        payloads = [number.to_bytes(2, "big") * 500 for number in range(200)]
        packets = [(payload, ("10.9.9.2", 9), "10.9.9.1") for payload in payloads]
        at = udp.send(packets)
        assert 0 < at < len(packets)
        assert udp.counters["would_block"] == 1
        assert udp.send(packets[at:]) == 0
        assert udp.counters["would_block"] == 2
        shown = subprocess.run(["ip", "-o", "link", "show", "far"], capture_output=True, text=True, check=True).stdout
        mac = shown.split("link/ether ")[1].split()[0]
        ip("neighbour", "replace", "10.9.9.2", "lladdr", mac, "dev", "near")
        while at < len(packets):
            assert select.select([], [udp], [], 10)[1]
            at += udp.send(packets[at:])
        seen = []
        while len(seen) < len(payloads):
            frame = wire.recv(4096)
            if frame[9] == 17 and frame[16:20] == bytes([10, 9, 9, 2]):
                seen.append(frame[28:])
        assert seen == payloads
        assert udp.counters["sent"] == len(packets)
        print("done")
    """)
