# SPDX-License-Identifier: Apache-2.0
"""The server as benchmarks start it: `python -m benchmarks.serve ADDRESS [--no-gso] [--no-gro] [--hold-gil MS]`."""

from __future__ import annotations

import argparse
import asyncio
import functools
import sys
import time
from typing import Final

import uvloop

from sfu import listening
from sfu.config import load
from sfu.engine.worker import Worker
from sfu.server import serve
from sfu.telemetry import logs

HOLD_EVERY_S: Final = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve")
    parser.add_argument("address")
    parser.add_argument("--no-gso", action="store_true")
    parser.add_argument("--no-gro", action="store_true")
    parser.add_argument("--workers", default="1")
    parser.add_argument(
        "--hold-gil", type=float, default=0.0, metavar="MS", help="of each 100 ms, Python computes so long"
    )
    options = parser.parse_args()
    if options.no_gso or options.no_gro:
        # Not settings: nobody but a benchmark wants them.
        vars(listening)["Worker"] = functools.partial(Worker, gso=not options.no_gso, gro=not options.no_gro)
    # Overload is what some benchmarks look for: the rooms must not make it smaller.
    settings = load(
        {
            "dev": True,
            "http_host": options.address,
            "http_port": "0",
            "udp_host": options.address,
            "udp_port": "0",
            "workers": options.workers,
            "shed_load": False,
        }
    )
    logs.configure("error")
    uvloop.run(_run(settings, options.hold_gil / 1000))


async def _run(settings: object, hold_s: float) -> None:
    holder = asyncio.create_task(_hold(hold_s)) if hold_s else None
    await serve(settings)  # type: ignore[arg-type]
    if holder is not None:
        holder.cancel()


async def _hold(hold_s: float) -> None:
    """Keep the interpreter busy, without a break in which another thread could have the GIL."""
    sys.setswitchinterval(10.0)
    while True:
        until_s = time.monotonic() + hold_s
        while time.monotonic() < until_s:
            pass
        await asyncio.sleep(max(0.001, HOLD_EVERY_S - hold_s))


if __name__ == "__main__":
    main()
