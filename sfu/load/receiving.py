# SPDX-License-Identifier: Apache-2.0
"""Inbound RTP of a light bot: what one slot receives, what it misses, and the reports on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from sfu.load.description import AnsweredSection
from sfu.wire.rtcp_messages import ReportBlock, SenderReport
from sfu.wire.rtp import RtpPacket

SEQUENCE_SPAN: Final = 1 << 16
HALF_SPAN: Final = 1 << 15
MAX_MISSING: Final = 256
FIRST_NACK_AFTER_US: Final = 10_000
NACK_INTERVAL_US: Final = 100_000
MAX_NACKS: Final = 5
# Longest run of a stream's packets that may be missing before it counts as a new beginning.
MAX_GAP: Final = 1000


@dataclass(frozen=True, slots=True)
class ReceivedPacket:
    """A decrypted packet, as it came (`data`) and parsed. A retransmission is parsed as the packet that it repeats."""

    slot: LightSlot
    data: bytes
    packet: RtpPacket
    arrived_us: int
    retransmission: bool


PacketObserver = Callable[[ReceivedPacket], None]


@dataclass(slots=True)
class SlotStatistics:
    packets: int = 0
    octets: int = 0
    frames: int = 0
    """Markers seen: ends of video frames."""
    lost: int = 0
    """Missing when a later packet came."""
    late: int = 0
    """Of these, what came by itself after all: reordered, or itself repaired on its way to the server."""
    recovered: int = 0
    """Of these, what came by retransmission."""
    duplicates: int = 0
    padding: int = 0
    nacks: int = 0
    keyframe_requests: int = 0
    given_up: int = 0


@dataclass(slots=True)
class _Missing:
    since_us: int
    asked_us: int = 0
    tries: int = 0


class LightSlot:
    """A section that receives: the server's SSRCs in it, and what it is bound to by the latest word of the server."""

    def __init__(self, section: AnsweredSection, pair: int | None, clock_rate_hz: int) -> None:
        self.mid: Final = section.mid
        self.kind: Final[Literal["audio", "video"]] = "audio" if section.kind == "audio" else "video"
        self.section = section
        self.ssrc: Final = section.ssrc
        self.rtx_ssrc: Final = section.rtx_ssrc
        self.pair: Final = pair
        self.publication: str | None = None
        self.number: int | None = None
        self.generation = 0
        self.rtp_timestamp: int | None = None
        self.statistics = SlotStatistics()
        self.last_csrc = 0
        self.last_arrival_us = 0
        self._clock_rate_hz = clock_rate_hz
        self._repaired = {repair: media for media, repair in section.repairs.items()}
        self._highest = -1  # extended sequence number
        self._first = 0
        self._transit = 0
        self._jitter = 0.0
        self._reported_expected = 0
        self._reported_received = 0
        self._last_sr = 0
        self._last_sr_us = 0
        self._missing: dict[int, _Missing] = {}
        self._repair_wanted = False

    # Packets

    def take(self, packet: RtpPacket, arrived_us: int) -> None:
        """A packet in the slot's own sequence: sent once, or recovered."""
        self.statistics.packets += 1
        self.statistics.octets += len(packet.payload)
        self.statistics.frames += packet.marker and self.kind == "video"
        self.statistics.padding += not packet.payload
        self.last_csrc = packet.csrcs[0] if packet.csrcs else 0
        self.last_arrival_us = arrived_us
        self._count(packet.sequence_number, arrived_us)
        self._measure_jitter(packet.timestamp, arrived_us)

    def restore(self, packet: RtpPacket) -> RtpPacket | None:
        """The packet that a retransmission repeats (RFC 4588); None for a probe without one."""
        if len(packet.payload) < 2:
            self.statistics.padding += 1
            return None
        repaired = self._repaired.get(packet.payload_type)
        if repaired is None:
            return None
        return RtpPacket(
            payload_type=repaired,
            marker=packet.marker,
            sequence_number=int.from_bytes(packet.payload[:2]),
            timestamp=packet.timestamp,
            ssrc=self.ssrc,
            csrcs=packet.csrcs,
            extensions=packet.extensions,
            payload=packet.payload[2:],
        )

    def take_recovered(self, packet: RtpPacket) -> None:
        sequence = self._extend(packet.sequence_number)
        if self._missing.pop(sequence, None) is None:
            self.statistics.duplicates += 1
        else:
            self.statistics.recovered += 1

    def take_report(self, report: SenderReport, arrived_us: int) -> None:
        self._last_sr = report.ntp >> 16 & 0xFFFFFFFF
        self._last_sr_us = arrived_us

    # What is missing

    def due_nacks(self, now_us: int) -> tuple[int, ...]:
        """Sequence numbers to ask for now."""
        due = []
        for sequence, missing in list(self._missing.items()):
            wait_us = FIRST_NACK_AFTER_US if missing.tries == 0 else NACK_INTERVAL_US
            if now_us - (missing.asked_us or missing.since_us) < wait_us:
                continue
            if missing.tries == MAX_NACKS:
                del self._missing[sequence]
                self._give_up(1)
                continue
            missing.tries += 1
            missing.asked_us = now_us
            due.append(sequence % SEQUENCE_SPAN)
        self.statistics.nacks += len(due)
        return tuple(sorted(due))

    def take_repair_wanted(self) -> bool:
        """Whether a loss was given up since the last call: only a keyframe helps now."""
        wanted, self._repair_wanted = self._repair_wanted, False
        return wanted

    def report_block(self, now_us: int) -> ReportBlock | None:
        """RFC 3550, appendix A.3; None before the first packet."""
        if self._highest < 0:
            return None
        expected = self._highest - self._first + 1
        received = self.statistics.packets
        interval_expected = expected - self._reported_expected
        interval_lost = interval_expected - (received - self._reported_received)
        self._reported_expected, self._reported_received = expected, received
        fraction = 0 if interval_expected <= 0 else max(0, min(255, (interval_lost << 8) // interval_expected))
        since_us = now_us - self._last_sr_us
        return ReportBlock(
            ssrc=self.ssrc,
            fraction_lost=fraction,
            cumulative_lost=max(-0x800000, min(0x7FFFFF, expected - received)),
            highest_sequence=self._highest & 0xFFFFFFFF,
            jitter=int(self._jitter),
            last_sr=self._last_sr,
            delay_since_last_sr=since_us * 65536 // 1_000_000 & 0xFFFFFFFF if self._last_sr else 0,
        )

    def _extend(self, sequence_number: int) -> int:
        if self._highest < 0:
            return sequence_number
        step = (sequence_number - self._highest + HALF_SPAN) % SEQUENCE_SPAN - HALF_SPAN
        return self._highest + step

    def _count(self, sequence_number: int, now_us: int) -> None:
        sequence = self._extend(sequence_number)
        if self._highest < 0:
            self._first = self._highest = sequence
            return
        if sequence <= self._highest:
            if self._missing.pop(sequence, None) is None:
                self.statistics.duplicates += 1
            else:
                self.statistics.late += 1
            return
        gap = sequence - self._highest - 1
        if gap > MAX_GAP:
            self._give_up(len(self._missing))
            self._missing.clear()
        else:
            self.statistics.lost += gap
            for missing in range(self._highest + 1, sequence):
                self._missing[missing] = _Missing(now_us)
        self._highest = sequence
        while len(self._missing) > MAX_MISSING:
            del self._missing[next(iter(self._missing))]
            self._give_up(1)

    def _give_up(self, packets: int) -> None:
        self.statistics.given_up += packets
        self._repair_wanted = self._repair_wanted or self.kind == "video"

    def _measure_jitter(self, timestamp: int, arrived_us: int) -> None:
        """RFC 3550, appendix A.8, in timestamp units."""
        transit = arrived_us * self._clock_rate_hz // 1_000_000 - timestamp
        if self.statistics.packets > 1:
            change = (transit - self._transit + (1 << 31)) % (1 << 32) - (1 << 31)
            self._jitter += (abs(change) - self._jitter) / 16
        self._transit = transit
