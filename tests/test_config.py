# SPDX-License-Identifier: Apache-2.0
"""Settings: precedence of the sources, and errors that name the setting, the value and what is allowed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sfu.config import DEV_KEY_ID, DEV_SECRET, ConfigError, load

SECRET = "0123456789abcdef0123456789abcdef"


def problems_of(flags: dict[str, object], file: Path | None = None, **environment: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(flags, file, environment)
    return caught.value.problems


def test_defaults() -> None:
    settings = load({"dev": True}, environment={})
    assert (settings.http_port, settings.udp_port, settings.workers, settings.announce_ip) == (8080, 7882, 1, ())
    assert settings.http_host is None
    assert settings.udp_host is None


def test_flags_win_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "sfu.toml"
    file.write_text('dev = true\nhttp_port = 1001\nudp_port = 1002\nworkers = 3\nannounce_ip = ["192.0.2.1"]\n')
    environment = {"SFU_UDP_PORT": "2002", "SFU_WORKERS": "4", "SFU_ANNOUNCE_IP": "192.0.2.7, 2001:DB8::1"}
    settings = load({"workers": 5}, file, environment)
    assert (settings.dev, settings.http_port, settings.udp_port, settings.workers) == (True, 1001, 2002, 5)
    assert settings.announce_ip == ("192.0.2.7", "2001:db8::1")


def test_every_setting_from_the_environment_alone() -> None:
    settings = load(
        {},
        environment={
            "SFU_DEV": "true",
            "SFU_PAGE": "false",
            "SFU_TLS": "self",
            "SFU_ALLOW_ORIGIN": "https://App.example.com:443/, http://localhost:3000",
            "SFU_HTTP_HOST": "::1",
            "SFU_HTTP_PORT": "0",
            "SFU_UDP_HOST": "127.0.0.1",
            "SFU_UDP_PORT": "0",
            "SFU_ANNOUNCE_IP": "192.0.2.1",
            "SFU_WORKERS": "2",
            "SFU_KEYS": f"one: {SECRET}, two:{SECRET}2",
            "SFU_GRACE_SECONDS": "1.5",
            "SFU_LOG_LEVEL": "debug",
        },
    )
    assert settings.dev
    assert not settings.serves_page
    assert settings.tls == "self"
    assert settings.allow_origin == ("https://app.example.com", "http://localhost:3000")
    assert settings.http_host == "::1"
    assert settings.udp_ports == (0, 0)
    assert settings.keys["one"].get_secret_value() == SECRET
    assert settings.keys["two"].get_secret_value() == SECRET + "2"
    assert settings.grace_seconds == 1.5
    assert settings.log_level == "debug"


def test_codecs_keep_their_order_and_stand_once() -> None:
    assert load({"dev": True}, environment={}).video_codecs == ("VP8", "H264", "VP9", "AV1")
    given = load({"dev": True}, environment={"SFU_VIDEO_CODECS": "H264, VP8,H264"})
    assert given.video_codecs == ("H264", "VP8")


def test_the_file_can_come_from_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "sfu.toml"
    file.write_text(f'[keys]\nbackend = "{SECRET}"\n')
    assert list(load({}, environment={"SFU_CONFIG": str(file)}).keys) == ["backend"]


def test_a_worker_for_each_core_that_this_process_may_use() -> None:
    assert load({"dev": True, "workers": "auto"}, environment={}).workers == len(os.sched_getaffinity(0))


def test_workers_take_consecutive_ports() -> None:
    assert load({"dev": True, "workers": 3, "udp_port": 4000}, environment={}).udp_ports == (4000, 4001, 4002)


def test_without_dev_keys_are_required() -> None:
    (problem,) = problems_of({})
    assert "SFU_KEYS" in problem
    assert "--dev" in problem


@pytest.mark.parametrize(
    ("flags", "name", "value", "allowed"),
    [
        ({"http_port": 70000}, "--http-port", "70000", "0 to 65535"),
        ({"udp_port": -1}, "--udp-port", "-1", "0 to 65535"),
        ({"http_host": "localhorst"}, "--http-host", "'localhorst'", "IPv4 or IPv6"),
        ({"workers": 0}, "--workers", "0", "1 to 64"),
        ({"announce_ip": ["example.com"]}, "--announce-ip", "example.com", "IP addresses"),
        ({"grace_seconds": -1}, "--grace-seconds", "-1", "seconds from 0"),
        ({"log_level": "loud"}, "--log-level", "'loud'", "debug, info"),
        ({"tls": "yes"}, "--tls", "'yes'", "self"),
        ({"video_codecs": "H265"}, "--video-codecs", "H265", "VP8, H264, VP9, AV1"),
        ({"video_codecs": ","}, "--video-codecs", ",", "some of"),
        ({"camera_limit_kbps": "-1"}, "--camera-limit-kbps", "-1", "0 (no limit)"),
        ({"allow_origin": ["example.com"]}, "--allow-origin", "example.com", "https://app.example.com"),
        ({"allow_origin": ["ftp://example.com"]}, "--allow-origin", "ftp://example.com", "origins"),
        ({"allow_origin": ["https://example.com/page"]}, "--allow-origin", "/page", "origins"),
        ({"allow_origin": ["https://example.com:99999"]}, "--allow-origin", "99999", "origins"),
    ],
)
def test_an_error_names_flag_value_and_what_is_allowed(
    flags: dict[str, object], name: str, value: str, allowed: str
) -> None:
    (problem,) = problems_of({"dev": True} | flags)
    assert problem.startswith(name)
    assert value in problem
    assert allowed in problem


def test_an_error_names_the_source_that_had_the_value(tmp_path: Path) -> None:
    file = tmp_path / "sfu.toml"
    file.write_text('http_port = "many"\n')
    in_file, in_environment = problems_of({"dev": True}, file, SFU_WORKERS="few")
    assert in_file.startswith(f"http_port in {file} = 'many'")
    assert in_environment.startswith("SFU_WORKERS = 'few'")


def test_an_unknown_setting_in_the_file_is_an_error_with_the_nearest_name(tmp_path: Path) -> None:
    file = tmp_path / "sfu.toml"
    file.write_text("http_prot = 1\n")
    (problem,) = problems_of({"dev": True}, file)
    assert "http_prot" in problem
    assert "did you mean http_port" in problem


def test_a_file_that_is_missing_or_not_toml(tmp_path: Path) -> None:
    missing, broken = tmp_path / "missing.toml", tmp_path / "broken.toml"
    broken.write_text("= = =")
    assert "cannot be read" in problems_of({}, missing)[0]
    assert "not TOML" in problems_of({}, broken)[0]


@pytest.mark.parametrize("keys", ["backend: short", "no-colon-but-long-enough-to-be-a-secret", f"bad id!: {SECRET}"])
def test_weak_or_malformed_keys_are_refused_without_showing_the_secret(keys: str) -> None:
    (problem,) = problems_of({}, SFU_KEYS=keys)
    assert problem.startswith("SFU_KEYS is not allowed")
    assert "short" not in problem
    assert SECRET not in problem


def test_the_development_secret_is_no_secret() -> None:
    assert load({"dev": True}, environment={}).signing_keys == {DEV_KEY_ID: DEV_SECRET}
    assert list(load({}, environment={"SFU_KEYS": f"one: {SECRET}"}).signing_keys) == ["one"]
    (problem,) = problems_of({}, SFU_KEYS=f"one: {DEV_SECRET}")
    assert "everybody knows" in problem


def test_the_page_is_for_development_unless_it_is_asked_for() -> None:
    keys = {"SFU_KEYS": f"one: {SECRET}"}
    assert load({"dev": True}, environment={}).serves_page
    assert not load({}, environment=keys).serves_page
    assert load({"page": True}, environment=keys).serves_page


def test_one_certificate_at_most_and_no_key_without_one() -> None:
    (problem,) = problems_of({"dev": True, "tls": "self", "tls_cert": "cert.pem"})
    assert problem.startswith("--tls and --tls-cert exclude each other")
    (problem,) = problems_of({"dev": True}, SFU_TLS_KEY="key.pem")
    assert problem.startswith("SFU_TLS_KEY is given without tls_cert")


def test_settings_never_print_a_secret() -> None:
    assert SECRET not in repr(load({}, environment={"SFU_KEYS": f"one: {SECRET}"}))


def test_ports_of_all_workers_must_exist() -> None:
    (problem,) = problems_of({"dev": True, "udp_port": 65535, "workers": 2})
    assert problem.startswith("--udp-port = 65535")
    assert "65534" in problem
