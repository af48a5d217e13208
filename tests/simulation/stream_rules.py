# SPDX-License-Identifier: Apache-2.0
"""What the stream checker judges by: the rules' names, what a receiver negotiated, and the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

KEPT_VIOLATIONS_PER_RULE = 20


class Rule(StrEnum):
    """Each rule an outbound stream can break."""

    # The packet by itself
    RTP_MALFORMED = "bytes that are no RTP packet"
    SSRC_UNKNOWN = "an SSRC that is not the slot's"
    PACKET_TOO_LARGE = "larger than the bound"
    EXTENSION_NOT_NEGOTIATED = "a header extension id that was not negotiated"
    EXTENSION_MID = "a mid that is not the slot's"
    PAYLOAD_TYPE = "a payload type that is not the slot's"
    CSRC_MISSING = "not exactly one non-zero CSRC"
    # Sequence numbers, in order of sending
    SEQUENCE_START = "first sequence number at or above 2^15"
    SEQUENCE_GAP = "a sequence number left out that was not lost on the way in"
    SEQUENCE_ORDER = "sent out of order, or before the stream's start, without a cause on the way in"
    SEQUENCE_DUPLICATE = "the same packet sent twice"
    INDEX_REUSED = "one index with different bytes"
    # Retransmission
    RTX_MALFORMED = "a retransmission without an original sequence number"
    RTX_NEVER_SENT = "a retransmission of what was never sent"
    RTX_DIFFERS = "a retransmission that differs from what was sent"
    RTX_PAYLOAD_TYPE = "a retransmission whose payload type is not the original's companion"
    # Binds, in order of sequence numbers
    CSRC_UNEXPECTED = "a CSRC that is not that of the bind"
    CSRC_IN_FRAME = "the CSRC changes within a frame"
    PAYLOAD_TYPE_IN_FRAME = "the payload type changes within a frame"
    START_WITHOUT_KEYFRAME = "a start, bind or codec change without a whole keyframe"
    # Frames and timestamps
    TIMESTAMP_IN_FRAME = "the timestamp changes within a frame"
    TIMESTAMP_ORDER = "a frame's timestamp is not after its predecessor's"
    TIMESTAMP_DRIFT = "timestamps run away from the time of sending"
    MARKER_MISSING = "a frame ends without a marker"
    MARKER_EARLY = "a frame goes on after its marker"
    PADDING_IN_FRAME = "a padding-only packet within a frame"
    PADDING_TIMESTAMP = "a padding-only packet with a timestamp that is not the last frame's"
    AUDIO_MARKER = "the first audio packet of a bind without a marker"
    AUDIO_STEP = "the timestamp moves by no whole number of audio frames at a bind"
    # VP8
    VP8_MALFORMED = "a VP8 payload that cannot be parsed"
    VP8_FRAME_START = "a frame that does not begin at its start, or begins twice"
    VP8_FIELDS_IN_FRAME = "picture id, TL0PICIDX or temporal layer change within a frame"
    VP8_PICTURE_ID = "the picture id is not its predecessor's successor, or not 15 bits long"
    VP8_TL0_STEP = "TL0PICIDX does not advance by one on a base frame"
    VP8_BASE_NOT_SENT = "a temporal layer's frame whose base frame was not sent"
    VP8_LAYER_SYNC = "a temporal layer begins on a frame that is no layer sync"
    # H.264
    H264_MALFORMED = "an H.264 payload that cannot be parsed, or not of its packetization mode"
    H264_FRAGMENT = "a fragmented NAL unit with a missing or foreign part"
    # By the marks of synthetic publishers
    ORIGIN_MIXED_FRAME = "packets of several source frames in one frame"
    ORIGIN_INCOMPLETE = "a frame of which not all packets were sent"
    ORIGIN_SWITCH = "another source or layer without a keyframe, or packets of an old layer after the new one's start"
    ORIGIN_ORDER = "a frame that is not after its predecessor in its source"
    ORIGIN_REFERENCE = "a frame that needs another one that was not sent"
    ORIGIN_CSRC = "a CSRC that names another publication"


@dataclass(frozen=True, slots=True)
class Violation:
    """One breach."""

    rule: Rule
    at_us: int
    sequence: int
    detail: str

    def __str__(self) -> str:
        return f"{self.at_us} us, #{self.sequence}: {self.rule.name} ({self.rule.value}): {self.detail}"


@dataclass(frozen=True, slots=True)
class PayloadFormat:
    """One negotiated payload type: encoding name as in SDP, clock rate in Hz, its RTX companion."""

    codec: str
    clock_rate: int
    rtx_payload_type: int | None = None
    packetization_mode: int = 1

    @property
    def is_audio(self) -> bool:
        """By the codecs that pysfu negotiates."""
        return self.codec.lower() in {"opus", "red", "pcmu", "pcma"}


@dataclass(frozen=True, slots=True)
class SlotDescription:
    """What the receiver negotiated for one slot, and the bounds to judge by."""

    ssrc: int
    payloads: Mapping[int, PayloadFormat]
    rtx_ssrc: int | None = None
    extensions: Mapping[int, str] = field(default_factory=dict)
    """Header extension id → URI."""
    mid: bytes | None = None
    require_csrc: bool = True
    inbound_impaired: bool = False
    """Packets may be lost or reordered on the way in: holes are judged when they are given up, not at once."""
    max_packet_bytes: int = 1200
    """Of the plaintext packet, without the SRTP tag."""
    audio_frame_samples: int = 960
    max_frame_gap_us: int = 500_000
    """A longer pause between two frames is reported, not a violation."""
    timestamp_tolerance_us: int | None = 1_000_000
    """How far timestamps may run away from the time of sending over the whole stream; None = any."""
    hole_patience_us: int = 1_000_000
    """An open hole is given up after this time."""


@dataclass(frozen=True, slots=True)
class FrameGap:
    """A pause between the ends of two frames."""

    from_us: int
    to_us: int

    @property
    def gap_us(self) -> int:
        """Its length."""
        return self.to_us - self.from_us


@dataclass(slots=True)
class Report:
    """The verdict so far."""

    violations: list[Violation] = field(default_factory=list)
    counts: Counter[Rule] = field(default_factory=Counter)
    """All violations, also those beyond KEPT_VIOLATIONS_PER_RULE that are not listed."""
    frame_gaps: list[FrameGap] = field(default_factory=list)
    packets: int = 0
    retransmissions: int = 0
    unverified_retransmissions: int = 0
    """Of packets that are no longer remembered."""
    padding_packets: int = 0
    frames: int = 0
    keyframes: int = 0
    damaged_frames: int = 0
    """Frames with a hole: legal, the loss was on the way in."""
    undecodable_frames: int = 0
    """Whole frames that need one that was lost on the way in (known for marked payloads only)."""
    longest_gap_us: int = 0
    holes_filled: int = 0
    holes_lost: int = 0
    binds: int = 0
    switches: int = 0
    """Changes of layer within a publication (known for marked payloads only)."""
    layer: tuple[int, int] | None = None
    """(publication, layer) that flows now (marked payloads only)."""

    def add(self, rule: Rule, at_us: int, sequence: int, detail: str) -> None:
        """Record a breach."""
        self.counts[rule] += 1
        if self.counts[rule] <= KEPT_VIOLATIONS_PER_RULE:
            self.violations.append(Violation(rule, at_us, sequence, detail))

    @property
    def broken_rules(self) -> set[Rule]:
        """The rules that were broken at least once."""
        return set(self.counts)

    def assert_legal(self) -> None:
        """Raise AssertionError that lists the violations, if there are any."""
        if self.violations:
            lines = "\n".join(str(violation) for violation in self.violations)
            raise AssertionError(f"{self.counts.total()} violations:\n{lines}")
