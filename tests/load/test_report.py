# SPDX-License-Identifier: Apache-2.0
"""Reports: the same verdict and figures in terminal, JSON and page, and the page needs nothing from elsewhere."""

from __future__ import annotations

import datetime
import json
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sfu.load.charts import MAX_POINTS, Chart, Line, draw, label, nice_ceiling
from sfu.load.figures import Counters, Failure, Score
from sfu.load.limits import Machine
from sfu.load.report import Report, make_report, write_json
from sfu.load.report_html import render_html
from sfu.load.report_text import number, print_report, rate
from sfu.load.runner import Outcome, RampStep
from sfu.load.spec import LoadSpec, read_spec
from sfu.load.verdict import judge, judge_step
from tests.load.test_figures import record_of

MACHINE = Machine("Linux 6.1", 2, "3.11.7")
BEGAN = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
LENIENT = {"max_lost": 2.0, "max_freezes": 20.0}


def outcome_of(seconds: int = 20, **facts: Any) -> Outcome:
    outcome = Outcome(record=record_of(seconds), steady_from_s=3.0, ended_s=float(seconds))
    for name, value in facts.items():
        setattr(outcome, name, value)
    return outcome


def report_of(spec: LoadSpec, outcome: Outcome) -> Report:
    return make_report(spec, outcome, MACHINE, BEGAN, ["a note"])


def terminal(report: Report, width: int = 100) -> str:
    console = Console(width=width, force_terminal=False, record=True, file=Path("/dev/null").open("w"))  # noqa: SIM115
    print_report(report, console)
    return console.export_text()


