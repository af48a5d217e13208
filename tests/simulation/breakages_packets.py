# SPDX-License-Identifier: Apache-2.0
"""Streams broken on purpose: packets by themselves, sequence numbers, retransmissions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.simulation.recordings import H264_RTX_TYPE, VP8_TYPE
from tests.simulation.rtp_packets import RtpPacket, build_rtp
from tests.simulation.stream_rules import Rule
from tests.simulation.tapes import Item, Tape


@dataclass(frozen=True)
class Breakage:
    """How a legal tape is broken, which rule must say so, and which others may."""

    rule: Rule
    tape: str
    """Which recording: video, rtx or audio."""
    break_it: Callable[[Tape], None]
    also: frozenset[Rule] = frozenset()

    @property
    def name(self) -> str:
        """For the test's id."""
        return f"{self.rule.name}-{self.break_it.__name__}"


BREAKAGES: list[Breakage] = []


def breaks(
    rule: Rule, *also: Rule, tape: str = "video", into: list[Breakage] = BREAKAGES
) -> Callable[[Callable[[Tape], None]], Callable[[Tape], None]]:
    """Register a way of breaking a tape."""

    def register(break_it: Callable[[Tape], None]) -> Callable[[Tape], None]:
        into.append(Breakage(rule, tape, break_it, frozenset(also)))
        return break_it

    return register


@breaks(Rule.RTP_MALFORMED)
def truncated_header(tape: Tape) -> None:
    tape.items.insert(50, Item(tape.items[50].at_us, tape.items[50].packet, raw=b"\x80\x60\x00"))


@breaks(Rule.RTP_MALFORMED)
def wrong_version(tape: Tape) -> None:
    data = build_rtp(tape.items[50].packet)
    tape.items.insert(50, Item(tape.items[50].at_us, tape.items[50].packet, raw=b"\x40" + data[1:]))


@breaks(Rule.RTP_MALFORMED)
def padding_longer_than_packet(tape: Tape) -> None:
    data = build_rtp(RtpPacket(VP8_TYPE, False, 1, 1, 1, payload=b"\xff"))
    tape.items.insert(50, Item(tape.items[50].at_us, tape.items[50].packet, raw=bytes([data[0] | 0x20]) + data[1:]))


@breaks(Rule.SSRC_UNKNOWN)
def foreign_ssrc(tape: Tape) -> None:
    stranger = tape.items[50].copy()
    stranger.packet.ssrc = 0xBAD
    tape.items.insert(50, stranger)


@breaks(Rule.PACKET_TOO_LARGE)
def too_much_padding(tape: Tape) -> None:
    tape.find(lambda frame: len(frame[0].packet.payload) > 1000)[0].packet.padding = 200


@breaks(Rule.EXTENSION_NOT_NEGOTIATED)
def publishers_rid_passed_on(tape: Tape) -> None:
    tape.items[50].packet.extensions += ((10, b"f"),)


@breaks(Rule.EXTENSION_MID)
def publishers_mid_passed_on(tape: Tape) -> None:
    tape.items[50].packet.extensions = ((4, b"1"),)


@breaks(Rule.PAYLOAD_TYPE, Rule.ORIGIN_INCOMPLETE)
def publishers_payload_type_passed_on(tape: Tape) -> None:
    tape.find(lambda frame: len(frame) > 2)[1].packet.payload_type = 120


@breaks(Rule.PAYLOAD_TYPE, tape="rtx")
def media_payload_type_on_rtx(tape: Tape) -> None:
    tape.rtx()[3].packet.payload_type = VP8_TYPE


@breaks(Rule.CSRC_MISSING)
def two_csrcs(tape: Tape) -> None:
    packet = tape.items[50].packet
    packet.csrcs += (77,)


@breaks(Rule.CSRC_MISSING)
def no_csrc(tape: Tape) -> None:
    tape.binds = []
    tape.items = [item for item in tape.items if item.packet.csrcs == (1,)]
    for item in tape.items:
        item.packet.csrcs = ()


@breaks(Rule.SEQUENCE_START)
def starts_in_the_upper_half(tape: Tape) -> None:
    tape.shift(tape.media(), sequence=(1 << 15) - tape.media()[0].packet.sequence)


@breaks(Rule.SEQUENCE_GAP)
def leaves_a_number_out_between_frames(tape: Tape) -> None:
    tape.shift(tape.from_item(tape.frames()[20][0]), sequence=1)


@breaks(Rule.SEQUENCE_GAP)
def leaves_more_out_than_were_lost(tape: Tape) -> None:
    tape.set_slot(inbound_impaired=True)
    tape.losses = 2
    tape.shift(tape.from_item(tape.frames()[20][0]), sequence=3)


