# SPDX-License-Identifier: Apache-2.0
"""sfu.engine.bwe.throughput in plain Python: all sums taken anew, after libwebrtc's robust_throughput_estimator.cc."""

from dataclasses import dataclass, field
from itertools import pairwise

REQUIRED_PACKETS = 10
RECENT_US = 500_000
BUSY_US = 15_000
BUSY_PACKETS = 5
REORDERING_MAX_US = 1_000_000
INTERVAL_MIN_US = 1_000
RING = 512


@dataclass
class ThroughputReference:
    window_packets: int = 20
    window_packets_max: int = 500
    window_min_us: int = 1_000_000
    window_max_us: int = 5_000_000
    _packets: list[tuple[int, int, int]] = field(default_factory=list, init=False)
    """(arrival_us, sent_us, size), ascending by arrival."""
    _discarded_us: int | None = field(default=None, init=False)

    def feedback(self, packets: list[tuple[int, int, int]]) -> None:
        """(sent_us, arrival_us, size) in order of arrival."""
        window = self._packets
        for sent_us, arrival_us, size in packets:
            if window and window[-1][0] - arrival_us > REORDERING_MAX_US:
                window.clear()
                self._discarded_us = None
            if len(window) == RING:
                self._drop_first()
            at = len(window)
            while at and window[at - 1][0] > arrival_us:
                at -= 1
            window.insert(at, (arrival_us, sent_us, size))
        while window and self._too_long():
            self._drop_first()

    def _too_long(self) -> bool:
        count, duration_us = len(self._packets), self._packets[-1][0] - self._packets[0][0]
        return (
            count > self.window_packets_max
            or duration_us > self.window_max_us
            or (count > self.window_packets and duration_us > self.window_min_us)
        )

    def _drop_first(self) -> None:
        _, sent_us, _ = self._packets.pop(0)
        self._discarded_us = sent_us if self._discarded_us is None else max(self._discarded_us, sent_us)

    @property
    def bps(self) -> float | None:
        window = self._packets
        if len(window) < REQUIRED_PACKETS:
            return None
        arrivals = [arrival_us for arrival_us, _, _ in window]
        gaps = sorted(after - before for before, after in pairwise(arrivals))
        duration_us = arrivals[-1] - arrivals[0] - gaps[-1] + gaps[-2]
        received_bps = sum(size for _, _, size in window[1:]) * 8e6 / max(duration_us, INTERVAL_MIN_US)
        sent = [(at_us, size) for _, at_us, size in window if self._discarded_us is None or at_us >= self._discarded_us]
        if len(sent) < REQUIRED_PACKETS:
            return received_bps
        times = [at_us for at_us, _ in sent]
        last_size = next(size for at_us, size in sent if at_us == max(times))
        sent_bps = (sum(size for _, size in sent) - last_size) * 8e6 / max(max(times) - min(times), INTERVAL_MIN_US)
        return min(received_bps, sent_bps)

    def busy_bps(self, queued_delay_us: int) -> float | None:
        window = self._packets
        busy = [
            (arrival_us - before_us, size)
            for (before_us, _, _), (arrival_us, sent_us, size) in pairwise(window)
            if window[-1][0] - arrival_us <= RECENT_US and arrival_us - sent_us > queued_delay_us
        ]
        busy_us = sum(gap_us for gap_us, _ in busy)
        if len(busy) < BUSY_PACKETS or busy_us < BUSY_US:
            return None
        return sum(size for _, size in busy) * 8e6 / busy_us
