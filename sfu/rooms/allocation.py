# SPDX-License-Identifier: Apache-2.0
"""Which quality each receiver gets of each video: a pure function over all receivers of a room, on numpy arrays.

A source is a ladder of steps of rising cost (`sfu.rooms.ladder`); a receiver has a budget. The rules, in their order:

1. Audio is paid for first, whatever the budget.
2. Everybody subscribed gets the lowest step, by priority; what does not fit is paused.
3. On stage (selected) is greedy up to its preferred step, a shared screen up to its full resolution.
4. The rest is shared out: in rounds, by priority, one step each, until nothing more fits.

That is done thrice: with the whole budget, and with two smaller ones. A source goes down to what the whole budget
allows, up to what a smaller one allows, and otherwise stays: so nothing flaps while estimates swing by less than the
difference. How much smaller depends on time: soon after a downgrade the headroom has to be large.

After Jitsi Videobridge's doc/allocation.md (order, the greedy stage), mediasoup's transport (no upgrade for 10 s after
a downgrade) and LiveKit's stream allocator (pause, probe before an upgrade). tests/reference has a plain twin of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Int8 = npt.NDArray[np.int8]
Int64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# Levels beside the indexes of steps.
PAUSED: Final = -1
NEW: Final = -2

# Priorities. On stage and shared screens are greedy.
OTHER: Final = 0
SPEAKING: Final = 1
SCREEN: Final = 2
SELECTED: Final = 3

# Congestion states, as the engine's estimator tells them.
NORMAL: Final = 0
WARNING: Final = 1
CONGESTED: Final = 2

# Bits per second. Far from 2⁶³ also after the multiplications below.
UNLIMITED: Final = 1 << 52
NO_STEP: Final = 1 << 60
NEVER_US: Final = -(1 << 60)

# What an upgrade must leave free, of its own cost: a tenth is what good estimates swing by.
HEADROOM_PERCENT: Final = 15
# With so much to spare there is no doubt, and no waiting.
AMPLE_PERCENT: Final = 50
# After a downgrade of the source no upgrade for so long (mediasoup: 10 s), so that at most two switches fall into it.
HOLD_US: Final = 10_000_000
AMPLE_HOLD_US: Final = 2_000_000
# Between upgrades of one source: each of them may cost a keyframe. For a shared screen it bounds the steps.
UPGRADE_INTERVAL_US: Final = 1_000_000

# A probe asks for so much of what would then be sent (LiveKit: 120 %): of the next step at the least, and of all that
# is wished for up to this multiple of the budget. A probe for more costs little more, and saves the next one.
PROBE_PERCENT: Final = 120
PROBE_FACTOR: Final = 2


@dataclass(frozen=True, slots=True, eq=False)
class Sources:
    costs: Int64
    """(sources, steps): bits per second of each step in all, not falling; `NO_STEP` beyond the last."""
    goal: Int8
    """(sources): the step up to which it is greedy when on stage, or when it is a screen."""
    stepwise: Bools
    """(sources): goes up by one step at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Receivers:
    """Columns of the two-dimensional arrays are sources. Among equal priorities the lower column comes first."""

    budget_bps: Int64
    steady_bps: Int64
    """The least that the budget was lately: what an upgrade may count on."""
    audio_bps: Int64
    congestion: Int8
    caps: Int8
    """(receivers, sources): the highest step that is wished for; `PAUSED`: not subscribed."""
    priority: Int8


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """What became of each (receiver, source), and when it last changed."""

    level: Int8
    """A step, `PAUSED`, or `NEW` for what had none before."""
    priority: Int8
    downgraded_us: Int64
    """For want of budget; `NEVER_US`."""
    upgraded_us: Int64


@dataclass(frozen=True, slots=True, eq=False)
class Allocation:
    course: Course
    wanted_bps: Int64
    """(receivers): all that is wished for."""
    probe_bps: Int64
    """(receivers): what the estimate would have to show for the next step; 0 where none is missing."""


