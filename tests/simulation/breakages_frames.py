# SPDX-License-Identifier: Apache-2.0
"""Streams broken on purpose: binds, frames, timestamps, and what only the publishers' marks show."""

from __future__ import annotations

from tests.simulation.breakages_packets import Breakage, breaks
from tests.simulation.recordings import H264_TYPE
from tests.simulation.rtp_packets import RtpPacket
from tests.simulation.stream_rules import Rule
from tests.simulation.tapes import Item, Tape, edit_mark, mark, vp8

BREAKAGES: list[Breakage] = []


def _long(frame: list[Item]) -> bool:
    return len(frame) > 2 and not vp8(frame[0]).keyframe


def _padding(tape: Tape, before: Item, timestamp: int) -> Item:
    packet = before.packet
    padding = RtpPacket(packet.payload_type, False, 0, timestamp, tape.slot.ssrc, packet.csrcs, padding=100)
    return Item(before.at_us, padding)


@breaks(Rule.CSRC_UNEXPECTED, into=BREAKAGES)
def names_a_publication_that_is_not_bound(tape: Tape) -> None:
    for item in tape.media():
        if item.packet.csrcs == (3,):
            item.packet.csrcs = (9,)


@breaks(Rule.CSRC_UNEXPECTED, Rule.ORIGIN_CSRC, into=BREAKAGES)
def goes_back_to_an_earlier_name(tape: Tape) -> None:
    for item in tape.media():
        if item.packet.csrcs == (3,):
            item.packet.csrcs = (1,)


@breaks(Rule.CSRC_IN_FRAME, into=BREAKAGES)
def changes_the_name_within_a_frame(tape: Tape) -> None:
    tape.find(_long)[1].packet.csrcs = (2,)


@breaks(Rule.PAYLOAD_TYPE_IN_FRAME, Rule.ORIGIN_INCOMPLETE, into=BREAKAGES)
def changes_the_codec_within_a_frame(tape: Tape) -> None:
    tape.find(_long)[1].packet.payload_type = H264_TYPE


@breaks(Rule.START_WITHOUT_KEYFRAME, Rule.ORIGIN_SWITCH, Rule.ORIGIN_REFERENCE, Rule.VP8_LAYER_SYNC, into=BREAKAGES)
def starts_with_an_interframe(tape: Tape) -> None:
    tape.items = tape.from_item(tape.frames()[2][0])


@breaks(
    Rule.START_WITHOUT_KEYFRAME,
    Rule.ORIGIN_INCOMPLETE,
    Rule.ORIGIN_REFERENCE,
    into=BREAKAGES,
)
def starts_in_the_middle_of_a_keyframe(tape: Tape) -> None:
    tape.items = tape.from_item(tape.frames()[0][1])


@breaks(
    Rule.START_WITHOUT_KEYFRAME,
    Rule.ORIGIN_SWITCH,
    Rule.ORIGIN_REFERENCE,
    Rule.VP8_LAYER_SYNC,
    Rule.VP8_PICTURE_ID,
    Rule.VP8_TL0_STEP,
    into=BREAKAGES,
)
def binds_without_a_keyframe(tape: Tape) -> None:
    bound = [frame for frame in tape.frames("VP8") if frame[0].packet.csrcs == (3,)]
    tape.remove([item for frame in bound[:2] for item in frame])


@breaks(Rule.START_WITHOUT_KEYFRAME, Rule.ORIGIN_INCOMPLETE, Rule.ORIGIN_REFERENCE, into=BREAKAGES)
def starts_h264_without_parameter_sets(tape: Tape) -> None:
    tape.remove(tape.frames("H264")[0][:1])


@breaks(Rule.START_WITHOUT_KEYFRAME, Rule.ORIGIN_SWITCH, Rule.ORIGIN_REFERENCE, into=BREAKAGES)
def starts_h264_without_an_idr(tape: Tape) -> None:
    tape.remove(tape.frames("H264")[0])


