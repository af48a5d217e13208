# SPDX-License-Identifier: Apache-2.0
"""Clean network namespaces for a measurement: no firewall, no connection tracking, nobody else's packets."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

Way = Literal["loopback", "veth"]

NETWORK: Final = "10.78.0"
# Real-time: on a machine that does other work, a measured program that has to wait for its turn measures that work.
PRIORITY: Final = "1"


@functools.cache
def may_be_urgent() -> bool:
    """Containers mostly have no real-time budget, not even for root."""
    if os.geteuid() != 0 or not shutil.which("chrt"):
        return False
    return subprocess.run(["chrt", "--rr", PRIORITY, "true"], check=False, capture_output=True).returncode == 0


@dataclass(frozen=True)
class Place:
    """Where the server and the load client run. `address` is the server's."""

    address: str
    server: str | None
    """Namespaces; None: the machine's own."""
    client: str | None
    client_address: str
    urgent: bool = True
    """With real-time priority where we may. Not where a program is overloaded: nothing else on its core would run."""

    def command(self, namespace: str | None, core: int | None) -> list[str]:
        """What to put before a command line to run it there, on that core, ahead of other work where we may."""
        enter = [] if namespace is None else ["ip", "netns", "exec", namespace]
        urgent = ["chrt", "--rr", PRIORITY] if self.urgent and may_be_urgent() else []
        return enter + urgent + ([] if core is None else ["taskset", "-c", str(core)])


@contextlib.contextmanager
def place(way: Way) -> Iterator[Place]:
    """A namespace with nothing but loopback, or two with a veth pair between them. Loopback without root: our own."""
    if os.geteuid() != 0:
        if way == "veth":
            raise SystemExit("veth needs root, for network namespaces; --way loopback does not")
        yield Place("127.0.0.1", None, None, "127.0.0.1")
        return
    tag = f"sfu{os.getpid()}"
    names = [f"{tag}s"] if way == "loopback" else [f"{tag}s", f"{tag}c"]
    try:
        for name in names:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        if way == "loopback":
            # What is sent to an address of the machine's own goes by loopback. Janus takes no address of `lo` itself.
            ip("-n", names[0], "link", "add", "sv", "type", "veth", "peer", "name", "cv")
            ip("-n", names[0], "addr", "add", f"{NETWORK}.1/24", "dev", "sv")
            ip("-n", names[0], "link", "set", "sv", "up")
            ip("-n", names[0], "link", "set", "cv", "up")
            yield Place(f"{NETWORK}.1", names[0], names[0], "127.0.0.1")
            return
        server, client = names
        ip("-n", server, "link", "add", "sv", "type", "veth", "peer", "name", "cv", "netns", client)
        for name, link, number in ((server, "sv", 1), (client, "cv", 2)):
            ip("-n", name, "addr", "add", f"{NETWORK}.{number}/24", "dev", link)
            ip("-n", name, "link", "set", link, "up")
        _resolve(server, "sv", f"{NETWORK}.2", client, "cv")
        _resolve(client, "cv", f"{NETWORK}.1", server, "sv")
        yield Place(f"{NETWORK}.1", server, client, f"{NETWORK}.2")
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def netns_output(namespace: str, command: Sequence[str]) -> str:
    done = subprocess.run(["ip", "netns", "exec", namespace, *command], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _resolve(namespace: str, link: str, address: str, other: str, other_link: str) -> None:
    """A fixed neighbour: no address resolution in the middle of a measurement."""
    hardware = netns_output(other, ["cat", str(Path("/sys/class/net") / other_link / "address")])
    ip("-n", namespace, "neigh", "replace", address, "lladdr", hardware, "dev", link, "nud", "permanent")
