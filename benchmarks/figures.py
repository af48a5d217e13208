# SPDX-License-Identifier: Apache-2.0
"""What a benchmark finds."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

Configuration = TypeVar("Configuration", bound=Hashable)
Result = TypeVar("Result")


@dataclass(frozen=True)
class Figure:
    what: str
    value: float
    unit: str = ""
    series: str = ""
    """With `x`: the line of a plot that it is a point of."""
    x: float | None = None
    axis: str = ""
    """What x is."""

    def __str__(self) -> str:
        return f"{self.what}: {self.value:.4g} {self.unit}".rstrip()


def percentile(values: Sequence[float], percent: float) -> float:
    """By nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def in_turn(
    configurations: Sequence[Configuration], repeats: int, measure: Callable[[Configuration], Result]
) -> dict[Configuration, list[Result]]:
    """Each configuration `repeats` times, one after another, so that what else the machine does hits all alike."""
    results: dict[Configuration, list[Result]] = {configuration: [] for configuration in configurations}
    for _ in range(repeats):
        for configuration in configurations:
            results[configuration].append(measure(configuration))
    return results


def middle(values: Sequence[float]) -> float:
    """The median of what is a number; NaN of nothing."""
    numbers = [value for value in values if not math.isnan(value)]
    return median(numbers) if numbers else math.nan
