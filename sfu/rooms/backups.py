# SPDX-License-Identifier: Apache-2.0
"""In which other codec a publication should be sent as well, for a receiver that cannot decode the first. Pure."""

from __future__ import annotations

from typing import Final

from sfu.rooms.media import ParticipantMedia, SentTrack
from sfu.sdp.negotiation import payload_map

# Every browser has at least one of them (RFC 7742, section 5); simulcast of VP8 is the cheaper one to switch.
BACKUP_CODECS: Final = ("VP8", "H264")


def backup_codec(track: SentTrack, receiver: ParticipantMedia) -> str | None:
    """None: the publisher has none that the receiver plays."""
    if track.section.kind != "video":
        return None
    first, *others = track.section.codecs
    playable = {
        incoming for state in receiver.slots.values() for incoming, *_ in payload_map(track.section, state.section)
    }
    names = {codec.name for codec in others if codec.payload_type in playable and codec.name != first.name}
    return next((name for name in BACKUP_CODECS if name in names), None)
