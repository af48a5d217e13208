# SPDX-License-Identifier: Apache-2.0
"""What a load test does. Each option has one name: `--join-rate 20` as a flag, `join_rate = 20` in a TOML file."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

ScenarioName = Literal["meeting", "webinar", "storm", "churn", "speakers", "layers", "network", "ramp"]

# What one process can hold is far less; this keeps a slip of the keyboard from being tried.
MAX_BOTS: Final = 100_000
MAX_SLOTS: Final = 49
SHARD: Final = re.compile(r"(\d{1,4})/(\d{1,4})")


class SpecError(Exception):
    """The options do not make sense. Each problem is one line that can be shown as it is."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems: Final = tuple(problems)


def _read_shard(value: object) -> object:
    """ "2/3" as (2, 3)."""
    found = SHARD.fullmatch(value.strip()) if isinstance(value, str) else None
    if isinstance(value, str) and (found is None or not 1 <= int(found[1]) <= int(found[2])):
        raise ValueError("not a shard")
    return (int(found[1]), int(found[2])) if found else value


def _says(allowed: str, metavar: str = "N") -> dict[str, Any]:
    return {"allowed": allowed, "metavar": metavar}


def _count(least: int, most: int, default: int, allowed: str = "") -> Any:
    allowed = allowed or f"a whole number from {least} to {most}"
    return Field(default=default, ge=least, le=most, json_schema_extra=_says(allowed))


def _number(least: float, most: float, default: float | None, metavar: str) -> Any:
    allowed = f"a number from {least:g} to {most:g}"
    return Field(default=default, ge=least, le=most, json_schema_extra=_says(allowed, metavar))


