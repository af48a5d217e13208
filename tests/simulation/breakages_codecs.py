# SPDX-License-Identifier: Apache-2.0
"""Streams broken on purpose: VP8 descriptors and H.264 units."""

from __future__ import annotations

from tests.simulation.breakages_packets import Breakage, breaks
from tests.simulation.h264_payload import FU_A, parse_h264
from tests.simulation.stream_rules import PayloadFormat, Rule
from tests.simulation.tapes import Item, Tape, edit_vp8, shift_vp8, vp8

BREAKAGES: list[Breakage] = []


def _long(frame: list[Item]) -> bool:
    return len(frame) > 2 and not vp8(frame[0]).keyframe


def _fragmented(frame: list[Item]) -> bool:
    return len(frame) > 3 and all(item.packet.payload[0] & 0x1F == FU_A for item in frame)


@breaks(Rule.VP8_MALFORMED, Rule.ORIGIN_INCOMPLETE, into=BREAKAGES)
def descriptor_without_an_end(tape: Tape) -> None:
    packet = tape.find(_long)[1].packet
    packet.payload = b"\x80\x80"


@breaks(Rule.VP8_MALFORMED, Rule.VP8_BASE_NOT_SENT, Rule.VP8_LAYER_SYNC, into=BREAKAGES)
def keyframe_in_an_upper_layer(tape: Tape) -> None:
    edit_vp8(tape.find(lambda frame: vp8(frame[0]).keyframe), temporal=1)


@breaks(Rule.VP8_FRAME_START, into=BREAKAGES)
def first_packet_without_start(tape: Tape) -> None:
    edit_vp8(tape.find(_long)[:1], start_of_frame=False)


@breaks(Rule.VP8_FRAME_START, into=BREAKAGES)
def two_starts_in_a_frame(tape: Tape) -> None:
    frame = tape.find(_long)
    edit_vp8(frame[1:2], start_of_frame=True)
    size = vp8(frame[0]).size
    frame[1].packet.payload = (
        frame[1].packet.payload[:size] + frame[0].packet.payload[size : size + 3] + frame[1].packet.payload[size:]
    )


@breaks(Rule.VP8_FIELDS_IN_FRAME, into=BREAKAGES)
def picture_id_changes_within_a_frame(tape: Tape) -> None:
    shift_vp8(tape.find(_long)[1], picture=1)


@breaks(Rule.VP8_FIELDS_IN_FRAME, into=BREAKAGES)
def base_index_changes_within_a_frame(tape: Tape) -> None:
    shift_vp8(tape.find(_long)[1], tl0=1)


@breaks(Rule.VP8_FIELDS_IN_FRAME, into=BREAKAGES)
def temporal_layer_changes_within_a_frame(tape: Tape) -> None:
    edit_vp8(tape.find(_long)[1:2], temporal=3)


@breaks(Rule.VP8_PICTURE_ID, into=BREAKAGES)
def picture_id_skips(tape: Tape) -> None:
    tape.shift(tape.from_item(tape.find(_long)[0]), picture=1)


@breaks(Rule.VP8_PICTURE_ID, into=BREAKAGES)
def picture_id_repeats(tape: Tape) -> None:
    tape.shift(tape.from_item(tape.find(_long)[0]), picture=-1)


@breaks(Rule.VP8_PICTURE_ID, into=BREAKAGES)
def picture_id_is_the_publishers_after_a_switch(tape: Tape) -> None:
    tape.shift(tape.from_item(tape.find(lambda frame: vp8(frame[0]).keyframe)[0]), picture=12345)


@breaks(Rule.VP8_PICTURE_ID, into=BREAKAGES)
def picture_id_of_seven_bits(tape: Tape) -> None:
    for frame in tape.frames("VP8"):
        edit_vp8(frame, long_picture_id=False, picture_id=(vp8(frame[0]).picture_id or 0) & 0x7F)


@breaks(Rule.VP8_TL0_STEP, into=BREAKAGES)
def base_index_skips(tape: Tape) -> None:
    base = tape.find(lambda frame: vp8(frame[0]).temporal == 0 and not vp8(frame[0]).keyframe)
    for item in tape.from_item(base[0]):
        if tape.slot.payloads[item.packet.payload_type].codec == "VP8":
            shift_vp8(item, tl0=1)