@breaks(Rule.SEQUENCE_GAP)
def jumps_at_a_bind(tape: Tape) -> None:
    tape.shift(tape.from_item(tape.frames("H264")[0][0]), sequence=5000)


@breaks(Rule.SEQUENCE_GAP, tape="rtx")
def leaves_an_rtx_number_out(tape: Tape) -> None:
    tape.shift(tape.rtx()[4:], sequence=1)


@breaks(Rule.SEQUENCE_ORDER, Rule.SEQUENCE_GAP)
def swaps_two_packets(tape: Tape) -> None:
    first, second = tape.find(lambda frame: len(frame) > 2)[:2]
    first.packet, second.packet = second.packet, first.packet


@breaks(Rule.SEQUENCE_ORDER)
def sends_what_came_before_the_start(tape: Tape) -> None:
    early = tape.items[0].copy()
    early.at_us = tape.items[30].at_us
    early.packet.sequence = (early.packet.sequence - 2) & 0xFFFF
    tape.items.insert(30, early)


@breaks(Rule.SEQUENCE_DUPLICATE)
def sends_a_packet_twice(tape: Tape) -> None:
    again = tape.items[40].copy()
    again.at_us = tape.items[50].at_us
    tape.items.insert(50, again)


@breaks(Rule.SEQUENCE_DUPLICATE, tape="rtx")
def sends_an_rtx_packet_twice(tape: Tape) -> None:
    again = tape.rtx()[2]
    tape.items.append(Item(tape.items[-1].at_us, again.packet))


@breaks(Rule.INDEX_REUSED)
def protects_an_index_with_other_bytes(tape: Tape) -> None:
    again = tape.items[40].copy()
    again.at_us = tape.items[50].at_us
    again.packet.payload += b"\x01"
    tape.items.insert(50, again)


@breaks(Rule.INDEX_REUSED, tape="rtx")
def protects_an_rtx_index_with_other_bytes(tape: Tape) -> None:
    again = tape.rtx()[-1].copy()
    again.at_us = tape.items[-1].at_us
    again.packet.payload += b"\x01"
    tape.items.append(again)


@breaks(Rule.RTX_MALFORMED, tape="rtx")
def rtx_without_original_number(tape: Tape) -> None:
    tape.rtx()[3].packet.payload = b"\x00"


@breaks(Rule.RTX_NEVER_SENT, tape="rtx")
def rtx_of_the_future(tape: Tape) -> None:
    packet = tape.rtx()[3].packet
    packet.payload = ((int.from_bytes(packet.payload[:2], "big") + 3000) & 0xFFFF).to_bytes(2, "big") + b"\x90"


@breaks(Rule.RTX_NEVER_SENT, tape="rtx")
def rtx_fills_a_hole(tape: Tape) -> None:
    original = int.from_bytes(tape.rtx()[3].packet.payload[:2], "big")
    gone = next(item for item in tape.media() if item.packet.sequence == original)
    tape.losses = 1
    tape.items = [item for item in tape.items if item is not gone]


@breaks(Rule.RTX_DIFFERS, tape="rtx")
def rtx_with_other_picture_id(tape: Tape) -> None:
    packet = tape.rtx()[3].packet
    packet.payload = packet.payload[:5] + bytes([packet.payload[5] ^ 1]) + packet.payload[6:]


@breaks(Rule.RTX_DIFFERS, tape="rtx")
def rtx_with_other_timestamp(tape: Tape) -> None:
    tape.rtx()[3].packet.timestamp ^= 1


@breaks(Rule.RTX_DIFFERS, tape="rtx")
def rtx_with_other_marker(tape: Tape) -> None:
    packet = tape.rtx()[3].packet
    packet.marker = not packet.marker


@breaks(Rule.RTX_DIFFERS, tape="rtx")
def rtx_with_the_present_csrc(tape: Tape) -> None:
    packet = tape.rtx()[3].packet
    packet.csrcs = (packet.csrcs[0] + 1,)


@breaks(Rule.RTX_DIFFERS, tape="rtx")
def rtx_without_a_negotiated_extension(tape: Tape) -> None:
    tape.set_slot(extensions={**tape.slot.extensions, 7: "urn:3gpp:video-orientation"})
    for item in tape.media():
        item.packet.extensions += ((7, b"\x01"),)


@breaks(Rule.RTX_PAYLOAD_TYPE, tape="rtx")
def rtx_payload_type_of_another_codec(tape: Tape) -> None:
    tape.rtx()[3].packet.payload_type = H264_RTX_TYPE
