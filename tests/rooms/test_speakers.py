# SPDX-License-Identifier: Apache-2.0
"""Who speaks, and who has the floor, on levels as they come from the engine: one sample each 100 ms."""

from __future__ import annotations

from collections.abc import Callable

from sfu.rooms.speakers import SAMPLE_US, SILENT, Speakers

Voice = Callable[[int], int]
"""Sample index → level."""


def silent(_: int) -> int:
    return SILENT


def quiet_room(index: int) -> int:
    return 70 + index % 5


def talking(index: int) -> int:
    """Words with gaps."""
    return (25, 28, 24, 30, 60)[index % 5]


def once(start: int, samples: int) -> Voice:
    return lambda index: 22 if start <= index < start + samples else quiet_room(index)


def between(start: int, end: int) -> Voice:
    return lambda index: talking(index) if start <= index < end else quiet_room(index)


class Floor:
    def __init__(self, **voices: Voice) -> None:
        self.voices = voices
        self.speakers = Speakers()
        self.index = 0
        self.dominants: list[str | None] = []
        self.changes = 0

    def run(self, samples: int) -> Floor:
        for _ in range(samples):
            self.index += 1
            levels = {name: voice(self.index) for name, voice in self.voices.items()}
            self.changes += self.speakers.sample(levels, self.index * SAMPLE_US)
            if not self.dominants or self.dominants[-1] != self.speakers.dominant:
                self.dominants.append(self.speakers.dominant)
        return self


def test_nobody_speaks_in_silence() -> None:
    floor = Floor(ada=silent, bob=quiet_room).run(100)
    assert floor.speakers.dominant is None
    assert floor.speakers.active == ()
    assert floor.changes == 0


def test_the_first_speaker_is_active_and_dominant_within_half_a_second() -> None:
    floor = Floor(ada=between(50, 200), bob=quiet_room).run(55)
    assert floor.speakers.dominant == "ada"
    assert floor.speakers.active == ("ada",)
    assert floor.speakers.active_us("ada") > 0
    assert floor.speakers.active_us("bob") == 0


def test_gaps_between_words_end_nothing() -> None:
    floor = Floor(ada=between(20, 300)).run(25)
    floor.changes = 0
    floor.run(200)
    assert floor.changes == 0


def test_a_speaker_who_stops_is_inactive_within_two_seconds_but_keeps_the_floor() -> None:
    floor = Floor(ada=between(20, 100), bob=quiet_room).run(120)
    assert floor.speakers.active == ()
    assert floor.speakers.dominant == "ada"


def test_the_floor_passes_to_who_goes_on_speaking() -> None:
    floor = Floor(ada=between(10, 100), bob=between(100, 300)).run(99)
    assert floor.speakers.dominant == "ada"
    floor.run(25)
    assert floor.speakers.dominant == "bob"
    assert floor.speakers.dominant_us("bob") > floor.speakers.dominant_us("ada") > 0


def test_a_cough_during_a_pause_does_not_take_the_floor() -> None:
    floor = Floor(ada=lambda index: quiet_room(index) if 100 <= index < 110 else talking(index), bob=once(104, 2))
    assert floor.run(200).dominants == [None, "ada"]


def test_who_talks_over_the_speaker_is_active_but_not_dominant() -> None:
    floor = Floor(ada=between(10, 300), bob=between(100, 130)).run(120)
    assert floor.speakers.active == ("ada", "bob")
    assert floor.dominants == [None, "ada"]


def test_a_fan_is_not_a_speaker_however_loud() -> None:
    floor = Floor(fan=lambda index: 30 + index % 2, ada=between(300, 500)).run(250)
    assert not floor.speakers.is_active("fan")
    floor.run(80)
    assert floor.speakers.active == ("ada",)
    assert floor.speakers.dominant == "ada"


def test_a_debate_does_not_flap() -> None:
    """Turns of three seconds: one change of floor per turn at most."""
    floor = Floor(
        ada=lambda index: talking(index) if index // 30 % 2 == 0 else quiet_room(index),
        bob=lambda index: talking(index) if index // 30 % 2 == 1 else quiet_room(index),
    ).run(600)
    assert 10 <= len(floor.dominants) <= 21


def test_who_leaves_is_forgotten() -> None:
    floor = Floor(ada=between(10, 300), bob=quiet_room).run(50)
    del floor.voices["ada"]
    floor.run(1)
    assert floor.dominants == [None, "ada", None]
    assert floor.speakers.active == ()
