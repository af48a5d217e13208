# SPDX-License-Identifier: Apache-2.0
"""What is alive in this process: objects of ours, tasks, threads, file descriptors."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections import Counter
from pathlib import Path

OURS = ("sfu.", "signaling.", "tests.integration.")
OPEN_FILES = Path("/proc/self/fd")


def census() -> Counter[str]:
    """How many there are of each kind, after the garbage is gone."""
    gc.collect()
    alive: Counter[str] = Counter()
    for one in gc.get_objects():
        kind = type(one)
        if str(kind.__module__).startswith(OURS):
            alive[f"object {kind.__module__}.{kind.__qualname__}"] += 1
    alive.update(f"task {task.get_name()}" for task in asyncio.all_tasks())
    alive.update(f"thread {thread.name}" for thread in threading.enumerate())
    if OPEN_FILES.exists():
        alive["open files"] = len(list(OPEN_FILES.iterdir()))
    return alive


def left_since(before: Counter[str]) -> dict[str, int]:
    """What there is more of."""
    return dict(census() - before)
