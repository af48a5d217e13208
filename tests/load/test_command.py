# SPDX-License-Identifier: Apache-2.0
"""`sfu load` against a real server, as its users run it: verdict, exit code, reports, and a clean end by Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sfu import cli

READY = re.compile(r"pysfu is ready: (https?://\S+/)")
WITHIN_S = 90
KEY = "bots: a secret of the tests; long enough for HS256"
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("SFU_")} | {"COLUMNS": "120"}
SERVE = ("serve", "--http-host", "127.0.0.1", "--http-port", "0", "--udp-host", "127.0.0.1", "--udp-port", "0")
# Other tests and builds share the machine: in small runs only what they cannot disturb is judged strictly.
PATIENT = (
    *("--max-join-p95", "30000", "--max-first-frame-p95", "30000"),
    *("--max-freezes", "60", "--max-latency-p99", "5000"),
)
SMALL = ("--width", "320", "--bitrate", "120", "--fps", "10")


async def start(*arguments: str, **environment: str) -> Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sfu", *arguments), stdout=PIPE, stderr=PIPE, env=ENVIRONMENT | environment
    )


async def end(process: Process) -> tuple[int, str, str]:
    async with asyncio.timeout(WITHIN_S):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@contextmanager
def serving(*arguments: str, **environment: str) -> Iterator[str]:
    command = [sys.executable, "-m", "sfu", *SERVE, *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENVIRONMENT | environment
    ) as process:
        assert process.stdout is not None
        ready = READY.search(process.stdout.readline().decode())
        assert ready is not None
        yield ready[1]
        process.terminate()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving("--dev") as address:
        yield address


async def load(*arguments: str, **environment: str) -> tuple[int, str, str]:
    return await end(await start("load", *arguments, **environment))


async def test_a_meeting_that_holds(url: str, tmp_path: Path, scale: float, scaled: Callable[[int], int]) -> None:
    patience = () if scale >= 10 else PATIENT
    files = tmp_path / "report.json", tmp_path / "report.html"
    code, out, err = await load(
        *("meeting", "--url", url, "--participants", "4", "--duration", str(scaled(18)), *SMALL, *patience),
        *("--json", str(files[0]), "--html", str(files[1])),
    )
    assert code == 0, out + err
    assert "the verdict holds" in out
    assert "4 inside · 4 receiving" in out
    report: dict[str, Any] = json.loads(files[0].read_text())
    assert report["holds"]
    assert report["overall"]["joins"] == report["overall"]["participants"] == 4
    steady = report["steady"]
    assert steady["packets_received"] == pytest.approx(steady["packets_expected"], rel=0.02)
    assert steady["frames"] > 4 * 3 * 5 * steady["seconds"]
    assert steady["latency_p99_ms"] > 0
    assert steady["server_cpu_percent"] > 0
    assert sum(steady["layer_bps"]) > 100_000
    assert "<svg" in files[1].read_text()


async def test_a_bound_that_is_crossed_is_exit_code_1(url: str) -> None:
    code, out, _ = await load(
        *("webinar", "--url", url, "--subscribers", "3", "--duration", "4", *SMALL, *PATIENT, "--max-join-p95", "1")
    )
    assert code == 1
    assert "✗ join to media, 95 %" in out
    assert "the verdict does not hold" in out


async def test_ctrl_c_ends_with_the_report_so_far(url: str, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    process = await start(
        *("load", "meeting", "--url", url, "--participants", "2", "--duration", "600", *SMALL, *PATIENT),
        *("--json", str(file)),
    )
    assert process.stdout is not None
    async with asyncio.timeout(WITHIN_S):
        while b" 2 receiving" not in await process.stdout.readline():
            pass
    await asyncio.sleep(2)
    process.send_signal(signal.SIGINT)
    code, out, err = await end(process)
    assert code == 0, out + err
    assert "ended early: interrupted" in out
    assert "Traceback" not in err
    report = json.loads(file.read_text())
    assert report["ended"] == "interrupted"
    assert report["overall"]["joins"] == 2
    assert report["overall"]["packets_received"] > 0


async def test_a_ramp_finds_its_target(url: str) -> None:
    code, out, _ = await load(
        *("ramp", "--url", url, "--participants", "2", "--step-seconds", "3", "--target", "4", *SMALL, *PATIENT)
    )
    assert code == 0, out
    assert "capacity: 4 participants" in out


async def test_full_bots_see_and_hear_each_other(url: str, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    code, out, err = await load(
        *("meeting", "--url", url, "--participants", "3", "--full", "2", "--duration", "8", *SMALL, *PATIENT),
        *("--json", str(file)),
    )
    assert code == 0, out + err
    full = json.loads(file.read_text())["full"]
    assert full["bots"] == 2
    assert full["pictures"] > 20
    assert (full["width"], full["height"]) == (320, 180)
    assert full["psnr_p50_db"] > 25
    assert -20 < full["audio_p50_dbfs"] < -5


async def test_a_server_with_keys() -> None:
    with serving(SFU_KEYS=KEY) as url:
        meeting = ("meeting", "--url", url, "--participants", "2", "--duration", "3", *SMALL, *PATIENT)
        (refused, told, _), (taken, out, _) = await asyncio.gather(load(*meeting), load(*meeting, SFU_KEYS=KEY))
    assert refused == 1
    assert "token_required" in told
    assert taken == 0, out


def complaint_of(*arguments: str) -> list[str]:
    result = CliRunner().invoke(cli.app, ["load", *arguments], env={"SFU_KEYS": ""})
    assert (result.exit_code, result.stdout) == (2, "")
    return result.stderr.splitlines()


def test_what_is_wrong_is_exit_code_2_and_says_what_to_do(tmp_path: Path) -> None:
    (unreachable,) = complaint_of("meeting", "--url", "http://127.0.0.1:1/")
    assert unreachable.startswith("sfu: no server answers at http://127.0.0.1:1/")
    assert "sfu serve --dev" in unreachable
    assert [
        line.partition(" is not")[0] for line in complaint_of("meeting", "--participants", "x", "--rooms", "0")
    ] == [
        "sfu: --rooms = '0'",
        "sfu: --participants = 'x'",
    ]
    (folder,) = complaint_of("meeting", "--json", str(tmp_path / "nowhere" / "report.json"))
    assert "there is no folder" in folder
