# SPDX-License-Identifier: Apache-2.0
"""Makes the archives that are given away, from a copy of the checkout that holds what git holds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGES: Final = ("sfu", "signaling")
GENERATED: Final = {".so", ".pyc"}

BUILD_SDIST: Final = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"


def sources() -> list[str]:
    """What git tracks or would track; without git or its history, what belongs to the packages and their build."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True) if shutil.which("git") else None
    if listed is not None and listed.returncode == 0:
        names = set(filter(None, listed.stdout.split("\0")))
    else:
        found = [*ROOT.glob("*"), *(path for package in PACKAGES for path in (ROOT / package).rglob("*"))]
        names = {path.relative_to(ROOT).as_posix() for path in found if path.suffix not in GENERATED}
    return sorted(name for name in names if (ROOT / name).is_file())


def copy_checkout(target: Path) -> list[str]:
    """Returns what was copied: the checkout itself may change while the tests run."""
    names = sources()
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name)
    copy_translations(target)
    return names


def copy_translations(target: Path) -> None:
    """Cython need not do again what it did in the checkout from the same files. The compiler does."""
    for folder in (ROOT / "build").glob("cython-release-*"):
        shutil.copytree(folder, target / "build" / folder.name)


def build_sdist(checkout: Path, target: Path) -> Path:
    run(sys.executable, "-c", BUILD_SDIST, str(target), cwd=checkout)
    (sdist,) = target.glob("*.tar.gz")
    return sdist


def build_wheel(sdist: Path, folder: Path) -> Path:
    run("tar", "-xzf", str(sdist), cwd=folder)
    (unpacked,) = folder.iterdir()
    copy_translations(unpacked)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "-q")
    run(*pip, "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(unpacked), cwd=folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def run(*command: str, cwd: Path, **environment: str) -> str:
    """Its output; what a failing command said is in the error."""
    done = subprocess.run(
        command,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=clean_environment() | environment,
    )
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}"
    return done.stdout


def clean_environment() -> dict[str, str]:
    """Nothing in it leads Python to the checkout, the server to settings, or the compiler to another kind of build."""
    prefixes = ("SFU_", "PYSFU_", "PYTHON")
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
