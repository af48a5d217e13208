# SPDX-License-Identifier: Apache-2.0
"""What the doctor concludes from what it saw, and that a healthy server passes it."""

from __future__ import annotations

import email.utils
import io
import json
import re

import jwt
import pytest
from aioice import stun
from rich.console import Console
from typer.testing import CliRunner

from sfu.cli import app
from sfu.doctor import token, web
from sfu.doctor.examination import Examination, Means
from sfu.doctor.findings import CHECKS, Finding, Report, Status
from sfu.doctor.rendering import show
from sfu.doctor.udp import Credentials, Probe, Reach, Reply, judge_nat, judge_reach, write_check
from sfu.server import Server
from tests.signaling.conftest import guarded_server, server
from tests.signaling.signed import SECRET

__all__ = ["guarded_server", "server"]

HOUR_S = 3600
NOW_S = 1_800_000_000


def found(report: Report, check: str) -> tuple[Status, str]:
    (finding,) = report.of(check)
    return finding.status, f"{finding.detail} / {finding.advice}"


def probe(host: str, reply: Reply, port: int = 7882) -> Probe:
    return Probe((host, port), reply, "reason")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://call.example.com", ("https", "call.example.com", 443)),
        ("call.example.com:8443", ("https", "call.example.com", 8443)),
        ("ws://[::1]:8080/ws", ("http", "::1", 8080)),
        ("http://127.0.0.1", ("http", "127.0.0.1", 80)),
    ],
)
def test_an_address_is_read_as_by_a_browser(url: str, expected: tuple[str, str, int]) -> None:
    target = web.parse_target(url)
    assert (target.scheme, target.host, target.port) == expected


@pytest.mark.parametrize("url", ["ftp://x", "https://", "http://x:99999", "http://x:port"])
async def test_what_is_no_address_is_a_finding(url: str) -> None:
    report = await Examination(url, Means()).run()
    assert [finding.check for finding in report.findings] == ["address"]
    assert not report.healthy


@pytest.mark.parametrize(
    ("ahead_s", "status"), [(0, Status.PASS), (-2, Status.PASS), (6, Status.NOTE), (-8, Status.NOTE), (60, Status.FAIL)]
)
def test_clocks_are_compared(ahead_s: int, status: Status) -> None:
    report = Report("")
    web.judge_clock(email.utils.formatdate(NOW_S, usegmt=True), NOW_S + 0.5 + ahead_s, report)
    got, text = found(report, "clock")
    assert got is status
    if status is not Status.PASS:
        assert ("ahead of" if ahead_s > 0 else "behind") in text


def test_one_address_that_answers_is_enough() -> None:
    report = Report("")
    assert judge_reach(Reach((probe("10.0.0.1", Reply.SILENT), probe("203.0.113.5", Reply.ANSWERED))), report)
    assert report.healthy


def test_a_server_that_answers_where_it_announces_nothing() -> None:
    report = Report("")
    reach = Reach((probe("10.0.0.1", Reply.SILENT),), (probe("203.0.113.5", Reply.ANSWERED),))
    assert not judge_reach(reach, report)
    status, text = found(report, "announced")
    assert status is Status.FAIL
    assert "--announce-ip 203.0.113.5" in text


def test_private_addresses_announced_by_a_public_server() -> None:
    report = Report("")
    assert not judge_reach(Reach((probe("10.0.0.1", Reply.SILENT),), (probe("8.8.4.4", Reply.SILENT),)), report)
    assert found(report, "announced")[0] is Status.FAIL


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply.SILENT, "blocked"),
        (Reply.REFUSED, "nothing listens"),
        (Reply.FOREIGN, "something else"),
        (Reply.UNREACHABLE, "routes"),
    ],
)
def test_a_silent_port_has_its_reasons(reply: Reply, words: str) -> None:
    report = Report("")
    assert not judge_reach(Reach((probe("203.0.113.5", reply),)), report)
    status, text = found(report, "udp")
    assert status is Status.FAIL
    assert words in text
    assert "203.0.113.5" in text or "7882" in text or reply is Reply.UNREACHABLE


