# SPDX-License-Identifier: Apache-2.0
"""Each rule of the stream checker: a stream broken on purpose is caught, by that rule's name."""

from __future__ import annotations

from functools import cache

import pytest

from tests.simulation import breakages_codecs, breakages_frames, breakages_packets
from tests.simulation.breakages_packets import Breakage
from tests.simulation.recordings import audio_recording, retransmitted_recording, video_recording
from tests.simulation.stream_rules import Rule
from tests.simulation.tapes import Tape

BREAKAGES = [*breakages_packets.BREAKAGES, *breakages_frames.BREAKAGES, *breakages_codecs.BREAKAGES]
RECORDINGS = {"video": video_recording, "rtx": retransmitted_recording, "audio": audio_recording}


@cache
def recorded(name: str) -> Tape:
    return Tape.of(RECORDINGS[name]())


def test_every_rule_is_broken_once() -> None:
    assert {breakage.rule for breakage in BREAKAGES} == set(Rule)


@pytest.mark.parametrize("name", RECORDINGS)
def test_the_unbroken_tape_passes(name: str) -> None:
    tape = recorded(name)
    report = tape.check()
    report.assert_legal()
    assert report.packets == len(tape.media())
    assert report.retransmissions == len(tape.rtx())
    assert report.frames == len(tape.frames())
    assert not report.frame_gaps


@pytest.mark.parametrize("name", RECORDINGS)
def test_the_unbroken_tape_passes_without_marks(name: str) -> None:
    report = recorded(name).without_marks().check()
    report.assert_legal()
    assert report.layer is None


@pytest.mark.parametrize("breakage", BREAKAGES, ids=lambda breakage: breakage.name)
def test_a_broken_tape_is_caught(breakage: Breakage) -> None:
    tape = recorded(breakage.tape).copy()
    breakage.break_it(tape)
    report = tape.check()
    assert breakage.rule in report.broken_rules
    assert report.broken_rules <= {breakage.rule} | breakage.also
    with pytest.raises(AssertionError, match=breakage.rule.name):
        report.assert_legal()


@pytest.mark.parametrize(
    "breakage",
    [breakage for breakage in BREAKAGES if not breakage.rule.name.startswith("ORIGIN")],
    ids=lambda breakage: breakage.name,
)
def test_a_broken_tape_is_caught_without_marks(breakage: Breakage) -> None:
    tape = recorded(breakage.tape).copy()
    breakage.break_it(tape)
    assert breakage.rule in tape.without_marks().check().broken_rules
