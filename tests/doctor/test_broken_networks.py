# SPDX-License-Identifier: Apache-2.0
"""The doctor names the fault: a real server and a real doctor, each on a host of its own, and one thing is broken."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import jwt
import pytest

from tests.doctor.network import ROUTER_OUTSIDE, SERVER, Network, routed_network

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(
        not (shutil.which("ip") and shutil.which("nft")),
        reason="no ip or nft (Debian: apt-get install iproute2 nftables)",
    ),
]

HTTP_PORT, UDP_PORT = 8080, 7882
URL: Final = f"http://{SERVER}:{HTTP_PORT}"
SECRET: Final = "a-secret-for-this-test-alone-long-enough"
READY_LIMIT_S: Final = 60
DOCTOR_LIMIT_S: Final = 90
NOWHERE: Final = "203.0.113.77"
CLOCK_SHIFT_S: Final = 3600
HOUR_S: Final = 3600
WRONG_PORT: Final = 9999
BLOCK_UDP: Final = """
table inet broken {
    chain forward {
        type filter hook forward priority 0
        ip protocol udp drop
    }
}
"""
FORWARD_TO_THE_WRONG_PORT: Final = f"""
table ip broken {{
    chain prerouting {{
        type nat hook prerouting priority -100
        ip daddr {ROUTER_OUTSIDE} tcp dport {HTTP_PORT} dnat to {SERVER}
        ip daddr {{ {ROUTER_OUTSIDE}, {SERVER} }} udp dport {UDP_PORT} dnat to {SERVER}:{WRONG_PORT}
    }}
}}
"""


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    router = ["unshare", "--net", "sysctl", "-qw", "net.ipv4.ip_forward=1"]
    if subprocess.run(router, capture_output=True).returncode != 0:
        pytest.skip("no router can be made here: /proc/sys is read-only, as in Docker's containers")
    with routed_network() as made:
        yield made


@pytest.fixture(autouse=True)
def _whole_again(network: Network) -> Iterator[None]:
    yield
    network.filter("router", "")


def serve(network: Network, *flags: str, http_port: int = HTTP_PORT, udp_port: int = UDP_PORT) -> subprocess.Popen[str]:
    ports = ("--http-port", str(http_port), "--udp-port", str(udp_port))
    command = ("-m", "sfu", "serve", "--http-host", "0.0.0.0", *ports, *flags)
    server = network.python("server", *command, environment={"SFU_KEYS": f"test: {SECRET}"})
    assert server.stdout is not None
    line = server.stdout.readline()
    assert line.startswith("pysfu is ready"), server.communicate(timeout=READY_LIMIT_S)
    return server


def stop(server: subprocess.Popen[str]) -> None:
    server.terminate()
    server.communicate(timeout=READY_LIMIT_S)


@pytest.fixture(scope="module")
def server(network: Network) -> Iterator[None]:
    running = serve(network)
    yield
    stop(running)


class Diagnosis:
    def __init__(self, code: int, report: dict[str, Any]) -> None:
        self.code = code
        self.findings = {finding["check"]: finding for finding in report["findings"]}
        self.faults = [finding["check"] for finding in report["findings"] if finding["status"] == "fail"]

    def text(self, check: str) -> str:
        return f"{self.findings[check]['detail']} / {self.findings[check]['advice']}"


def diagnose(network: Network, *flags: str, url: str = URL, environment: Mapping[str, str] = {}) -> Diagnosis:
    keys = {"SFU_KEYS": f"test: {SECRET}"}
    doctor = network.python("client", "-m", "sfu", "doctor", url, "--json", *flags, environment={**keys, **environment})
    out, err = doctor.communicate(timeout=DOCTOR_LIMIT_S)
    assert doctor.returncode in (0, 1), err
    return Diagnosis(doctor.returncode, json.loads(out))


@pytest.mark.usefixtures("server")
def test_nothing_is_wrong(network: Network) -> None:
    found = diagnose(network)
    assert found.faults == []
    assert found.code == 0
    assert set(found.findings) >= {
        "dns",
        "tcp",
        "http",
        "clock",
        "token",
        "websocket",
        "announced",
        "udp",
        "nat",
        "mtu",
        "media",
    }
    assert found.findings["media"]["status"] == "pass", found.text("media")


@pytest.mark.usefixtures("server")
def test_udp_is_blocked(network: Network) -> None:
    network.filter("router", BLOCK_UDP)
    found = diagnose(network)
    assert found.code == 1
    assert found.faults == ["udp"]
    assert "blocked" in found.text("udp")
    assert str(UDP_PORT) in found.text("udp")


def test_the_announced_address_is_wrong(network: Network) -> None:
    port = HTTP_PORT + 1
    running = serve(network, "--announce-ip", NOWHERE, http_port=port, udp_port=UDP_PORT + 1)
    try:
        found = diagnose(network, url=f"http://{SERVER}:{port}")
    finally:
        stop(running)
    assert found.faults == ["announced"]
    assert f"--announce-ip {SERVER}" in found.text("announced")


@pytest.mark.usefixtures("server")
def test_the_token_has_expired(network: Network) -> None:
    now = int(time.time())
    claims = {"iss": "test", "sub": "ada", "exp": now - HOUR_S, "video": {"roomJoin": True, "room": "tea"}}
    found = diagnose(network, "--token", jwt.encode(claims, SECRET, "HS256"))
    assert found.faults == ["token"]
    assert "expired 60 minutes ago" in found.text("token")


@pytest.mark.usefixtures("server")
def test_the_clock_is_off(network: Network, tmp_path: Path) -> None:
    library = tmp_path / "shifted_clock.so"
    source = Path(__file__).with_name("shifted_clock.c")
    compiler = os.environ.get("CC", "cc").split()
    subprocess.run([*compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True, timeout=60)
    found = diagnose(network, environment={"LD_PRELOAD": str(library), "SHIFT_S": str(CLOCK_SHIFT_S)})
    assert found.faults[0] == "clock"
    assert "60 min ahead of" in found.text("clock")
    # What comes of it: the tokens that this machine signs are of the future.
    assert "token_not_yet_valid" in found.text("token")


@pytest.mark.usefixtures("server")
def test_the_way_is_too_narrow(network: Network) -> None:
    network.run("router", "ip", "link", "set", "inside", "mtu", "1200")
    try:
        found = diagnose(network)
    finally:
        network.run("router", "ip", "link", "set", "inside", "mtu", "1500")
    assert found.faults[0] == "mtu"
    assert "up to 1100 bytes" in found.text("mtu")
    assert found.code == 1


@pytest.mark.parametrize("end", ["closed port", "another service"])
@pytest.mark.usefixtures("server")
def test_the_port_is_forwarded_to_the_wrong_place(network: Network, end: str) -> None:
    """The router's own address stands for the server; TCP is forwarded rightly, UDP is not."""
    network.filter("router", FORWARD_TO_THE_WRONG_PORT)
    echo = None
    if end == "another service":
        program = (
            f"import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('', {WRONG_PORT}))\n"
            "print('bound', flush=True)\n"
            "while True: data, peer = s.recvfrom(2048); s.sendto(b'what?', peer)"
        )
        echo = network.python("server", "-c", program)
        assert echo.stdout is not None
        assert echo.stdout.readline() == "bound\n"
    try:
        found = diagnose(network, url=f"http://{ROUTER_OUTSIDE}:{HTTP_PORT}")
    finally:
        if echo is not None:
            echo.kill()
            echo.communicate()
    assert found.faults == ["udp"]
    assert "wrong place" in found.text("udp")
    assert ("nothing listens" if echo is None else "something else") in found.text("udp")
