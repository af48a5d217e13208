# SPDX-License-Identifier: Apache-2.0
"""The command line: `sfu serve`, `token`, `doctor`, `load`. What it needs is imported late: `sfu --help` is quick."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, NoReturn

import typer
import typer.models

import sfu
from sfu.config import DEV_KEY_ID, ENVIRONMENT_PREFIX, ConfigError, Settings, load
from sfu.load import command as load_command
from sfu.telemetry import logs

EXIT_UNHEALTHY = 1
EXIT_USAGE = 2
DOCTOR_TTL_S = 300

app = typer.Typer(
    name="sfu",
    help="pysfu: a WebRTC server that forwards the audio and video of a call (SFU).",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(load_command.app)


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
            "--dev",
            metavar="",
            help="For your own machine: the page, joins without tokens, HTTP on loopback; takes the next free port.",
        ),
    ] = False,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="TOML file with settings. Also by SFU_CONFIG.")
    ] = None,
    page: Annotated[
        bool | None,
        typer.Option("--page/--no-page", metavar="", help="Serve the web page. [dim](default: with --dev only)[/]"),
    ] = None,
    http_host: Annotated[
        str | None,
        _setting("ADDRESS", "For the page, the websocket, the admin API and the metrics.", "all, with --dev 127.0.0.1"),
    ] = None,
    http_port: Annotated[str | None, _setting("PORT", "0: the system chooses.", "8080")] = None,
    tls: Annotated[
        str | None,
        _setting("self", "HTTPS with a certificate made at the start, for a phone on the same network.", "HTTP"),
    ] = None,
    tls_cert: Annotated[
        str | None, _setting("FILE", "HTTPS with this certificate and its chain (PEM).", "HTTP")
    ] = None,
    tls_key: Annotated[str | None, _setting("FILE", "Its private key (PEM).", "in the same file")] = None,
    allow_origin: Annotated[
        list[str] | None,
        _setting("ORIGIN", "Web pages of this origin may connect, too. Repeatable; * for all.", "the server's own"),
    ] = None,
    udp_host: Annotated[str | None, _setting("ADDRESS", "For media.", "all")] = None,
    udp_port: Annotated[
        str | None, _setting("PORT", "For media; further workers take the next ones. 0: the system chooses.", "7882")
    ] = None,
    announce_ip: Annotated[
        list[str] | None,
        _setting("ADDRESS", "Where clients reach this server, if it is behind NAT. Repeatable.", "this machine's own"),
    ] = None,
    workers: Annotated[
        str | None, _setting("N", "Threads that forward media, each with its own rooms; auto: one a core.", "1")
    ] = None,
    room_spread: Annotated[
        str | None, _setting("N", "Participants of one room on a worker before the next go to another.", "200")
    ] = None,
    publisher_limit_mbps: Annotated[
        str | None, _setting("N", "Mbit/s that one participant may send; 0: no limit.", "25")
    ] = None,
    camera_limit_kbps: Annotated[
        str | None, _setting("N", "kbit/s that a camera may send, all layers together; 0: no limit.", "5000")
    ] = None,
    screen_limit_kbps: Annotated[
        str | None, _setting("N", "kbit/s that a shared screen may send; 0: no limit.", "8000")
    ] = None,
    video_codecs: Annotated[
        list[str] | None,
        _setting("NAMES", "What pictures may be sent in, the preferred first.", "VP8,H264,VP9,AV1"),
    ] = None,
    shed_load: Annotated[
        bool | None,
        typer.Option(
            "--shed-load/--no-shed-load", metavar="", help="Lower pictures under overload. [dim](default: yes)[/]"
        ),
    ] = None,
    egress_log: Annotated[
        str | None, _setting("N", "Events of each outgoing stream kept for the admin API, to explain freezes.", "0")
    ] = None,
    grace_seconds: Annotated[str | None, _setting("SECONDS", "How long a stop may take.", "5")] = None,
    log_level: Annotated[str | None, _setting("LEVEL", "debug, info, warning or error.", "info")] = None,
    log_format: Annotated[str | None, _setting("FORM", "console, or json: an object a line.", "console")] = None,
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
        "page": page,
        "http_host": http_host,
        "http_port": http_port,
        "tls": tls,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
        "allow_origin": tuple(allow_origin) if allow_origin else None,
        "udp_host": udp_host,
        "udp_port": udp_port,
        "announce_ip": tuple(announce_ip) if announce_ip else None,
        "workers": workers,
        "room_spread": room_spread,
        "publisher_limit_mbps": publisher_limit_mbps,
        "camera_limit_kbps": camera_limit_kbps,
        "screen_limit_kbps": screen_limit_kbps,
        "video_codecs": ",".join(video_codecs) if video_codecs else None,
        "shed_load": shed_load,
        "egress_log": egress_log,
        "grace_seconds": grace_seconds,
        "log_level": log_level,
        "log_format": log_format,
    }
    settings = _load({name: value for name, value in given.items() if value is not None}, config)
    try:
        logs.configure(settings.log_level, settings.log_format)
        # Only now: `sfu --help` and a wrong setting need neither the engine nor the loop.
        import uvloop

        from sfu.server import serve as run_server

        uvloop.run(run_server(settings))
    except ConfigError as error:
        _fail(*error.problems)


def _choice(flag: str, text: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(f"--{flag}/--no-{flag}", metavar="", help=text)
    return option


def _grant(flag: str, text: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(f"--{flag}", metavar="", help=text)
    return option


@app.command()
def token(
    room: Annotated[str | None, typer.Option(metavar="ROOM", help="The one room that it is for.")] = None,
    identity: Annotated[
        str | None, typer.Option(metavar="ID", help="Who joins with it. Without, it is for the admin API only.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="What others see. [dim](default: the identity)[/]")
    ] = None,
    ttl: Annotated[str, typer.Option(metavar="TIME", help="How long it opens: 90s, 15m, 6h, 2d.")] = "6h",
    can_publish: Annotated[bool, _choice("can-publish", "Send audio and video.")] = True,
    can_publish_source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE",
            help="Send only this: camera, microphone, screen_share or screen_share_audio. Repeatable.",
        ),
    ] = None,
    can_subscribe: Annotated[bool, _choice("can-subscribe", "Receive the others.")] = True,
    can_publish_data: Annotated[bool, _choice("can-publish-data", "Send data messages.")] = True,
    can_update_own_metadata: Annotated[
        bool, _grant("can-update-own-metadata", "Change one's own name, metadata and attributes.")
    ] = False,
    hidden: Annotated[bool, _grant("hidden", "The others never hear of this participant.")] = False,
    room_admin: Annotated[bool, _grant("room-admin", "Mute others, and use the admin API for the room.")] = False,
    room_create: Annotated[bool, _grant("room-create", "For LiveKit's tools: rooms open by themselves here.")] = False,
    room_list: Annotated[bool, _grant("room-list", "List all rooms by the admin API.")] = False,
    metadata: Annotated[str | None, typer.Option(metavar="TEXT", help="Told to everybody in the room.")] = None,
    attribute: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Told to everybody in the room. Repeatable.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(metavar="KEY_ID", help="Which key signs. [dim](default: the first)[/]")
    ] = None,
    dev: Annotated[bool, _grant("dev", "Sign with the development key, for a server that runs with --dev.")] = False,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="TOML file with keys. Also by SFU_CONFIG.")
    ] = None,
) -> None:
    """Print an access token, and nothing else, on standard output.

    It is a JWT in LiveKit's format, signed with one of the server's keys:
    SFU_KEYS="id: secret", or the table named keys in the settings file.
    """
    from signaling.tokens import mint

    if room is None and (identity is not None or room_admin or not room_list):
        _fail("--room is missing: a token is for one room (only with --room-list it may be for none)")
    if identity is None and not (room_admin or room_list):
        _fail("--identity is missing: who joins with this token?")
    grants = {
        "room": room,
        "roomJoin": identity is not None or None,
        "canPublish": can_publish,
        "canPublishSources": _sources(can_publish_source or []) or None,
        "canSubscribe": can_subscribe,
        "canPublishData": can_publish_data,
        "canUpdateOwnMetadata": can_update_own_metadata or None,
        "hidden": hidden or None,
        "roomAdmin": room_admin or None,
        "roomCreate": room_create or None,
        "roomList": room_list or None,
    }
    signed = mint(
        _signing_key(_load({"dev": True} if dev else {}, config), key, dev=dev),
        grants,
        identity=identity,
        name=name,
        metadata=metadata,
        attributes=_attributes(attribute or []),
        ttl_s=_seconds(ttl),
    )
    typer.echo(signed)


@app.command()
def doctor(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="The server, as a browser opens it: https://call.example.com")
    ],
    given_token: Annotated[
        str | None,
        typer.Option("--token", metavar="TOKEN", help="An access token. [dim](default: one signed with SFU_KEYS)[/]"),
    ] = None,
    room: Annotated[
        str | None, typer.Option(metavar="ROOM", help="The room to join. [dim](default: the token's, or a new one)[/]")
    ] = None,
    key: Annotated[
        str | None, typer.Option(metavar="KEY_ID", help="Which key signs. [dim](default: the first)[/]")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="TOML file with keys. Also by SFU_CONFIG.")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", metavar="", help="Take any TLS certificate, as of a server with --tls self.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", metavar="", help="Print the report for programs.")] = False,
) -> None:
    """Find out why clients cannot connect: run it where they are.

    It looks at the name, TCP, TLS, the clocks, the token, the websocket, the
    announced addresses, UDP, NAT, the size of packets that pass, and media
    from end to end. The exit code is 0 if calls work, and else 1.
    """
    import asyncio
    import json

    from rich.console import Console

    from sfu.doctor import rendering
    from sfu.doctor.examination import Examination, Means

    console = Console()
    means = Means(given_token, None if given_token else _signer(key, config), room, verify_tls=not insecure)
    show = (lambda _: None) if as_json else (lambda finding: rendering.show(finding, console))
    report = asyncio.run(Examination(url, means, show).run())
    if as_json:
        typer.echo(json.dumps(report.as_json(), indent=2))
    else:
        rendering.show_verdict(report, console)
    raise typer.Exit(0 if report.healthy else EXIT_UNHEALTHY)


def _signer(key: str | None, config: Path | None) -> Callable[[str, str], str] | None:
    """Signs tokens with a configured key; None where there is none."""
    from signaling.tokens import mint

    if (
        key is None
        and config is None
        and not any(os.environ.get(f"{ENVIRONMENT_PREFIX}{n}") for n in ("KEYS", "CONFIG"))
    ):
        return None
    signing_key = _signing_key(_load({}, config), key, dev=False)
    return lambda room, identity: mint(
        signing_key, {"roomJoin": True, "room": room}, identity=identity, name="doctor", ttl_s=DOCTOR_TTL_S
    )


def _sources(names: list[str]) -> list[str]:
    from sfu.rooms.model import Source

    known = [source.value for source in Source]
    for name in names:
        if name not in known:
            _fail(f"--can-publish-source = {name!r} is not allowed; allowed: {', '.join(known)}")
    return names


def _attributes(entries: list[str]) -> dict[str, str]:
    pairs = [entry.partition("=") for entry in entries]
    if not all(name and equals for name, equals, _ in pairs):
        _fail("--attribute takes NAME=VALUE")
    return {name: value for name, _, value in pairs}


def _seconds(ttl: str) -> int:
    from signaling.tokens import parse_ttl

    try:
        return parse_ttl(ttl)
    except ValueError as error:
        _fail(f"--ttl: {error}")


def _signing_key(settings: Settings, wanted: str | None, *, dev: bool) -> tuple[str, str]:
    keys = settings.signing_keys
    key_id = wanted or (DEV_KEY_ID if dev else next(iter(keys)))
    if key_id not in keys:
        _fail(f"--key = {key_id!r} is not a key that is configured; there is: {', '.join(keys)}")
    return key_id, keys[key_id]


def _load(flags: Mapping[str, object], config: Path | None) -> Settings:
    try:
        return load(flags, config)
    except ConfigError as error:
        _fail(*error.problems)


def _fail(*problems: str) -> NoReturn:
    for problem in problems:
        typer.echo(f"sfu: {problem}", err=True)
    sys.exit(EXIT_USAGE)


def main() -> None:
    app()
