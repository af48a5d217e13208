# SPDX-License-Identifier: Apache-2.0
"""What a spec means for a light bot: its camera, its microphone, and which layers it wants."""

from __future__ import annotations

from typing import Final

from sfu.client.signal import ClientError
from sfu.load.media import AudioSpec, VideoLayer, VideoSpec
from sfu.load.peer import LightPeer
from sfu.load.scenarios import QUIET, SPEAKING, Seat
from sfu.load.spec import LoadSpec

RIDS: Final = ("q", "h", "f")


def camera(spec: LoadSpec) -> VideoSpec:
    """Each layer has half the width of the next and a third of its bitrate."""
    layers = []
    for below in range(spec.layers):
        width = max(32, spec.width >> below)
        bitrate_bps = max(10_000, round(spec.bitrate * 1000 / 3**below))
        layers.append((width, max(18, width * 9 // 16), bitrate_bps))
    layers.reverse()
    named = (VideoLayer(rid, *layer) for rid, layer in zip(RIDS, layers, strict=False))
    return VideoSpec(tuple(named), fps=spec.fps)


def microphone(spec: LoadSpec, level: int) -> AudioSpec | None:
    if not spec.audio_bitrate:
        return None
    return AudioSpec(bitrate_bps=round(spec.audio_bitrate * 1000), level=level, voice=level < QUIET)


def first_level(spec: LoadSpec, seat: Seat) -> int:
    """Where the speakers do not change, the first one of each room speaks."""
    return SPEAKING if spec.scenario != "speakers" and seat.is_first_of_room else QUIET


async def set_highest_layer(peer: LightPeer, max_spatial: int) -> None:
    """Of all that is published now."""
    for publication in [one for one in peer.roster.publications.values() if one.kind == "video"]:
        try:
            await peer.set_wish(publication.id, max_spatial=max_spatial)
        except ClientError as error:
            if error.code not in ("not_found", "connection_lost"):  # it, or we, may just have gone
                raise
