# SPDX-License-Identifier: Apache-2.0
"""What a benchmark finds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    what: str
    value: float
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.value:.4g} {self.unit}".rstrip()


def percentile(values: Sequence[float], percent: float) -> float:
    """By nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]
