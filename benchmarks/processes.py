# SPDX-License-Identifier: Apache-2.0
"""Programs that a benchmark starts, and what they cost."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from benchmarks.namespaces import Place

ROOT: Final = Path(__file__).resolve().parents[1]
READY: Final = "pysfu is ready: "
END_WITHIN_S: Final = 15.0


def cpu_ns(pid: int) -> int:
    """User and system time of a process so far: its CPU-time clock, which is exact to the nanosecond."""
    return time.clock_gettime_ns((~pid << 3) | 2)  # MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED) of the kernel


def thread_cpu_ns(pid: int) -> dict[int, int]:
    """Of each of its threads."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found[int(task.name)] = int((task / "schedstat").read_text().split()[0])
    return found


def busiest_thread_ns(pid: int, before: dict[int, int], after: dict[int, int]) -> int:
    """What the busiest thread but the first took between two looks: the media thread. 0 where there is no other."""
    return max((after[tid] - before.get(tid, 0) for tid in after if tid != pid), default=0)


def stop(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def server(place: Place, core: int | None, options: Sequence[str] = ()) -> Iterator[tuple[int, str]]:
    """This project's server: its process id and URL."""
    command = [sys.executable, "-m", "benchmarks.serve", place.address, *options]
    process = subprocess.Popen(
        [*place.command(place.server, core), *command], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment()
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith(READY):
            raise RuntimeError(f"the server did not start: {line!r}")
        yield process.pid, line.removeprefix(READY).split()[0]
    finally:
        stop(process)


def environment() -> dict[str, str]:
    """Without settings of the caller."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SFU_")}
