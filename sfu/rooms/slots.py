# SPDX-License-Identifier: Apache-2.0
"""Which publication goes to which of a receiver's slots: a pure function of what there is, who speaks, and what was.

Chosen first, placed second. Choosing is by wish, then by speech, then by join order, and it does not flap:
- *Video* follows dominance, which is slow by itself: the most recently dominant speakers keep their places.
- *Audio* must be quick, for a voice without a slot is not heard. Who speaks takes a place from who is silent, never
  from another speaker (but the dominant speaker is always heard).

Placing moves as little as possible. A microphone goes to the slot that is paired with its participant's camera, since
browsers synchronise lips by pair.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sfu.rooms.model import Kind, Mid, ParticipantId, PublicationId, Source

Assignment = dict[Mid, PublicationId]
"""Slots that are not in it are empty."""

# Of one participant's videos the first shares the pair with its microphone; screen audio goes with the screen.
COMPANIONS: Final[dict[Source, tuple[Source, ...]]] = {
    Source.MICROPHONE: (Source.CAMERA, Source.SCREEN_SHARE),
    Source.SCREEN_SHARE_AUDIO: (Source.SCREEN_SHARE,),
}


@dataclass(frozen=True, slots=True)
class Slot:
    """A receiving media section. A video and an audio slot with one `pair` belong together; None: audio on its own."""

    mid: Mid
    kind: Kind
    pair: int | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A publication that a receiver could get, with what the choice depends on."""

    publication: PublicationId
    participant: ParticipantId
    source: Source
    order: int
    """Of joining, then of publishing."""
    muted: bool = False
    dominant: bool = False
    active: bool = False
    """Speaks now."""
    dominant_us: int = 0
    """When its participant was last the dominant speaker; 0: never."""
    active_us: int = 0
    """When its participant last spoke; 0: never."""
    wished_slot: Mid | None = None


def pair_up(sections: Iterable[tuple[Mid, Kind]], existing: Iterable[Slot] = ()) -> tuple[Slot, ...]:
    """The k-th video section and the k-th audio section are a pair; audio sections beyond the videos stand alone.

    What an earlier offer paired stays so, for the client has been told it in the answer (by msid); new sections are
    paired among themselves, after video sections that still lack a companion.
    """
    sections = list(sections)
    mids = {mid for mid, _ in sections}
    known = {slot.mid: slot for slot in existing if slot.mid in mids}
    pairs = {kind: {slot.pair for slot in known.values() if slot.kind is kind} for kind in Kind}
    next_pair = max((slot.pair for slot in known.values() if slot.pair is not None), default=-1) + 1
    new_pairs = range(next_pair, next_pair + sum(kind is Kind.VIDEO and mid not in known for mid, kind in sections))
    for_video = iter(new_pairs)
    companions = (*_sorted_pairs(pairs[Kind.VIDEO]), *new_pairs)
    for_audio = iter([pair for pair in companions if pair not in pairs[Kind.AUDIO]])
    return tuple(
        known.get(mid) or Slot(mid, kind, next(for_video if kind is Kind.VIDEO else for_audio, None))
        for mid, kind in sections
    )


def _sorted_pairs(pairs: Iterable[int | None]) -> list[int]:
    return sorted(pair for pair in pairs if pair is not None)


def split(candidates: Iterable[Candidate]) -> tuple[list[Candidate], list[Candidate]]:
    """(videos, audios)"""
    kinds: dict[Kind, list[Candidate]] = {kind: [] for kind in Kind}
    for one in candidates:
        kinds[one.source.kind].append(one)
    return kinds[Kind.VIDEO], kinds[Kind.AUDIO]


def assign(
    slots: Sequence[Slot],
    videos: Sequence[Candidate],
    audios: Sequence[Candidate],
    previous: Mapping[Mid, PublicationId],
) -> Assignment:
    """`videos` and `audios` are what this receiver may get and has not paused."""
    video_slots = [slot for slot in slots if slot.kind is Kind.VIDEO]
    audio_slots = [slot for slot in slots if slot.kind is Kind.AUDIO]
    incumbents = frozenset(previous.values())
    if len(videos) > len(video_slots):
        videos = sorted(videos, key=_video_rank)[: len(video_slots)]
    if len(audios) > len(audio_slots):
        audios = sorted(audios, key=lambda one: _audio_rank(one, one.publication in incumbents))[: len(audio_slots)]
    shown = _place_videos(video_slots, videos, audios, audio_slots, previous)
    return shown | _place_audios(audio_slots, audios, _pairs_of(video_slots, shown, videos), previous)


