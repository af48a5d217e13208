# SPDX-License-Identifier: Apache-2.0
"""What `pip install` gives: sdist, wheel, a fresh environment, a running server."""

from __future__ import annotations

import asyncio
import json
import re
import tarfile
import zipfile
from asyncio.subprocess import PIPE, STDOUT, Process
from pathlib import Path, PurePosixPath

import aiohttp
import pytest

from tests.packaging.archives import clean_environment
from tests.packaging.conftest import Installed, SourceArchive

READY = re.compile(r"pysfu is ready: (http://\S+/)")
READY_WITHIN_S = 30
STOP_WITHIN_S = 15

# Compiling everything takes its time on a busy machine.
BUILD_WITHIN_S = 900

NOT_IN_THE_WHEEL = {".pyx", ".c"}

LIST_EXTENSIONS = """
import importlib, json, pathlib, sys, sfu
root = pathlib.Path(sfu.__file__).parent
found = [path.relative_to(root.parent).parts for path in root.rglob("*.so")]
names = sorted(".".join(parts).partition(".cpython-")[0] for parts in found)
for name in names:
    importlib.import_module(name)
import signaling.app, sfu.server, sfu.cli
print(json.dumps([sfu.__file__, names]))
"""


def test_the_sdist_holds_every_source_and_no_tests(sdist: SourceArchive) -> None:
    with tarfile.open(sdist.path) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert sdist.of_the_packages() - held == set()
    assert {"LICENSE", "README.md", "pyproject.toml", "setup.py"} <= held
    generated = {name for name in held if name.endswith((".so", ".c", ".pyc"))}
    assert generated == set()
    assert {name for name in held if name.split("/")[0] in {"tests", "benchmarks", "tools", "docs"}} == set()


@pytest.mark.slow
@pytest.mark.timeout(BUILD_WITHIN_S)
def test_the_wheel_holds_both_packages_whole_and_nothing_else(sdist: SourceArchive, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    expected = {name for name in sdist.of_the_packages() if PurePosixPath(name).suffix not in NOT_IN_THE_WHEEL}
    compiled = {name for name in held if name.endswith(".so")}
    rest = {name for name in held - compiled if not re.match(r"pysfu-[\w.]+\.dist-info/", name)}
    assert rest == expected
    assert {"sfu/py.typed", "signaling/py.typed", "signaling/web/client.js", "signaling/web/index.html"} <= rest
    modules = {name.removesuffix(".pyx") for name in sdist.of_the_packages() if name.endswith(".pyx")}
    assert {name.partition(".cpython-")[0] for name in compiled} == modules


@pytest.mark.slow
@pytest.mark.timeout(BUILD_WITHIN_S)
def test_every_extension_can_be_imported_outside_the_checkout(sdist: SourceArchive, installed: Installed) -> None:
    origin, names = json.loads(installed.evaluate(LIST_EXTENSIONS))
    assert Path(origin).is_relative_to(installed.python.parents[1])
    assert len(names) == sum(name.endswith(".pyx") for name in sdist.of_the_packages())


async def url_of(process: Process) -> str:
    assert process.stdout is not None
    said = ""
    async with asyncio.timeout(READY_WITHIN_S):
        while line := (await process.stdout.readline()).decode():
            said += line
            if ready := READY.search(line):
                return ready[1]
    raise AssertionError(f"the server ended:\n{said}")


@pytest.mark.slow
@pytest.mark.timeout(BUILD_WITHIN_S)
async def test_the_installed_server_serves_its_page(installed: Installed) -> None:
    ports = ("--http-port", "0", "--udp-port", "0")
    process = await asyncio.create_subprocess_exec(
        *(str(installed.python.with_name("sfu")), "serve", "--dev", *ports),
        stdout=PIPE,
        stderr=STDOUT,
        cwd=installed.outside,
        env=clean_environment(),
    )
    try:
        url = await url_of(process)
        async with aiohttp.ClientSession() as http:
            for path, content_type in (("", "text/html"), ("client.js", "text/javascript")):
                async with http.get(url + path) as response:
                    assert (response.status, response.content_type) == (200, content_type)
                    assert len(await response.text()) > 500
        process.terminate()
        async with asyncio.timeout(STOP_WITHIN_S):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
