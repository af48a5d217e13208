# SPDX-License-Identifier: Apache-2.0
"""`sfu token`: the token alone on standard output, and it opens."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sfu import cli
from sfu.config import DEV_KEY_ID, DEV_SECRET
from sfu.rooms.model import Permissions, Source
from signaling.auth import Authenticator, Grant

SECRET = "a secret of the tests; long enough for HS256"
OTHER_SECRET = "another secret of the tests; as long as the first"
DEVELOPMENT = Authenticator({DEV_KEY_ID: DEV_SECRET}, open_to_all=False)


def run(*arguments: str, keys: str = "") -> Result:
    return CliRunner().invoke(cli.app, ["token", *arguments], env={"SFU_KEYS": keys, "SFU_CONFIG": "", "SFU_DEV": ""})


def grant_of(*arguments: str, guard: Authenticator = DEVELOPMENT, keys: str = "") -> Grant:
    result = run(*arguments, keys=keys)
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    assert result.stdout.count("\n") == 1
    grant = guard.admit(result.stdout.strip(), "tea", None, "")
    assert grant is not None
    return grant


def complaint_of(*arguments: str, keys: str = "") -> str:
    result = run(*arguments, keys=keys)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("sfu: ")
    return result.stderr


def test_for_development() -> None:
    grant = grant_of("--dev", "--room", "tea", "--identity", "ada")
    assert (grant.identity, grant.permissions) == ("ada", Permissions())


def test_everything_it_can_say() -> None:
    grant = grant_of(
        *("--dev", "--room", "tea", "--identity", "ada", "--name", "Ada", "--ttl", "15m", "--no-can-subscribe"),
        *("--no-can-publish-data", "--can-publish-source", "camera", "--can-publish-source", "microphone", "--hidden"),
        *("--room-admin", "--can-update-own-metadata", "--metadata", "M", "--attribute", "a=b=c", "--attribute", "d="),
    )
    assert (grant.name, grant.metadata, grant.attributes) == ("Ada", "M", {"a": "b=c", "d": ""})
    assert grant.permissions == Permissions(
        can_subscribe=False,
        can_publish_data=False,
        can_publish_sources=frozenset({Source.CAMERA, Source.MICROPHONE}),
        can_update_metadata=True,
        hidden=True,
        room_admin=True,
    )
    silent = grant_of("--dev", "--room", "tea", "--identity", "ada", "--no-can-publish")
    assert silent.permissions == Permissions(can_publish=False)


def test_for_the_admin_api() -> None:
    DEVELOPMENT.check_admin(run("--dev", "--room", "tea", "--room-admin").stdout.strip(), "roomAdmin", "tea")
    DEVELOPMENT.check_admin(run("--dev", "--room-list").stdout.strip(), "roomList")


def test_the_servers_keys_sign(tmp_path: Path) -> None:
    guard = Authenticator({"one": SECRET, "two": OTHER_SECRET}, open_to_all=False)
    keys = f"one: {SECRET}, two: {OTHER_SECRET}"
    join = ("--room", "tea", "--identity", "ada")
    assert grant_of(*join, guard=guard, keys=keys).identity == "ada"
    assert grant_of(*join, "--key", "two", guard=guard, keys=keys).identity == "ada"
    file = tmp_path / "sfu.toml"
    file.write_text(f'[keys]\none = "{SECRET}"\n')
    assert grant_of(*join, "--config", str(file), guard=guard).identity == "ada"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--dev", "--identity", "ada"], "--room"),
        (["--dev", "--room", "tea"], "--identity"),
        (["--dev", "--room-admin"], "--room"),
        (["--room", "tea", "--identity", "ada"], "SFU_KEYS"),
        (["--dev", "--room", "tea", "--identity", "ada", "--key", "three"], DEV_KEY_ID),
        (["--dev", "--room", "tea", "--identity", "ada", "--ttl", "soon"], "--ttl"),
        (["--dev", "--room", "tea", "--identity", "ada", "--attribute", "a"], "NAME=VALUE"),
        (["--dev", "--room", "tea", "--identity", "ada", "--can-publish-source", "radio"], "screen_share"),
    ],
)
def test_what_is_missing_or_wrong(arguments: list[str], word: str) -> None:
    assert word in complaint_of(*arguments)
