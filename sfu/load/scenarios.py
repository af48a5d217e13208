# SPDX-License-Identifier: Apache-2.0
"""Who does what, and when: pure functions of the spec and the time since the first join.

A *seat* is a place in a room. It is taken by one bot after another (churn), never by two at once.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from sfu.load.spec import LoadSpec

# Levels in -dBov (RFC 6464): who speaks, and who is only there.
SPEAKING: Final = 15
QUIET: Final = 90
MAX_PICTURES: Final = 24
# Full bots know each other by their names.
FULL_PREFIX: Final = "full-"


@dataclass(frozen=True, slots=True)
class Seat:
    number: int
    room: str
    publishes: bool
    slots: int
    """Pairs of slots to receive in."""
    full: bool = False
    impaired: bool = False
    generation: int = 0
    """How many bots had it before."""
    is_first_of_room: bool = False

    @property
    def name(self) -> str:
        kind = FULL_PREFIX if self.full else "light-"
        return f"{kind}{self.number}" + (f"-{self.generation}" if self.generation else "")


@dataclass(frozen=True, slots=True)
class Join:
    at_s: float
    seat: Seat


@dataclass(frozen=True, slots=True)
class Leave:
    at_s: float
    seat_number: int
    silently: bool


@dataclass(frozen=True, slots=True)
class Speak:
    """From now on the microphone has this level."""

    at_s: float
    seat_number: int
    level: int


@dataclass(frozen=True, slots=True)
class Wish:
    """From now on nothing above this spatial layer, of anything."""

    at_s: float
    seat_number: int
    max_spatial: int


Action = Join | Leave | Speak | Wish


def due(spec: LoadSpec, from_s: float, to_s: float) -> list[Action]:
    """What this shard does in from_s ≤ time < to_s, in the order of time."""
    actions: list[Action] = list(_joins(spec, from_s, to_s))
    match spec.scenario:
        case "churn":
            actions += _churn(spec, from_s, to_s)
        case "speakers":
            actions += _speakers(spec, from_s, to_s)
        case "layers":
            actions += _layers(spec, from_s, to_s)
        case _:
            pass
    return sorted((action for action in actions if _is_ours(spec, action)), key=lambda action: action.at_s)


def seat(spec: LoadSpec, number: int) -> Seat:
    """The seats of the first room come first, then those of the next."""
    webinar = spec.scenario == "webinar" or (spec.scenario == "ramp" and spec.of == "webinar")
    if webinar:
        room, publishes, pictures = 0, number < spec.publishers, spec.publishers
    else:
        room, publishes, pictures = number // spec.participants, True, spec.participants - 1
    return Seat(
        number=number,
        room=f"{spec.room}-{room + 1}",
        publishes=publishes,
        slots=0 if webinar and publishes else spec.slots or min(MAX_PICTURES, pictures),
        full=number < spec.full,
        is_first_of_room=number == 0 if webinar else number % spec.participants == 0,
        impaired=spec.scenario == "network" and _is_spread(number, round(spec.bots * spec.impaired / 100), spec.bots),
    )


def steady_from_s(spec: LoadSpec) -> float:
    """When all should have begun to join."""
    return 0.0 if spec.scenario == "ramp" else spec.joining_s


def _is_spread(number: int, some: int, of_all: int) -> bool:
    """Whether this is one of `some` numbers that lie evenly among `of_all`."""
    return (number + 1) * some // of_all > number * some // of_all


def _is_ours(spec: LoadSpec, action: Action) -> bool:
    """Meetings are dealt out by rooms, so that who is in a room shares a clock; a webinar by participants."""
    index, shards = spec.shard
    number = action.seat.number if isinstance(action, Join) else action.seat_number
    webinar = spec.scenario == "webinar" or (spec.scenario == "ramp" and spec.of == "webinar")
    return (number if webinar else number // spec.participants) % shards == index - 1


def _joins(spec: LoadSpec, from_s: float, to_s: float) -> Iterator[Join]:
    if spec.scenario == "ramp":
        yield from _ramp(spec, from_s, to_s)
        return
    for number in _ticks(from_s, to_s, 1 / spec.join_rate, spec.bots):
        yield Join(number / spec.join_rate, seat(spec, number))


def _ramp(spec: LoadSpec, from_s: float, to_s: float) -> Iterator[Join]:
    """The joins of a step come at its beginning, in the first half of it at the latest."""
    most = spec.bots
    for step in range(int(from_s / spec.step_seconds), int(to_s / spec.step_seconds) + 1):
        first = step * spec.bots_per_step + (spec.publishers if step and spec.of == "webinar" else 0)
        count = spec.bots_per_step + (spec.publishers if not step and spec.of == "webinar" else 0)
        interval_s = min(1 / spec.join_rate, spec.step_seconds / 2 / count)
        for index in range(count):
            at_s = step * spec.step_seconds + index * interval_s
            if from_s <= at_s < to_s and first + index < most:
                yield Join(at_s, seat(spec, first + index))


def _churn(spec: LoadSpec, from_s: float, to_s: float) -> Iterator[Action]:
    """One goes and another one comes, at such a rate that each stays `stay` seconds on average."""
    begin_s, interval_s = spec.joining_s, spec.stay / spec.bots
    for tick in _ticks(from_s - begin_s, to_s - begin_s, interval_s):
        rng = random.Random(f"{spec.seed} churn {tick}")
        chosen = seat(spec, rng.randrange(spec.bots))
        at_s = begin_s + tick * interval_s
        yield Leave(at_s, chosen.number, silently=rng.random() * 100 < spec.vanish)
        yield Join(at_s, replace(chosen, generation=tick + 1))


def _speakers(spec: LoadSpec, from_s: float, to_s: float) -> Iterator[Speak]:
    """In each room one speaks at a time."""
    for tick in _ticks(from_s, to_s, spec.speech):
        for room in range(spec.rooms):
            order = random.Random(f"{spec.seed} speakers {room}").sample(range(spec.participants), spec.participants)
            first = room * spec.participants
            if tick:
                yield Speak(tick * spec.speech, first + order[(tick - 1) % spec.participants], QUIET)
            yield Speak(tick * spec.speech, first + order[tick % spec.participants], SPEAKING)


def _layers(spec: LoadSpec, from_s: float, to_s: float) -> Iterator[Wish]:
    """The receivers do so one after the other, so that the server always has a few switches under way."""
    for number in range(spec.bots):
        offset_s = spec.joining_s + number / spec.bots * spec.switch_every
        for tick in _ticks(from_s - offset_s, to_s - offset_s, spec.switch_every):
            rng = random.Random(f"{spec.seed} layers {number}")
            yield Wish(offset_s + tick * spec.switch_every, number, (rng.randrange(3) + tick) % 3)


def _ticks(from_s: float, to_s: float, interval_s: float, most: int | None = None) -> range:
    """k with from_s ≤ k · interval_s < to_s, k ≥ 0."""
    first = max(0, math.ceil(from_s / interval_s - 1e-9))
    end = max(0, math.ceil(to_s / interval_s - 1e-9))
    return range(first, end if most is None else min(end, most))