@breaks(Rule.START_WITHOUT_KEYFRAME, Rule.ORIGIN_INCOMPLETE, into=BREAKAGES)
def starts_h264_with_the_parameter_sets_behind(tape: Tape) -> None:
    keyframe = tape.frames("H264")[0]
    payloads = [item.packet.payload for item in (*keyframe[1:], keyframe[0])]
    for item, payload in zip(keyframe, payloads, strict=True):
        item.packet.payload = payload


@breaks(Rule.TIMESTAMP_IN_FRAME, into=BREAKAGES)
def changes_the_timestamp_within_a_frame(tape: Tape) -> None:
    tape.shift(tape.find(_long)[1:2], timestamp=1)


@breaks(Rule.TIMESTAMP_ORDER, into=BREAKAGES)
def goes_back_in_time(tape: Tape) -> None:
    tape.shift(tape.find(_long), timestamp=-9000)


@breaks(Rule.TIMESTAMP_ORDER, into=BREAKAGES)
def two_frames_of_one_time(tape: Tape) -> None:
    first, second = tape.frames()[20:22]
    step = second[0].packet.timestamp - first[0].packet.timestamp
    tape.shift(tape.from_item(second[0]), timestamp=-step)


@breaks(Rule.TIMESTAMP_ORDER, Rule.TIMESTAMP_DRIFT, into=BREAKAGES)
def passes_the_publishers_timestamps_on(tape: Tape) -> None:
    for item in tape.media():
        if item.packet.csrcs == (3,):
            tape.shift([item], timestamp=0x90000000)


@breaks(Rule.TIMESTAMP_ORDER, tape="audio", into=BREAKAGES)
def repeats_an_audio_timestamp(tape: Tape) -> None:
    tape.shift(tape.media()[10:11], timestamp=-960)


@breaks(Rule.TIMESTAMP_DRIFT, into=BREAKAGES)
def jumps_ahead_in_time(tape: Tape) -> None:
    tape.shift(tape.from_item(tape.frames()[30][0]), timestamp=2 * 90_000)


@breaks(Rule.TIMESTAMP_DRIFT, Rule.TIMESTAMP_ORDER, Rule.MARKER_EARLY, into=BREAKAGES)
def runs_at_another_clock_rate(tape: Tape) -> None:
    first = tape.media()[0].packet.timestamp
    for item in tape.media():
        item.packet.timestamp = first + (item.packet.timestamp - first) * 48 // 90


@breaks(Rule.MARKER_MISSING, into=BREAKAGES)
def forgets_a_marker(tape: Tape) -> None:
    tape.find(_long)[-1].packet.marker = False


@breaks(Rule.MARKER_MISSING, Rule.ORIGIN_INCOMPLETE, Rule.ORIGIN_REFERENCE, into=BREAKAGES)
def cuts_a_frame_off_at_a_codec_change(tape: Tape) -> None:
    frames = tape.frames()
    at = next(n for n, frame in enumerate(frames) if frame[0].packet.payload_type == H264_TYPE)
    tape.remove(frames[at - 1][-1:])


@breaks(Rule.MARKER_MISSING, Rule.ORIGIN_INCOMPLETE, Rule.ORIGIN_REFERENCE, into=BREAKAGES)
def cuts_a_frame_off_at_a_switch(tape: Tape) -> None:
    frames = tape.frames("VP8")
    at = next(n for n, frame in enumerate(frames) if n > 5 and vp8(frame[0]).keyframe and len(frames[n - 1]) > 1)
    tape.remove(frames[at - 1][-1:])


@breaks(
    Rule.MARKER_EARLY,
    Rule.VP8_FRAME_START,
    Rule.VP8_PICTURE_ID,
    Rule.VP8_TL0_STEP,
    Rule.ORIGIN_INCOMPLETE,
    Rule.ORIGIN_ORDER,
    Rule.ORIGIN_REFERENCE,
    into=BREAKAGES,
)
def marks_the_middle_of_a_frame(tape: Tape) -> None:
    tape.find(_long)[1].packet.marker = True


