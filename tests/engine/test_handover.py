# SPDX-License-Identifier: Apache-2.0
"""The one lock: who gets it when both sides want it. Real threads; nothing here depends on how fast they are."""

import ctypes
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sfu.engine.handover import HandoverLock

SLICE_US = 200
GIL_HELD_US = 200_000


@contextmanager
def working(lock: HandoverLock, slice_us: int = SLICE_US) -> Iterator[None]:
    """A saturated worker: it never pauses between slices."""
    worker = threading.Thread(target=lock.work, args=(slice_us,))
    worker.start()
    try:
        wait_for(lambda: lock.worker_turns > 0)
        yield
    finally:
        lock.stop()
        worker.join()


def wait_for(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.001)


def test_a_control_call_waits_for_one_slice_at_most(scaled: Callable[[int], int]) -> None:
    lock = HandoverLock()
    calls = scaled(500)
    with working(lock):
        for _ in range(calls):
            lock.control(1, 0)
    assert lock.control_turns == calls
    assert lock.most_slices_waited <= 1
    assert lock.entered == lock.worker_turns + lock.control_turns


def test_control_calls_without_a_pause_do_not_keep_the_worker_out(scaled: Callable[[int], int]) -> None:
    """A worker that asks for the lock lets one call go first at most, however long the system keeps it from asking."""
    lock = HandoverLock()
    turns = scaled(200)
    with working(lock, slice_us=20):
        before = lock.worker_turns
        while lock.worker_turns < before + turns:
            lock.control(50, 20)
    assert lock.most_calls_waited <= 1
    assert lock.most_slices_waited <= 1


def test_several_control_threads_exclude_each_other(scaled: Callable[[int], int]) -> None:
    lock = HandoverLock()
    calls = scaled(200)
    controls = [threading.Thread(target=lock.control, args=(calls, 10)) for _ in range(4)]
    with working(lock, slice_us=10):
        for control in controls:
            control.start()
        for control in controls:
            control.join()
    assert lock.control_turns == len(controls) * calls
    assert lock.entered == lock.worker_turns + lock.control_turns
    assert not lock.wanted


def test_without_a_worker_nobody_waits() -> None:
    lock = HandoverLock()
    lock.control(1000, 0)
    assert lock.control_turns == 1000
    assert lock.most_slices_waited == 0


def test_the_worker_sees_that_it_is_wanted() -> None:
    lock = HandoverLock()
    with working(lock, slice_us=50_000):
        assert not lock.wanted
        control = threading.Thread(target=lock.control, args=(1, 0))
        control.start()
        wait_for(lambda: lock.wanted or lock.control_turns > 0)
        control.join()
    assert lock.control_turns == 1
    assert not lock.wanted


def test_a_thread_that_holds_the_gil_delays_neither_side() -> None:
    lock = HandoverLock()
    hold_gil = ctypes.PyDLL(None).usleep
    with working(lock, slice_us=20):
        control = threading.Thread(target=lock.control, args=(20_000, 20))
        control.start()
        wait_for(lambda: lock.control_turns > 0)
        before = lock.worker_turns, lock.control_turns
        hold_gil(GIL_HELD_US)
        after = lock.worker_turns, lock.control_turns
        control.join()
    assert after[0] > before[0]
    assert after[1] > before[1]
    assert lock.most_slices_waited <= 1
