# SPDX-License-Identifier: Apache-2.0
"""The report as one page: nothing is loaded from elsewhere, and without scripts."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final

from sfu.load.charts import Chart, Line, draw
from sfu.load.report import CheckReport, Report, StepReport
from sfu.load.report_text import headline, number, rows
from sfu.load.spec import flag

STYLE: Final = """
:root { --text:#1c1e21; --dim:#6a7078; --line:#dfe2e6; --back:#fff; --card:#f7f8f9; --good:#14804a; --bad:#c62828;
  --l0:#2563eb; --l1:#e07b00; --l2:#0d9488; --l3:#9333ea; --l4:#6a7078; }
@media (prefers-color-scheme: dark) { :root { --text:#e6e8eb; --dim:#9aa1a9; --line:#343a41; --back:#16181b;
  --card:#1e2125; --good:#4ccb8b; --bad:#ff7b72; --l0:#6ea0ff; --l1:#ffb04d; --l2:#4fd1c5; --l3:#c792ff; } }
* { box-sizing:border-box; }
body { margin:0 auto; max-width:1240px; padding:24px; background:var(--back); color:var(--text);
  font:15px/1.45 system-ui, sans-serif; }
h1 { font-size:22px; margin:0; } h2 { font-size:16px; margin:28px 0 10px; }
.dim, small { color:var(--dim); font-weight:normal; }
.verdict { display:inline-block; margin:14px 0 0; padding:6px 14px; border-radius:6px; color:#fff; font-weight:600; }
.verdict.good { background:var(--good); } .verdict.bad { background:var(--bad); }
@media (prefers-color-scheme: dark) { .verdict { color:#111; } }
.note { color:var(--bad); margin:10px 0 0; }
.columns { display:grid; grid-template-columns:repeat(auto-fit, minmax(440px, 1fr)); gap:0 32px; align-items:start; }
table { border-collapse:collapse; width:100%; font-variant-numeric:tabular-nums; }
td, th { padding:5px 10px 5px 0; border-bottom:1px solid var(--line); text-align:left; vertical-align:top; }
th { color:var(--dim); font-weight:normal; }
td.good { color:var(--good); } td.bad { color:var(--bad); font-weight:600; }
.charts { display:grid; grid-template-columns:repeat(auto-fit, minmax(440px, 1fr)); gap:16px; }
figure { margin:0; padding:12px 14px; background:var(--card); border-radius:8px; }
figcaption { font-weight:600; margin-bottom:4px; }
svg { width:100%; height:auto; display:block; }
svg text { font:11px system-ui, sans-serif; fill:var(--dim); } text.y { text-anchor:end; }
text.x { text-anchor:middle; }
.grid { stroke:var(--line); stroke-width:1; }
.line { fill:none; stroke-width:1.8; stroke-linejoin:round; }
.bound { stroke:var(--bad); stroke-width:1.2; stroke-dasharray:5 4; }
path.l0 { stroke:var(--l0); } path.l1 { stroke:var(--l1); } path.l2 { stroke:var(--l2); } path.l3 { stroke:var(--l3); }
path.l4 { stroke:var(--l4); }
.legend { margin:4px 0 0; font-size:12.5px; color:var(--dim); }
.legend span { margin-right:14px; white-space:nowrap; }
.legend i { display:inline-block; width:14px; height:3px; margin-right:5px; vertical-align:middle; }
i.l0 { background:var(--l0); } i.l1 { background:var(--l1); } i.l2 { background:var(--l2); }
i.l3 { background:var(--l3); }
i.l4 { background:var(--l4); } i.bound { background:var(--bad); }
td small { white-space:nowrap; }
.none { color:var(--dim); }
"""


def write_html(report: Report, path: Path) -> None:
    path.write_text(render_html(report), encoding="utf-8")


def render_html(report: Report) -> str:
    title = f"sfu load {escape(report.scenario)}"
    kind = "good" if report.holds else "bad"
    parts = [
        "<!doctype html><html lang=en><head><meta charset=utf-8>",
        '<meta name=viewport content="width=device-width, initial-scale=1">',
        f"<title>{title}: {escape(headline(report))}</title><style>{STYLE}</style></head><body>",
        f"<h1>{title} <small>{escape(report.text)}</small></h1>",
        f"<p class=dim>{escape(' · '.join(_circumstances(report)))}</p>",
        f"<p class='verdict {kind}'>{escape(headline(report))}</p>",
        *(f"<p class=note>{escape(note)}</p>" for note in _notes(report)),
        "<div class=columns><section><h2>Verdict</h2>",
        _table([_check_row(check) for check in report.checks], ("", "measured", "bound")),
        _failures(report),
        "</section><section><h2>Figures</h2>",
        _table([f"<tr><th>{escape(what)}</th><td>{escape(value)}</td></tr>" for what, value in rows(report)]),
        "</section></div>",
        _steps(report),
        "<h2>Course</h2><div class=charts>",
        *(draw(chart) for chart in charts(report)),
        "</div><h2>Options</h2>",
        _table([f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>" for name, value in _options(report)]),
        "</body></html>\n",
    ]
    return "".join(parts)


def charts(report: Report) -> list[Chart]:
    points = report.points
    x = [point.at_s for point in points]
    bounds = {check.option: check.bound for check in report.checks}
    layers = range(len(points[0].layer_bps) if points else 0)
    ranks = list(range(1, 101))
    return [
        Chart(
            "Participants",
            "",
            x,
            [
                Line("begun to join", [float(point.begun) for point in points]),
                Line("inside", [float(point.inside) for point in points]),
                Line("receiving", [float(point.receiving) for point in points]),
            ],
        ),
        Chart("Joins", "per second", x, [Line("", [point.joins_per_s for point in points])]),
        Chart(
            "Time to media and to the first frame",
            "ms, by percentile",
            [float(rank) for rank in ranks],
            [
                Line("media connected", _fit(report.joins_ms, 100)),
                Line("first frame", _fit(report.first_frames_ms, 100)),
            ],
            x_unit="%",
        ),
        Chart(
            "Latency",
            "ms, from bot to bot",
            x,
            [
                Line("50 %", [point.latency_p50_ms for point in points]),
                Line("99 %", [point.latency_p99_ms for point in points]),
            ],
            bound=bounds.get("max_latency_p99"),
            logarithmic=True,
        ),
        Chart(
            "Bitrate",
            "bit/s",
            x,
            [
                Line("received", [point.received_bps for point in points]),
                Line("sent", [point.sent_bps for point in points]),
            ],
        ),
        Chart(
            "Received, by layer",
            "bit/s",
            x,
            [
                *(Line(f"layer {layer}", [point.layer_bps[layer] for point in points]) for layer in layers),
                Line("audio", [point.audio_bps for point in points]),
            ],
        ),
        Chart(
            "Packets",
            "per second",
            x,
            [
                Line("expected", [float(point.packets_expected) for point in points]),
                Line("received", [float(point.packets_received) for point in points]),
            ],
        ),
        Chart(
            "Lost for good, and freezes",
            "in each second",
            x,
            [
                Line("packets lost", [float(point.unrepaired) for point in points]),
                Line("freezes", [float(point.freezes) for point in points]),
            ],
        ),
        Chart(
            "CPU",
            "% of a core",
            x,
            [
                Line("server", [point.server_cpu_percent for point in points]),
                Line("this test", [point.own_cpu_percent for point in points]),
            ],
            bound=bounds.get("max_server_cpu"),
        ),
        Chart("Memory of the server", "bytes", x, [Line("", [point.server_memory_bytes for point in points])]),
    ]


def _fit(values: Sequence[float], count: int) -> list[float | None]:
    return [*values, *[None] * (count - len(values))]


def _notes(report: Report) -> list[str]:
    notes = [f"Ended early: {report.ended}"] if report.ended else []
    return [*notes, *report.warnings]


def _circumstances(report: Report) -> list[str]:
    machine = report.machine
    where = f"{machine['system']}, {machine['cpus']} CPUs, Python {machine['python']}"
    return [report.url, report.began, f"{report.seconds:.0f} s", f"pysfu {report.version}", where]


def _check_row(check: CheckReport) -> str:
    kind, mark = ("good", "✓") if check.holds else ("bad", "✗")
    value = "not measured" if check.value is None else number(check.value, check.unit)
    relation = "at least" if check.at_least else "at most"
    return (
        f"<tr><th>{escape(check.text)}</th><td class={kind}>{mark} {escape(value)}</td>"
        f"<td>{relation} {check.bound:g} {escape(check.unit)} <small>{escape(flag(check.option))}</small></td></tr>"
    )


def _table(table_rows: Sequence[str], head: Sequence[str] = ()) -> str:
    top = "<tr>" + "".join(f"<th>{escape(name)}</th>" for name in head) + "</tr>" if head else ""
    return f"<table>{top}{''.join(table_rows)}</table>"


def _failures(report: Report) -> str:
    if not report.failures:
        return ""
    found = [
        f"<tr><td>{failure.count}</td><th>{escape(failure.code)}</th><td>{escape(failure.message)}</td></tr>"
        for failure in report.failures
    ]
    return "<h2>What failed</h2>" + _table(found)


def _steps(report: Report) -> str:
    if not report.steps:
        return ""
    found = [_step(step) for step in report.steps]
    head = ("participants", "server CPU, %", "latency 99 %, ms", "lost, %", "join 95 %, ms", "")
    return "<h2>Steps</h2>" + _table(found, head)


def _step(step: StepReport) -> str:
    measured = (step.participants, step.server_cpu_percent, step.latency_p99_ms, step.lost_percent, step.join_p95_ms)
    kind, mark = ("good", "✓") if step.holds else ("bad", "✗ " + "; ".join(step.broken))
    cells = "".join(f"<td>{number(value)}</td>" for value in measured)
    return f"<tr>{cells}<td class={kind}>{escape(mark)}</td></tr>"


def _options(report: Report) -> list[tuple[str, object]]:
    return [(name, value) for name, value in report.options.items() if value is not None]