@breaks(Rule.VP8_TL0_STEP, into=BREAKAGES)
def base_index_stands_still(tape: Tape) -> None:
    base = tape.find(lambda frame: vp8(frame[0]).temporal == 0 and not vp8(frame[0]).keyframe)
    for item in tape.from_item(base[0]):
        if tape.slot.payloads[item.packet.payload_type].codec == "VP8":
            shift_vp8(item, tl0=-1)


@breaks(Rule.VP8_BASE_NOT_SENT, Rule.ORIGIN_REFERENCE, into=BREAKAGES)
def leaves_a_base_frame_out(tape: Tape) -> None:
    tape.remove_frame(tape.find(lambda frame: vp8(frame[0]).temporal == 0 and not vp8(frame[0]).keyframe))


@breaks(Rule.VP8_LAYER_SYNC, into=BREAKAGES)
def first_upper_frame_is_no_sync(tape: Tape) -> None:
    edit_vp8(tape.frames("VP8")[1], layer_sync=False)


@breaks(Rule.VP8_LAYER_SYNC, Rule.ORIGIN_REFERENCE, into=BREAKAGES)
def comes_back_to_upper_layers_without_a_sync(tape: Tape) -> None:
    frames = tape.frames("VP8")
    assert [vp8(frame[0]).temporal for frame in frames[:8]] == [0, 2, 1, 2, 0, 2, 1, 2]
    for frame in (frames[7], frames[6], frames[5], frames[3], frames[2], frames[1]):
        tape.remove_frame(frame)
    resync = tape.find(lambda frame: vp8(frame[0]).layer_sync, after=1)
    tape.remove_frame(resync)


@breaks(Rule.H264_MALFORMED, Rule.H264_FRAGMENT, into=BREAKAGES)
def fragment_with_start_and_end(tape: Tape) -> None:
    packet = tape.find(_fragmented, "H264")[0].packet
    packet.payload = packet.payload[:1] + bytes([packet.payload[1] | 0xC0]) + packet.payload[2:]


@breaks(Rule.H264_MALFORMED, into=BREAKAGES)
def aggregate_with_a_unit_too_long(tape: Tape) -> None:
    packet = tape.frames("H264")[0][0].packet
    packet.payload = packet.payload[:1] + b"\x7f\xff" + packet.payload[3:]
    tape.items = [item for item in tape.items if item not in tape.from_item(tape.frames("H264")[0][1])]


@breaks(Rule.H264_MALFORMED, into=BREAKAGES)
def fragments_in_packetization_mode_0(tape: Tape) -> None:
    tape.set_slot(
        payloads={
            payload_type: PayloadFormat(known.codec, known.clock_rate, known.rtx_payload_type, packetization_mode=0)
            for payload_type, known in tape.slot.payloads.items()
        }
    )


@breaks(Rule.H264_FRAGMENT, Rule.ORIGIN_INCOMPLETE, Rule.ORIGIN_REFERENCE, into=BREAKAGES)
def fragment_without_its_start(tape: Tape) -> None:
    tape.remove(tape.find(_fragmented, "H264")[:1])


@breaks(Rule.H264_FRAGMENT, Rule.ORIGIN_INCOMPLETE, Rule.ORIGIN_REFERENCE, into=BREAKAGES)
def fragment_without_its_end(tape: Tape) -> None:
    frame = tape.find(_fragmented, "H264")
    frame[-2].packet.marker = True
    tape.remove(frame[-1:])


@breaks(Rule.H264_FRAGMENT, Rule.ORIGIN_INCOMPLETE, Rule.ORIGIN_REFERENCE, into=BREAKAGES)
def unit_within_a_fragmented_one(tape: Tape) -> None:
    frame = tape.find(_fragmented, "H264")
    frame[1].packet.payload = b"\x61\x48" + frame[1].packet.payload[2:]


@breaks(Rule.H264_FRAGMENT, into=BREAKAGES)
def fragment_of_another_unit(tape: Tape) -> None:
    packet = tape.find(_fragmented, "H264")[1].packet
    kind = parse_h264(packet.payload).fragment
    assert kind == 1
    packet.payload = packet.payload[:1] + bytes([packet.payload[1] ^ 0x03]) + packet.payload[2:]
