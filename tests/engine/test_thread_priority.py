# SPDX-License-Identifier: Apache-2.0
"""A worker's thread goes before the rest of its process where the system permits; the rest is left as it was."""

import os
import subprocess
import sys

import pytest

# In a process of its own: a policy that is set stays set. A worker has run once when it has put statistics out.
OBSERVED = """
import os, resource, sys, time
from sfu.engine.worker import Worker
policy, priority, nice, unprivileged = map(int, sys.argv[1:])
os.sched_setscheduler(0, policy, os.sched_param(priority))
os.nice(nice)
if unprivileged:
    resource.setrlimit(resource.RLIMIT_NICE, (0, 0))
    if os.geteuid() == 0:
        os.setuid(65534)
others = set(os.listdir("/proc/self/task"))
worker = Worker(0, "127.0.0.1", 0)
worker.start()
deadline = time.monotonic() + 20
while not worker.statistics().socket and time.monotonic() < deadline:
    time.sleep(0.01)
(thread,) = (int(one) for one in set(os.listdir("/proc/self/task")) - others)
for task in (thread, os.getpid()):
    print(os.sched_getscheduler(task), os.sched_getparam(task).sched_priority, os.getpriority(os.PRIO_PROCESS, task))
worker.stop()
"""


def observe(policy: int, *, priority: int = 0, nice: int = 0, unprivileged: bool = False) -> list[tuple[int, ...]]:
    """Policy, real-time priority and nice value of the worker's thread and of the process's first one."""
    done = subprocess.run(
        [sys.executable, "-c", OBSERVED, *(str(int(one)) for one in (policy, priority, nice, unprivileged))],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return [tuple(map(int, line.split())) for line in done.stdout.splitlines()]


@pytest.fixture
def privileged() -> None:
    """May a child raise its own priority?"""
    allowed = subprocess.run(
        [sys.executable, "-c", "import os; os.setpriority(os.PRIO_PROCESS, 0, -1)"], check=False, capture_output=True
    )
    if allowed.returncode:
        pytest.skip("raising a priority needs root (CAP_SYS_NICE)")


@pytest.mark.usefixtures("privileged")
@pytest.mark.parametrize("steps", [0, 5, -40])
def test_it_is_ten_steps_of_nice_ahead_down_to_the_last(steps: int) -> None:
    nice = max(-20, os.nice(0) + steps)
    worker, process = observe(os.SCHED_OTHER, nice=steps)
    assert process == (os.SCHED_OTHER, 0, nice)
    assert worker == (os.SCHED_OTHER, 0, max(-20, nice - 10))


@pytest.mark.usefixtures("privileged")
def test_in_a_real_time_process_it_is_one_priority_ahead() -> None:
    try:
        worker, process = observe(os.SCHED_RR, priority=3)
    except subprocess.CalledProcessError as error:
        if "PermissionError" in error.stderr:
            pytest.skip("no real-time budget, as in most containers")
        raise
    assert worker[:2] == (os.SCHED_RR, 4)
    assert process[:2] == (os.SCHED_RR, 3)


def test_without_privileges_it_serves_as_well() -> None:
    before = os.nice(0)
    assert observe(os.SCHED_OTHER, unprivileged=True) == [(os.SCHED_OTHER, 0, before), (os.SCHED_OTHER, 0, before)]


def test_a_policy_that_somebody_chose_is_kept() -> None:
    worker, process = observe(os.SCHED_BATCH)
    assert worker[0] == process[0] == os.SCHED_BATCH
