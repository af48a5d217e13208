# SPDX-License-Identifier: Apache-2.0
"""Counts of durations in buckets whose width grows with the value: any percentile within 4 %, in bounded space."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

# 2^SUB_BITS buckets for each power of two.
SUB_BITS: Final = 4
SUBS: Final = 1 << SUB_BITS
MAX_US: Final = (1 << 32) - 1


def bucket_of(value_us: int) -> int:
    """Values up to 2^SUB_BITS have a bucket each; negative ones count as 0, too large ones as the largest."""
    value = min(max(0, value_us), MAX_US)
    exponent = value.bit_length() - 1 - SUB_BITS
    if exponent <= 0:
        return value
    return (exponent << SUB_BITS) + (value >> exponent)


def middle_of(bucket: int) -> float:
    """The value in µs that stands for all of a bucket."""
    if bucket < 2 * SUBS:
        return float(bucket)
    exponent = (bucket >> SUB_BITS) - 1
    least = (bucket - (exponent << SUB_BITS)) << exponent
    return least + ((1 << exponent) - 1) / 2


class Histogram:
    """Sparse; `counts` is bucket → how many."""

    __slots__ = ("counts", "total")

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self.counts: dict[int, int] = dict(counts or {})
        self.total = sum(self.counts.values())

    def add(self, value_us: int, times: int = 1) -> None:
        bucket = bucket_of(value_us)
        self.counts[bucket] = self.counts.get(bucket, 0) + times
        self.total += times

    def merge(self, other: Histogram) -> None:
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count
        self.total += other.total

    def since(self, earlier: Histogram) -> Histogram:
        """What was added after `earlier` was copied from this one."""
        counts = {bucket: count - earlier.counts.get(bucket, 0) for bucket, count in self.counts.items()}
        return Histogram({bucket: count for bucket, count in counts.items() if count > 0})

    def copy(self) -> Histogram:
        return Histogram(self.counts)

    def percentile_ms(self, percent: float) -> float | None:
        """The value that so many percent do not exceed; None: nothing was counted."""
        wanted, seen = self.total * percent / 100, 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= wanted:
                return middle_of(bucket) / 1000
        return None


def percentile(values: Iterable[float], percent: float) -> float | None:
    """Nearest rank; None of nothing."""
    ordered = sorted(values)
    if not ordered:
        return None
    rank = math.ceil(len(ordered) * percent / 100)
    return ordered[max(0, rank - 1)]