class Page(HTMLParser):
    """Tags in order, and that they close."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [f"{tag} {name}={value}" for name, value in attrs if name in ("src", "href")]
        assert tag not in ("script", "link", "iframe", "img")
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_bound_that_is_kept_and_one_that_is_not() -> None:
    outcome = outcome_of()
    overall, steady = outcome.overall(), outcome.steady()
    assert overall is not None
    kept = judge(read_spec("meeting", LENIENT), overall, steady)
    assert kept.holds, [str(check) for check in kept.broken]
    broken = judge(read_spec("meeting", LENIENT | {"max_lost": 0.9, "max_server_cpu": 19.0}), overall, steady).broken
    assert [check.option for check in broken] == ["max_lost", "max_server_cpu"]
    assert str(broken[0]) == "packets lost for good: 1 %, at most 0.9 % (--max-lost)"


def test_what_was_not_measured_does_not_hold() -> None:
    record = record_of(5)
    record.first_frames.clear()
    overall = Outcome(record=record, ended_s=5.0).overall()
    assert overall is not None
    verdict = judge(read_spec("meeting", LENIENT), overall, None)
    assert [str(check) for check in verdict.broken] == [
        "join to first frame, 95 %: not measured, at most 3000 ms (--max-first-frame-p95)"
    ]


def test_a_step_without_joins_is_not_asked_for_joins() -> None:
    outcome = outcome_of()
    steady = outcome.steady()
    assert steady is not None
    assert steady.joins == 0
    assert judge_step(read_spec("ramp", LENIENT), steady, steady).holds


def test_terminal_json_and_page_say_the_same(tmp_path: Path) -> None:
    spec = read_spec("meeting", LENIENT | {"max_lost": 0.5, "key": "id: <secret>"})
    outcome = outcome_of(ended="interrupted")
    outcome.record.failures += [Failure(1.0, "timeout", "no <answer>")] * 3
    score = Score()
    score.picture(640, 360)
    outcome.record.scored.append((score, Counters()))
    report = report_of(spec, outcome)
    assert not report.holds
    write_json(report, tmp_path / "report.json")
    read = json.loads((tmp_path / "report.json").read_text())
    assert read["holds"] is False
    assert read["steady"]["lost_percent"] == 1.0
    assert read["failures"] == [{"code": "timeout", "message": "no <answer>", "count": 3}]
    assert [check["option"] for check in read["checks"] if not check["holds"]] == ["min_joined", "max_lost", "min_psnr"]
    assert len(read["points"]) == 20
    page = Page()
    html = render_html(report)
    page.feed(html)
    assert page.open == []
    assert page.links == []
    assert not re.search(r"url\(|@import|https?://(?!127\.0\.0\.1)", html)
    shown = terminal(report)
    for text in ("the verdict does not hold", "interrupted", "no <answer>", "packets lost for good", "--max-lost"):
        assert text in page.text
        assert text in shown
    for text in (html, shown, (tmp_path / "report.json").read_text()):
        assert "secret" not in text
    assert all(len(line) <= 100 for line in shown.splitlines())


def test_a_report_of_a_run_that_ended_at_once(tmp_path: Path) -> None:
    report = report_of(read_spec("meeting", {}), Outcome(ended="no join succeeded: refused"))
    assert not report.holds
    assert "no join succeeded" in terminal(report)
    assert "nothing was measured" in render_html(report)
    write_json(report, tmp_path / "report.json")


@pytest.mark.parametrize(("target", "holds"), [(0, True), (20, True), (30, False)])
def test_a_ramp_is_judged_by_how_far_it_came(target: int, holds: bool) -> None:
    outcome = outcome_of(ended="a bound was crossed")
    seen = outcome.overall()
    assert seen is not None
    outcome.steps += [RampStep(10, True, (), seen), RampStep(20, True, (), seen), RampStep(30, False, ("lost",), seen)]
    report = report_of(read_spec("ramp", {"target": target}), outcome)
    assert (report.capacity, report.holds) == (20, holds)
    for text in (terminal(report), render_html(report)):
        assert "capacity: 20 participants" in text
        assert "✗ lost" in text


def test_charts_are_valid_and_thinned_without_losing_peaks() -> None:
    values: list[float | None] = [1.0] * 5000
    values[1234] = 80.0
    values[2000:2100] = [None] * 100
    svg = draw(Chart("A <b>", "ms", [float(at) for at in range(5000)], [Line("a & b", values)], bound=50.0))
    figure = ElementTree.fromstring(svg.replace("<p class=legend>", "<p>"))
    paths = [one.get("d") or "" for one in figure.iter() if one.tag.endswith("path")]
    assert len(paths) == 1
    points = re.findall(r"[ML]([\d.]+) ([\d.]+)", paths[0])
    assert len(points) <= MAX_POINTS
    assert min(float(y) for _, y in points) < 60
    assert paths[0].count("M") == 2
    assert any(one.get("class") == "bound" for one in figure.iter())


@pytest.mark.parametrize("logarithmic", [False, True])
def test_charts_of_hardly_anything(logarithmic: bool) -> None:
    assert "nothing was measured" in draw(Chart("T", "", [], []))
    assert "nothing was measured" in draw(Chart("T", "", [1.0], [Line("", [None])]))
    for values in ([0.0], [0.0, 0.0], [3.0, 3.0]):
        assert "<svg" in draw(
            Chart("T", "", [float(at) for at in range(len(values))], [Line("", values)], logarithmic=logarithmic)
        )


def test_numbers_are_short() -> None:
    ceilings = [nice_ceiling(value) for value in (0, 0.3, 1, 1.1, 2.2, 3, 6000, 7)]
    assert ceilings == pytest.approx([1, 0.3, 1, 1.2, 2.5, 3, 6000, 8])
    assert [label(value) for value in (0, 1500, 2e7, 3e9, 0.25)] == ["0", "1.5k", "20M", "3G", "0.25"]
    assert [number(value, "ms") for value in (None, 0.234, 12.34, 1234.5)] == ["—", "0.23 ms", "12.3 ms", "1,234 ms"]
    assert [rate(value) for value in (None, 12_345.0, 2_500_000.0)] == ["—", "12 kbit/s", "2.5 Mbit/s"]
