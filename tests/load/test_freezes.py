# SPDX-License-Identifier: Apache-2.0
"""Freezes are counted as browsers do: an interval of more than 3 average ones, and 150 ms more than one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sfu.load.freezes import PictureWatch
from sfu.load.picture_log import PictureCounter

FRAME_US = 66_667


def steady(watch: PictureWatch, from_us: int, frames: int) -> int:
    for number in range(frames):
        watch.frame(from_us + number * FRAME_US)
    return from_us + (frames - 1) * FRAME_US


def test_a_steady_picture_never_freezes() -> None:
    watch = PictureWatch()
    last_us = steady(watch, 0, 100)
    assert (watch.frames, watch.freezes, watch.frozen_us, watch.watched_us) == (100, 0, 0, last_us)


def test_a_gap_of_150_ms_more_is_one_freeze() -> None:
    watch = PictureWatch()
    last_us = steady(watch, 0, 40)
    watch.frame(last_us + FRAME_US + 149_000)
    assert watch.freezes == 0
    last_us = steady(watch, last_us + 2 * FRAME_US + 149_000, 40)
    steady(watch, last_us + FRAME_US + 160_000, 10)
    assert (watch.freezes, watch.frozen_us) == (1, FRAME_US + 160_000)


def test_a_freeze_that_goes_on_is_seen_before_it_ends_and_counted_once() -> None:
    watch = PictureWatch()
    last_us = steady(watch, 0, 40)
    watch.look(last_us + 100_000)
    assert watch.freezes == 0
    for seconds in (1, 2, 3):
        watch.look(last_us + seconds * 1_000_000)
    assert (watch.freezes, watch.frozen_us) == (1, 0)
    watch.frame(last_us + 4_000_000)
    assert (watch.freezes, watch.frozen_us) == (1, 4_000_000)


def test_what_is_paused_does_not_freeze() -> None:
    watch = PictureWatch()
    last_us = steady(watch, 0, 40)
    watch.pause()
    watch.look(last_us + 5_000_000)
    steady(watch, last_us + 10_000_000, 5)
    assert watch.freezes == 0
    assert watch.watched_us == 43 * FRAME_US


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("frame"), st.integers(0, 400_000)),
            st.tuples(st.sampled_from(["look", "pause"]), st.integers(0, 1_000_000)),
        ),
        max_size=120,
    )
)
def test_the_native_watch_counts_the_same(steps: list[tuple[str, int]]) -> None:
    native, watch = PictureCounter(), PictureWatch()
    now_us = 1
    for what, wait_us in steps:
        now_us += wait_us
        for one in (native, watch):
            if what == "frame":
                one.frame(now_us)
            elif what == "look":
                one.look(now_us)
            else:
                one.pause()
        assert native.counts == (watch.freezes, watch.frozen_us, watch.watched_us)
