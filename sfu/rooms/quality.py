# SPDX-License-Identifier: Apache-2.0
"""How good a participant's connection is, from 1 (bad) to 5 (excellent): pure functions of what is measured.

Loss and delay by the E-model (ITU-T G.107) in the short form of Cole and Rosenbluth, "Voice over IP performance
monitoring" (2001), with concealment and retransmission taken into account by G.113's robustness factor. Then what of
the wanted video is really sent counts: a connection that carries a quarter of it is not a good one, however few packets
it loses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

WORST: Final = 1
BEST: Final = 5

# Rating without impairments, and the delay (ms, mouth to ear) above which conversation suffers (G.107).
BASE_RATING: Final = 93.2
COMFORTABLE_DELAY_MS: Final = 177.3
# Packetisation, encoding and playing take this much beside the network (ms).
PROCESSING_DELAY_MS: Final = 40.0
# A jitter buffer holds about twice the jitter.
JITTER_FACTOR: Final = 2.0
# Packet-loss robustness with concealment (G.113, for G.711: per cent at which half of the effect is reached).
ROBUSTNESS: Final = 25.1
WORST_IMPAIRMENT: Final = 95.0

# Opinion scores (1 to 4.5) at which a connection is called 5, 4, 3 and 2. 4.3: very satisfied (G.107, table B.1).
THRESHOLDS: Final = (4.3, 4.0, 3.4, 2.6)
# What is sent of what is wanted counts as a full score from here on, and as half of it at nothing.
SATISFIED: Final = 0.9
# Towards another score it has to go by this much beyond the threshold.
MARGIN: Final = 0.08


@dataclass(frozen=True, slots=True)
class Link:
    """One direction of a participant's connection, over the last seconds."""

    loss: float = 0.0
    """Share of packets, 0 to 1."""
    rtt_ms: float = 0.0
    jitter_ms: float = 0.0
    satisfaction: float = 1.0
    """What is sent of the wanted, 0 to 1."""


def opinion(link: Link) -> float:
    """Mean opinion score, 1 to 4.5."""
    delay_ms = link.rtt_ms / 2 + JITTER_FACTOR * link.jitter_ms + PROCESSING_DELAY_MS
    rating = BASE_RATING - 0.024 * delay_ms - 0.11 * max(0.0, delay_ms - COMFORTABLE_DELAY_MS)
    loss_percent = 100 * min(1.0, max(0.0, link.loss))
    rating -= WORST_IMPAIRMENT * loss_percent / (loss_percent + ROBUSTNESS)
    rating = min(100.0, max(0.0, rating))
    score = 1 + 0.035 * rating + 7e-6 * rating * (rating - 60) * (100 - rating)
    satisfaction = min(1.0, max(0.0, link.satisfaction) / SATISFIED)
    return max(1.0, 1 + (score - 1) * (0.5 + 0.5 * satisfaction))


def grade(score: float, before: int | None = None) -> int:
    """1 to 5. `before` is kept while the score is within the margin of its bounds."""
    plain = BEST - sum(score < threshold for threshold in THRESHOLDS)
    if before is None or plain == before:
        return plain
    toward = score - MARGIN if plain > before else score + MARGIN
    moved = BEST - sum(toward < threshold for threshold in THRESHOLDS)
    return max(before, moved) if plain > before else min(before, moved)
