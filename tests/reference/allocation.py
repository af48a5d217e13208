# SPDX-License-Identifier: Apache-2.0
"""sfu.rooms.allocation in plain Python: one receiver at a time, one source at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

PAUSED, NEW = -1, -2
SCREEN = 2
NORMAL = 0
UNLIMITED = 1 << 52
NEVER_US = -(1 << 60)


@dataclass(frozen=True)
class Source:
    costs: list[int]
    goal: int
    stepwise: bool


@dataclass
class Wanted:
    """One source as one receiver sees it."""

    cap: int
    priority: int


@dataclass
class Past:
    level: int
    priority: int
    downgraded_us: int
    upgraded_us: int


@dataclass
class Receiver:
    budget_bps: int
    steady_bps: int
    audio_bps: int
    congestion: int
    wanted: list[Wanted]


def fill(sources: Sequence[Source], wanted: Sequence[Wanted], spare_bps: int) -> list[int]:
    """Levels without regard to what was before."""
    levels = [PAUSED] * len(sources)
    spare_bps = max(spare_bps, 0)
    everything = sum(source.costs[one.cap] for source, one in zip(sources, wanted, strict=True) if one.cap > PAUSED)
    if everything <= spare_bps:
        return [one.cap for one in wanted]
    order = sorted((index for index, one in enumerate(wanted) if one.cap > PAUSED), key=lambda i: -wanted[i].priority)

    def step(index: int) -> bool:
        nonlocal spare_bps
        level, costs = levels[index], sources[index].costs
        if level >= wanted[index].cap:
            return False
        more = costs[level + 1] - (costs[level] if level > PAUSED else 0)
        if more > spare_bps:
            return False
        spare_bps -= more
        levels[index] += 1
        return True

    for index in order:
        step(index)
    for index in order:
        if wanted[index].priority >= SCREEN and levels[index] > PAUSED:
            while levels[index] < sources[index].goal and step(index):
                pass
    climbed = True
    while climbed:
        climbed = False
        for index in order:
            if levels[index] > PAUSED:
                climbed = step(index) or climbed
    return levels


def allocate_one(
    sources: Sequence[Source], receiver: Receiver, past: Sequence[Past], now_us: int
) -> tuple[list[Past], int, int]:
    """What becomes of each source, what is wanted in all, and the probe."""
    budget = receiver.budget_bps
    most = fill(sources, receiver.wanted, budget - receiver.audio_bps)
    likely_bps = min(budget, receiver.steady_bps) * 100 // 115
    likely = fill(sources, receiver.wanted, likely_bps - receiver.audio_bps)
    ample = fill(sources, receiver.wanted, budget * 100 // 150 - receiver.audio_bps)
    result = []
    for source, one, was, *three in zip(sources, receiver.wanted, past, most, likely, ample, strict=True):
        result.append(_decide(source, one, was, three, receiver.congestion, now_us))
    costs = [source.costs[one.cap] for source, one in zip(sources, receiver.wanted, strict=True) if one.cap > PAUSED]
    wanted_bps = receiver.audio_bps + sum(costs)
    return result, wanted_bps, _probe(sources, receiver, [one.level for one in result], wanted_bps)


def _decide(source: Source, one: Wanted, was: Past, levels: list[int], congestion: int, now_us: int) -> Past:
    most, likely, ample = levels[0], min(levels[1], levels[0]), min(levels[2], levels[0])
    risen = one.priority > was.priority
    downgraded_us = NEVER_US if risen else was.downgraded_us
    if was.level == NEW:
        return Past(max(likely, min(most, 0)), one.priority, downgraded_us, was.upgraded_us)
    level = min(was.level, one.cap, most)
    rested = risen or now_us - was.upgraded_us >= 1_000_000
    upper = PAUSED
    if rested and now_us - downgraded_us >= 10_000_000:
        upper = likely
    if now_us - downgraded_us >= 2_000_000:
        upper = max(upper, ample)
    if source.stepwise:
        upper = min(upper, level + 1) if rested else PAUSED
    if congestion == NORMAL:
        level = max(level, upper)
    if level < min(was.level, one.cap):
        downgraded_us = now_us
    return Past(level, one.priority, downgraded_us, now_us if level > was.level else was.upgraded_us)


def _probe(sources: Sequence[Source], receiver: Receiver, levels: list[int], wanted_bps: int) -> int:
    missing = [index for index, one in enumerate(receiver.wanted) if levels[index] < one.cap]
    if not missing or receiver.congestion != NORMAL or receiver.budget_bps >= UNLIMITED:
        return 0
    first = max(missing, key=lambda index: receiver.wanted[index].priority)
    sent = receiver.audio_bps
    for index, level in enumerate(levels):
        reached = level + 1 if index == first else level
        if reached > PAUSED:
            sent += sources[index].costs[reached]
    if sent * 115 // 100 <= receiver.budget_bps:
        return 0
    return max(sent * 120 // 100, min(wanted_bps * 120 // 100, 2 * receiver.budget_bps))
