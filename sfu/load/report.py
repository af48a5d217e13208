# SPDX-License-Identifier: Apache-2.0
"""The report of a run as data: what terminal, JSON and HTML say."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

import sfu
from sfu.load.figures import Failure, Figures, FullFigures, Record, Sample, full_figures
from sfu.load.histogram import percentile
from sfu.load.limits import Machine
from sfu.load.runner import Outcome
from sfu.load.spec import SCENARIOS, LoadSpec
from sfu.load.verdict import Check, Verdict, judge

FORMAT: Final = 1
SECRETS: Final = ("key", "token_url")
EXAMPLES: Final = 10
# Later than this, and receivers see a freeze that is not the server's.
MAX_LATENESS_US: Final = 150_000


class CheckReport(msgspec.Struct, frozen=True):
    option: str
    text: str
    value: float | None
    bound: float
    unit: str
    at_least: bool
    holds: bool


class StepReport(msgspec.Struct, frozen=True):
    """One step of a ramp."""

    participants: int
    holds: bool
    broken: tuple[str, ...]
    server_cpu_percent: float | None
    latency_p99_ms: float | None
    lost_percent: float | None
    join_p95_ms: float | None


class FailureReport(msgspec.Struct, frozen=True):
    code: str
    message: str
    count: int


class Point(msgspec.Struct, frozen=True):
    """One second of the run, for plots. Rates are of that second; None: not measured."""

    at_s: float
    begun: int
    inside: int
    receiving: int
    joins_per_s: float
    received_bps: float
    sent_bps: float
    layer_bps: tuple[float, ...]
    audio_bps: float
    packets_expected: int
    packets_received: int
    unrepaired: int
    freezes: int
    latency_p50_ms: float | None
    latency_p99_ms: float | None
    server_cpu_percent: float | None
    server_memory_bytes: float | None
    own_cpu_percent: float


class Report(msgspec.Struct, frozen=True):
    format: int
    version: str
    scenario: str
    text: str
    url: str
    began: str
    seconds: float
    ended: str
    """Why it ended before its time; empty: it did not."""
    options: dict[str, Any]
    machine: dict[str, Any]
    warnings: tuple[str, ...]
    holds: bool
    capacity: int | None
    """Of a ramp: participants in the last step that kept all bounds."""
    checks: tuple[CheckReport, ...]
    overall: dict[str, Any] | None
    steady: dict[str, Any] | None
    """Once all had joined."""
    full: dict[str, Any] | None
    """Full bots."""
    steps: tuple[StepReport, ...]
    failures: tuple[FailureReport, ...]
    metrics_problem: str | None
    first_frames_ms: tuple[float, ...]
    """Percentiles 1, 2, … 100."""
    joins_ms: tuple[float, ...]
    points: tuple[Point, ...]


def make_report(
    spec: LoadSpec, outcome: Outcome, machine: Machine, began: datetime.datetime, warnings: Sequence[str] = ()
) -> Report:
    overall, steady = outcome.overall(), outcome.steady()
    capacity = _capacity(outcome) if spec.scenario == "ramp" else None
    record = outcome.record
    full = full_figures(record.scored)
    verdict = _verdict(spec, outcome, overall, steady, full, capacity)
    failures = [*record.failures, *record.lost_bots]
    return Report(
        format=FORMAT,
        version=sfu.__version__,
        scenario=spec.scenario,
        text=SCENARIOS[spec.scenario].text,
        url=spec.url,
        began=began.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        seconds=outcome.ended_s,
        ended=outcome.ended,
        options=_options(spec),
        machine=msgspec.to_builtins(machine),
        warnings=(*warnings, *_own_faults(record)),
        holds=verdict.holds,
        capacity=capacity,
        checks=tuple(_check(check) for check in verdict.checks),
        overall=_plain(overall),
        steady=_plain(steady),
        full=_plain(full),
        steps=tuple(
            StepReport(
                participants=step.participants,
                holds=step.holds,
                broken=step.broken,
                server_cpu_percent=step.figures.server_cpu_percent,
                latency_p99_ms=step.figures.latency_p99_ms,
                lost_percent=step.figures.lost_percent,
                join_p95_ms=step.figures.join_p95_ms,
            )
            for step in outcome.steps
        ),
        failures=_failures(failures),
        metrics_problem=outcome.metrics_problem,
        first_frames_ms=_percentiles([one.after_ms for one in record.first_frames]),
        joins_ms=_percentiles([one.join_ms for one in record.arrivals]),
        points=_points(record),
    )


def write_json(report: Report, path: Path) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")


def _verdict(
    spec: LoadSpec,
    outcome: Outcome,
    overall: Figures | None,
    steady: Figures | None,
    full: FullFigures | None,
    capacity: int | None,
) -> Verdict:
    if overall is None:
        return Verdict((Check("min_joined", "joins that succeeded", None, spec.min_joined, "%", at_least=True),))
    if capacity is None:
        return judge(spec, overall, steady, full)
    # A ramp is there to cross a bound: its verdict is how far it came.
    wanted = spec.target or (outcome.steps[0].participants if outcome.steps else spec.bots_per_step)
    return Verdict((Check("target", "participants carried", float(capacity), float(wanted), "", at_least=True),))


def _capacity(outcome: Outcome) -> int:
    return max((step.participants for step in outcome.steps if step.holds), default=0)


def _options(spec: LoadSpec) -> dict[str, Any]:
    """Those of the scenario, without secrets."""
    values = spec.model_dump(mode="json")
    return {name: values[name] for name in SCENARIOS[spec.scenario].options if name not in SECRETS}


def _plain(figures: Figures | FullFigures | None) -> dict[str, Any] | None:
    return None if figures is None else dict(msgspec.to_builtins(figures))


def _own_faults(record: Record) -> list[str]:
    """Where the test, and not the server, was too slow."""
    last = record.samples[-1] if record.samples else None
    found = []
    if last is not None and last.own_drops:
        found.append(
            f"this machine dropped {last.own_drops} packets that the test was too slow to take: use more machines"
        )
    if last is not None and last.lateness_us > MAX_LATENESS_US:
        found.append(
            f"the test itself sent a frame {last.lateness_us / 1000:.0f} ms late: this machine has too much to do"
        )
    return found


def _check(check: Check) -> CheckReport:
    return CheckReport(check.option, check.text, check.value, check.bound, check.unit, check.at_least, check.holds)


def _failures(failures: Sequence[Failure]) -> tuple[FailureReport, ...]:
    counts = Counter(failure.code for failure in failures)
    examples = {failure.code: failure.message for failure in reversed(failures)}
    return tuple(FailureReport(code, examples[code], count) for code, count in counts.most_common(EXAMPLES))


def _percentiles(values: Sequence[float]) -> tuple[float, ...]:
    ordered = sorted(values)
    found = (percentile(ordered, percent) for percent in range(1, 101))
    return tuple(value for value in found if value is not None)


def _points(record: Record) -> tuple[Point, ...]:
    return tuple(_point(record, one, two) for one, two in zip(record.samples, record.samples[1:], strict=False))


def _point(record: Record, earlier: Sample, sample: Sample) -> Point:
    seconds = max(1e-3, sample.at_s - earlier.at_s)
    change = sample.counters.since(earlier.counters)
    latency = sample.latency.since(earlier.latency)
    cpu = None
    if sample.server is not None and earlier.server is not None:
        cpu = (sample.server.cpu_s - earlier.server.cpu_s) / seconds * 100
    return Point(
        at_s=sample.at_s,
        begun=sample.begun,
        inside=sample.inside,
        receiving=sample.receiving,
        joins_per_s=sum(1 for one in record.arrivals if earlier.at_s < one.at_s <= sample.at_s) / seconds,
        received_bps=change.received_bytes * 8 / seconds,
        sent_bps=change.sent_bytes * 8 / seconds,
        layer_bps=tuple(octets * 8 / seconds for octets in change.layer_bytes),
        audio_bps=change.audio_bytes * 8 / seconds,
        packets_expected=change.expected_packets,
        packets_received=change.received_packets,
        unrepaired=max(0, change.unrepaired_packets),
        freezes=change.freezes,
        latency_p50_ms=latency.percentile_ms(50),
        latency_p99_ms=latency.percentile_ms(99),
        server_cpu_percent=cpu,
        server_memory_bytes=None if sample.server is None else sample.server.memory_bytes,
        own_cpu_percent=(sample.own_cpu_s - earlier.own_cpu_s) / seconds * 100,
    )
