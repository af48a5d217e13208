# SPDX-License-Identifier: Apache-2.0
"""Three hosts in network namespaces: a client, a router, a server. Made by a test, broken by it, removed after it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent.parent
# Of the ranges for documentation (RFC 5737): they are nobody's.
CLIENT, ROUTER_OUTSIDE = "198.51.100.2", "198.51.100.1"
SERVER, ROUTER_INSIDE = "203.0.113.2", "203.0.113.1"


@dataclass(frozen=True, slots=True)
class Network:
    prefix: str

    def name(self, host: str) -> str:
        return f"{self.prefix}-{host}"

    def command(self, host: str, *words: str) -> list[str]:
        return ["ip", "netns", "exec", self.name(host), *words]

    def run(self, host: str, *words: str, text: str | None = None) -> None:
        subprocess.run(self.command(host, *words), check=True, capture_output=True, text=True, input=text, timeout=20)

    def python(self, host: str, *words: str, environment: Mapping[str, str] = {}) -> subprocess.Popen[str]:
        """A program of this project on that host."""
        return subprocess.Popen(
            self.command(host, sys.executable, *words),
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def filter(self, host: str, rules: str) -> None:
        """Replaces the packet filter of a host."""
        self.run(host, "nft", "-f", "-", text=f"flush ruleset\n{rules}\n")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=20)


@contextlib.contextmanager
def routed_network() -> Iterator[Network]:
    network = Network(f"pysfu{os.getpid()}")
    hosts = ("client", "router", "server")
    links = (
        ("client", CLIENT, "outside", ROUTER_OUTSIDE),
        ("server", SERVER, "inside", ROUTER_INSIDE),
    )
    try:
        for host in hosts:
            _ip("netns", "add", network.name(host))
            network.run(host, "ip", "link", "set", "lo", "up")
        for host, address, port, gateway in links:
            there, router = network.name(host), network.name("router")
            _ip("link", "add", "eth0", "netns", there, "type", "veth", "peer", "name", port, "netns", router)
            network.run(host, "ip", "address", "add", f"{address}/24", "dev", "eth0")
            network.run("router", "ip", "address", "add", f"{gateway}/24", "dev", port)
            network.run(host, "ip", "link", "set", "eth0", "up")
            network.run("router", "ip", "link", "set", port, "up")
            network.run(host, "ip", "route", "add", "default", "via", gateway)
        network.run("router", "sysctl", "-qw", "net.ipv4.ip_forward=1")
        yield network
    finally:
        for host in hosts:
            subprocess.run(["ip", "netns", "delete", network.name(host)], capture_output=True, timeout=20)
