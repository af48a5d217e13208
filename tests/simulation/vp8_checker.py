# SPDX-License-Identifier: Apache-2.0
"""The stream checker's rules for VP8 (RFC 7741), as a receiver's reference finder would apply them."""

from __future__ import annotations

from tests.simulation.codec_checker import Breach, Facts
from tests.simulation.rtp_packets import MalformedPacket
from tests.simulation.stream_rules import Rule
from tests.simulation.vp8_payload import Vp8Descriptor, parse_vp8

PICTURE_ID_SPAN = 1 << 15
TL0_SPAN = 1 << 8
TEMPORAL_LAYERS = 4


class Vp8Checker:
    """Judges frames in order of sequence numbers. Lost packets before a frame excuse what they can explain."""

    def __init__(self) -> None:
        self._descriptor = Vp8Descriptor()
        self._frame = Vp8Descriptor()
        self._picture_id: int | None = None
        self._tl0: int | None = None
        self._running = [False] * TEMPORAL_LAYERS
        self._seen = [False] * TEMPORAL_LAYERS
        self._losses_since_keyframe = False
        self._lost = 0
        self.keyframe = False

    def parse(self, payload: bytes) -> tuple[Facts, list[Breach]]:
        """Look at a packet."""
        try:
            self._descriptor = parse_vp8(payload)
        except MalformedPacket as error:
            self._descriptor = Vp8Descriptor()
            return Facts(True, False), [(Rule.VP8_MALFORMED, str(error))]
        return Facts(self._descriptor.start_of_frame, self._descriptor.start_of_frame), []

    def lose(self, packets: int) -> None:
        """Packets are missing before the next one."""
        self._lost += packets
        self._losses_since_keyframe = True

    def open(self, *, restart: bool, lost: int) -> list[Breach]:
        """The packet last parsed begins a frame; `lost` packets are missing directly before it."""
        found = self._frame = self._descriptor
        breaches: list[Breach] = []
        self.keyframe = found.keyframe
        if not found.start_of_frame:
            if restart:
                breaches.append((Rule.START_WITHOUT_KEYFRAME, "begins in the middle of a frame"))
            elif not lost:
                breaches.append((Rule.VP8_FRAME_START, "first packet without start of frame"))
        elif restart and not found.keyframe:
            breaches.append((Rule.START_WITHOUT_KEYFRAME, "begins with an interframe"))
        breaches += self._judge_picture_id(found)
        if found.keyframe:
            self._losses_since_keyframe = False
            self._running = [False] * TEMPORAL_LAYERS
            self._seen = [False] * TEMPORAL_LAYERS
        breaches += self._judge_temporal(found)
        self._lost = 0
        return breaches

    def _judge_picture_id(self, found: Vp8Descriptor) -> list[Breach]:
        previous, self._picture_id = self._picture_id, found.picture_id
        if found.picture_id is None:
            return []
        if not found.long_picture_id:
            return [(Rule.VP8_PICTURE_ID, "7-bit form")]
        if previous is None:
            return []
        step = (found.picture_id - previous) % PICTURE_ID_SPAN
        if not 1 <= step <= self._lost + 1:
            return [(Rule.VP8_PICTURE_ID, f"{found.picture_id} after {previous}, {self._lost} packets lost between")]
        return []

    def _judge_temporal(self, found: Vp8Descriptor) -> list[Breach]:
        temporal = found.temporal or 0
        if temporal == 0:
            breaches = self._judge_base(found)
            if not found.keyframe:
                # A layer of which no frame came between two base frames has stopped: it needs a sync to begin again.
                for layer in range(1, TEMPORAL_LAYERS):
                    self._running[layer] &= self._seen[layer]
            self._seen = [True] + [False] * (TEMPORAL_LAYERS - 1)
            return breaches
        breaches = []
        if found.keyframe:
            breaches.append((Rule.VP8_MALFORMED, f"keyframe in temporal layer {temporal}"))
        if found.tl0_picture_index is not None and self._tl0 is not None:
            step = (found.tl0_picture_index - self._tl0) % TL0_SPAN
            if step > self._lost:
                detail = f"TL0PICIDX {found.tl0_picture_index}, last base frame sent {self._tl0}"
                breaches.append((Rule.VP8_BASE_NOT_SENT, detail))
            self._tl0 = found.tl0_picture_index
        if found.layer_sync:
            self._running[temporal] = True
        elif not all(self._running[1 : temporal + 1]) and not self._losses_since_keyframe:
            breaches.append((Rule.VP8_LAYER_SYNC, f"layer {temporal} without Y, running {self._running[1:]}"))
            self._running[1 : temporal + 1] = [True] * temporal
        self._seen[temporal] = True
        return breaches

    def _judge_base(self, found: Vp8Descriptor) -> list[Breach]:
        previous, self._tl0 = self._tl0, found.tl0_picture_index
        if found.tl0_picture_index is None or previous is None or not (found.start_of_frame or self._lost == 0):
            return []
        step = (found.tl0_picture_index - previous) % TL0_SPAN
        if 1 <= step <= self._lost + 1:
            return []
        return [(Rule.VP8_TL0_STEP, f"{found.tl0_picture_index} after {previous}, {self._lost} packets lost between")]

    def add(self, *, first: bool) -> list[Breach]:
        """The packet last parsed belongs to the open frame."""
        found, frame = self._descriptor, self._frame
        if first or found.size == 0:
            return []
        breaches: list[Breach] = []
        if found.start_of_frame:
            breaches.append((Rule.VP8_FRAME_START, "start of frame within a frame"))
        fields = (found.picture_id, found.tl0_picture_index, found.temporal, found.layer_sync)
        if fields != (frame.picture_id, frame.tl0_picture_index, frame.temporal, frame.layer_sync):
            breaches.append((Rule.VP8_FIELDS_IN_FRAME, f"{found} in {frame}"))
        return breaches

    def close(self, *, damaged: bool) -> list[Breach]:
        """The open frame ended."""
        return []
