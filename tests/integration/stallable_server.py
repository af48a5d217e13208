# SPDX-License-Identifier: Apache-2.0
"""A program: the server, whose Python can be made to stand still.

`{"stall_us": n}` holds the GIL on the asyncio thread for so long: no Python code of this process runs, on any thread.
"""

from __future__ import annotations

import asyncio
import ctypes
import sys
import threading
import time

from sfu.config import Settings
from sfu.server import Server
from tests.integration.processes import commands, say

TICK_S = 0.01


class Witness(threading.Thread):
    """Another Python thread, which tells that no Python ran for a while."""

    def __init__(self) -> None:
        super().__init__(name="witness", daemon=True)
        self.longest_us = 0
        self._ended = threading.Event()

    def run(self) -> None:
        before_us = now_us()
        while not self._ended.wait(TICK_S):
            at_us = now_us()
            self.longest_us = max(self.longest_us, at_us - before_us)
            before_us = at_us

    def end(self) -> None:
        self._ended.set()
        self.join()


def now_us() -> int:
    return time.monotonic_ns() // 1000


def hold_the_gil(duration_us: int) -> None:
    # PyDLL keeps the GIL during the call; time.sleep and CDLL would release it.
    ctypes.PyDLL(None).usleep(ctypes.c_uint(duration_us))


async def main(udp_host: str) -> None:
    settings = {"dev": True, "http_port": 0, "udp_port": 0, "udp_host": udp_host, "log_level": "warning"}
    server = Server(Settings.model_validate(settings))
    await server.start()
    witness = Witness()
    witness.start()
    say(url=server.url)
    async for command in commands():
        await asyncio.sleep(5 * TICK_S)
        witness.longest_us = 0
        from_us = now_us()
        hold_the_gil(command["stall_us"])
        to_us = now_us()
        await asyncio.sleep(5 * TICK_S)
        say(from_us=from_us, to_us=to_us, witnessed_us=witness.longest_us)
    witness.end()
    await server.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
