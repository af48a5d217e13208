# SPDX-License-Identifier: Apache-2.0
"""The engine does not become slower unnoticed: what it needs for a packet is counted, not timed.

A difference either way fails: one that is wanted is committed with `python -m tests.speed.figures`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.speed import callgrind, figures

COMMITTED = json.loads(figures.FIGURES.read_text())
LIBRARIES = "library instructions a datagram"


def test_instructions_and_allocations_of_the_router(
    tmp_path: Path, measured: Callable[[str, float, str], None]
) -> None:
    reason = callgrind.missing()
    if reason:
        pytest.skip(reason)
    if figures.compiler() != COMMITTED["compiler"]:
        pytest.skip(f"the figures were taken with {COMMITTED['compiler']}, this is {figures.compiler()}")
    figures.sends(tmp_path)  # leaves its bytecode: compiling it under callgrind takes longer than all the rest
    found = figures.instructions(tmp_path)
    for name, value in found.items():
        measured(name, round(value, 1), "")
    wanted = dict(COMMITTED["instructions"])
    if figures.processor() != COMMITTED["processor"]:
        del wanted[LIBRARIES]
    assert figures.differences(found, wanted) == []


def test_system_calls_and_segments(tmp_path: Path, measured: Callable[[str, float, str], None]) -> None:
    found = figures.sends(tmp_path)
    for name, value in found.items():
        measured(name, round(value, 3), "")
    assert figures.differences(found, COMMITTED["sends"]) == []
