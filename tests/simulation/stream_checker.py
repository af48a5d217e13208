# SPDX-License-Identifier: Apache-2.0
"""Watches one outbound RTP stream as its receiver sees it and names each rule that it breaks.

Written from RFC 3550, 4588, 6184, 7741 and 8285; shares no code with the server. Packets are fed in order of sending
(plaintext, with the time of sending): sequence numbers, retransmissions and header extensions are judged at once,
frames in order of sequence numbers.

A sequence number may be left out only for a packet that was lost on the way in: tell of it by `lost_upstream` (so many
of what this slot would have forwarded) or `declare_hole` (that number). With `inbound_impaired` a hole is judged when
it is given up, not at once, and may be filled.
"""

from __future__ import annotations

from tests.simulation.frame_checker import FrameChecker
from tests.simulation.rtp_packets import (
    ABS_SEND_TIME,
    MID,
    REPAIRED_RID,
    RID,
    TRANSPORT_CC,
    MalformedPacket,
    RtpPacket,
    extend,
    parse_rtp,
)
from tests.simulation.sequence_ledger import Entry, SequenceLedger, SequenceOrder
from tests.simulation.stream_rules import Report, Rule, SlotDescription

PER_TRANSMISSION = frozenset({MID, RID, REPAIRED_RID, TRANSPORT_CC, ABS_SEND_TIME})
"""Header extensions that belong to one transmission and not to what is transmitted."""


