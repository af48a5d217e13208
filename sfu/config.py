# SPDX-License-Identifier: Apache-2.0
"""The one typed tree of settings: defaults < TOML file < environment < flags.

A setting has one name everywhere: `http_port` in the file, `SFU_HTTP_PORT` in the environment, `--http-port` as a flag.
An error names the setting as it was written there, the value, and what is allowed.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_core import ErrorDetails

ENVIRONMENT_PREFIX: Final = "SFU_"

# RFC 7518, section 3.2: a key for HS256 has at least as many bits as the hash.
MIN_SECRET_BYTES: Final = 32

# Beyond this a machine would sooner run out of ports for its neighbours than of cores.
MAX_WORKERS: Final = 64
MAX_GRACE_SECONDS: Final = 3600.0

KEY_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")

# With --dev only, and known to everybody: `sfu token --dev` signs with it, for any server that runs with --dev.
DEV_KEY_ID: Final = "development"
DEV_SECRET: Final = "known to everybody: for development only"  # noqa: S105

PORT_ALLOWED: Final = "a whole number from 0 to 65535 (0: the system chooses)"
ANNOUNCE_ALLOWED: Final = "IP addresses that clients reach this server at; in the environment separated by commas"
ORIGINS_ALLOWED: Final = (
    "origins of web pages, such as https://app.example.com or http://localhost:3000, or * for all; "
    "in the environment separated by commas"
)
TLS_ALLOWED: Final = "self (for a certificate of one's own: tls_cert and tls_key)"
FILE_ALLOWED: Final = "a PEM file"
WORKERS_ALLOWED: Final = f"a whole number from 1 to {MAX_WORKERS}, or auto (one for each core)"
MAX_EGRESS_LOG: Final = 4096
VideoCodec = Literal["VP8", "H264", "VP9", "AV1"]
CODECS_ALLOWED: Final = f"some of {', '.join(get_args(VideoCodec))}; in the environment separated by commas"
RATE_ALLOWED: Final = "0 (no limit) to 1000000"
EGRESS_LOG_ALLOWED: Final = f"a whole number from 0 (none) to {MAX_EGRESS_LOG}"
GRACE_ALLOWED: Final = f"seconds from 0 to {MAX_GRACE_SECONDS:.0f}"
HOST_ALLOWED: Final = "an IPv4 or IPv6 address of this machine, such as 127.0.0.1 or ::"


class ConfigError(Exception):
    """The settings do not make sense. Each problem is one line that can be shown to the operator as it is."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems: Final = tuple(problems)


def _allowed(text: str) -> dict[str, Any]:
    return {"allowed": text}


