# SPDX-License-Identifier: Apache-2.0
"""What is alive in this process: objects of ours, tasks, threads, file descriptors."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections import Counter
from pathlib import Path

from aiohttp import web_app

OURS = ("sfu.", "signaling.", "tests.integration.")
THE_LOOPS_OWN = "asyncio_"  # its pool's threads stay for the next call of to_thread
GONE_WITHIN_S = 15.0
LOOK_EVERY_S = 0.1
OPEN_FILES = Path("/proc/self/fd")


def census() -> Counter[str]:
    """How many there are of each kind, after the garbage is gone."""
    # Of the whole process: it keeps the applications of servers that are gone.
    web_app._cached_build_middleware.cache_clear()
    gc.collect()
    alive: Counter[str] = Counter()
    for one in gc.get_objects():
        kind = type(one)
        if str(kind.__module__).startswith(OURS):
            alive[f"object {kind.__module__}.{kind.__qualname__}"] += 1
    alive.update(f"task {task.get_name()}" for task in asyncio.all_tasks())
    names = (thread.name for thread in threading.enumerate())
    alive.update(f"thread {name}" for name in names if not name.startswith(THE_LOOPS_OWN))
    if OPEN_FILES.exists():
        alive["open files"] = len(list(OPEN_FILES.iterdir()))
    return alive


def left_since(before: Counter[str]) -> dict[str, int]:
    """What there is more of."""
    return dict(census() - before)


async def assert_nothing_left(before: Counter[str]) -> None:
    """What was closed may take a moment to be gone."""
    deadline = time.monotonic() + GONE_WITHIN_S
    while left_since(before) and time.monotonic() < deadline:
        await asyncio.sleep(LOOK_EVERY_S)
    left = left_since(before)
    assert not left, left