class StreamChecker:
    """One slot: its media SSRC and, where negotiated, its RTX SSRC."""

    def __init__(self, slot: SlotDescription) -> None:
        self.slot = slot
        self.report = Report()
        self._frames = FrameChecker(slot, self.report)
        patience_us = slot.hole_patience_us
        self._media = SequenceLedger(self.report, impaired=slot.inbound_impaired, patience_us=patience_us)
        self._rtx = SequenceLedger(self.report, impaired=False, patience_us=patience_us)
        self._order = SequenceOrder(self._media)
        self._companions = {
            payload_format.rtx_payload_type: payload_type
            for payload_type, payload_format in slot.payloads.items()
            if payload_format.rtx_payload_type is not None
        }
        self._content_ids = frozenset(i for i, uri in slot.extensions.items() if uri not in PER_TRANSMISSION)
        self._now_us = 0

    def on_packet(self, data: bytes, sent_us: int) -> None:
        """A packet of this slot was sent."""
        if sent_us < self._now_us:
            raise ValueError(f"packets are fed in order of sending: {sent_us} after {self._now_us}")
        self._now_us = sent_us
        try:
            packet = parse_rtp(data)
        except MalformedPacket as error:
            self._breach(Rule.RTP_MALFORMED, -1, str(error))
            return
        if len(data) > self.slot.max_packet_bytes:
            self._breach(Rule.PACKET_TOO_LARGE, packet.sequence, f"{len(data)} bytes")
        self._judge_extensions(packet)
        if packet.ssrc == self.slot.ssrc:
            self._on_media(packet, data)
        elif packet.ssrc == self.slot.rtx_ssrc:
            self._on_retransmission(packet, data)
        else:
            self._breach(Rule.SSRC_UNKNOWN, packet.sequence, f"{packet.ssrc:#x}")

    def expect_bind(self, csrc: int) -> None:
        """The slot is being bound to that publication. If none is ever announced, a change of CSRC is a bind."""
        self._frames.expect_bind(csrc)

    def expect_restart(self) -> None:
        """The next frame must be a keyframe (after a pause, or a bind that the CSRC does not show)."""
        self._frames.expect_restart()

    def expect_pause(self) -> None:
        """The slot is paused or unbound: the time until the next frame is no gap."""
        self._frames.expect_pause()

    def lost_upstream(self, packets: int = 1) -> None:
        """So many packets of the bound source were lost or late on the way in: that many holes may stay open.

        Tell before the packet behind the hole. Count also what was recovered but may not have been selected then.
        """
        self._media.expect_losses(packets)

    def declare_hole(self, sequence: int) -> None:
        """That sequence number is left out because its packet did not reach the server, or to mark a cut-off frame."""
        self._media.declare_hole(sequence)
        self._drain()

    def finish(self, now_us: int) -> Report:
        """Judge what is still open."""
        self._media.give_up(None)
        self._rtx.give_up(None)
        self._drain()
        self._frames.finish(now_us)
        return self.report

    def _breach(self, rule: Rule, sequence: int, detail: str) -> None:
        self.report.add(rule, self._now_us, sequence, detail)

    def _judge_extensions(self, packet: RtpPacket) -> None:
        for identifier, value in packet.extensions:
            uri = self.slot.extensions.get(identifier)
            if uri is None:
                self._breach(Rule.EXTENSION_NOT_NEGOTIATED, packet.sequence, f"id {identifier}")
            elif uri == MID and self.slot.mid is not None and value != self.slot.mid:
                self._breach(Rule.EXTENSION_MID, packet.sequence, f"{value!r}, the slot's is {self.slot.mid!r}")

    def _judge_csrc(self, packet: RtpPacket) -> None:
        wanted = self.slot.require_csrc and bool(packet.payload)
        if wanted and (len(packet.csrcs) != 1 or packet.csrcs[0] == 0):
            self._breach(Rule.CSRC_MISSING, packet.sequence, f"CSRCs {packet.csrcs}")

    def _content(self, packet: RtpPacket, payload: bytes) -> int:
        """Hash of what a retransmission repeats (RFC 4588 §4)."""
        extensions = tuple(item for item in packet.extensions if item[0] in self._content_ids)
        return hash((packet.timestamp, packet.marker, packet.csrcs, extensions, payload))

    def _on_media(self, packet: RtpPacket, data: bytes) -> None:
        self.report.packets += 1
        if packet.payload_type not in self.slot.payloads:
            self._breach(Rule.PAYLOAD_TYPE, packet.sequence, f"{packet.payload_type}")
        self._judge_csrc(packet)
        entry: Entry = (hash(data), self._content(packet, packet.payload), packet.payload_type)
        index = self._media.add(packet, entry, self._now_us)
        if index is not None:
            self._order.add(index, packet, self._now_us)
        self._media.give_up(self._now_us)
        self._drain()

    def _drain(self) -> None:
        for item in self._order.take():
            if item is None:
                self._frames.lose()
            else:
                packet, sent_us, late = item
                self._frames.packet(packet, sent_us, late=late)

    def _on_retransmission(self, packet: RtpPacket, data: bytes) -> None:
        self.report.retransmissions += 1
        sequence = packet.sequence
        media_type = self._companions.get(packet.payload_type)
        if media_type is None:
            self._breach(Rule.PAYLOAD_TYPE, sequence, f"{packet.payload_type} on the RTX SSRC")
        if self._rtx.add(packet, (hash(data), 0, packet.payload_type), self._now_us) is None:
            return
        if not packet.payload and packet.padding:
            self.report.padding_packets += 1
            return
        if len(packet.payload) < 2:
            self._breach(Rule.RTX_MALFORMED, sequence, f"payload of {len(packet.payload)} bytes")
            return
        original = int.from_bytes(packet.payload[:2], "big")
        index = extend(original, self._media.highest, 16)
        if not self._media.was_sent(index):
            self._breach(Rule.RTX_NEVER_SENT, sequence, f"original {original}")
            return
        entry = self._media.entry(index)
        if entry is None:
            self.report.unverified_retransmissions += 1
            return
        if self._content(packet, packet.payload[2:]) != entry[1]:
            self._breach(Rule.RTX_DIFFERS, sequence, f"original {original}")
        if media_type is not None and media_type != entry[2]:
            self._breach(Rule.RTX_PAYLOAD_TYPE, sequence, f"{packet.payload_type}, original {entry[2]}")
