# SPDX-License-Identifier: Apache-2.0
"""The server under test: `sfu serve --dev` in a process of its own, on ports that the system chooses."""

from __future__ import annotations

import asyncio
import re
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
READY = re.compile(r"pysfu is ready: (https?://\S+)")
# Events of each outgoing stream: by them a freeze is explained.
EGRESS_LOG = "1024"
READY_WITHIN_S = 30
STOP_WITHIN_S = 15

# RFC 5737: never routed. A connected UDP socket sends nothing, but tells the address that the machine would send from.
DOCUMENTATION_ADDRESS = ("192.0.2.1", 9)


def own_address() -> str | None:
    """The address of this machine towards others; None where it has only itself."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(DOCUMENTATION_ADDRESS)
        except OSError:
            return None
        return str(probe.getsockname()[0])


@dataclass
class Server:
    url: str
    process: asyncio.subprocess.Process
    log: Path

    @classmethod
    async def start(cls, log: Path, http_port: int = 0, flags: Sequence[str] = ()) -> Server:
        """Ready for clients. What it says goes to `log`."""
        ports = ["--http-port", str(http_port), "--udp-port", "0"]
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "sfu", "serve", "--dev", "--egress-log", EGRESS_LOG, *ports, *flags),
                cwd=ROOT,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
            )
        server = cls("", process, log)
        try:
            server.url = await asyncio.wait_for(server._wait_until_ready(), READY_WITHIN_S)
        except BaseException:
            await server.stop()
            raise
        return server

    async def stop(self) -> int:
        """By SIGTERM, as a service manager would. Returns the exit code."""
        if self.process.returncode is None:
            self.process.terminate()
        try:
            return await asyncio.wait_for(self.process.wait(), STOP_WITHIN_S)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
            raise AssertionError(f"the server did not stop within {STOP_WITHIN_S} s:\n{self.log.read_text()}") from None

    async def _wait_until_ready(self) -> str:
        while True:
            text = self.log.read_text()
            found = READY.search(text)
            if found:
                return found.group(1).rstrip("/")
            if self.process.returncode is not None:
                raise AssertionError(f"the server ended with {self.process.returncode} before it was ready:\n{text}")
            await asyncio.sleep(0.05)
