# SPDX-License-Identifier: Apache-2.0
"""The compose project of docker/, under a name and on ports of its own."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from typing import Any, Final

from tests.packaging.archives import ROOT, clean_environment

FILE: Final = ROOT / "docker" / "compose.yaml"
DOCKERFILE: Final = ROOT / "docker" / "Dockerfile"
PROJECT: Final = "pysfu-test"
SERVICE: Final = "sfu"

BASE_IMAGE: Final = re.compile(r"^ARG PYTHON_IMAGE=(\S+)$", re.MULTILINE)
PULL_WITHIN_S: Final = 300


def reason_to_skip() -> str | None:
    """Where the tests marked `docker` run at all, a daemon answers; an image needs more than that."""
    if _compose() is None:
        return "neither `docker compose` nor docker-compose"
    found = BASE_IMAGE.search(DOCKERFILE.read_text())
    assert found, f"{DOCKERFILE} names no base image"
    image = found[1]
    if _succeeds("docker", "image", "inspect", image) or _succeeds("docker", "pull", "-q", image):
        return None
    return f"the base image {image} is not here and cannot be pulled"


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("0.0.0.0", 0))
        return int(probe.getsockname()[1])


class Project:
    def __init__(self) -> None:
        self.http_port: Final = free_port(socket.SOCK_STREAM)
        self.url: Final = f"http://127.0.0.1:{self.http_port}"
        self._environment: Final = {
            "SFU_HTTP_PORT": str(self.http_port),
            "SFU_UDP_PORT": str(free_port(socket.SOCK_DGRAM)),
        }

    def up(self) -> None:
        self.compose("up", "--build", "--detach", "--wait", SERVICE)

    def down(self) -> None:
        # The image stays: without it the next run would build everything anew.
        self.compose("down", "--volumes", "--timeout", "5")

    def compose(self, *arguments: str) -> str:
        command = _compose()
        assert command is not None
        return self._run(*command, "--project-name", PROJECT, "--file", str(FILE), *arguments)

    def inspect(self) -> dict[str, Any]:
        """What the daemon says of the server's container."""
        container = self.compose("ps", "--all", "--quiet", SERVICE).split()[-1]
        (described,) = json.loads(self._run("docker", "inspect", container))
        assert isinstance(described, dict)
        return described

    def _run(self, *command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, env=clean_environment() | self._environment)
        assert done.returncode == 0, (
            f"{' '.join(command)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}"
        )
        return done.stdout


def _compose() -> tuple[str, ...] | None:
    if _succeeds("docker", "compose", "version"):
        return ("docker", "compose")
    return ("docker-compose",) if shutil.which("docker-compose") else None


def _succeeds(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=PULL_WITHIN_S).returncode == 0
    except subprocess.TimeoutExpired:
        return False
