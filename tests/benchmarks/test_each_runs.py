# SPDX-License-Identifier: Apache-2.0
"""Each benchmark runs to its end and finds figures that belong together. How fast anything is, is not asked."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks.figures import Figure

SHORT = ["--seconds", "1", "--repeats", "1", "--settle", "5"]
BRIEF = {
    "compare": ["--programs", "pysfu", "aiortc-packets", "--receivers", "2", "--packets-receivers", "2", *SHORT],
    "congestion": ["--only", "eight", "--seeds", "1"],
    "latency": ["--receivers", "2", "--conditions", "joins", *SHORT],
    "meeting": ["--rooms", "1", "--people", "3", *SHORT],
    "webinar": ["--viewers", "3", *SHORT],
    "forward": ["--receivers", "2", "--gso", "on", *SHORT],
    "receive": ["--runs", "1", "8", "--rounds", "10", "--repeats", "1"],
    "router": ["--receivers", "2", "--pairs", "1000", "--repeats", "1"],
    "workers": ["--receivers", "2", "--repeats", "1"],
}


def figures_of(name: str, output: str) -> list[Figure]:
    told = json.loads(output)
    assert told["benchmark"] == name
    assert {"processor", "cores", "kernel", "load"} <= set(told["machine"])
    return [Figure(**figure) for figure in told["figures"]]


@pytest.mark.parametrize("name", BRIEF)
def test_it_finds_figures_and_draws_them(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawing = tmp_path / "drawing.png"
    assert command.main([name, "--json", "--plot", str(drawing), *BRIEF[name]]) == 0
    figures = figures_of(name, capsys.readouterr().out)
    assert len({figure.what for figure in figures}) == len(figures) > 3
    assert all(figure.unit and not math.isnan(figure.value) for figure in figures), figures
    assert drawing.read_bytes().startswith(b"\x89PNG")


def test_the_list_names_each_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == sorted(command.BENCHMARKS)
    assert all(len(line.split()) > 3 for line in listed)
