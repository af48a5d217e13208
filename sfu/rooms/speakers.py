# SPDX-License-Identifier: Apache-2.0
"""Who speaks, and who is the dominant speaker, from RFC 6464 audio levels sampled every `SAMPLE_US`.

Dominance follows Volfin and Cohen, "Dominant speaker identification for multipoint videoconferencing" (2012): speech
activity is scored over three spans of time, and a challenger must beat the dominant speaker on all of them, so that
neither a cough nor a word of assent takes the floor. The paper works on 20 ms frames; here a sample is what the
engine last measured, and the spans are counted in samples.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

SAMPLE_US: Final = 100_000

# RFC 6464: 0 is the loudest, 127 is silence, in -dBov.
SILENT: Final = 127
# Speech from browsers with gain control is at 20 to 35; LiveKit counts up to 35, Jitsi up to 36.
SPEECH_LEVEL: Final = 40
# A fan is not speech however loud: speech stands out from the quietest of the last seconds (15 s: the window of
# Jitsi's).
NOISE_MARGIN_DB: Final = 8
NOISE_WINDOW: Final = 150

# The spans, in samples: what is heard now, half a second, two seconds.
MEDIUM: Final = 5
LONG: Final = 20
# Loudness now is scored in bands of this many dB (13 bands over the scale, as in the paper's N1).
BAND_DB: Final = 10
BANDS: Final = 13

# How much better (natural logarithm of the ratio of scores) a challenger must be: the paper's C1, C2 and C3.
IMMEDIATE_ADVANTAGE: Final = 3.0
MEDIUM_ADVANTAGE: Final = 2.0
LONG_ADVANTAGE: Final = 0.0

# Weight of one loud sample in each span's likelihood ratio: the paper's lambda.
IMMEDIATE_LAMBDA: Final = 0.78
MEDIUM_LAMBDA: Final = 24.0
LONG_LAMBDA: Final = 47.0
MIN_SCORE: Final = 1e-10

# Of the last half second, how many samples make an active speaker, and how long one stays it between words.
ACTIVE_SAMPLES: Final = 2
ACTIVE_HANGOVER_US: Final = 800_000


@dataclass(slots=True)
class _Voice:
    floor: deque[int] = field(default_factory=lambda: deque(maxlen=NOISE_WINDOW))
    loud: deque[bool] = field(default_factory=lambda: deque(maxlen=LONG))
    level: int = SILENT
    active: bool = False
    active_us: int = 0
    dominant_us: int = 0
    scores: tuple[float, float, float] = (MIN_SCORE, MIN_SCORE, MIN_SCORE)

    def sample(self, level: int, now_us: int) -> None:
        self.level = level
        self.floor.append(level)
        quietest = max(self.floor)
        # Until there was a quieter moment there is nothing to stand out from: then the absolute level decides.
        known_floor = len(self.floor) == NOISE_WINDOW or quietest > SPEECH_LEVEL
        is_loud = level <= SPEECH_LEVEL and (not known_floor or level + NOISE_MARGIN_DB <= quietest)
        self.loud.append(is_loud)
        medium = sum(list(self.loud)[-MEDIUM:])
        if medium >= ACTIVE_SAMPLES and is_loud:
            self.active, self.active_us = True, now_us
        elif now_us - self.active_us > ACTIVE_HANGOVER_US:
            self.active = False
        band = (SILENT - level) // BAND_DB if is_loud else 0
        self.scores = (
            _score(band, BANDS, IMMEDIATE_LAMBDA),
            _score(medium, MEDIUM, MEDIUM_LAMBDA),
            _score(sum(self.loud), LONG, LONG_LAMBDA),
        )


class Speakers:
    """Keys are participants. Feed `sample` at the sampling rate; read the rest whenever."""

    def __init__(self) -> None:
        self._voices: dict[str, _Voice] = {}
        self.dominant: str | None = None
        self.active: tuple[str, ...] = ()
        """Who speaks now: the dominant speaker first, then by loudness at the time they began."""

    def sample(self, levels: Mapping[str, int], now_us: int) -> bool:
        """`levels` of all who have a microphone; who is missing is forgotten. True when `dominant` or `active`
        changed."""
        for gone in self._voices.keys() - levels.keys():
            del self._voices[gone]
        for key, level in levels.items():
            self._voices.setdefault(key, _Voice()).sample(level, now_us)
        before = (self.dominant, self.active)
        self._choose_dominant()
        if self.dominant is not None and self._voices[self.dominant].active:
            self._voices[self.dominant].dominant_us = now_us
        self._list_active()
        return before != (self.dominant, self.active)

    def is_active(self, key: str) -> bool:
        voice = self._voices.get(key)
        return voice is not None and voice.active

    def active_us(self, key: str) -> int:
        """When it last spoke; 0: never."""
        voice = self._voices.get(key)
        return 0 if voice is None else voice.active_us

    def dominant_us(self, key: str) -> int:
        """When it last spoke as the dominant speaker; 0: never."""
        voice = self._voices.get(key)
        return 0 if voice is None else voice.dominant_us

    def _choose_dominant(self) -> None:
        if self.dominant not in self._voices:
            self.dominant = None
        challengers = [(key, voice) for key, voice in self._voices.items() if voice.active and key != self.dominant]
        if self.dominant is None:
            # Nobody to beat: the most active of those who speak.
            self.dominant = max(challengers, key=lambda one: (one[1].scores[1], one[1].scores[0]), default=(None,))[0]
            return
        held = self._voices[self.dominant].scores
        best = 0.0
        for key, voice in challengers:
            immediate, medium, long = (math.log(its / ours) for its, ours in zip(voice.scores, held, strict=True))
            wins = immediate > IMMEDIATE_ADVANTAGE and medium > MEDIUM_ADVANTAGE and long > LONG_ADVANTAGE
            if wins and medium > best:
                best, self.dominant = medium, key

    def _list_active(self) -> None:
        """In a steady order: who is in the list already keeps the place, or clients would reorder their tiles all the
        time."""
        stay = [key for key in self.active if self.is_active(key)]
        come = [key for key, voice in self._voices.items() if voice.active and key not in stay]
        come.sort(key=lambda key: self._voices[key].level)
        listed = stay + come
        if self.dominant in listed:
            listed.remove(self.dominant)
            listed.insert(0, self.dominant)
        self.active = tuple(listed)


def _score(loud: int, of: int, weight: float) -> float:
    """Log-likelihood ratio of speech to silence for `loud` of `of`: binomial under speech (p = 1/2), exponential
    under silence."""
    loud = min(loud, of)
    score = math.log(math.comb(of, loud)) - of * math.log(2) - math.log(weight) + weight * loud
    return max(score, MIN_SCORE)
