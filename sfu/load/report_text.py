# SPDX-License-Identifier: Apache-2.0
"""The report and the live view in a terminal."""

from __future__ import annotations

from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sfu.load.report import Report
from sfu.load.spec import flag

MISSING: Final = "—"


def rate(bps: float | None) -> str:
    if bps is None:
        return MISSING
    return f"{bps / 1e6:,.1f} Mbit/s" if bps >= 1e6 else f"{bps / 1e3:,.0f} kbit/s"


def number(value: float | None, unit: str = "") -> str:
    """Three digits that matter; whole numbers in full."""
    if value is None:
        return MISSING
    digits = 0 if float(value).is_integer() or abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}" + (f" {unit}" if unit else "")


def size(octets: float | None) -> str:
    return MISSING if octets is None else f"{octets / 1e6:,.0f} MB"


def percentiles(found: dict[str, Any], name: str, ranks: tuple[tuple[str, str], ...]) -> str:
    return " · ".join(f"{label} {number(found[f'{name}_{rank}_ms'])}" for label, rank in ranks) + " ms"


JOIN_RANKS: Final = (("50 %", "p50"), ("95 %", "p95"), ("99 %", "p99"))
LATENCY_RANKS: Final = (("50 %", "p50"), ("99 %", "p99"), ("99.9 %", "p999"))


def rows(report: Report) -> list[tuple[str, str]]:
    """(what, how much) of the report's main table."""
    overall, media = report.overall, report.steady or report.overall
    if overall is None or media is None:
        return []
    layers = " · ".join(f"{index} {rate(bps)}" for index, bps in enumerate(media["layer_bps"]))
    found = [
        ("participants at the end", number(overall["participants"])),
        ("joins", f"{overall['joins']} succeeded, {overall['failed_joins']} failed, {overall['disconnected']} cut off"),
        ("most joins in a second", number(overall["peak_join_rate"])),
        ("join to media", percentiles(overall, "join", JOIN_RANKS)),
        ("join to first frame", percentiles(overall, "first_frame", JOIN_RANKS)),
        ("packets", f"{media['packets_received']:,} received of {media['packets_expected']:,} expected"),
        ("lost for good · repaired", f"{number(media['lost_percent'])} % · {number(media['repaired_percent'])} %"),
        (
            "frames · freezes",
            f"{media['frames']:,} · {media['freezes']:,} ({number(media['frozen_percent'])} % of the time)",
        ),
        ("latency", percentiles(media, "latency", LATENCY_RANKS)),
        ("received", f"{rate(media['received_bps'])}, {number(media['packets_in_per_s'])} packets/s"),
        ("sent", f"{rate(media['sent_bps'])}, {number(media['packets_out_per_s'])} packets/s"),
        ("received by layer", f"{layers} · audio {rate(media['audio_bps'])}"),
    ]
    if media["server_cpu_percent"] is not None:
        per_packet = number(media["server_cpu_us_per_packet"], "µs for each packet that it sent")
        found.append(("CPU of the server", f"{number(media['server_cpu_percent'])} % of a core, {per_packet}"))
        found.append(("memory of the server", size(media["server_memory_bytes"])))
    else:
        found.append(("CPU of the server", f"not known ({report.metrics_problem})"))
    found.append(("CPU of this test", f"{number(media['own_cpu_percent'])} % of a core"))
    found += _full_rows(report.full) if report.full is not None else []
    if overall["faults"]:
        found.append(("packets that made no sense", number(overall["faults"])))
    return found


def _full_rows(full: dict[str, Any]) -> list[tuple[str, str]]:
    seen = f"{full['pictures']:,} pictures up to {full['width']}×{full['height']}"
    unreadable = f"{number(full['unreadable_percent'])} % unreadable"
    return [
        (f"{full['bots']} full bots saw", f"{seen}, {number(full['fps_median'])} a second, {unreadable}"),
        ("drawing to decoding", f"50 % {number(full['delay_p50_ms'])} · 95 % {number(full['delay_p95_ms'])} ms"),
        ("likeness (PSNR)", f"50 % {number(full['psnr_p50_db'])} · 5 % {number(full['psnr_p5_db'])} dB"),
        ("sound", number(full["audio_p50_dbfs"], "dBFS")),
    ]


def headline(report: Report) -> str:
    verdict = "the verdict holds" if report.holds else "the verdict does not hold"
    if report.capacity is None:
        return verdict
    return f"capacity: {report.capacity} participants; {verdict}"


def render_report(report: Report) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for what, value in rows(report):
        table.add_row(what, value)
    title = Text(f"sfu load {report.scenario}", style="bold")
    title.append(f"  {report.url}, {report.seconds:.0f} s", style="dim")
    parts: list[RenderableType] = [title]
    if report.ended:
        parts.append(Text(f"ended early: {report.ended}", style="yellow", overflow="fold"))
    parts += [Text(f"note: {note}", style="yellow") for note in report.warnings]
    parts.append(Padding(table, (1, 2)))
    if report.steps:
        parts.append(Padding(_steps(report), (0, 2, 1, 2)))
        crossed = [text for step in report.steps for text in step.broken]
        parts += [Text(f"  ✗ {text}", style="red") for text in crossed]
    parts += [Text(f"  {one.count} × {one.code}: {one.message}", style="red") for one in report.failures]
    for check in report.checks:
        mark = "[green]✓[/]" if check.holds else "[bold red]✗[/]"
        value = "not measured" if check.value is None else number(check.value, check.unit)
        relation = "at least" if check.at_least else "at most"
        bound = f"[dim]{relation} {check.bound:g} {check.unit} ({flag(check.option)})[/]"
        parts.append(Text.from_markup(f"  {mark} {escape(check.text)}: {escape(value)}  {bound}"))
    style = "bold green" if report.holds else "bold red"
    parts.append(Text(f"\n{headline(report)}", style=style))
    return Group(*parts)


def _steps(report: Report) -> Table:
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for name in ("participants", "server CPU %", "latency 99 % ms", "lost %", "join 95 % ms", ""):
        table.add_column(name, justify="right" if name else "left")
    for step in report.steps:
        table.add_row(
            number(step.participants),
            number(step.server_cpu_percent),
            number(step.latency_p99_ms),
            number(step.lost_percent),
            number(step.join_p95_ms),
            "[green]✓[/]" if step.holds else "[red]✗[/]",
        )
    return table


def print_report(report: Report, console: Console) -> None:
    console.print()
    console.print(render_report(report))