@breaks(Rule.PADDING_IN_FRAME, into=BREAKAGES)
def pads_within_a_frame(tape: Tape) -> None:
    second = tape.find(_long)[1]
    tape.insert(second, _padding(tape, second, second.packet.timestamp))


@breaks(Rule.PADDING_TIMESTAMP, into=BREAKAGES)
def pads_ahead_of_time(tape: Tape) -> None:
    first = tape.find(_long)[0]
    tape.insert(first, _padding(tape, first, first.packet.timestamp + 90_000))


@breaks(Rule.AUDIO_MARKER, tape="audio", into=BREAKAGES)
def binds_audio_without_a_marker(tape: Tape) -> None:
    next(item for item in tape.media() if item.packet.csrcs == (2,)).packet.marker = False


@breaks(Rule.AUDIO_STEP, tape="audio", into=BREAKAGES)
def binds_audio_by_time_of_arrival(tape: Tape) -> None:
    tape.shift(tape.from_item(next(i for i in tape.media() if i.packet.csrcs == (2,))), timestamp=100)


@breaks(Rule.ORIGIN_MIXED_FRAME, Rule.ORIGIN_INCOMPLETE, into=BREAKAGES)
def mixes_two_frames(tape: Tape) -> None:
    first = tape.find(_long)
    second = tape.frames()[tape.frames().index(first) + 1]
    first[1].packet.payload = first[1].packet.payload[: vp8(first[1]).size] + second[-1].packet.payload[6:]


@breaks(Rule.ORIGIN_INCOMPLETE, Rule.ORIGIN_REFERENCE, into=BREAKAGES)
def leaves_a_packet_out_without_a_gap(tape: Tape) -> None:
    tape.remove(tape.find(_long)[1:2])


@breaks(Rule.ORIGIN_INCOMPLETE, into=BREAKAGES)
def sends_a_frames_packets_in_another_order(tape: Tape) -> None:
    frame = tape.find(lambda frame: len(frame) > 3)
    frame[1].packet.payload, frame[2].packet.payload = frame[2].packet.payload, frame[1].packet.payload


@breaks(Rule.ORIGIN_SWITCH, Rule.ORIGIN_REFERENCE, into=BREAKAGES)
def switches_layer_on_an_interframe(tape: Tape) -> None:
    frames = tape.frames("VP8")
    at = next(n for n, frame in enumerate(frames) if n > 5 and vp8(frame[0]).keyframe)
    edit_mark(frames[at], keyframe=False, references=())


@breaks(Rule.ORIGIN_SWITCH, Rule.ORIGIN_ORDER, Rule.ORIGIN_REFERENCE, into=BREAKAGES)
def goes_on_with_the_old_layer_after_the_switch(tape: Tape) -> None:
    frames = tape.frames("VP8")
    at = next(n for n, frame in enumerate(frames) if n > 5 and vp8(frame[0]).keyframe)
    old = mark(frames[at - 1][0])
    edit_mark(frames[at + 1], layer=old.layer, frame=old.frame + 1)


@breaks(Rule.ORIGIN_ORDER, Rule.ORIGIN_REFERENCE, into=BREAKAGES)
def sends_a_source_frame_twice(tape: Tape) -> None:
    frames = tape.frames("VP8")
    edit_mark(frames[12], frame=mark(frames[11][0]).frame, references=())


@breaks(Rule.ORIGIN_REFERENCE, into=BREAKAGES)
def leaves_out_a_frame_that_others_need(tape: Tape) -> None:
    tape.remove_frame(tape.find(lambda frame: vp8(frame[0]).temporal == 1 and not vp8(frame[0]).layer_sync))


@breaks(Rule.ORIGIN_REFERENCE, into=BREAKAGES)
def leaves_out_an_h264_frame(tape: Tape) -> None:
    tape.remove(tape.frames("H264")[4])


@breaks(Rule.ORIGIN_CSRC, tape="audio", into=BREAKAGES)
def puts_a_wrong_name_on_a_voice(tape: Tape) -> None:
    tape.binds = []
    for item in tape.media():
        if item.packet.csrcs == (2,):
            item.packet.csrcs = (1,)
