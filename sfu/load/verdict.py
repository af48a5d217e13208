# SPDX-License-Identifier: Apache-2.0
"""Whether a run was good enough: figures against the spec's bounds."""

from __future__ import annotations

from dataclasses import dataclass

from sfu.load.figures import Figures, FullFigures
from sfu.load.spec import LoadSpec, flag


@dataclass(frozen=True, slots=True)
class Check:
    """One bound. `value` None: there was nothing to measure, and that is a failure."""

    option: str
    text: str
    value: float | None
    bound: float
    unit: str
    at_least: bool = False

    @property
    def holds(self) -> bool:
        if self.value is None:
            return False
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def __str__(self) -> str:
        value = "not measured" if self.value is None else f"{self.value:.4g} {self.unit}"
        relation = "at least" if self.at_least else "at most"
        return f"{self.text}: {value}, {relation} {self.bound:g} {self.unit} ({flag(self.option)})"


@dataclass(frozen=True, slots=True)
class Verdict:
    checks: tuple[Check, ...]

    @property
    def holds(self) -> bool:
        return all(check.holds for check in self.checks)

    @property
    def broken(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.holds)


def judge(spec: LoadSpec, overall: Figures, steady: Figures | None, full: FullFigures | None = None) -> Verdict:
    """`overall`: the whole run. `steady`: once all had joined; what is asked of the media is asked of that time."""
    media = steady or overall
    checks = [
        Check("min_joined", "joins that succeeded", overall.joined_percent, spec.min_joined, "%", at_least=True),
        Check("max_join_p95", "join to media, 95 %", overall.join_p95_ms, spec.max_join_p95, "ms"),
        Check(
            "max_first_frame_p95",
            "join to first frame, 95 %",
            overall.first_frame_p95_ms,
            spec.max_first_frame_p95,
            "ms",
        ),
        *judge_media(spec, media),
    ]
    if full is not None and spec.media is None:
        checks.append(
            Check("min_psnr", "likeness of decoded pictures", full.psnr_p50_db, spec.min_psnr, "dB", at_least=True)
        )
    return Verdict(tuple(checks))


def judge_step(spec: LoadSpec, step: Figures, settled: Figures | None) -> Verdict:
    """One step of a ramp: its joins, and the media once they are over. Where nobody joined, joins are not asked for."""
    checks = judge(spec, step, settled).checks
    return Verdict(tuple(check for check in checks if check.value is not None or step.failed_joins))


def judge_media(spec: LoadSpec, media: Figures) -> tuple[Check, ...]:
    checks = [
        Check("max_lost", "packets lost for good", media.lost_percent, spec.max_lost, "%"),
        Check("max_freezes", "freezes of a picture", media.freezes_per_minute, spec.max_freezes, "per minute"),
    ]
    if media.receiving_percent is not None:  # else nobody was there for long enough
        seeing = media.receiving_percent
        checks.append(
            Check("min_receiving", "participants that see something", seeing, spec.min_receiving, "%", at_least=True)
        )
    if media.latency_p99_ms is not None:  # bots that share no clock measure none
        checks.append(Check("max_latency_p99", "latency, 99 %", media.latency_p99_ms, spec.max_latency_p99, "ms"))
    if spec.max_server_cpu is not None:
        checks.append(
            Check("max_server_cpu", "CPU of the server", media.server_cpu_percent, spec.max_server_cpu, "% of a core")
        )
    return tuple(checks)