def test_a_nat_shows_in_what_the_server_sees() -> None:
    report = Report("")
    remote = ("203.0.113.5", 7882)
    judge_nat([Probe(remote, Reply.ANSWERED, local=("192.0.2.2", 5000), mapped=("198.51.100.7", 6000))], report)
    assert "address and port are translated" in found(report, "nat")[1]
    report = Report("")
    judge_nat([Probe(remote, Reply.ANSWERED, local=("192.0.2.2", 5000), mapped=("192.0.2.2", 5000))], report)
    assert "none" in found(report, "nat")[1]
    report = Report("")
    own = Probe(remote, Reply.ANSWERED, local=("192.0.2.2", 5000), mapped=("192.0.2.2", 5000))
    moved = Probe(remote, Reply.ANSWERED, local=("172.17.0.1", 5001), mapped=("192.0.2.2", 5001))
    judge_nat([own, moved], report)
    assert "172.17.0.1:5001 is seen as 192.0.2.2:5001" in found(report, "nat")[1]


def test_advice_is_not_cut_at_the_width_of_the_terminal() -> None:
    advice = "a sentence of advice that is longer than the line " * 4
    console = Console(width=80, record=True, file=io.StringIO())
    show(Finding("media", Status.NOTE, "detail", advice.strip()), console)
    assert advice.strip() in console.export_text()


@pytest.mark.parametrize("size", [0, 548, 800, 1100, 1200])
def test_a_check_of_any_size_is_genuine(size: int) -> None:
    datagram, transaction = write_check(Credentials("server", "secret", "me"), size)
    if size:
        assert size - 3 <= len(datagram) <= size
    message = stun.parse_message(datagram)
    assert message.transaction_id == transaction
    assert message.attributes["USERNAME"] == "server:me"
    assert message.check_message_integrity(b"secret")


def test_a_token_is_read_without_its_key() -> None:
    def made(**claims: object) -> str:
        return jwt.encode({"video": {"room": "tea"}, **claims}, SECRET, "HS256")

    assert token.room_of(made()) == "tea"
    assert token.room_of("no token") is None
    assert token.describe(made(exp=NOW_S + HOUR_S), Report(""), NOW_S)
    report = Report("")
    assert not token.describe(made(exp=NOW_S - HOUR_S), report, NOW_S)
    assert "expired 60 minutes ago" in found(report, "token")[1]
    report = Report("")
    assert not token.describe("no token", report)
    assert not report.healthy


async def test_a_healthy_server_passes(server: Server) -> None:
    report = await Examination(server.url, Means()).run()
    assert report.healthy, report.as_json()
    seen = [finding.check for finding in report.findings]
    assert tuple(dict.fromkeys(seen)) == CHECKS
    assert "packet" in found(report, "media")[1]


async def test_a_server_that_wants_tokens_says_which(guarded_server: Server) -> None:
    report = await Examination(guarded_server.url, Means()).run()
    assert report.findings[-1].check == "token"
    assert "token_required" in report.findings[-1].detail

    def sign(secret: str) -> Means:
        return Means(
            sign=lambda room, identity: jwt.encode(
                {"iss": "backend", "sub": identity, "exp": 2 * NOW_S, "video": {"roomJoin": True, "room": room}},
                secret,
                "HS256",
            )
        )

    report = await Examination(guarded_server.url, sign(SECRET[::-1])).run()
    assert "token_signature" in report.findings[-1].detail
    assert "SFU_KEYS" in report.findings[-1].advice
    assert (await Examination(guarded_server.url, sign(SECRET)).run()).healthy


def test_the_command_says_what_to_mend() -> None:
    run = CliRunner().invoke(app, ["doctor", "http://127.0.0.1:1"])
    assert run.exit_code == 1
    assert re.search(r"FAIL +tcp .*port 1 at 127\.0\.0\.1", run.output)
    assert "--http-port 1" in run.output
    assert "first thing to mend: tcp" in run.output
    report = json.loads(CliRunner().invoke(app, ["doctor", "http://127.0.0.1:1", "--json"]).output)
    assert report["healthy"] is False
    assert report["findings"][-1]["check"] == "tcp"
