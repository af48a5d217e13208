# SPDX-License-Identifier: Apache-2.0
"""Options of load tests: one name for flag and file, and a line for everything that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfu.load.spec import SCENARIOS, LoadSpec, SpecError, read_spec


def problems_of(*arguments: object) -> tuple[str, ...]:
    with pytest.raises(SpecError) as caught:
        read_spec(*arguments)  # type: ignore[arg-type]
    return caught.value.problems


def test_flags_win_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "test.toml"
    file.write_text('scenario = "meeting"\nrooms = 3\nparticipants = 5\nmax_lost = 1.5\n')
    spec = read_spec("meeting", {"participants": "7"}, file)
    assert (spec.rooms, spec.participants, spec.max_lost, spec.duration) == (3, 7, 1.5, 60.0)
    assert spec.bots == 21


def test_each_scenario_has_defaults_that_make_sense() -> None:
    for name, scenario in SCENARIOS.items():
        spec = read_spec(name, {})
        assert spec.scenario == name
        assert {field: getattr(spec, field) for field in scenario.defaults} == scenario.defaults


def test_every_option_belongs_to_a_scenario_and_is_described() -> None:
    used = {name for scenario in SCENARIOS.values() for name in scenario.options}
    assert used == LoadSpec.model_fields.keys() - {"scenario"}
    for name, field in LoadSpec.model_fields.items():
        assert field.description or name == "scenario", name


@pytest.mark.parametrize(
    ("scenario", "flags", "said"),
    [
        ("meeting", {"participants": "many"}, "--participants = 'many' is not allowed; allowed: a whole number from 2"),
        ("meeting", {"shard": "3/2"}, "--shard = '3/2' is not allowed; allowed: I/N, such as 1/3"),
        ("meeting", {"url": "ftp://x"}, "--url = 'ftp://x' is not allowed"),
        ("meeting", {"rooms": "100", "join_rate": "1"}, "1000 joins take 1000 s at 1 a second, longer than --duration"),
        ("meeting", {"key": "nonsense"}, '--key is not of the form "id: secret"'),
        ("meeting", {"token_url": "http://x/{room}"}, "allowed: an address with {room} and {identity}"),
        ("meeting", {"rooms": "100000"}, "1000000 participants are more than 100000"),
        ("meeting", {"media": "none.mp4", "full": "1"}, "--media = none.mp4: there is no such file"),
    ],
)
def test_what_is_wrong_is_said(scenario: str, flags: dict[str, str], said: str) -> None:
    assert any(said in problem for problem in problems_of(scenario, flags))


def test_files_are_read_strictly(tmp_path: Path) -> None:
    file = tmp_path / "test.toml"
    file.write_text('scenario = "webinar"\npartisipants = 3\nsubscribers = 4\n')
    found = problems_of("meeting", {}, file)
    assert f"run `sfu load webinar --file {file}`" in found[0]
    assert found[1].endswith("is not an option of meeting; did you mean participants?")
    assert "subscribers" in found[2]
    file.write_text("participants = ")
    assert "is not TOML" in problems_of("meeting", {}, file)[0]
    assert "No such file" in problems_of("meeting", {}, tmp_path / "absent.toml")[0]
