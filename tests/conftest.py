# SPDX-License-Identifier: Apache-2.0
"""What every test shares: how large a run is, what the machine can do, in which order, and what was measured."""

import functools
import os
import shutil
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

import sfu
from tests.results import Measurement, write_results

ROOT = Path(__file__).resolve().parent.parent

# Cheap and exact first, so that a broken kernel is named before everything above it fails; browsers last, one by one.
ORDER = ("wire", "engine", "sdp", "rooms", "simulation", "transport", "signaling", "client", "load", "browser")
FULL_SCALE = 10.0  # from here on the tests marked `slow` run too
DOCKER_TIMEOUT_S = 20
# A test's own limit is that of the full tier; at small counts none may cost CI its whole time.
SMALL_TIMEOUT_S = 240

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FIREFOX_NAMES = ("firefox-esr", "firefox")
BROWSERS = {"chromium": CHROMIUM_NAMES, "firefox": FIREFOX_NAMES}

SECONDS = pytest.StashKey[dict[str, float]]()
MEASUREMENTS = pytest.StashKey[list[Measurement]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("pysfu")
    group.addoption("--scale", type=float, default=1.0, help="multiplies the counts of every test (default 1)")
    group.addoption("--results", type=Path, help="write times and measurements of this run to a Markdown file")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SECONDS] = defaultdict(float)
    config.stash[MEASUREMENTS] = []


def pytest_report_header(config: pytest.Config) -> str:
    origin = os.path.relpath(Path(sfu.__file__).parent, ROOT)
    return f"pysfu {sfu.__version__} from {origin}, scale {config.getoption('--scale'):g}"


def browser_path(name: str) -> str | None:
    """The executable of `chromium` or `firefox`, if this machine has one."""
    return next(filter(None, map(shutil.which, BROWSERS[name])), None)


@functools.cache
def docker_answers() -> bool:
    if not shutil.which("docker"):
        return False
    try:
        return subprocess.run(["docker", "info"], capture_output=True, timeout=DOCKER_TIMEOUT_S).returncode == 0
    except subprocess.TimeoutExpired:
        return False


@functools.cache
def may_make_namespaces() -> bool:
    if os.geteuid() != 0 or not shutil.which("unshare"):
        return False
    return subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True).returncode == 0


def reason_to_skip(item: pytest.Item) -> str | None:
    for mark in item.iter_markers("browser"):
        for name in mark.args or ("chromium",):
            if browser_path(name) is None:
                return f"no {name} on this machine (Debian: apt-get install {BROWSERS[name][0]})"
    if item.get_closest_marker("root") and not may_make_namespaces():
        return "needs root that may make network namespaces (in a container: --privileged)"
    if item.get_closest_marker("docker") and not docker_answers():
        return "no Docker daemon answers"
    if item.get_closest_marker("slow") and item.config.getoption("--scale") < FULL_SCALE:
        return f"slow: runs at --scale {FULL_SCALE:g} or more (make test-full)"
    return None


def part_of(item: pytest.Item) -> str:
    """The folder of tests/ that holds the test."""
    parts = item.path.relative_to(ROOT / "tests").parts
    return parts[0] if len(parts) > 1 else "project"


def shorten_limit(item: pytest.Item) -> None:
    limit = item.get_closest_marker("timeout")
    if limit and limit.args and limit.args[0] > SMALL_TIMEOUT_S:
        item.add_marker(pytest.mark.timeout(SMALL_TIMEOUT_S), append=False)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--scale") < FULL_SCALE:
        for item in items:
            shorten_limit(item)
    rank = {part: index for index, part in enumerate(ORDER)}
    # What has no place in the order runs before the browsers; so does `project`.
    items.sort(key=lambda item: rank.get(part_of(item), rank["browser"] - 0.5))


def pytest_runtest_setup(item: pytest.Item) -> None:
    reason = reason_to_skip(item)
    if reason:
        pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> object:
    started = time.perf_counter()
    try:
        return (yield)
    finally:
        item.config.stash[SECONDS][part_of(item)] += time.perf_counter() - started
        if os.sched_getscheduler(0) != os.SCHED_OTHER:
            # As SVT-AV1 does as root: all later tests, and the browsers they start, would starve each other.
            pytest.exit(f"{item.nodeid} left this process under another scheduling policy", returncode=1)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    measurements = config.stash[MEASUREMENTS]
    if measurements:
        terminalreporter.section("measured")
        for measurement in measurements:
            terminalreporter.write_line(str(measurement))
    seconds = config.stash[SECONDS]
    terminalreporter.section("time by part")
    terminalreporter.write_line(", ".join(f"{part} {spent:.1f} s" for part, spent in seconds.items()))
    path = config.getoption("--results")
    if path:
        counts = {outcome: len(terminalreporter.stats.get(outcome, [])) for outcome in ("passed", "failed", "skipped")}
        write_results(path, config.getoption("--scale"), counts, seconds, measurements)


@pytest.fixture(scope="session")
def scale(pytestconfig: pytest.Config) -> float:
    return float(pytestconfig.getoption("--scale"))


@pytest.fixture(scope="session")
def scaled(scale: float) -> Callable[[int], int]:
    """Turns a count at small scale into this run's count, never below one."""
    return lambda count: max(1, round(count * scale))


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str, float, str], None]:
    """`measured("join to first frame", 412, "ms")` notes it in the summary and in docs/results; it is not asserted."""
    noted = request.config.stash[MEASUREMENTS]
    return lambda what, value, unit: noted.append(Measurement(request.node.name, what, value, unit))


@pytest.fixture(scope="session")
def chromium() -> str:
    path = browser_path("chromium")
    assert path is not None, "mark the test `browser`: it is skipped then where there is no Chromium"
    return path


@pytest.fixture(scope="session")
def firefox() -> str:
    path = browser_path("firefox")
    assert path is not None, 'mark the test `browser("firefox")`: it is skipped then where there is no Firefox'
    return path
