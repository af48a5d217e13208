# SPDX-License-Identifier: Apache-2.0
"""What this machine allows a load test: open files, ports, socket buffers. Raised where we may, else said."""

from __future__ import annotations

import os
import platform
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# A websocket and a UDP socket.
FILES_PER_BOT: Final = 2
OTHER_FILES: Final = 64
# Measured: websocket, TLS-less, DTLS endpoint and statistics of a light bot.
MEMORY_PER_BOT_BYTES: Final = 700_000
WANTED_RECEIVE_BUFFER: Final = 1 << 20
IPV4: Final = Path("/proc/sys/net/ipv4")
CORE: Final = Path("/proc/sys/net/core")


@dataclass(frozen=True, slots=True)
class Machine:
    """Of what a test ran on, for the report."""

    system: str
    cpus: int
    python: str


def this_machine() -> Machine:
    return Machine(f"{platform.system()} {platform.release()}", len(os.sched_getaffinity(0)), platform.python_version())


@dataclass(frozen=True, slots=True)
class Limits:
    """None: this system does not tell."""

    open_files: int
    ports: int | None
    receive_buffer: int | None
    memory_bytes: int | None


def read_limits() -> Limits:
    """As they are after open files were raised as far as they go without being root."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (ValueError, OSError):  # where hard is unlimited the kernel may still refuse
            pass
    return Limits(
        open_files=soft,
        ports=_ports(_read(IPV4 / "ip_local_port_range")),
        receive_buffer=_number(_read(CORE / "rmem_max")),
        memory_bytes=_available(_read(Path("/proc/meminfo"))),
    )


def problems(limits: Limits, bots: int) -> list[str]:
    """What will stop so many bots on this machine, and what to do about it."""
    found = []
    files = bots * FILES_PER_BOT + OTHER_FILES
    if limits.open_files != resource.RLIM_INFINITY and files > limits.open_files:
        found.append(
            f"{bots} bots need {files} open files and {limits.open_files} are allowed: raise it (ulimit -Hn {files}, "
            f"or LimitNOFILE of the service), or run fewer bots here (--shard 1/2 and so on)"
        )
    if limits.ports is not None and bots * FILES_PER_BOT > limits.ports:
        found.append(
            f"{bots} bots need {bots * FILES_PER_BOT} ports and {limits.ports} are there: "
            f"sysctl -w net.ipv4.ip_local_port_range='1024 65535', or use several machines (--shard)"
        )
    return found


def warnings(limits: Limits, bots: int) -> list[str]:
    """What may falsify the figures."""
    found = []
    if limits.receive_buffer is not None and limits.receive_buffer < WANTED_RECEIVE_BUFFER:
        found.append(
            f"a socket may buffer only {limits.receive_buffer} bytes here: bots may lose packets that the server sent "
            f"(sysctl -w net.core.rmem_max={4 * WANTED_RECEIVE_BUFFER})"
        )
    if limits.memory_bytes is not None and bots * MEMORY_PER_BOT_BYTES > limits.memory_bytes:
        found.append(
            f"{bots} bots take about {bots * MEMORY_PER_BOT_BYTES >> 20} MB and {limits.memory_bytes >> 20} MB are free"
        )
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _number(text: str) -> int | None:
    return int(text) if text.strip().isdigit() else None


def _ports(text: str) -> int | None:
    bounds = text.split()
    return int(bounds[1]) - int(bounds[0]) + 1 if len(bounds) == 2 else None


def _available(text: str) -> int | None:
    for line in text.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None
