# SPDX-License-Identifier: Apache-2.0
"""`sfu load SCENARIO`. Its options are those of `sfu.load.spec`; what runs them is imported when it is needed."""

from __future__ import annotations

import asyncio
import datetime
import inspect
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NoReturn

import typer

from sfu.load.spec import SCENARIOS, LoadSpec, ScenarioName, SpecError, flag, metavar, read_spec

if TYPE_CHECKING:
    from sfu.load.report import Report
    from sfu.load.runner import Runner

EXIT_BROKEN: Final = 1
EXIT_USAGE: Final = 2
INTERRUPTED: Final = "interrupted"
# How options are grouped in the help, by their first one.
PANELS: Final = {
    "Where to": ("url", "key", "token_url", "metrics_url", "room", "shard"),
    "Media": ("layers", "width", "bitrate", "fps", "audio_bitrate", "slots", "full", "media"),
    "Verdict": (
        *(
            "min_joined",
            "max_join_p95",
            "max_first_frame_p95",
            "min_receiving",
            "max_lost",
            "max_freezes",
            "max_latency_p99",
            "min_psnr",
        ),
        "max_server_cpu",
    ),
}
OUTPUTS: Final = ("file", "json", "html")

app = typer.Typer(
    name="load",
    help="Load tests: bots join as real clients, and a verdict says whether the server carried them.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _fail(*problems: str) -> NoReturn:
    for problem in problems:
        typer.echo(f"sfu: {problem}", err=True)
    sys.exit(EXIT_USAGE)


def _parameters(scenario: ScenarioName) -> list[inspect.Parameter]:
    """Values are taken as text: the spec knows what is allowed, and says so in one way for flags and files."""
    known = SCENARIOS[scenario]
    found = []
    for name in known.options:
        field = LoadSpec.model_fields[name]
        default = known.defaults.get(name, field.default)
        shown = {"shard": "1/1"}.get(name, f"{default:g}" if isinstance(default, int | float) else default)
        text = (field.description or "") + ("" if shown is None else f" [dim](default: {shown})[/]")
        panel = next((panel for panel, names in PANELS.items() if name in names), "Scenario")
        option = typer.Option(flag(name), metavar=metavar(name), help=text, rich_help_panel=panel, show_default=False)
        found.append(_parameter(name, option))
    outputs = {
        "file": ("A TOML file with any of these options by name (join_rate = 20). Flags win.", "Files"),
        "json": ("Write the report as JSON.", "Files"),
        "html": ("Write the report as one HTML page with plots.", "Files"),
    }
    for name, (text, panel) in outputs.items():
        option = typer.Option(flag(name), metavar="FILE", help=text, rich_help_panel=panel, show_default=False)
        found.append(_parameter(name, option))
    return found


def _parameter(name: str, option: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, option]
    )


def _make_command(scenario: ScenarioName) -> Callable[..., None]:
    def command(**given: str | None) -> None:
        _run(scenario, {name: value for name, value in given.items() if value is not None})

    parameters = _parameters(scenario)
    command.__name__ = scenario
    command.__doc__ = SCENARIOS[scenario].text
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters} | {"return": None}
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return command


for _scenario in SCENARIOS:
    app.command(_scenario)(_make_command(_scenario))


def _run(scenario: ScenarioName, given: dict[str, str]) -> NoReturn:
    outputs = {name: Path(given.pop(name)) for name in OUTPUTS if name in given}
    file = outputs.pop("file", None)
    for name, path in outputs.items():
        if not path.absolute().parent.is_dir():
            _fail(f"{flag(name)} = {path}: there is no folder {path.absolute().parent}")
    try:
        spec = read_spec(scenario, given, file)
    except SpecError as error:
        _fail(*error.problems)
    if spec.key is None and spec.token_url is None and os.environ.get("SFU_KEYS"):
        spec = spec.model_copy(update={"key": os.environ["SFU_KEYS"]})

    from sfu.load.limits import problems, read_limits, warnings
    from sfu.load.runner import LoadError

    limits, here = read_limits(), -(-spec.bots // spec.shard[1])
    if spec.scenario != "ramp":
        found = problems(limits, here)
        if found:
            _fail(*found)
    try:
        report = _test(spec, warnings(limits, here) if spec.scenario != "ramp" else [])
    except LoadError as error:
        _fail(str(error))
    _write(report, outputs)
    sys.exit(0 if report.holds else EXIT_BROKEN)


def _test(spec: LoadSpec, warnings: list[str]) -> Report:
    import uvloop
    from rich.console import Console

    from sfu.load.limits import this_machine
    from sfu.load.live import LiveView
    from sfu.load.report import make_report
    from sfu.load.report_text import print_report
    from sfu.load.runner import Runner

    console = Console()
    for warning in warnings:
        typer.echo(f"sfu: note: {warning}", err=True)
    began = datetime.datetime.now(datetime.UTC)
    view = LiveView(console, spec)

    async def run() -> Runner:
        runner = Runner(spec, view.show)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, runner.stop, INTERRUPTED)
        await runner.run()
        return runner

    with view:
        runner = uvloop.run(run())
    report = make_report(spec, runner.outcome, this_machine(), began, warnings)
    print_report(report, console)
    return report


def _write(report: Report, outputs: dict[Literal["file", "json", "html"], Path]) -> None:
    from sfu.load.report import write_json
    from sfu.load.report_html import write_html

    writers = {"json": write_json, "html": write_html}
    for name, path in outputs.items():
        try:
            writers[name](report, path)
        except OSError as error:
            _fail(f"{flag(name)} = {path}: {error.strerror or error}")
        typer.echo(f"{path}", err=True)