class LoadSpec(BaseModel):
    """All options of all scenarios; `OPTIONS` says which belong to which. Make it with `read_spec`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    scenario: ScenarioName = Field(json_schema_extra=_says("the name of a scenario"))

    # Where to

    url: str = Field(
        default="http://127.0.0.1:8080/", json_schema_extra=_says("an address of http, https, ws or wss", "URL")
    )
    """The server: the address of its page or of its websocket."""
    key: str | None = Field(default=None, json_schema_extra=_says('"id: secret"', "ID:SECRET"))
    """One of the server's keys: tokens for all bots are signed here. Also by SFU_KEYS."""
    token_url: str | None = Field(default=None, json_schema_extra=_says("an address with {room} and {identity}", "URL"))
    """Who signs tokens, if the key is not at hand: an address with {room} and {identity} in it."""
    metrics_url: str | None = Field(default=None, json_schema_extra=_says("an address, or off", "URL"))
    """Where the server's metrics are; off: do not ask. Unset: /metrics of the server."""
    room: str = Field(
        default="load", min_length=1, max_length=100, json_schema_extra=_says("1 to 100 characters", "NAME")
    )
    """What the rooms' names begin with."""
    shard: Annotated[tuple[int, int], BeforeValidator(_read_shard)] = Field(
        default=(1, 1), json_schema_extra=_says("I/N, such as 1/3", "I/N")
    )
    """Run the I-th of N parts of the test on this machine."""

    # How many, how long

    duration: float = _number(1, 7 * 86_400, 60.0, "SECONDS")
    """How long the test runs, from the first join, in seconds."""
    rooms: int = _count(1, MAX_BOTS, 1)
    """Rooms at the same time."""
    participants: int = _count(2, 1000, 10)
    """Participants of each room. All of them publish and receive."""
    publishers: int = _count(1, 1000, 1)
    """Participants that publish."""
    subscribers: int = _count(1, MAX_BOTS, 100)
    """Participants that only receive."""
    join_rate: float = _number(0.1, 10_000, 10.0, "PER_SECOND")
    """Joins that begin each second."""
    joining: int = _count(1, 1000, 32)
    """Joins under way at the same time; further ones wait."""
    full: int = _count(0, 200, 0)
    """The first so many bots are full ones: they encode, decode and look at the picture. They see each other only."""
    media: Path | None = Field(default=None, json_schema_extra=_says("a media file", "FILE"))
    """What full bots publish, over and over. Unset: a picture with a frame counter in it, and a tone."""

    # What is sent and received

    layers: int = _count(1, 3, 3)
    """Simulcast layers of each camera."""
    width: int = _count(64, 3840, 960)
    """Of the highest layer, in pixels; the height is 9/16 of it."""
    bitrate: float = _number(30, 20_000, 700.0, "KBIT/S")
    """Of the highest layer, in kbit/s; each lower layer has a third of the next."""
    fps: float = _number(1, 60, 15.0, "FPS")
    """Frames per second."""
    audio_bitrate: float = _number(0, 256, 32.0, "KBIT/S")
    """Of a microphone, in kbit/s; 0: none."""
    slots: int = _count(0, MAX_SLOTS, 0, f"a whole number from 0 to {MAX_SLOTS} (0: one for each publisher)")
    """Pictures that a bot receives at the same time. 0: those of all publishers of its room, at most 24."""

    # Scenarios

    stay: float = _number(1, 86_400, 30.0, "SECONDS")
    """How long a participant stays before another one takes its place, in seconds, on average."""
    vanish: float = _number(0, 100, 20.0, "PERCENT")
    """So many percent of those who go do so without a word, as a process that dies."""
    speech: float = _number(0.5, 600, 3.0, "SECONDS")
    """How long each one speaks before the next one does, in seconds."""
    switch_every: float = _number(0.2, 600, 5.0, "SECONDS")
    """How long a receiver stays with a layer before it wants another one, in seconds."""
    impaired: float = _number(0, 100, 100.0, "PERCENT")
    """So many percent of the participants have the bad network; the others a good one."""
    loss: float = _number(0, 90, 2.0, "PERCENT")
    """Packets lost at random, each way, in percent."""
    delay: float = _number(0, 5000, 40.0, "MS")
    """Added to each packet, each way, in ms."""
    jitter: float = _number(0, 1000, 10.0, "MS")
    """How much this delay varies, in ms. Packets are not reordered."""
    rate: float = _number(0, 1_000_000, 0.0, "KBIT/S")
    """What the link carries, each way, in kbit/s; 0: no limit. What waits longer than 300 ms is lost."""
    of: Literal["meeting", "webinar"] = Field(
        default="meeting", json_schema_extra=_says("meeting or webinar", "SCENARIO")
    )
    """What grows: rooms of a meeting, or subscribers of a webinar."""
    step: int = _count(1, 10_000, 1)
    """Rooms, or subscribers, that come with each step."""
    step_seconds: float = _number(3, 3600, 10.0, "SECONDS")
    """How long each step is watched, in seconds."""
    target: int = _count(0, MAX_BOTS, 0)
    """Participants to reach. 0: until a bound is crossed, or the time is over."""
    seed: int = _count(0, 2**31, 1)
    """Of everything that is drawn at random."""

    # The verdict

    min_joined: float = _number(0, 100, 100.0, "PERCENT")
    """At least so many percent of the joins succeed."""
    max_join_p95: float = _number(1, 600_000, 2000.0, "MS")
    """95 % of the joins are connected after so many ms."""
    max_first_frame_p95: float = _number(1, 600_000, 3000.0, "MS")
    """95 % of the receivers have their first frame so many ms after they began to join."""
    min_receiving: float = _number(0, 100, 100.0, "PERCENT")
    """At the end, so many percent of those who have been there for 5 s have had a picture."""
    max_lost: float = _number(0, 100, 0.5, "PERCENT")
    """Packets that neither came nor were repaired, in percent."""
    max_freezes: float = _number(0, 1000, 0.5, "PER_MINUTE")
    """Freezes for each received picture and minute."""
    max_latency_p99: float = _number(0.1, 600_000, 150.0, "MS")
    """99 % of the packets come so many ms after they were sent."""
    min_psnr: float = _number(0, 60, 25.0, "DB")
    """Of the pictures that full bots decode, the median of their likeness to what was sent (PSNR), in dB."""
    max_server_cpu: float | None = _number(1, 100_000, None, "PERCENT")
    """CPU of the server in percent of one core, once all have joined."""

    @property
    def bots(self) -> int:
        """Of all shards, at the same time."""
        if self.scenario == "webinar":
            return self.publishers + self.subscribers
        if self.scenario == "ramp":
            most = self.target or MAX_BOTS
            return min(most, (int(self.duration / self.step_seconds) + 1) * self.bots_per_step)
        return self.rooms * self.participants

    @property
    def bots_per_step(self) -> int:
        return self.step * (self.participants if self.of == "meeting" else 1)

    @property
    def joining_s(self) -> float:
        """How long it takes until all have begun to join."""
        return self.duration if self.scenario == "ramp" else self.bots / self.join_rate


_COMMON: Final = (
    *("url", "key", "token_url", "metrics_url", "room", "shard", "duration", "join_rate", "joining", "full", "media"),
    *("layers", "width", "bitrate", "fps", "audio_bitrate", "slots", "seed"),
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
)
_ROOMS: Final = ("rooms", "participants")


class Scenario(BaseModel):
    """What belongs to a scenario, and where its defaults differ."""

    model_config = ConfigDict(frozen=True)

    text: str
    own: tuple[str, ...]
    defaults: dict[str, Any] = {}

    @property
    def options(self) -> tuple[str, ...]:
        return (*self.own, *(name for name in _COMMON if name not in self.own))


