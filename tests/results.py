# SPDX-License-Identifier: Apache-2.0
"""Writes what a run of the tests measured, with the machine and the commit it was measured on."""

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True)
class Measurement:
    test: str
    what: str
    value: float
    unit: str

    def __str__(self) -> str:
        return f"{self.test}: {self.what}: {self.value:g} {self.unit}"


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def commit() -> str:
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=Path(__file__).parent, capture_output=True, text=True
    )
    return described.stdout.strip() or "unknown"


def write_results(
    path: Path,
    scale: float,
    counts: Mapping[str, int],
    seconds: Mapping[str, float],
    measurements: Sequence[Measurement],
) -> None:
    lines = [
        "# Results of the tests",
        "",
        f"- {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {commit()}, scale {scale:g}",
        f"- {processor()}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}",
        "- " + ", ".join(f"{count} {outcome}" for outcome, count in counts.items()),
        "- " + ", ".join(f"{part} {spent:.0f} s" for part, spent in seconds.items()),
    ]
    if measurements:
        lines += ["", "| test | measured | value |", "|---|---|---|"]
        lines += [f"| {m.test} | {m.what} | {m.value:g} {m.unit} |" for m in measurements]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
