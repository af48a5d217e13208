# SPDX-License-Identifier: Apache-2.0
"""Which arrivals are reported, in how many packets; read back by a parser of the tests' own."""

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.engine.transport_cc import ArrivalTracker
from tests.reference.transport_cc import DELTA_US, MAX_SIZE, REFERENCE_US, WINDOW, ArrivalReference, read_feedback

SENDER, MEDIA = 0x11223344, 0x55667788
MAX_DELTA_US = 32_767 * DELTA_US
WRAP_US = (1 << 24) * REFERENCE_US


def report(log: ArrivalTracker, wraps: int = 0) -> list[tuple[int, int | None]]:
    """What all packets that are due say together."""
    arrivals = []
    for packet in log.feedback(SENDER, MEDIA):
        assert len(packet) <= MAX_SIZE
        feedback, _ = read_feedback(packet, wraps)
        assert (feedback.sender, feedback.media) == (SENDER, MEDIA)
        assert any(at_us is not None for _, at_us in feedback.arrivals), "a reference time needs an arrival"
        arrivals += feedback.arrivals
    return arrivals


def rounded(arrivals: list[tuple[int, int | None]]) -> list[tuple[int, int | None]]:
    return [(sequence, None if at_us is None else at_us // DELTA_US * DELTA_US) for sequence, at_us in arrivals]


def test_nothing_is_reported_at_first_nor_twice() -> None:
    log = ArrivalTracker()
    assert report(log) == []
    log.add(7, 1_000_000)
    assert report(log) == [(7, 1_000_000)]
    assert report(log) == []


def test_losses_are_reported_between_arrivals() -> None:
    log = ArrivalTracker()
    for sequence, now_us in ((10, 64_000), (11, 64_250), (14, 70_000), (15, 69_000)):
        log.add(sequence, now_us)
    assert report(log) == [(10, 64_000), (11, 64_250), (12, None), (13, None), (14, 70_000), (15, 69_000)]
    log.add(18, 100_000)
    assert report(log) == [(16, None), (17, None), (18, 100_000)], "lost at the start of a feedback too"


def test_the_first_arrival_of_a_duplicate_counts() -> None:
    log = ArrivalTracker()
    for now_us in (1_000, 2_000):
        log.add(3, now_us)
    assert report(log) == [(3, 1_000)]
    log.add(3, 3_000)
    assert report(log) == []


def test_sequence_numbers_wrap() -> None:
    log = ArrivalTracker()
    for sequence in (65_534, 65_535, 1):
        log.add(sequence, 1_000)
    log.add(0, 2_000)
    assert report(log) == [(65_534, 1_000), (65_535, 1_000), (0, 2_000), (1, 1_000)]


def test_a_packet_from_before_the_first_is_reported() -> None:
    log = ArrivalTracker()
    log.add(0, 2_000)
    log.add(65_534, 3_000)
    assert report(log) == [(65_534, 3_000), (65_535, None), (0, 2_000)]


def test_a_late_packet_makes_the_report_begin_with_it_again() -> None:
    log = ArrivalTracker()
    for sequence in (1, 2, 4, 5):
        log.add(sequence, 1_000)
    assert report(log) == [(1, 1_000), (2, 1_000), (3, None), (4, 1_000), (5, 1_000)]
    log.add(3, 5_000)
    assert report(log) == [(3, 5_000), (4, 1_000), (5, 1_000)]
    assert report(log) == []


def test_what_is_older_than_the_window_is_ignored() -> None:
    log = ArrivalTracker()
    for sequence in (10, 12, 11 + WINDOW):
        log.add(sequence, 1_000)
    assert report(log)[0] == (12, 1_000), "11 slots later the ring has no room for 10"
    log.add(11, 1_000)
    assert report(log) == []


def test_a_jump_beyond_the_window_starts_anew() -> None:
    log = ArrivalTracker()
    log.add(0, 1_000)
    log.add(3 * WINDOW, 2_000)
    arrivals = report(log)
    assert len(arrivals) == WINDOW
    assert [entry for entry in arrivals if entry[1] is not None] == [(3 * WINDOW, 2_000)]


def test_a_pause_longer_than_a_delta_splits_the_feedback() -> None:
    log = ArrivalTracker()
    log.add(1, 64_000)
    log.add(2, 64_000 + MAX_DELTA_US)
    log.add(3, 64_000 + 2 * MAX_DELTA_US + DELTA_US)
    packets = [read_feedback(packet) for packet in log.feedback(SENDER, MEDIA)]
    assert [feedback.base for feedback, _ in packets] == [1, 3]
    assert [count for _, count in packets] == [0, 1]


def test_much_is_split_by_size_and_numbered_on() -> None:
    log = ArrivalTracker()
    for sequence in range(WINDOW):
        log.add(sequence, 1_000_000 + sequence * 100_000)
    packets = log.feedback(SENDER, MEDIA)
    assert len(packets) >= 2 * WINDOW // MAX_SIZE
    assert all(MAX_SIZE - 16 < len(packet) <= MAX_SIZE for packet in packets[:-1])
    assert [read_feedback(packet)[1] for packet in packets] == list(range(len(packets)))
    for count in range(len(packets), 300):
        log.add(WINDOW + count, count)
        (packet,) = log.feedback(SENDER, MEDIA)
        assert read_feedback(packet)[1] == count % 256


def test_too_little_room_loses_nothing() -> None:
    log = ArrivalTracker()
    log.add(1, 1_000)
    assert log.feedback(SENDER, MEDIA, 20) == []
    assert report(log) == [(1, 1_000)]


def test_rounding_does_not_add_up() -> None:
    log = ArrivalTracker()
    times_us = [sequence * 333 for sequence in range(400)]
    for sequence, now_us in enumerate(times_us):
        log.add(sequence, now_us)
    for (_, at_us), now_us in zip(report(log), times_us, strict=True):
        assert at_us is not None
        assert abs(at_us - now_us) <= DELTA_US


def test_the_reference_time_wraps() -> None:
    log = ArrivalTracker()
    log.add(1, WRAP_US - 1_000)
    log.add(2, WRAP_US + 1_000)
    assert report(log) == [(1, WRAP_US - 1_000), (2, WRAP_US + 1_000)]
    log.add(3, WRAP_US + 64_000)
    assert report(log, wraps=1) == [(3, WRAP_US + 64_000)]


STEP = st.tuples(
    st.one_of(st.just(1), st.integers(-5, 5), st.integers(-2_100, 2_100), st.integers(-40_000, 40_000)),
    st.one_of(st.integers(0, 2_000), st.integers(0, 100_000), st.just(MAX_DELTA_US + 500_000)),
    st.sampled_from([False, False, False, True]),
)


def test_it_reports_what_its_twin_reports(scaled: Callable[[int], int]) -> None:
    @settings(max_examples=scaled(200), deadline=None)
    @given(st.integers(0, 65_535), st.integers(0, 10**12), st.lists(STEP, max_size=150))
    def check(sequence: int, now_us: int, steps: list[tuple[int, int, bool]]) -> None:
        ours, twin = ArrivalTracker(), ArrivalReference()
        for ahead, advance_us, due in [*steps, (1, 0, True)]:
            sequence = (sequence + ahead) & 0xFFFF
            now_us += advance_us
            ours.add(sequence, now_us)
            twin.add(sequence, now_us)
            if due:
                assert report(ours) == rounded(twin.report())

    check()
