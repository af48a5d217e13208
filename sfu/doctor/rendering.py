# SPDX-License-Identifier: Apache-2.0
"""The report for people: a line for each finding, as soon as there is one, and what to do under it."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.text import Text

from sfu.doctor.findings import Finding, Report, Status

MARK: Final = {Status.PASS: ("ok  ", "green"), Status.NOTE: ("note", "yellow"), Status.FAIL: ("FAIL", "bold red")}
INDENT: Final = 17


def show(finding: Finding, console: Console) -> None:
    mark, style = MARK[finding.status]
    line = Text(f"{mark}  {finding.check:<10} ", style=style if finding.status is not Status.PASS else "")
    line.append(finding.detail, style="")
    console.print(line, soft_wrap=True, highlight=False)
    if finding.advice and finding.status is not Status.PASS:
        console.print(Text(f"{'':{INDENT}}→ {finding.advice}"), soft_wrap=True, highlight=False)


def show_verdict(report: Report, console: Console) -> None:
    failed = [finding.check for finding in report.findings if finding.status is Status.FAIL]
    if failed:
        console.print(
            f"\n{report.url}: cannot be used from here. The first thing to mend: {failed[0]}", highlight=False
        )
    else:
        console.print(f"\n{report.url}: calls work from here", highlight=False)
