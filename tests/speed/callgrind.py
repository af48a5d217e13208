# SPDX-License-Identifier: Apache-2.0
"""Runs the workload under callgrind and reads what it wrote: instructions by object file, and in the allocator."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
MEASURED: Final = "*pw*RouterReplay*play*"  # the method's wrapper: counting goes on from its entry to its return
ALLOCATORS: Final = frozenset({"malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"})
# AES-NI and PCLMUL, nothing newer: OpenSSL takes the same path wherever the test runs.
OPENSSL_CPU: Final = "0x02982203078bffff:0x0"
WITHIN_S: Final = 100
NAME = re.compile(r"\((\d+)\)(?: (.*))?")


@dataclass(frozen=True)
class Counted:
    """Of the measured part of one run."""

    instructions: dict[str, int]
    """By object file (its name without folders)."""
    allocator: int
    """In malloc and the like, by whomever called."""
    workload: dict[str, Any]

    def engine(self) -> int:
        """Instructions in the project's own extension modules."""
        return sum(count for name, count in self.instructions.items() if name.startswith("sfu/"))

    def libraries(self) -> int:
        """Instructions in OpenSSL, libsrtp and libc; which of their kernels run depends on the processor."""
        known = ("libcrypto", "libsrtp", "libc.", "libc-", "_binding", "libssl")
        return sum(count for name, count in self.instructions.items() if name.startswith(known))


def missing() -> str | None:
    """Why callgrind cannot run here."""
    if shutil.which("valgrind") is None:
        return "no valgrind on this machine (Debian: apt-get install valgrind)"
    return None


def environment(folder: Path) -> dict[str, str]:
    """The same way through Python, OpenSSL and the bytecode cache everywhere."""
    found = os.environ | {"PYTHONHASHSEED": "0", "OPENSSL_ia32cap": OPENSSL_CPU}
    found |= {"PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    found.pop("PYTHONDONTWRITEBYTECODE", None)
    return found


def play(folder: Path, *arguments: str, under: Sequence[str] = ()) -> dict[str, Any]:
    """One run of the workload; `folder` keeps its bytecode, without which most of a run is compiling."""
    command = [*under, sys.executable, "-m", "tests.speed.workload", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(folder), capture_output=True, text=True, timeout=WITHIN_S, check=False
    )
    if done.returncode:
        raise RuntimeError(f"the workload failed:\n{done.stderr[-2000:]}")
    counted: dict[str, Any] = json.loads(done.stdout)
    return counted


def run(folder: Path) -> Counted:
    """One run under callgrind, which writes to `folder`."""
    out = folder / "callgrind.out"
    valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--collect-atstart=no"]
    counted = play(folder, under=[*valgrind, f"--toggle-collect={MEASURED}"])
    instructions, allocator = read(out)
    return Counted(instructions, allocator, counted)


def read(path: Path) -> tuple[dict[str, int], int]:
    """Self cost by object file, and that of the C library's allocator.

    The calls that the file tells are those of the whole process, the cost is that of the measured part.
    """
    names: dict[str, dict[str, str]] = {"ob": {}, "fn": {}}
    spent: Counter[str] = Counter()
    allocator, object_file, function, is_callee = 0, "", "", False
    for line in path.read_text().splitlines():
        kind, separator, rest = line.partition("=")
        if separator and kind in {"ob", "fn", "cob", "cfn"}:
            found = NAME.match(rest)
            assert found is not None, line
            known = names[kind[-2:]]
            name = known.setdefault(found[1], found[2] or "")
            if kind == "ob":
                object_file = name
            elif kind == "fn":
                function = name
        elif kind == "calls":
            is_callee = True
        elif line and line[0] in "0123456789+-*":
            if not is_callee:
                cost = int(line.split()[1])
                spent[short(object_file)] += cost
                allocator += cost if function.partition("'")[0] in ALLOCATORS else 0
            is_callee = False
    return dict(spent), allocator


def short(object_file: str) -> str:
    """Extension modules of the project by their path in it, others by their name."""
    path = Path(object_file)
    if path.is_relative_to(ROOT):
        inside = path.relative_to(ROOT)
        if inside.parts[0] == "sfu":
            return f"{inside.parent.as_posix()}/{inside.name.partition('.')[0]}"
    return path.name
