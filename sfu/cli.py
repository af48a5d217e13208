# SPDX-License-Identifier: Apache-2.0
"""The command line: `sfu serve`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
import typer.models

import sfu
from sfu.config import ConfigError, load
from sfu.telemetry import logs

EXIT_USAGE = 2

app = typer.Typer(
    name="sfu",
    help="pysfu: a WebRTC server that forwards the audio and video of a call (SFU).",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pysfu {sfu.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", metavar="", help="Show the version and exit.", is_eager=True, callback=_show_version),
    ] = False,
) -> None:
    """Options before the command."""


# Values are taken as text: the settings know what is allowed, and say so in one way for all sources.
def _setting(metavar: str, text: str, default: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(metavar=metavar, help=f"{text} [dim](default: {default})[/]")
    return option


@app.command()
def serve(
    dev: Annotated[
        bool,
        typer.Option(
            "--dev", metavar="", help="For your own machine: the test page, joins without tokens, HTTP on loopback."
        ),
    ] = False,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="TOML file with settings. Also by SFU_CONFIG.")
    ] = None,
    http_host: Annotated[
        str | None, _setting("ADDRESS", "For the page, the websocket and the metrics.", "all, with --dev 127.0.0.1")
    ] = None,
    http_port: Annotated[str | None, _setting("PORT", "0: the system chooses.", "8080")] = None,
    udp_host: Annotated[str | None, _setting("ADDRESS", "For media.", "all")] = None,
    udp_port: Annotated[
        str | None, _setting("PORT", "For media; further workers take the next ones. 0: the system chooses.", "7882")
    ] = None,
    announce_ip: Annotated[
        list[str] | None,
        _setting("ADDRESS", "Where clients reach this server, if it is behind NAT. Repeatable.", "this machine's own"),
    ] = None,
    workers: Annotated[str | None, _setting("N", "Threads that forward media, each with its own rooms.", "1")] = None,
    grace_seconds: Annotated[str | None, _setting("SECONDS", "How long a stop may take.", "5")] = None,
    log_level: Annotated[str | None, _setting("LEVEL", "debug, info, warning or error.", "info")] = None,
) -> None:
    """Run the server.

    Each setting can also stand in the file (http_port = 8080) and in the
    environment (SFU_HTTP_PORT=8080). Flags win over the environment, and the
    environment over the file.

    Without --dev, a join needs an access token, signed with one of the keys
    in SFU_KEYS="id: secret" or in the table named keys in the file.
    """
    given = {
        "dev": dev or None,
        "http_host": http_host,
        "http_port": http_port,
        "udp_host": udp_host,
        "udp_port": udp_port,
        "announce_ip": tuple(announce_ip) if announce_ip else None,
        "workers": workers,
        "grace_seconds": grace_seconds,
        "log_level": log_level,
    }
    try:
        settings = load({name: value for name, value in given.items() if value is not None}, config)
        logs.configure(settings.log_level)
        # Only now: `sfu --help` and a wrong setting need neither the engine nor the loop.
        import uvloop

        from sfu.server import serve as run_server

        uvloop.run(run_server(settings))
    except ConfigError as error:
        for problem in error.problems:
            typer.echo(f"sfu: {problem}", err=True)
        sys.exit(EXIT_USAGE)


def main() -> None:
    app()