def _video_rank(one: Candidate) -> tuple[object, ...]:
    return (one.wished_slot is None, one.muted, one.source is not Source.SCREEN_SHARE, -one.dominant_us, one.order)


def _audio_rank(one: Candidate, incumbent: bool) -> tuple[object, ...]:
    """Lowest first. Among speakers, and among the silent, who has a place keeps it."""
    return (
        one.wished_slot is None,
        one.muted,
        not one.dominant,
        not one.active,
        not incumbent,
        -one.active_us,
        one.order,
    )


def _place_videos(
    slots: Sequence[Slot],
    videos: Sequence[Candidate],
    audios: Sequence[Candidate],
    audio_slots: Sequence[Slot],
    previous: Mapping[Mid, PublicationId],
) -> Assignment:
    placed, waiting = _keep(slots, videos, previous)
    if not waiting:
        return placed
    # A camera that comes after its microphone joins it in its pair. Other pairs with a voice in them are taken last.
    pair_of_mid = {slot.mid: slot.pair for slot in audio_slots}
    wanted = {publication: pair_of_mid.get(mid) for mid, publication in previous.items() if mid in pair_of_mid}
    heard = {wanted.get(one.publication) for one in audios}
    voices = {(one.participant, companion): one for one in audios for companion in COMPANIONS[one.source]}
    for one in waiting:
        voice = voices.get((one.participant, one.source))
        home = None if voice is None else wanted.get(voice.publication)
        free = [slot for slot in slots if slot.mid not in placed]
        best = min(free, key=lambda slot: (slot.pair != home, slot.pair in heard, slot.pair))
        placed[best.mid] = one.publication
    return placed


def _place_audios(
    slots: Sequence[Slot],
    audios: Sequence[Candidate],
    pairs: Mapping[tuple[ParticipantId, Source], int | None],
    previous: Mapping[Mid, PublicationId],
) -> Assignment:
    slot_of_pair = {slot.pair: slot.mid for slot in slots if slot.pair is not None}
    placed = _wished(slots, audios)
    settled = set(placed.values())
    alone = []
    for one in audios:
        if one.publication in settled:
            continue
        companions = (pairs.get((one.participant, companion)) for companion in COMPANIONS[one.source])
        pair = next((pair for pair in companions if pair is not None), None)
        mid = None if pair is None else slot_of_pair.get(pair)
        if mid is None or mid in placed:
            alone.append(one)
        else:
            placed[mid] = one.publication
    kept, waiting = _keep([slot for slot in slots if slot.mid not in placed], alone, previous)
    placed |= kept
    # Unpaired slots first, then pairs that show no picture, then the rest.
    shown = set(pairs.values())
    free = [slot for slot in slots if slot.mid not in placed]
    free.sort(key=lambda slot: (slot.pair is not None, slot.pair in shown, -(slot.pair or 0)))
    return placed | {slot.mid: one.publication for slot, one in zip(free, waiting, strict=False)}


def _keep(
    slots: Sequence[Slot], chosen: Sequence[Candidate], previous: Mapping[Mid, PublicationId]
) -> tuple[Assignment, list[Candidate]]:
    """Wished slots first, then those who are where they were; the others wait, in their order."""
    mids = {slot.mid for slot in slots}
    placed = _wished(slots, chosen)
    settled = set(placed.values())
    by_id = {one.publication: one for one in chosen}
    for mid, publication in previous.items():
        if mid in mids and mid not in placed and publication in by_id and publication not in settled:
            placed[mid] = publication
            settled.add(publication)
    waiting = [one for one in chosen if one.publication not in settled]
    return placed, sorted(waiting, key=lambda one: one.order)


def _wished(slots: Sequence[Slot], chosen: Iterable[Candidate]) -> Assignment:
    mids = {slot.mid for slot in slots}
    return {
        one.wished_slot: one.publication for one in chosen if one.wished_slot is not None and one.wished_slot in mids
    }


def _pairs_of(
    slots: Sequence[Slot], shown: Mapping[Mid, PublicationId], videos: Iterable[Candidate]
) -> dict[tuple[ParticipantId, Source], int | None]:
    """In which pair a participant's camera or screen is shown."""
    by_id = {one.publication: one for one in videos}
    pairs: dict[tuple[ParticipantId, Source], int | None] = {}
    for slot in slots:
        publication = shown.get(slot.mid)
        if publication is not None:
            one = by_id[publication]
            pairs.setdefault((one.participant, one.source), slot.pair)
    return pairs
