# SPDX-License-Identifier: Apache-2.0
"""What is asked for again, when, and when it is given up; the compiled generator against its twin."""

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.engine.nack import NackTracker
from tests.reference.nack import (
    CAPACITY,
    MAX_AGE,
    MAX_TRIES,
    REORDER_DELAY_US,
    RETRY_MAX_US,
    RETRY_MIN_US,
    RTT_DEFAULT_US,
    NackReference,
)

RTT_US = 50_000


def with_gap(*missing: int, until: int = 20, base: int = 0) -> NackTracker:
    """Packets 0 to `until` but for the missing ones, all at time 0."""
    nack = NackTracker()
    for sequence in range(until + 1):
        if sequence not in missing:
            nack.on_packet(base + sequence, 0)
    return nack


def test_nothing_is_missing_at_first() -> None:
    nack = NackTracker()
    assert nack.next_us is None
    nack.on_packet(5_000, 0)
    nack.on_packet(5_001, 10)
    assert nack.missing == []
    assert nack.due(10**9) == []
    assert nack.next_us is None
    assert not nack.take_keyframe_wanted()


def test_a_gap_is_asked_for_after_the_reorder_delay_and_then_each_rtt() -> None:
    nack = with_gap(3, 4, 9)
    assert nack.next_us == REORDER_DELAY_US
    assert nack.due(REORDER_DELAY_US - 1, RTT_US) == []
    assert nack.due(REORDER_DELAY_US, RTT_US) == [3, 4, 9]
    assert nack.next_us == REORDER_DELAY_US + RTT_US
    assert nack.due(REORDER_DELAY_US + RTT_US - 1, RTT_US) == []
    nack.on_packet(4, 20_000)
    assert nack.due(REORDER_DELAY_US + RTT_US, RTT_US) == [3, 9]


def test_what_was_only_overtaken_is_never_asked_for() -> None:
    nack = with_gap(7)
    nack.on_packet(7, REORDER_DELAY_US - 1)
    assert nack.next_us is None
    assert nack.due(10**9, RTT_US) == []


def test_the_interval_is_bounded() -> None:
    for rtt_us, interval_us in ((1, RETRY_MIN_US), (10**7, RETRY_MAX_US), (0, RTT_DEFAULT_US), (-5, RTT_DEFAULT_US)):
        nack = with_gap(3)
        assert nack.due(REORDER_DELAY_US, rtt_us) == [3]
        assert nack.next_us == REORDER_DELAY_US + interval_us


def test_tries_end_and_only_a_keyframe_helps() -> None:
    nack = with_gap(3)
    now_us = 0
    for _ in range(MAX_TRIES):
        now_us = nack.next_us or 0
        assert nack.due(now_us, RTT_US) == [3]
        assert not nack.take_keyframe_wanted()
    assert nack.due(now_us + RTT_US - 1, RTT_US) == []
    assert nack.missing == [3], "the last request still has its round trip"
    assert nack.due(now_us + RTT_US, RTT_US) == []
    assert nack.missing == []
    assert nack.take_keyframe_wanted()
    assert not nack.take_keyframe_wanted(), "told once"


def test_a_gap_that_a_keyframe_healed_wants_no_other() -> None:
    nack = with_gap(3)
    nack.on_packet(21, 0, keyframe_start=True)
    now_us = 0
    while nack.next_us is not None:
        now_us = nack.next_us
        nack.due(now_us, RTT_US)
    assert now_us == REORDER_DELAY_US + MAX_TRIES * RTT_US, "it was still asked for: a picture less is a picture less"
    assert not nack.take_keyframe_wanted()


def test_a_keyframe_that_arrives_takes_the_wish_back() -> None:
    nack = NackTracker()
    nack.on_packet(0, 0)
    nack.on_packet(CAPACITY + 2, 0)
    nack.on_packet(CAPACITY + 3, 0, keyframe_start=True)
    assert not nack.take_keyframe_wanted()


def test_a_gap_that_is_too_large_is_given_up() -> None:
    nack = NackTracker()
    nack.on_packet(0, 0)
    nack.on_packet(CAPACITY + 1, 0)
    assert len(nack.missing) == CAPACITY
    nack.on_packet(CAPACITY + 3, 0)
    assert nack.missing == []
    assert nack.take_keyframe_wanted()


def test_overflow_keeps_what_lies_behind_the_newest_keyframe() -> None:
    nack = NackTracker()
    nack.on_packet(0, 0)
    nack.on_packet(201, 0, keyframe_start=True)
    nack.on_packet(300, 0)
    assert nack.missing == list(range(202, 300))
    assert not nack.take_keyframe_wanted()


def test_a_keyframe_behind_a_large_gap_needs_nothing() -> None:
    nack = NackTracker()
    nack.on_packet(0, 0)
    nack.on_packet(100_000, 0, keyframe_start=True)
    assert nack.missing == []
    assert not nack.take_keyframe_wanted()


def test_what_is_too_old_is_given_up() -> None:
    nack = with_gap(3, until=4)
    for sequence in range(5, 4 + MAX_AGE):
        nack.on_packet(sequence, 0)
    assert nack.missing == [3]
    nack.on_packet(4 + MAX_AGE, 0)
    assert nack.missing == []
    assert nack.take_keyframe_wanted()


def test_more_than_fits_stays_due() -> None:
    nack = with_gap(3, 4, 5)
    assert nack.due(REORDER_DELAY_US, RTT_US, 2) == [3, 4]
    assert nack.next_us == REORDER_DELAY_US
    assert nack.due(REORDER_DELAY_US, RTT_US, 2) == [5]
    assert nack.due(REORDER_DELAY_US, RTT_US, 0) == []


def test_sequence_numbers_are_asked_for_in_16_bits() -> None:
    nack = with_gap(5, 6, 8, base=(3 << 16) - 7)
    assert nack.due(REORDER_DELAY_US, RTT_US) == [65_534, 65_535, 1]


ADVANCE_US = st.integers(0, 30_000)
PACKET = st.tuples(
    st.just("packet"),
    st.one_of(st.just(1), st.integers(-40, 40), st.integers(-300, 300), st.sampled_from([10_001, 20_000, 1 << 40])),
    ADVANCE_US,
    st.sampled_from([False, False, False, True]),
)
DUE = st.tuples(st.just("due"), st.integers(-1, 500_000), ADVANCE_US, st.integers(0, 300))
TAKE = st.tuples(st.just("take"), st.just(0), st.integers(0, 600_000), st.just(0))


def test_it_does_what_its_twin_does(scaled: Callable[[int], int]) -> None:
    @settings(max_examples=scaled(400), deadline=None)
    @given(st.integers(0, 70_000), st.lists(st.one_of(PACKET, PACKET, DUE, TAKE), max_size=120))
    def check(first: int, steps: list[tuple[str, int, int, int]]) -> None:
        ours, twin = NackTracker(), NackReference()
        now_us, newest = 0, first
        for kind, value, advance_us, extra in steps:
            now_us += advance_us
            if kind == "packet":
                sequence = newest + value
                newest = max(newest, sequence)
                ours.on_packet(sequence, now_us, bool(extra))
                twin.on_packet(sequence, now_us, bool(extra))
            elif kind == "due":
                assert ours.due(now_us, value, extra) == twin.due(now_us, value, min(extra, CAPACITY))
            else:
                assert ours.take_keyframe_wanted() == twin.take_keyframe_wanted()
            assert ours.missing == twin.missing
            assert ours.next_us == twin.next_us
        assert ours.take_keyframe_wanted() == twin.take_keyframe_wanted()

    check()
