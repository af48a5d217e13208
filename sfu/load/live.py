# SPDX-License-Identifier: Apache-2.0
"""What is seen while a test runs: a table that is kept current, or a line every few seconds where nobody watches."""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from sfu.load.figures import Figures, figures
from sfu.load.report_text import MISSING, number, rate, size
from sfu.load.runner import Runner
from sfu.load.spec import LoadSpec

# What is said of now is said of so many seconds.
SPAN_S: Final = 3.5
LINE_EVERY_S: Final = 5.0


def now_figures(runner: Runner) -> Figures | None:
    samples = runner.outcome.record.samples
    return figures(runner.outcome.record, samples[-1].at_s - SPAN_S, samples[-1].at_s) if samples else None


def line(runner: Runner) -> str:
    """For logs and continuous integration."""
    last = runner.outcome.record.samples[-1]
    now = now_figures(runner)
    parts = [f"{last.at_s:5.0f} s", f"{last.inside} inside", f"{last.receiving} receiving"]
    record = runner.outcome.record
    if record.failures or record.lost_bots:
        parts.append(f"{len(record.failures)} failed, {len(record.lost_bots)} cut off")
    if now is not None:
        parts += [
            f"in {rate(now.received_bps)}",
            f"lost {number(now.lost_percent)} %",
            f"freezes {last.counters.freezes}",
            f"latency 99 % {number(now.latency_p99_ms)} ms",
            f"server {number(now.server_cpu_percent)} %",
            f"test {number(now.own_cpu_percent)} %",
        ]
    return " · ".join(parts)


def table(runner: Runner) -> RenderableType:
    last = runner.outcome.record.samples[-1]
    record, now = runner.outcome.record, now_figures(runner)
    grid = Table.grid(padding=(0, 3))
    for _ in range(2):
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(justify="right", no_wrap=True, min_width=14)
    failed = len(record.failures) + len(record.lost_bots)
    left = [
        ("inside", f"{last.inside}"),
        ("joining", f"{runner.waiting}"),
        ("receiving", f"{last.receiving}"),
        ("failed or cut off", f"[red]{failed}[/]" if failed else "0"),
        ("joins in the last seconds", MISSING if now is None else f"{now.joins / max(1.0, now.seconds):.1f} /s"),
        ("first frame, 95 %", MISSING if now is None else number(now.first_frame_p95_ms, "ms")),
    ]
    right = [
        ("received", MISSING if now is None else rate(now.received_bps)),
        ("sent", MISSING if now is None else rate(now.sent_bps)),
        ("lost for good", MISSING if now is None else number(now.lost_percent, "%")),
        ("freezes so far", f"{last.counters.freezes}"),
        ("latency, 99 %", MISSING if now is None else number(now.latency_p99_ms, "ms")),
        ("server · this test", _cpu(now)),
    ]
    for (one, first), (two, second) in zip(left, right, strict=True):
        grid.add_row(one, first, two, second)
    memory = last.server.memory_bytes if last.server is not None else None
    grid.add_row("", "", "memory of the server", size(memory))
    return grid


def _cpu(now: Figures | None) -> str:
    if now is None:
        return MISSING
    return f"{number(now.server_cpu_percent)} · {number(now.own_cpu_percent)} % CPU"


class LiveView:
    """`show` after each sample."""

    def __init__(self, console: Console, spec: LoadSpec) -> None:
        self._console = console
        self._spec = spec
        self._next_line_s = 0.0
        self._progress = Progress(
            TextColumn(f"[bold]sfu load {spec.scenario}"), BarColumn(40), TextColumn("{task.fields[clock]}")
        )
        self._task = self._progress.add_task("", total=spec.duration, clock="")
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)

    def show(self, runner: Runner) -> None:
        at_s = runner.outcome.record.samples[-1].at_s
        if self._live is not None:
            self._progress.update(self._task, completed=at_s, clock=f"{at_s:.0f} of {self._spec.duration:.0f} s")
            hint = Text("Ctrl-C ends it with the report so far", style="dim")
            self._live.update(Group(self._progress, table(runner), hint))
        elif at_s >= self._next_line_s:
            self._next_line_s = at_s + LINE_EVERY_S - 0.5
            self._console.print(line(runner), highlight=False, soft_wrap=True)