def allocate(sources: Sources, receivers: Receivers, before: Course, now_us: int) -> Allocation:
    most, likely, ample = _thrice(sources, receivers)
    likely, ample = np.minimum(likely, most), np.minimum(ample, most)
    is_new = before.level == NEW
    stayed = np.minimum(np.minimum(before.level, receivers.caps), most)
    risen = receivers.priority > before.priority
    downgraded_us = np.where(risen, NEVER_US, before.downgraded_us)
    since_down_us = now_us - downgraded_us
    rested = risen | (now_us - before.upgraded_us >= UPGRADE_INTERVAL_US)
    calm = (receivers.congestion == NORMAL)[:, None]
    upper = np.where(rested & (since_down_us >= HOLD_US), likely, PAUSED)
    upper = np.maximum(upper, np.where(since_down_us >= AMPLE_HOLD_US, ample, PAUSED))
    upper = np.where(sources.stepwise[None, :], np.where(rested, np.minimum(upper, stayed + 1), PAUSED), upper)
    level = np.where(calm, np.maximum(stayed, upper), stayed)
    level = np.where(is_new, np.maximum(likely, np.minimum(most, 0)), level).astype(np.int8)
    down = ~is_new & (level < np.minimum(before.level, receivers.caps))
    up = ~is_new & (level > before.level)
    course = Course(
        level,
        receivers.priority,
        np.where(down, now_us, downgraded_us),
        np.where(up, now_us, before.upgraded_us),
    )
    wanted_bps = receivers.audio_bps + _spent(sources.costs, receivers.caps)
    return Allocation(course, wanted_bps, _probes(sources, receivers, level, wanted_bps))


def _thrice(sources: Sources, receivers: Receivers) -> tuple[Int8, Int8, Int8]:
    """Levels with the whole budget, with headroom, and with ample headroom."""
    budget_bps = receivers.budget_bps
    likely_bps = np.minimum(budget_bps, receivers.steady_bps) * 100 // (100 + HEADROOM_PERCENT)
    ample_bps = budget_bps * 100 // (100 + AMPLE_PERCENT)
    # Budgets in rows below each other: the loops over sources run once for all three.
    spare_bps = np.concatenate([budget_bps, likely_bps, ample_bps]) - np.tile(receivers.audio_bps, 3)
    levels = fill(sources, np.tile(receivers.caps, (3, 1)), np.tile(receivers.priority, (3, 1)), spare_bps)
    count = len(budget_bps)
    return levels[:count], levels[count : 2 * count], levels[2 * count :]


def fill(sources: Sources, caps: Int8, priority: Int8, spare_bps: Int64) -> Int8:
    """Levels without regard to what was before: rules 2 to 4."""
    # Nothing to decide where all that is wished for fits.
    levels = caps.copy()
    spare_bps = np.maximum(spare_bps, 0)
    short = np.flatnonzero(_spent(sources.costs, caps) > spare_bps)
    if short.size:
        levels[short] = _Filling(sources, caps[short], priority[short], spare_bps[short]).run()
    return levels