SCENARIOS: Final[Mapping[ScenarioName, Scenario]] = {
    "meeting": Scenario(text="Rooms in which everybody publishes and receives everybody.", own=_ROOMS),
    "webinar": Scenario(text="One room: few publish, many receive.", own=("publishers", "subscribers")),
    "storm": Scenario(
        text="A join storm: everybody comes at once.",
        own=(*_ROOMS, "join_rate"),
        defaults={
            "rooms": 10,
            "join_rate": 100.0,
            "joining": 200,
            "max_join_p95": 5000.0,
            "max_first_frame_p95": 6000.0,
        },
    ),
    "churn": Scenario(
        text="Participants come and go all the time.", own=(*_ROOMS, "stay", "vanish"), defaults={"max_freezes": 6.0}
    ),
    "speakers": Scenario(
        text="The speaker changes, and with few slots what is shown.",
        own=(*_ROOMS, "speech", "slots"),
        defaults={"slots": 4},
    ),
    "layers": Scenario(
        text="Receivers want another layer again and again.",
        own=(*_ROOMS, "switch_every"),
    ),
    "network": Scenario(
        text="Bad networks: loss, delay, jitter and a narrow link inside the bot.",
        own=(*_ROOMS, "impaired", "loss", "delay", "jitter", "rate"),
        defaults={"participants": 4, "max_lost": 5.0, "max_freezes": 4.0, "max_latency_p99": 800.0},
    ),
    "ramp": Scenario(
        text="More and more, to a target or until a bound is crossed: finds the capacity.",
        own=("of", "participants", "publishers", "step", "step_seconds", "target"),
        defaults={"duration": 600.0, "min_joined": 99.0},
    ),
}


def read_spec(scenario: ScenarioName, flags: Mapping[str, object], file: Path | None = None) -> LoadSpec:
    """Options from a file and from flags, which win. `SpecError` says all that is wrong with them."""
    known = SCENARIOS[scenario]
    values: dict[str, Any] = {"scenario": scenario, **known.defaults}
    origins: dict[str, str] = {}
    problems: list[str] = []
    for name, value in (_read_file(file) if file is not None else {}).items():
        if name == "scenario":
            if value != scenario:
                problems.append(f"{file} is for the scenario {value!r}: run `sfu load {value} --file {file}`")
        elif name in known.options:
            values[name], origins[name] = value, f"{name} in {file}"
        else:
            problems.append(f"{name} in {file} is not an option of {scenario}{_did_you_mean(name, known.options)}")
    for name, value in flags.items():
        values[name], origins[name] = value, flag(name)
    try:
        spec = LoadSpec(**values)
    except ValidationError as error:
        problems += [_describe(str(detail["loc"][0]), values, origins) for detail in error.errors(include_url=False)]
        raise SpecError(problems) from None
    problems += _check_together(spec)
    if problems:
        raise SpecError(problems)
    return spec


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def allowed(name: str) -> str:
    return str(_extra(name)["allowed"])


def metavar(name: str) -> str:
    return str(_extra(name)["metavar"])


def _extra(name: str) -> dict[str, Any]:
    extra = LoadSpec.model_fields[name].json_schema_extra
    assert isinstance(extra, dict)
    return extra


def _read_file(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError([f"--file = {file}: {error.strerror or error}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecError([f"--file = {file} is not TOML: {error}"]) from None


def _describe(name: str, values: Mapping[str, object], origins: Mapping[str, str]) -> str:
    return f"{origins.get(name, name)} = {values.get(name)!r} is not allowed; allowed: {allowed(name)}"


def _did_you_mean(name: str, options: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, options, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _check_together(spec: LoadSpec) -> list[str]:
    problems = []
    parts = urlsplit(spec.url)
    if parts.scheme not in ("http", "https", "ws", "wss") or not parts.hostname:
        problems.append(
            f"--url = {spec.url!r} is not allowed; allowed: {allowed('url')}, such as http://127.0.0.1:8080/"
        )
    if spec.key is not None and not re.fullmatch(r"[^:\s]+:\s*\S.*", spec.key):
        problems.append('--key is not of the form "id: secret"')
    if spec.token_url is not None and not all(name in spec.token_url for name in ("{room}", "{identity}")):
        problems.append(f"--token-url = {spec.token_url!r} is not allowed; allowed: {allowed('token_url')}")
    if spec.token_url is not None and spec.key is not None:
        problems.append("--token-url and --key: one of them is enough")
    if spec.bots > MAX_BOTS:
        problems.append(f"{spec.bots} participants are more than {MAX_BOTS}: use fewer, or several runs")
    if spec.scenario != "ramp" and spec.joining_s > spec.duration:
        problems.append(
            f"{spec.bots} joins take {spec.joining_s:.0f} s at {spec.join_rate:g} a second, longer than --duration "
            f"{spec.duration:g}: raise --join-rate or --duration"
        )
    if spec.media is not None and not spec.media.is_file():
        problems.append(f"--media = {spec.media}: there is no such file")
    if spec.media is not None and not spec.full:
        problems.append("--media is for full bots: say how many by --full")
    return problems
