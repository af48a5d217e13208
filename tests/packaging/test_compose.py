# SPDX-License-Identifier: Apache-2.0
"""`docker compose -f docker/compose.yaml up` serves a room to browsers that come through the published ports."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.browser.calls import ARTEFACTS, SMALL, CallPage
from tests.browser.chromium import Chromium
from tests.packaging import compose
from tests.packaging.compose import Project

# Everything is compiled in the image, and its packages are installed.
BUILD_WITHIN_S = 1800
REFUSED_WITHIN_S = 60

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(BUILD_WITHIN_S)]


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    reason = compose.reason_to_skip()
    if reason:
        pytest.skip(reason)
    project = Project()
    try:
        project.up()
        yield project
    finally:
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        (ARTEFACTS / "compose.log").write_text(project.compose("logs", "--no-color"))
        project.down()


@pytest.mark.browser
async def test_a_call_through_the_published_ports(project: Project, chromium: str) -> None:
    browser = await Chromium.launch(chromium)
    try:
        ada = await CallPage.join(await browser.new_page(), project.url, "room", "Ada", **SMALL)
        ben = await CallPage.join(await browser.new_page(), project.url, "room", "Ben", **SMALL)
        for page, other in ((ada, "Ben"), (ben, "Ada")):
            await page.sees(other, SMALL["width"])
            await page.hears(other)
            await page.keep_screenshot(f"compose-{page.name}")
    finally:
        await browser.close()


def test_the_container_may_do_little(project: Project) -> None:
    described = project.inspect()
    assert described["State"]["Health"]["Status"] == "healthy"
    assert described["Config"]["User"].split(":")[0] not in {"", "0", "root"}
    host = described["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["PortBindings"]["8080/tcp"][0]["HostIp"] == "127.0.0.1"


def test_without_keys_and_dev_the_image_refuses_to_serve(project: Project) -> None:
    image = project.inspect()["Image"]
    command = ["docker", "run", "--rm", image]
    done = subprocess.run(command, capture_output=True, text=True, timeout=REFUSED_WITHIN_S)
    assert done.returncode == 2
    assert "SFU_KEYS" in done.stderr


def test_a_stop_is_orderly(project: Project) -> None:
    project.compose("stop", "--timeout", "10")
    state = project.inspect()["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 0)
