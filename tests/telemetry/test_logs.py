# SPDX-License-Identifier: Apache-2.0
"""Log lines carry the ids of what they are about, for people and for programs."""

from __future__ import annotations

import io
import json
import logging

import pytest

from sfu.rooms.journal import Journal
from sfu.rooms.model import LeaveReason, Participant, Permissions
from sfu.telemetry.logs import ConsoleFormatter, JsonFormatter


@pytest.fixture
def participant() -> Participant:
    return Participant("pa_1", "ada", "Ada", Permissions(), 0)


def written(formatter: logging.Formatter, caplog: pytest.LogCaptureFixture) -> list[str]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    for record in caplog.records:
        handler.handle(record)
    return stream.getvalue().splitlines()


def live(participant: Participant) -> None:
    now_us = iter((0, 250_000))
    journal = Journal(lambda: next(now_us))
    journal.joined('tea "room"\nof three', participant)
    journal.connected('tea "room"\nof three', participant)
    journal.left('tea "room"\nof three', participant, LeaveReason.LEFT)


def test_json_is_an_object_a_line(participant: Participant, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    live(participant)
    lines = [json.loads(line) for line in written(JsonFormatter(), caplog)]
    assert [line["message"] for line in lines] == ["joined", "media connected", "left"]
    assert {(line["room"], line["participant"]) for line in lines} == {('tea "room"\nof three', "pa_1")}
    assert lines[0]["identity"] == "ada"
    assert lines[1]["after_ms"] == 250
    assert lines[2]["reason"] == "left"
    assert all(line["level"] == "info" and line["time"].endswith("+00:00") for line in lines)


def test_for_people_fields_stand_behind_the_message(participant: Participant, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    live(participant)
    first, second, third = written(ConsoleFormatter(), caplog)
    assert first.endswith(r'joined room="tea \"room\"\nof three" participant=pa_1 identity=ada')
    assert second.endswith("participant=pa_1 after_ms=250")
    assert third.endswith("reason=left")


def test_an_error_brings_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError("of the test")
    except ValueError:
        logging.getLogger("sfu.test").exception("it failed")
    (line,) = written(JsonFormatter(), caplog)
    entry = json.loads(line)
    assert entry["level"] == "error"
    assert "ValueError: of the test" in entry["traceback"]
    assert "ValueError: of the test" in "\n".join(written(ConsoleFormatter(), caplog))


def test_who_leaves_before_its_media_stood_is_told_apart(
    participant: Participant, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    journal = Journal(lambda: 0)
    journal.joined("tea", participant)
    journal.left("tea", participant, LeaveReason.LOST)
    assert json.loads(written(JsonFormatter(), caplog)[-1])["media"] == "never"
    assert journal.connect_times.cumulative[-1] == 0
    assert journal.leaves == {LeaveReason.LOST: 1}
