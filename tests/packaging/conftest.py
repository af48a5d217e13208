# SPDX-License-Identifier: Apache-2.0
"""One sdist, one wheel and one environment for all tests of this folder."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.packaging.archives import PACKAGES, ROOT, build_sdist, build_wheel, copy_checkout, run


@dataclass(frozen=True)
class Installed:
    """The wheel in an environment of its own; commands run there stand outside the checkout."""

    python: Path
    outside: Path

    def evaluate(self, program: str) -> str:
        return run(str(self.python), "-c", program, cwd=self.outside)


@dataclass(frozen=True)
class SourceArchive:
    path: Path
    sources: list[str]
    """What the checkout had when it was made."""

    def of_the_packages(self) -> set[str]:
        return {name for name in self.sources if name.split("/")[0] in PACKAGES}


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> SourceArchive:
    checkout = tmp_path_factory.mktemp("checkout")
    names = copy_checkout(checkout)
    return SourceArchive(build_sdist(checkout, tmp_path_factory.mktemp("sdist")), names)


@pytest.fixture(scope="session")
def wheel(sdist: SourceArchive, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(sdist.path, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("installed")
    python = folder / "venv" / "bin" / "python"
    run(sys.executable, "-m", "venv", "--without-pip", str(folder / "venv"), cwd=folder)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python), "install", "-q")
    run(*pip, "--no-compile", "--no-deps", "--require-hashes", "-r", str(ROOT / "requirements" / "run.txt"), cwd=folder)
    # With what the wheel itself asks for looked at, and nothing to be had from anywhere: it must be there by now.
    run(*pip, "--no-compile", "--no-index", str(wheel), cwd=folder, PIP_FIND_LINKS="")
    outside = folder / "outside"
    outside.mkdir()
    return Installed(python, outside)
