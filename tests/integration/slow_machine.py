# SPDX-License-Identifier: Apache-2.0
"""Whether the machine gave a server in this process the time that a verdict on it needs."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

from sfu.engine.statistics import Statistics

# A worker that waited for a core for more of its time than this was not the one that was too slow.
STARVED = 0.2
# What the pacer gives up when bots answer late: the numbers are used, and the packets come by retransmission.
PACED_AWAY = ("pacer_expired", "pacer_full")


class CoreTime:
    """How long the worker threads that are there now wait for a core, from now on."""

    def __init__(self) -> None:
        self._threads = [
            Path(f"/proc/self/task/{thread.native_id}/schedstat")
            for thread in threading.enumerate()
            if thread.name.startswith("sfu-worker")
        ]
        self._began_s, self._before_s = time.monotonic(), self._waited_s()

    def waiting(self) -> float:
        """Share of the time, of the worker that waited longest."""
        lasted_s = time.monotonic() - self._began_s
        waited_s = zip(self._waited_s(), self._before_s, strict=True)
        return max((now_s - before_s) / lasted_s for now_s, before_s in waited_s)

    def _waited_s(self) -> list[float]:
        return [int(thread.read_text().split()[1]) / 1e9 for thread in self._threads]


def too_slow(cores: CoreTime, workers: Sequence[Statistics], overrun: int) -> str | None:
    """Why what the checkers saw says nothing of the server; None: it does."""
    dropped = sum(one.socket.get("kernel_dropped", 0) for one in workers)
    paced_away = sum(one.drops.get(name, 0) for one in workers for name in PACED_AWAY)
    waiting = cores.waiting()
    if overrun or dropped:
        return f"{overrun} packets overran the bots' buffers, {dropped} the server's"
    if paced_away:
        return f"the bots answered so late that the pacer gave {paced_away} packets up"
    if waiting > STARVED:
        return f"a worker waited for a core {waiting:.0%} of the time"
    return None
