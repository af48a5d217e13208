# SPDX-License-Identifier: Apache-2.0
"""Outbound RTP of a light bot: one stream per SSRC, with its history for retransmission and its sender reports."""

from __future__ import annotations

import itertools
import random
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from sfu.load.description import MID, REPAIRED_RID, RID, TRANSPORT_CC
from sfu.wire.rtcp_messages import SenderReport
from sfu.wire.rtp import RtpPacket

HISTORY_PACKETS: Final = 512
SEQUENCE_SPAN: Final = 1 << 16
TIMESTAMP_SPAN: Final = 1 << 32
# First sequence numbers stay below this, so that SRTP's rollover counter is never guessed wrongly (RFC 3711, section
# 3.3.1).
FIRST_SEQUENCE_SPAN: Final = 1 << 15
# Seconds from 1900 to 1970 (RFC 3550, section 4).
NTP_EPOCH_S: Final = 2_208_988_800


def ntp_from_unix_us(unix_us: int) -> int:
    """64-bit NTP timestamp, 32.32 fixed point."""
    return ((unix_us + NTP_EPOCH_S * 1_000_000) << 32) // 1_000_000


class TransportSequence:
    """The transport-wide sequence numbers of one bot's packets."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def next(self) -> bytes:
        return (next(self._numbers) % SEQUENCE_SPAN).to_bytes(2)


@dataclass(slots=True)
class StreamStatistics:
    packets: int = 0
    octets: int = 0
    retransmitted: int = 0
    nacks: int = 0
    """Sequence numbers that the server asked for."""
    keyframe_requests: int = 0


class RtpStream:
    """One SSRC and that of its retransmissions. mid and rid go with every packet until the server has reported on its
    SSRC, as browsers do it.
    """

    def __init__(
        self,
        *,
        mid: str,
        rid: str,
        payload_type: int,
        rtx_payload_type: int,
        clock_rate_hz: int,
        transport_sequence: TransportSequence,
        rng: random.Random,
    ) -> None:
        self.ssrc: Final = rng.randrange(1, TIMESTAMP_SPAN)
        self.rtx_ssrc: Final = rng.randrange(1, TIMESTAMP_SPAN) if rtx_payload_type else 0
        self._payload_type = payload_type
        self._rtx_payload_type = rtx_payload_type
        self._clock_rate_hz = clock_rate_hz
        self._transport_sequence = transport_sequence
        self._timestamp_offset = rng.randrange(TIMESTAMP_SPAN)
        self._sequence = rng.randrange(FIRST_SEQUENCE_SPAN)
        self._rtx_sequence = rng.randrange(FIRST_SEQUENCE_SPAN)
        self._history: OrderedDict[int, RtpPacket] = OrderedDict()
        self._identity = {MID: mid.encode()} | ({RID: rid.encode()} if rid else {})
        self._rtx_identity = {MID: mid.encode()} | ({REPAIRED_RID: rid.encode()} if rid else {})
        self.rid = rid
        self.reported = False
        self.rtx_reported = False
        self.statistics = StreamStatistics()

    def timestamp(self, media_us: int) -> int:
        """RTP time of a moment of the bot's media clock."""
        return (self._timestamp_offset + media_us * self._clock_rate_hz // 1_000_000) % TIMESTAMP_SPAN

    def packet(self, payload: bytes, *, marker: bool, timestamp: int, extensions: dict[int, bytes]) -> bytes:
        """The next packet."""
        identity = {} if self.reported else self._identity
        packet = RtpPacket(
            payload_type=self._payload_type,
            marker=marker,
            sequence_number=self._sequence,
            timestamp=timestamp,
            ssrc=self.ssrc,
            extensions=identity | extensions | {TRANSPORT_CC: self._transport_sequence.next()},
            payload=payload,
        )
        self._sequence = (self._sequence + 1) % SEQUENCE_SPAN
        if self._rtx_payload_type:
            self._history[packet.sequence_number] = packet
            if len(self._history) > HISTORY_PACKETS:
                self._history.popitem(last=False)
        self.statistics.packets += 1
        self.statistics.octets += len(payload)
        return packet.serialize()

    def retransmission(self, sequence_number: int) -> bytes | None:
        """RFC 4588: the packet's payload behind its sequence number, in the repair stream. None: no longer known."""
        self.statistics.nacks += 1
        original = self._history.get(sequence_number)
        if original is None:
            return None
        packet = RtpPacket(
            payload_type=self._rtx_payload_type,
            marker=original.marker,
            sequence_number=self._rtx_sequence,
            timestamp=original.timestamp,
            ssrc=self.rtx_ssrc,
            extensions=({} if self.rtx_reported else self._rtx_identity)
            | {TRANSPORT_CC: self._transport_sequence.next()},
            payload=sequence_number.to_bytes(2) + original.payload,
        )
        self._rtx_sequence = (self._rtx_sequence + 1) % SEQUENCE_SPAN
        self.statistics.retransmitted += 1
        return packet.serialize()

    def report(self, media_us: int, ntp: int) -> SenderReport:
        return SenderReport(
            ssrc=self.ssrc,
            ntp=ntp,
            rtp_timestamp=self.timestamp(media_us),
            packet_count=self.statistics.packets,
            octet_count=self.statistics.octets,
        )
