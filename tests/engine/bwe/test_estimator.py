# SPDX-License-Identifier: Apache-2.0
"""The whole estimator: bookkeeping of packets, states, fallbacks, bounds."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.engine.bwe.bandwidth import BandwidthEstimator, default_parameters, estimator_bytes, with_changes
from sfu.engine.bwe.results import CongestionState, EstimateBasis
from sfu.engine.transport_cc import ArrivalTracker

SECOND = 1_000_000
SIZE = 1172


class Session:
    """A sender, a path of 25 ms each way without a bottleneck, a receiver that reports each 50 ms."""

    def __init__(self, **parameters: Any) -> None:
        self.now_us = 10 * SECOND
        self.estimator = BandwidthEstimator(self.now_us, parameters)
        self.tracker = ArrivalTracker()

    def run(
        self,
        seconds: float,
        rate_bps: float,
        *,
        extra_us: float = 0.0,
        lose: int = 0,
        report: bool = True,
        probes: bool = False,
    ) -> None:
        """Packets at that rate; each arrives `extra_us` later than the one before, every `lose`-th does not."""
        gap_us = round((SIZE + 28) * 8e6 / rate_bps)
        delay_us, heard_us = 25_000.0, self.now_us
        for number in range(round(seconds * SECOND / gap_us)):
            self.now_us += gap_us
            if probes:
                self.estimator.probe(self.now_us)
            sequence = self.estimator.next_sequence()
            self.estimator.sent(sequence, SIZE, self.now_us)
            delay_us += extra_us
            if not lose or number % lose:
                self.tracker.add(sequence, round(self.now_us + delay_us))
            if self.now_us - heard_us >= 50_000:
                heard_us = self.now_us
                self.estimator.tick(self.now_us)
                for packet in self.tracker.feedback(1, 2) if report else []:
                    assert self.estimator.feedback(packet, self.now_us + 50_000)

    @property
    def basis(self) -> int:
        return self.estimator.snapshot()["basis"]


def test_memory_is_bounded() -> None:
    assert estimator_bytes() <= 64 * 1024


def test_defaults_and_changes() -> None:
    changed = with_changes({"start_bps": 1e6, "loss": {"padding_us": 5}})
    assert changed["start_bps"] == 1e6
    assert changed["loss"]["padding_us"] == 5
    assert changed["loss"]["newton_step"] == default_parameters()["loss"]["newton_step"]
    for wrong in ({"nonsense": 1}, {"loss": {"nonsense": 1}}):
        with pytest.raises(KeyError, match="nonsense"):
            with_changes(wrong)


def test_before_anything_is_heard() -> None:
    session = Session()
    assert session.estimator.rate_bps == 300_000
    assert session.basis == EstimateBasis.START
    assert session.estimator.state == CongestionState.NORMAL
    assert session.estimator.probe(session.now_us) is None, "nothing was sent yet"


def test_numbers_are_consecutive_and_wrap() -> None:
    estimator = BandwidthEstimator(0)
    numbers = [estimator.next_sequence() for _ in range(0x10002)]
    assert numbers[:3] == [0, 1, 2]
    assert numbers[-3:] == [0xFFFF, 0, 1]


def test_the_rate_grows_while_all_is_well_and_packets_wrap() -> None:
    session = Session()
    for _ in range(0xFFF0):
        session.estimator.next_sequence()
    session.run(10, 1_000_000)
    snapshot = session.estimator.snapshot()
    assert 600_000 < snapshot["rate_bps"] <= 1.5 * 1_000_000 + 10_000
    assert snapshot["acknowledged_bps"] == pytest.approx(1_000_000, rel=0.01)
    assert snapshot["rtt_us"] == pytest.approx(50_000, rel=0.1)
    assert snapshot["basis"] == EstimateBasis.DELAY
    assert snapshot["queue_us"] == 0
    assert session.estimator.state == CongestionState.NORMAL


def test_a_growing_delay_is_congestion_and_lowers_the_rate() -> None:
    session = Session()
    session.run(8, 1_000_000)
    before_bps = session.estimator.rate_bps
    session.run(1, 1_000_000, extra_us=1_500)
    assert session.estimator.rate_bps < before_bps
    assert session.estimator.state == CongestionState.CONGESTED
    assert session.estimator.snapshot()["queue_us"] > 50_000


def test_the_state_returns_by_itself() -> None:
    session = Session()
    session.run(8, 1_000_000)
    session.run(1, 1_000_000, extra_us=1_500)
    seen = []
    for _ in range(10):
        session.run(1, 300_000)
        seen.append(session.estimator.state)
    assert seen[-1] == CongestionState.NORMAL


def test_heavy_loss_lowers_the_rate() -> None:
    session = Session(loss_probe={"packets": 0})
    session.run(8, 1_000_000)
    session.run(6, 1_000_000, lose=3)
    assert session.basis == EstimateBasis.LOSS
    assert session.estimator.rate_bps < 800_000


def test_feedback_that_stops_lowers_the_rate_step_by_step() -> None:
    session = Session()
    session.run(8, 1_000_000)
    before_bps = session.estimator.rate_bps
    session.run(3, 1_000_000, report=False)
    assert session.estimator.rate_bps == before_bps
    session.run(5, 1_000_000, report=False)
    assert session.estimator.rate_bps <= 0.8**4 * before_bps * 1.01
    assert session.basis == EstimateBasis.TIMEOUT
    assert session.estimator.state == CongestionState.CONGESTED


def test_silence_of_the_sender_is_no_timeout() -> None:
    session = Session()
    session.run(8, 1_000_000)
    before_bps = session.estimator.rate_bps
    for _ in range(200):
        session.now_us += 50_000
        session.estimator.tick(session.now_us)
    assert session.estimator.rate_bps == before_bps


def test_remb_alone_is_followed() -> None:
    session = Session()
    session.run(1, 300_000, report=False)
    session.estimator.remb(1_200_000, session.now_us)
    assert session.estimator.rate_bps == 1_200_000
    assert session.basis == EstimateBasis.REMB
    session.estimator.report(0.2, 50_000, session.now_us)
    assert session.estimator.rate_bps == pytest.approx(1_080_000)
    session.run(16, 300_000, report=False)
    assert session.basis == EstimateBasis.REPORTS, "it is no longer believed"


def test_remb_is_a_cap_beside_transport_wide_feedback() -> None:
    session = Session()
    session.run(8, 1_000_000)
    session.estimator.remb(200_000, session.now_us)
    assert session.estimator.rate_bps == 200_000
    assert session.basis == EstimateBasis.REMB


def test_with_loss_reports_only_the_rate_follows_them_within_what_is_sent() -> None:
    session = Session()
    for _ in range(60):
        session.run(1, 300_000, report=False)
        session.estimator.report(0.0, 60_000, session.now_us)
    assert session.estimator.rate_bps == pytest.approx(460_000, rel=0.02)
    session.estimator.report(0.05, 60_000, session.now_us)
    steady_bps = session.estimator.rate_bps
    session.now_us += SECOND
    session.estimator.report(0.3, 60_000, session.now_us)
    assert session.estimator.rate_bps == pytest.approx(0.85 * steady_bps, rel=0.01)
    assert session.basis == EstimateBasis.REPORTS


def test_with_nothing_at_all_the_rate_stays() -> None:
    session = Session()
    session.run(30, 300_000, report=False)
    assert session.estimator.rate_bps == 300_000
    assert session.basis == EstimateBasis.START


def test_bounds_hold_and_can_change() -> None:
    session = Session()
    session.estimator.set_bounds(100_000, 700_000, session.now_us)
    session.run(20, 1_000_000)
    assert session.estimator.rate_bps == 700_000
    session.estimator.set_bounds(900_000, 800_000, session.now_us)
    assert session.estimator.rate_bps == 900_000
    session.estimator.set_bounds(50_000, 5_000_000, session.now_us)
    session.run(5, 1_000_000)
    assert session.estimator.rate_bps > 900_000


def test_the_first_probes_wait_for_the_first_packet() -> None:
    session = Session()
    session.run(0.1, 300_000, probes=True)
    assert session.estimator.snapshot()["probes"] == 2


def test_a_request_needs_feedback() -> None:
    session = Session()
    assert not session.estimator.request_probe(2_000_000, session.now_us)
    session.run(8, 1_000_000, probes=True)
    assert session.estimator.request_probe(10 * session.estimator.rate_bps, session.now_us)
    assert session.estimator.probe(session.now_us) is not None


def test_the_receivers_clock_may_wrap() -> None:
    """The 24 bits of the reference time wrap each 12.4 days."""
    session = Session()
    wrap_us = (1 << 23) * 64_000
    session.now_us = wrap_us - 5 * SECOND
    session.run(10, 1_000_000)
    assert session.estimator.state == CongestionState.NORMAL
    assert session.estimator.snapshot()["acknowledged_bps"] == pytest.approx(1_000_000, rel=0.01)
    assert session.estimator.rate_bps > 600_000


def test_malformed_feedback_is_refused() -> None:
    estimator = BandwidthEstimator(0)
    for packet in (b"", b"\x8f\xcd\x00\x01abcd", bytes(20)):
        assert not estimator.feedback(packet, 1)


def feedback(base: int, deltas: list[int | None]) -> bytes:
    """Large deltas of 250 µs each, one vector chunk for seven packets; None = not received."""
    symbols = [0 if delta is None else 2 for delta in deltas]
    chunks = b""
    for at in range(0, len(symbols), 7):
        part = (symbols[at : at + 7] + [0] * 7)[:7]
        chunks += struct.pack("!H", 0xC000 | sum(symbol << (12 - 2 * index) for index, symbol in enumerate(part)))
    body = struct.pack("!IIHHI", 1, 2, base, len(deltas), 1 << 8) + chunks
    body += b"".join(struct.pack("!h", delta) for delta in deltas if delta is not None)
    body += bytes(-len(body) % 4)
    return struct.pack("!BBH", 0x8F, 205, len(body) // 4) + body


DELTAS = st.lists(st.one_of(st.none(), st.integers(-(1 << 15), (1 << 15) - 1)), min_size=1, max_size=60)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 0xFFFF), DELTAS, st.integers(0, SECOND)), min_size=1, max_size=12))
def test_whatever_a_receiver_claims_the_rate_stays_within_bounds(
    reports: list[tuple[int, list[int | None], int]],
) -> None:
    estimator = BandwidthEstimator(0, {"max_bps": 5e6})
    now_us = SECOND
    for base, deltas, pause_us in reports:
        for _ in range(40):
            now_us += 1_000
            plan = estimator.probe(now_us)
            sequence = estimator.next_sequence()
            estimator.sent(sequence, 1000, now_us, plan["cluster"] if plan else -1)
        now_us += pause_us
        assert estimator.feedback(feedback(base if base < 100 else base % 400, deltas), now_us)
        estimator.tick(now_us)
        assert 30_000 <= estimator.rate_bps <= 5_000_000
        assert estimator.next_us > now_us


def test_what_was_reported_once_is_not_counted_again() -> None:
    session = Session()
    for number in range(40):
        session.now_us += 10_000
        session.estimator.sent(session.estimator.next_sequence(), SIZE, session.now_us)
        session.tracker.add(number, session.now_us + 25_000)
    (packet,) = session.tracker.feedback(1, 2)
    session.estimator.feedback(packet, session.now_us + 50_000)
    once = session.estimator.snapshot()
    for _ in range(5):
        session.estimator.feedback(packet, session.now_us + 60_000)
    again = session.estimator.snapshot()
    assert again["acknowledged_bps"] == once["acknowledged_bps"]
    assert again["rate_bps"] == pytest.approx(once["rate_bps"], rel=0.02)


class PacedSession(Session):
    """Numbers are given before a pacer's queue: of ten packets the first waits there, and the others overtake it."""

    def run_paced(self, seconds: float, *, lose: int = 0) -> int:
        """Each `lose`-th of those that were overtaken does not arrive. Returns how many were lost."""
        gap_us, lost = 4_000, 0
        for burst in range(round(seconds * SECOND / (10 * gap_us))):
            overtaken = self.estimator.next_sequence()
            for step in range(10):
                self.now_us += gap_us
                sequence = overtaken if step == 9 else self.estimator.next_sequence()
                self.estimator.sent(sequence, SIZE, self.now_us)
                if step in (4, 9):
                    # It knows of packets sent before the one that waits, and names that as missing: while it waits,
                    # and while it is on its way.
                    self._hear()
                if step == 9 and lose and burst % lose == 0:
                    lost += 1
                else:
                    self.tracker.add(sequence, self.now_us + 25_000)
        self.now_us += 10 * gap_us
        self._hear()
        return lost

    def _hear(self) -> None:
        self.estimator.tick(self.now_us)
        for packet in self.tracker.feedback(1, 2):
            assert self.estimator.feedback(packet, self.now_us)


def test_a_packet_that_waited_in_the_pacer_is_not_lost() -> None:
    session = PacedSession()
    session.run_paced(10)
    assert session.estimator.snapshot()["loss"] == 0.0


def test_one_that_was_overtaken_and_then_lost_is_counted_once() -> None:
    session = PacedSession()
    session.run_paced(20, lose=2)
    assert session.estimator.snapshot()["loss"] == pytest.approx(0.05, abs=0.015)
