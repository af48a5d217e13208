# SPDX-License-Identifier: Apache-2.0
"""Which publication goes to which slot: pairs, choosing when there are too many, and that nothing flaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from sfu.rooms import slots as rules
from sfu.rooms.model import Kind, Source
from sfu.rooms.slots import Assignment, Candidate, Slot, pair_up

CAMERA, MICROPHONE = Source.CAMERA, Source.MICROPHONE
SCREEN, SCREEN_AUDIO = Source.SCREEN_SHARE, Source.SCREEN_SHARE_AUDIO


def pool(videos: int, audios: int) -> tuple[Slot, ...]:
    sections = [(f"v{k}", Kind.VIDEO) for k in range(videos)] + [(f"a{k}", Kind.AUDIO) for k in range(audios)]
    return pair_up(sections)


def assign(slots: Sequence[Slot], people: Sequence[Candidate], previous: Assignment) -> Assignment:
    return rules.assign(slots, *rules.split(people), previous)


def camera(name: str, order: int = 0, **more: object) -> Candidate:
    return replace(Candidate(f"{name}-camera", name, CAMERA, order), **more)  # type: ignore[arg-type]


def microphone(name: str, order: int = 0, **more: object) -> Candidate:
    return replace(Candidate(f"{name}-microphone", name, MICROPHONE, order), **more)  # type: ignore[arg-type]


def both(*names: str) -> list[Candidate]:
    return [one for order, name in enumerate(names) for one in (camera(name, order), microphone(name, order))]


# --- pairs


def test_the_kth_video_and_the_kth_audio_section_are_a_pair() -> None:
    sections = [("x", Kind.AUDIO), ("y", Kind.VIDEO), ("z", Kind.AUDIO), ("w", Kind.AUDIO), ("u", Kind.VIDEO)]
    assert {slot.mid: slot.pair for slot in pair_up(sections)} == {"x": 0, "y": 0, "z": 1, "u": 1, "w": None}


def test_a_growing_pool_keeps_its_pairs() -> None:
    first = pool(2, 3)
    sections = [(slot.mid, slot.kind) for slot in first]
    sections += [("v2", Kind.VIDEO), ("v3", Kind.VIDEO), ("a3", Kind.AUDIO), ("a4", Kind.AUDIO)]
    grown = {slot.mid: slot.pair for slot in pair_up(sections, first)}
    assert grown == {"v0": 0, "v1": 1, "a0": 0, "a1": 1, "a2": None, "v2": 2, "v3": 3, "a3": 2, "a4": 3}


def test_a_lonely_video_section_gets_the_next_audio_section() -> None:
    first = pool(2, 1)
    grown = pair_up([("v0", Kind.VIDEO), ("v1", Kind.VIDEO), ("a0", Kind.AUDIO), ("a1", Kind.AUDIO)], first)
    assert {slot.mid: slot.pair for slot in grown} == {"v0": 0, "v1": 1, "a0": 0, "a1": 1}


def test_camera_and_microphone_share_a_pair() -> None:
    assert assign(pool(3, 3), both("ada", "bob"), {}) == {
        "v0": "ada-camera",
        "a0": "ada-microphone",
        "v1": "bob-camera",
        "a1": "bob-microphone",
    }


def test_a_camera_that_comes_later_joins_its_microphone() -> None:
    slots = pool(3, 3)
    before = assign(slots, [microphone("ada", 0), microphone("bob", 1)], {})
    after = assign(slots, [*both("ada", "bob")], before)
    for name in ("ada", "bob"):
        assert pair_of(slots, after, f"{name}-camera") == pair_of(slots, after, f"{name}-microphone")
    assert {mid: one for mid, one in after.items() if mid.startswith("a")} == before


def test_without_a_picture_a_voice_takes_a_single_slot_first() -> None:
    slots = pool(2, 3)
    assert assign(slots, [microphone("ada")], {}) == {"a2": "ada-microphone"}


def test_screen_audio_goes_with_the_screen_and_the_voice_with_the_face() -> None:
    slots = pool(2, 2)
    ada = [
        Candidate("screen", "ada", SCREEN, 0),
        Candidate("screen-audio", "ada", SCREEN_AUDIO, 1),
        camera("ada", 2),
        microphone("ada", 3),
    ]
    placed = assign(slots, ada, {})
    assert pair_of(slots, placed, "screen") == pair_of(slots, placed, "screen-audio")
    assert pair_of(slots, placed, "ada-camera") == pair_of(slots, placed, "ada-microphone")


def test_a_microphone_goes_with_the_screen_if_there_is_no_camera() -> None:
    slots = pool(2, 3)
    placed = assign(slots, [Candidate("screen", "ada", SCREEN, 0), microphone("ada", 1)], {})
    assert pair_of(slots, placed, "screen") == pair_of(slots, placed, "ada-microphone")


# --- too many


def test_join_order_decides_while_nobody_has_spoken() -> None:
    placed = assign(pool(2, 2), both("ada", "bob", "cy"), {})
    assert set(placed.values()) == {"ada-camera", "bob-camera", "ada-microphone", "bob-microphone"}


def test_the_last_dominant_speakers_are_seen() -> None:
    people = [camera("ada", 0, dominant_us=10), camera("bob", 1, dominant_us=30), camera("cy", 2, dominant_us=20)]
    before = assign(pool(2, 0), people[:2], {})
    assert before == {"v0": "ada-camera", "v1": "bob-camera"}
    assert assign(pool(2, 0), people, before) == {"v0": "cy-camera", "v1": "bob-camera"}


def test_a_muted_camera_gives_way_and_a_screen_comes_first() -> None:
    people = [camera("ada", 0, muted=True), camera("bob", 1), Candidate("screen", "cy", SCREEN, 2)]
    assert set(assign(pool(2, 0), people, {}).values()) == {"bob-camera", "screen"}
    assert set(assign(pool(1, 0), people, {}).values()) == {"screen"}


def test_a_wish_for_a_slot_comes_before_everything_and_gets_that_slot() -> None:
    people = [camera("ada", 0, dominant_us=9), camera("bob", 1, dominant_us=8), camera("cy", 2, wished_slot="v0")]
    before = {"v0": "ada-camera", "v1": "bob-camera"}
    assert assign(pool(2, 0), people, before) == {"v0": "cy-camera", "v1": "ada-camera"}


def test_a_wish_for_a_slot_that_does_not_exist_is_only_a_priority() -> None:
    people = [camera("ada", 0), camera("bob", 1, wished_slot="nowhere")]
    assert assign(pool(1, 0), people, {}) == {"v0": "bob-camera"}


def test_who_speaks_takes_the_place_of_who_is_silent() -> None:
    quiet = [microphone("ada", 0), microphone("bob", 1)]
    before = assign(pool(0, 2), quiet, {})
    after = assign(pool(0, 2), [*quiet, microphone("cy", 2, active=True, active_us=5)], before)
    assert "cy-microphone" in after.values()
    assert len(after) == 2


def test_a_speaker_never_takes_the_place_of_a_speaker_unless_dominant() -> None:
    talking = [microphone("ada", 0, active=True, active_us=50), microphone("bob", 1, active=True, active_us=40)]
    before = assign(pool(0, 2), talking, {})
    third = microphone("cy", 2, active=True, active_us=60)
    assert assign(pool(0, 2), [*talking, third], before) == before
    after = assign(pool(0, 2), [*talking, replace(third, dominant=True)], before)
    assert "cy-microphone" in after.values()


def test_the_muted_give_way_to_the_unmuted() -> None:
    people = [microphone("ada", 0, muted=True), microphone("bob", 1)]
    assert assign(pool(0, 1), people, {"a0": "ada-microphone"}) == {"a0": "bob-microphone"}


# --- properties

NAMES = ("ada", "bob", "cy", "dan", "eve")
some_candidates = st.lists(
    st.builds(
        lambda name, source, muted, active, dominant_us, active_us, wished: Candidate(
            f"{name}-{source}", name, source, NAMES.index(name), muted, False, active, dominant_us, active_us, wished
        ),
        st.sampled_from(NAMES),
        st.sampled_from(list(Source)),
        st.booleans(),
        st.booleans(),
        st.integers(0, 5),
        st.integers(0, 5),
        st.none() | st.sampled_from(["v0", "v1", "a0", "a1", "a2"]),
    ),
    unique_by=lambda one: one.publication,
)
some_pools = st.builds(pool, st.integers(0, 3), st.integers(0, 4))


@given(some_pools, some_candidates)
def test_every_assignment_is_legal_full_and_stable(slots: Sequence[Slot], people: list[Candidate]) -> None:
    unique_wishes: list[Candidate] = []
    for one in people:  # the room sees to it that a slot is wished once
        taken = {other.wished_slot for other in unique_wishes}
        unique_wishes.append(replace(one, wished_slot=None) if one.wished_slot in taken else one)
    placed = assign(slots, unique_wishes, {})
    kinds = {slot.mid: slot.kind for slot in slots}
    sources = {one.publication: one.source.kind for one in people}
    assert all(kinds[mid] is sources[publication] for mid, publication in placed.items())
    assert len(set(placed.values())) == len(placed)
    for kind in Kind:
        room = sum(slot.kind is kind for slot in slots)
        assert sum(kinds[mid] is kind for mid in placed) == min(room, sum(value is kind for value in sources.values()))
    assert assign(slots, unique_wishes, placed) == placed


@given(some_pools, some_candidates, st.sampled_from(NAMES))
def test_who_leaves_moves_nobody_else(slots: Sequence[Slot], people: list[Candidate], leaver: str) -> None:
    people = [replace(one, wished_slot=None) for one in people]
    cameras = [one for one in people if one.source is CAMERA]
    before = assign(slots, cameras, {})
    after = assign(slots, [one for one in cameras if one.participant != leaver], before)
    stayed = {mid: one for mid, one in before.items() if not one.startswith(f"{leaver}-")}
    assert stayed.items() <= after.items()


def pair_of(slots: Sequence[Slot], placed: Assignment, publication: str) -> int | None:
    mid = next(mid for mid, one in placed.items() if one == publication)
    return next(slot.pair for slot in slots if slot.mid == mid)
