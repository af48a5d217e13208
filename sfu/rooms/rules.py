# SPDX-License-Identifier: Apache-2.0
"""What the operator lets participants send. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sfu.rooms.model import Kind, Source
from sfu.sdp.codecs import VIDEO_CODECS

# What comes on top of what encoders are set to: headers, retransmissions, probes.
OVERHEAD: Final = 1.05
# Sound is not limited by itself, but it shares the estimate: more than Opus takes, with redundancy.
AUDIO_BPS: Final = 64_000


@dataclass(frozen=True, slots=True)
class PublishRules:
    """What the server is set to."""

    max_bitrate_bps: Mapping[Source, int] = field(default_factory=dict)
    """Of one publication of that source, all its layers and its backup together. What is not there is not limited."""
    video_codecs: tuple[str, ...] = VIDEO_CODECS
    """What pictures may be sent in, the preferred first."""


def common_codecs(receivable: Iterable[Collection[str]], rules: PublishRules) -> tuple[str, ...]:
    """Of the allowed video codecs those that all of these receivers can decode; all, if there is none."""
    everybody = list(receivable)
    common = tuple(name for name in rules.video_codecs if all(name in one for one in everybody))
    return common or rules.video_codecs


def publish_limit_bps(sources: Iterable[Source], rules: PublishRules) -> int | None:
    """How much a participant may send in all, given what it publishes. None: there is no limit.

    What is muted counts as well: it may come back at any time, and an estimate that was held down rises slowly.
    """
    total_bps = 0
    pictures = False
    for source in sources:
        if source.kind is Kind.AUDIO:
            total_bps += AUDIO_BPS
            continue
        limit_bps = rules.max_bitrate_bps.get(source)
        if limit_bps is None:
            return None
        total_bps += round(OVERHEAD * limit_bps)
        pictures = True
    return total_bps if pictures else None