class _Filling:
    """Arrays are turned: row k holds every receiver's k-th source by priority."""

    def __init__(self, sources: Sources, caps: Int8, priority: Int8, spare_bps: Int64) -> None:
        count = int((caps > PAUSED).sum(axis=1).max())
        # Not subscribed comes last, and is cut off. A stable sort keeps the columns' order among equals.
        rank = np.where(caps > PAUSED, -priority.astype(np.int16), np.int16(1))
        self.order = np.argsort(rank, axis=1, kind="stable")[:, :count]
        self.width = sources.costs.shape[1]
        self.costs = sources.costs
        self.flat = np.append(sources.costs.ravel(), NO_STEP)
        self.shape = caps.shape
        self.spare_bps = spare_bps
        turned = np.ascontiguousarray(self.order.T)
        self.sources = turned
        self.caps = np.ascontiguousarray(np.take_along_axis(caps, self.order, axis=1).T).astype(np.int64)
        self.eager = np.ascontiguousarray(np.take_along_axis(priority, self.order, axis=1).T) >= SCREEN
        self.goals = np.minimum(sources.goal[turned], self.caps)
        self.levels = np.full_like(self.caps, PAUSED)
        # The cost of the present level, and where that of the next one is found.
        self.paid = np.zeros_like(self.caps)
        self.next = turned * self.width

    def run(self) -> Int8:
        for k in range(len(self.levels)):
            self._step(k, self.caps[k] > PAUSED)
        for k in np.flatnonzero(self.eager.any(axis=1)).tolist():
            self._be_greedy(k)
        # Who took no step in a round takes none in any later one: there is no more to spare then.
        while True:
            before = int(self.levels.sum())
            climbing = (self.levels > PAUSED) & (self.levels < self.caps)
            for k in np.flatnonzero(climbing.any(axis=1)).tolist():
                self._step(k, climbing[k])
            if int(self.levels.sum()) == before:
                break
        levels = np.full(self.shape, PAUSED, np.int8)
        np.put_along_axis(levels, self.order, self.levels.T.astype(np.int8), axis=1)
        return levels

    def _step(self, k: int, may: Bools) -> None:
        cost = self.flat.take(self.next[k])
        step = cost - self.paid[k]
        takes = may & (step <= self.spare_bps)
        self.spare_bps -= step * takes
        self.paid[k] += step * takes
        self.levels[k] += takes
        self.next[k] += takes

    def _be_greedy(self, k: int) -> None:
        who = np.flatnonzero(self.eager[k] & (self.levels[k] > PAUSED) & (self.levels[k] < self.goals[k]))
        if not who.size:
            return
        costs = self.costs[self.sources[k, who]]
        paid = self.paid[k, who]
        reachable = (costs <= (self.spare_bps[who] + paid)[:, None]).sum(axis=1) - 1
        level = np.minimum(reachable, self.goals[k, who])
        cost = costs[np.arange(who.size), level]
        self.spare_bps[who] -= cost - paid
        self.paid[k, who] = cost
        self.next[k, who] += level - self.levels[k, who]
        self.levels[k, who] = level


def _spent(costs: Int64, levels: Int8) -> Int64:
    """(receivers): what these levels cost."""
    columns = np.arange(costs.shape[0])
    spent = np.where(levels > PAUSED, costs[columns, np.maximum(levels, 0)], 0)
    return np.asarray(spent.sum(axis=1), np.int64)


def _probes(sources: Sources, receivers: Receivers, level: Int8, wanted_bps: Int64) -> Int64:
    """For the first source by priority that wants more: its next step on top of all that is sent, or more."""
    budget_bps = receivers.budget_bps
    probe_bps = np.zeros_like(budget_bps)
    missing = level < receivers.caps
    who = np.flatnonzero(missing.any(axis=1) & (receivers.congestion == NORMAL) & (budget_bps < UNLIMITED))
    if not who.size:
        return probe_bps
    first = np.where(missing[who], receivers.priority[who], -1).argmax(axis=1)
    present = level[who, first]
    paid = np.where(present > PAUSED, sources.costs[first, np.maximum(present, 0)], 0)
    sent = receivers.audio_bps[who] + _spent(sources.costs, level[who])
    needed = sent - paid + sources.costs[first, present + 1]
    lacks = needed * (100 + HEADROOM_PERCENT) // 100 > budget_bps[who]
    more = np.minimum(wanted_bps[who] * PROBE_PERCENT // 100, budget_bps[who] * PROBE_FACTOR)
    probe_bps[who] = np.where(lacks, np.maximum(needed * PROBE_PERCENT // 100, more), 0)
    return probe_bps