class Settings(BaseModel):
    """What `sfu serve` runs with. Make it with `load`: an error has to say which source it means."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)

    dev: bool = Field(default=False, json_schema_extra=_allowed("true or false"))
    """Open to everyone who reaches it: the page, joins without tokens, tokens for the asking. For one's own machine:
    HTTP listens on loopback unless `http_host` says otherwise, and where a port is taken the next one is tried."""
    page: bool | None = Field(default=None, json_schema_extra=_allowed("true or false"))
    """Serve the web page at `/`. Unset: with `dev` only. Without `dev` whoever uses it needs a token in its address."""
    http_host: str | None = Field(default=None, json_schema_extra=_allowed(HOST_ALLOWED))
    """Where the page, the websocket, the admin API and the metrics are. Unset: 127.0.0.1 with `dev`, else all
    addresses."""
    http_port: int = Field(default=8080, ge=0, le=65535, json_schema_extra=_allowed(PORT_ALLOWED))
    """The TCP port of the page, the websocket, the admin API and the metrics."""
    tls: Literal["self"] | None = Field(default=None, json_schema_extra=_allowed(TLS_ALLOWED))
    """`self`: HTTPS with a certificate that is made at the start, for this machine's names and addresses. Browsers warn
    of it; compare the fingerprint that is printed. A second device can then use its camera, which it cannot over plain
    HTTP."""
    tls_cert: Path | None = Field(default=None, json_schema_extra=_allowed(FILE_ALLOWED))
    """HTTPS with this certificate (with its chain, the server's own first). Read at the start."""
    tls_key: Path | None = Field(default=None, json_schema_extra=_allowed(FILE_ALLOWED))
    """The private key to `tls_cert`, not encrypted. Unset: it stands in the same file."""
    allow_origin: tuple[str, ...] = Field(default=(), json_schema_extra=_allowed(ORIGINS_ALLOWED))
    """Web pages of other origins that may open the websocket. The server's own page always may; what is no browser is
    not asked. With `dev` their host names are also taken as names of this server."""
    udp_host: str | None = Field(default=None, json_schema_extra=_allowed(HOST_ALLOWED))
    """Where media is received. Unset: all addresses of both families."""
    udp_port: int = Field(default=7882, ge=0, le=65535, json_schema_extra=_allowed(PORT_ALLOWED))
    """The UDP port of the first worker, for media; the others take the ports above it."""
    announce_ip: tuple[str, ...] = Field(default=(), json_schema_extra=_allowed(ANNOUNCE_ALLOWED))
    """Addresses that clients are told for media instead of this machine's own: for a server behind NAT. Several may be
    given; the port must be forwarded unchanged."""
    workers: int = Field(default=1, ge=1, le=MAX_WORKERS, json_schema_extra=_allowed(WORKERS_ALLOWED))
    """Native threads that forward media. Each has its own UDP port and its own rooms; a new room goes to the least busy
    one."""
    room_spread: int = Field(default=200, ge=1, json_schema_extra=_allowed("a whole number from 1"))
    """So many participants of one room are on a worker before the next ones go to another, if there is one. A room that
    keeps its worker busy goes on sooner."""
    publisher_limit_mbps: int = Field(default=25, ge=0, le=10_000, json_schema_extra=_allowed("0 (no limit) to 10000"))
    """Mbit/s that one participant may send, all tracks and layers together. What is above it, beyond a burst of half a
    second, is dropped unread (`inbound_rate`): who floods the server harms only their own streams."""
    camera_limit_kbps: int = Field(default=5000, ge=0, le=1_000_000, json_schema_extra=_allowed(RATE_ALLOWED))
    """kbit/s that a camera may send, all its layers and its backup in another codec together. Clients are told, and
    browsers that send more are held to it; what passes `publisher_limit_mbps` all the same is dropped."""
    screen_limit_kbps: int = Field(default=8000, ge=0, le=1_000_000, json_schema_extra=_allowed(RATE_ALLOWED))
    """The same for a shared screen."""
    video_codecs: tuple[VideoCodec, ...] = Field(
        default=get_args(VideoCodec), json_schema_extra=_allowed(CODECS_ALLOWED)
    )
    """What pictures may be sent in, the preferred first. Clients are told which of them everybody in the room can
    receive, and send the first that they can encode. Others are left out of answers."""
    shed_load: bool = Field(default=True, json_schema_extra=_allowed("true or false"))
    """Under overload send smaller pictures, then fewer frames, then fewer pictures, and at last refuse newcomers. Sound
    is never touched."""
    egress_log: int = Field(default=0, ge=0, le=MAX_EGRESS_LOG, json_schema_extra=_allowed(EGRESS_LOG_ALLOWED))
    """For whoever looks for the cause of a freeze: the last so many events (binds, switches, keyframes, gaps, pauses,
    drops by reason, retransmissions) of each stream to each receiver, told by the admin API. 48 bytes each."""
    keys: dict[str, SecretStr] = Field(
        default_factory=dict,
        json_schema_extra=_allowed(
            f"key ids with secrets of at least {MIN_SECRET_BYTES} bytes: a [keys] table in the file, "
            "or SFU_KEYS='id: secret, id2: secret2'"
        ),
    )
    """Who may sign access tokens: backends, and `sfu token`. Needed unless `dev` is set. There is no flag for it: every
    user of a machine sees the flags."""
    grace_seconds: float = Field(default=5.0, ge=0, le=MAX_GRACE_SECONDS, json_schema_extra=_allowed(GRACE_ALLOWED))
    """How long a stop may take, from the signal to the end of the process."""
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", json_schema_extra=_allowed("debug, info, warning or error")
    )
    """What is logged, on standard error."""
    log_format: Literal["console", "json"] = Field(default="console", json_schema_extra=_allowed("console or json"))
    """Lines for people, or one JSON object a line for programs. Both carry room, participant and publication."""

    @field_validator("http_host", "udp_host")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        return None if value is None else str(ipaddress.ip_address(value))

    @field_validator("workers", mode="before")
    @classmethod
    def _count_cores(cls, value: object) -> object:
        return min(len(os.sched_getaffinity(0)), MAX_WORKERS) if value == "auto" else value

    @field_validator("announce_ip", "allow_origin", "video_codecs", mode="before")
    @classmethod
    def _split_list(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part for part in re.split(r"[,\s]+", value) if part)
        return value

    @field_validator("video_codecs")
    @classmethod
    def _are_distinct(cls, value: tuple[VideoCodec, ...]) -> tuple[VideoCodec, ...]:
        if not value:
            raise ValueError("no codec")
        return tuple(dict.fromkeys(value))

    @field_validator("announce_ip")
    @classmethod
    def _are_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(ipaddress.ip_address(text)) for text in value)

    @field_validator("allow_origin")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_normal_origin(text) for text in value)

    @field_validator("keys", mode="before")
    @classmethod
    def _parse_keys(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        keys: dict[str, str] = {}
        for entry in re.split(r"[,\n]+", value):
            key_id, colon, secret = entry.partition(":")
            if entry.strip():
                if not colon:
                    raise ValueError("an entry without a colon")
                keys[key_id.strip()] = secret.strip()
        return keys

    @field_validator("keys")
    @classmethod
    def _keys_are_strong(cls, value: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for key_id, secret in value.items():
            if not KEY_ID.fullmatch(key_id):
                raise ValueError(f"the key id {key_id!r} has characters other than letters, digits, '_', '.' and '-'")
            size = len(secret.get_secret_value().encode())
            if size < MIN_SECRET_BYTES:
                raise ValueError(f"the secret of key {key_id!r} has only {size} bytes")
            if secret.get_secret_value() == DEV_SECRET:
                raise ValueError(f"the secret of key {key_id!r} is the one for development, which everybody knows")
        return value

    @property
    def signing_keys(self) -> dict[str, str]:
        """Key id → secret."""
        keys = {key_id: secret.get_secret_value() for key_id, secret in self.keys.items()}
        return {DEV_KEY_ID: DEV_SECRET} | keys if self.dev else keys

    @property
    def serves_page(self) -> bool:
        return self.dev if self.page is None else self.page

    @property
    def udp_ports(self) -> tuple[int, ...]:
        """The port to bind for each worker."""
        if self.udp_port == 0:
            return (0,) * self.workers
        return tuple(self.udp_port + index for index in range(self.workers))


def load(
    flags: Mapping[str, object], file: Path | None = None, environment: Mapping[str, str] | None = None
) -> Settings:
    """Settings from all sources, or `ConfigError`. `flags` holds what was given; `file` falls back to SFU_CONFIG."""
    environment = os.environ if environment is None else environment
    if file is None and environment.get(f"{ENVIRONMENT_PREFIX}CONFIG"):
        file = Path(environment[f"{ENVIRONMENT_PREFIX}CONFIG"])
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    problems: list[str] = []
    if file is not None:
        for name, value in _read_file(file).items():
            if name in Settings.model_fields:
                values[name], origins[name] = value, f"{name} in {file}"
            else:
                problems.append(f"{name} in {file} is not a setting{_did_you_mean(name)}")
    for name in Settings.model_fields:
        variable = ENVIRONMENT_PREFIX + name.upper()
        if environment.get(variable):
            values[name], origins[name] = environment[variable], variable
    for name, value in flags.items():
        values[name], origins[name] = value, "--" + name.replace("_", "-")
    try:
        settings = Settings(**values)  # type: ignore[arg-type]
    except ValidationError as error:
        problems += [_describe(detail, values, origins) for detail in error.errors(include_url=False)]
    if problems:
        raise ConfigError(problems)
    _check_together(settings, origins)
    return settings


def _normal_origin(text: str) -> str:
    """As browsers send it: lower case, without the port that the scheme has anyway."""
    if text == "*":
        return text
    parts = urlsplit(text.rstrip("/").lower())
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path or parts.query or parts.fragment:
        raise ValueError("not an origin")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    default = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" + ("" if parts.port in (None, default) else f":{parts.port}")


def _read_file(file: Path) -> dict[str, object]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ConfigError([f"the settings file {file} cannot be read: {error.strerror or error}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"the settings file {file} is not TOML: {error}"]) from None


def _check_together(settings: Settings, origins: Mapping[str, str]) -> None:
    problems = []
    if settings.udp_ports[-1] > 65535:
        problems.append(
            f"{origins['udp_port']} = {settings.udp_port} is not allowed with {settings.workers} workers, "
            f"each of which takes the next port up; allowed: at most {65536 - settings.workers}"
        )
    if settings.tls is not None and settings.tls_cert is not None:
        problems.append(
            f"{origins['tls']} and {origins['tls_cert']} exclude each other: the one makes a certificate, the other "
            "brings one"
        )
    if settings.tls_key is not None and settings.tls_cert is None:
        problems.append(f"{origins['tls_key']} is given without tls_cert, the certificate that it belongs to")
    if not settings.dev and not settings.keys:
        problems.append(
            "no keys are configured, so nobody could join: set SFU_KEYS='id: secret' or a [keys] table in the settings "
            f"file (secrets of at least {MIN_SECRET_BYTES} bytes), or let everyone in on your own machine with --dev"
        )
    if problems:
        raise ConfigError(problems)


def _describe(detail: ErrorDetails, values: Mapping[str, object], origins: Mapping[str, str]) -> str:
    name = str(detail["loc"][0])
    if name not in Settings.model_fields:
        return f"{origins.get(name, name)} is not a setting{_did_you_mean(name)}"
    extra = Settings.model_fields[name].json_schema_extra
    allowed = extra["allowed"] if isinstance(extra, dict) else ""
    # A secret must not end up in a log, and with keys any part of the value may be one.
    shown = "" if name == "keys" else f" = {values.get(name)!r}"
    reason = f" ({detail['ctx']['error']})" if detail["type"] == "value_error" and name == "keys" else ""
    return f"{origins.get(name, name)}{shown} is not allowed{reason}; allowed: {allowed}"


def _did_you_mean(name: str) -> str:
    close = difflib.get_close_matches(name, Settings.model_fields, n=1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; settings are: {', '.join(Settings.model_fields)}"
