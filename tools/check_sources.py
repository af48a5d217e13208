# SPDX-License-Identifier: Apache-2.0
"""House rules that no linter knows: licence line, file length, unfinished work, layering of the extension modules."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LICENCE = "SPDX-License-Identifier: Apache-2.0"
LICENCE_WITHIN_LINES = 3
LONGEST_FILE = 800  # lines; 150 to 500 is usual

CODE = {".py", ".pyx", ".pxd", ".pyi", ".js", ".css", ".html", ".c", ".h", ".sh", ".toml", ".yml", ".yaml", ".in"}
PROSE = {".md"}
CODE_NAMES = {"Makefile", "run", "Dockerfile", ".gitignore"}
GENERATED = re.compile(r"^(requirements/.*\.txt|tests/data/)")

# Spelled so that this file does not find itself.
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
MACHINE_PATH = re.compile(r"(?<![\w.])/(home|root|work|t" r"mp)/\w|\.\./sha" r"red\b")

# import-linter reads .py files only; what a .pyx or .pxd imports is looked at here.
IMPORT = re.compile(r"^\s*(?:from\s+([\w.]+)\s+c?import|c?import\s+([\w.]+))", re.MULTILINE)
FORBIDDEN_IMPORTS = {
    "sfu/wire/": re.compile(r"^(asyncio|uvloop|aiohttp|signaling|sfu\.(?!wire\b))"),
    "sfu/engine/": re.compile(r"^(asyncio|uvloop|aiohttp|signaling|sfu\.(?!wire\b|engine\b))"),
}


def files() -> list[Path]:
    """What git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode == 0:
        found = [Path(name) for name in listed.stdout.split("\0") if name]
    else:  # an unpacked archive
        found = [path.relative_to(ROOT) for path in ROOT.rglob("*") if not {".venv", "build"} & set(path.parts)]
    return sorted(path for path in set(found) if (ROOT / path).is_file())


def faults(path: Path) -> Iterator[str]:
    name = path.as_posix()
    is_code = path.suffix in CODE or path.name in CODE_NAMES
    if GENERATED.match(name) or not (is_code or path.suffix in PROSE):
        return
    text = (ROOT / path).read_text(encoding="utf-8")
    lines = text.splitlines()
    if is_code and lines and not any(LICENCE in line for line in lines[:LICENCE_WITHIN_LINES]):
        yield f"{name}:1: no licence line ({LICENCE})"
    if len(lines) > LONGEST_FILE:
        yield f"{name}: {len(lines)} lines, more than {LONGEST_FILE}: look for a seam to split it at"
    for number, line in enumerate(lines, start=1):
        if UNFINISHED.search(line):
            yield f"{name}:{number}: mark of unfinished work"
        if MACHINE_PATH.search(line):
            yield f"{name}:{number}: names a path of one machine"
    if path.suffix in {".pyx", ".pxd"}:
        yield from forbidden_imports(name, text)


def forbidden_imports(name: str, text: str) -> Iterator[str]:
    for folder, forbidden in FORBIDDEN_IMPORTS.items():
        if name.startswith(folder):
            for match in IMPORT.finditer(text):
                module = match[1] or match[2]
                if forbidden.match(module):
                    yield f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {folder} may not import {module}"


def main() -> int:
    found = [fault for path in files() for fault in faults(path)]
    for fault in found:
        print(fault)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
