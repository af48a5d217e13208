# SPDX-License-Identifier: Apache-2.0
"""What the native load client counts of a stream, against a set of all that came."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from sfu.load.counts import Latency
from sfu.load.reception_log import LatencyCounter, ReceptionCounter, bucket_upper_us
from tests.reference.reception_log import ReceptionReference

MAX_NACKS = 5
NACK_INTERVAL_US = 100_000

# Mostly forward; sometimes a gap, a step back, a repetition, or the whole window away.
STEPS = st.lists(st.sampled_from((1, 1, 1, 1, 2, 3, 40, -1, -2, -5, 0, 900, -900, -1100)), max_size=300)


@given(first=st.integers(0, (1 << 16) - 1), steps=STEPS, retransmitted=st.lists(st.integers(-50, 5), max_size=20))
def test_counts_are_those_of_a_set_of_sequence_numbers(first: int, steps: list[int], retransmitted: list[int]) -> None:
    counter, reference = ReceptionCounter(), ReceptionReference()
    position = first
    for step in (0, *steps):
        position += step
        sequence = position % (1 << 16)
        assert counter.add(sequence, 0, 0) == reference.add(sequence)
    for back in retransmitted:
        sequence = (position + back) % (1 << 16)
        counter.recovered(sequence)
        reference.recover(sequence)
    assert counter.lost == reference.lost
    for name in ("packets", "duplicates", "late", "recovered"):
        assert counter.counts[name] == getattr(reference, name), name


def test_a_missing_packet_is_asked_for_a_few_times_and_then_given_up() -> None:
    counter = ReceptionCounter()
    counter.add(10, 0, 0)
    counter.add(13, 0, 0)
    assert counter.nacks(1_000) == []
    for asked in range(MAX_NACKS):
        assert counter.nacks(20_000 + asked * NACK_INTERVAL_US) == [11, 12]
        assert counter.nacks(20_001 + asked * NACK_INTERVAL_US) == []
    assert counter.nacks(20_000 + MAX_NACKS * NACK_INTERVAL_US) == []
    assert counter.counts["given_up"] == 2


def test_what_was_recovered_is_not_asked_for() -> None:
    counter = ReceptionCounter()
    counter.add(10, 0, 0)
    counter.add(13, 0, 0)
    counter.recovered(11)
    assert counter.nacks(50_000) == [12]
    assert counter.lost == 1


def test_a_report_counts_the_losses_of_its_interval() -> None:
    counter = ReceptionCounter()
    assert counter.report(0) is None
    for sequence in range(100, 108):
        counter.add(sequence, 0, 0)
    counter.add(116, 0, 0)
    fraction, cumulative, highest, _ = counter.report(0) or (0, 0, 0, 0)
    assert (fraction, cumulative, highest) == (8 * 256 // 17, 8, 116)
    counter.add(117, 0, 0)
    assert counter.report(0) == (0, 8, 117, 0)


@given(st.lists(st.integers(0, 60_000_000), min_size=1, max_size=200), st.floats(0.1, 100))
def test_percentiles_are_at_most_a_thirtieth_above_the_truth(latencies_us: list[int], percent: float) -> None:
    counter = LatencyCounter()
    for latency_us in latencies_us:
        counter.add(latency_us)
    latency = Latency(counter.counts, sum(counter.counts), max(latencies_us))
    ordered = sorted(latencies_us)
    rank = max(1, -(-percent * len(ordered) // 100))
    true_us = ordered[int(rank) - 1]
    assert true_us <= latency.percentile_us(percent) <= true_us * 31 / 30


def test_buckets_follow_each_other_without_a_gap() -> None:
    counter = LatencyCounter()
    uppers = [bucket_upper_us(bucket) for bucket in range(len(counter.counts) - 1)]
    for lower, upper in itertools.pairwise(uppers):
        counter.add(lower)
        counter.add(lower + 1)
        assert upper > lower
    assert counter.counts[0] == 1
    assert set(counter.counts[1:-2]) == {2}
