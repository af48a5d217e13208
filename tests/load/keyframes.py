# SPDX-License-Identifier: Apache-2.0
"""Which layer a VP8 receiver gets: keyframes tell their size, and a switch of layers begins with one."""

from __future__ import annotations

from typing import Final

from sfu.load.media import START_CODE
from sfu.load.receiving import ReceivedPacket

LONGEST_DESCRIPTOR: Final = 6  # RFC 7741 §4.2
FRAME_TAG: Final = 3  # RFC 6386 §9.1; then the start code, and two bytes of width
WIDTH_MASK: Final = 0x3FFF  # the bits above it scale


def keyframe_width(payload: bytes) -> int | None:
    """None: no first packet of a keyframe."""
    at = payload.find(START_CODE, 0, LONGEST_DESCRIPTOR + FRAME_TAG + len(START_CODE))
    if at < 0:
        return None
    at += len(START_CODE)
    return int.from_bytes(payload[at : at + 2], "little") & WIDTH_MASK


class Widths:
    """A bot's packet observer: of which width the pictures of each video slot are."""

    def __init__(self) -> None:
        self.by_mid: dict[str, int] = {}

    def __call__(self, received: ReceivedPacket) -> None:
        width = keyframe_width(received.packet.payload) if received.slot.kind == "video" else None
        if width is not None:
            self.by_mid[received.slot.mid] = width
