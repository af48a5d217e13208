# SPDX-License-Identifier: Apache-2.0
"""Simulcast: which layer flows, and that a switch looks like one stream to the receiver."""

import itertools

from sfu.engine.drops import DropReason
from sfu.engine.events import ForwarderLayer, ForwarderStarted
from tests.engine.media import FRAME_TICKS, Simulcast, Vp8Stream, bodies, descriptor
from tests.engine.router_driver import Driver, Peer
from tests.simulation import rtcp_packets as rtcp
from tests.simulation.rtp_packets import RtpPacket

FRAME_US = 33_333


class Call:
    """A publisher with simulcast and a receiver with one slot."""

    def __init__(self, spatial: int = 2, temporal: int = 2, rids: tuple[bytes, ...] = (b"q", b"h", b"f")) -> None:
        self.driver = Driver()
        self.publisher, self.receiver = self.driver.connect("p"), self.driver.connect("r")
        self.track = self.driver.video_track(self.publisher, rids)
        self.slot = self.driver.video_slot(self.receiver)
        self.driver.bind(self.slot, self.track, spatial=spatial, temporal=temporal)
        self.cameras = Simulcast.of(rids)

    def frame(self, *key: int, packets: int = 1) -> list[list[RtpPacket]]:
        """All layers send a frame; returns what each layer sent."""
        self.driver.now_us += FRAME_US
        sent = [layer.frame(packets, key=number in key) for number, layer in enumerate(self.cameras.layers)]
        for packets_of_layer in sent:
            self.publisher.send(*packets_of_layer)
        self.driver.pump()
        return sent

    def got(self) -> list[RtpPacket]:
        return self.receiver.take_rtp()

    def layers(self) -> list[tuple[int, int]]:
        return [(e.spatial, e.temporal) for e in self.driver.take_events(ForwarderLayer)]


def requests(peer: Peer) -> list[int]:
    return [rtcp.feedback_ssrcs(packet)[1] for packet in peer.take_feedback(rtcp.PSFB, rtcp.PLI_FORMAT)]


def assert_one_stream(packets: list[RtpPacket]) -> None:
    """Sequence numbers, picture ids and TL0 without a gap, timestamps upwards (all frames in temporal layer 0)."""
    first = packets[0]
    assert first.sequence < 1 << 15
    frames = 0
    for previous, packet in itertools.pairwise(packets):
        assert packet.sequence == (previous.sequence + 1) & 0xFFFF
        new = packet.timestamp != previous.timestamp
        frames += new
        assert new == previous.marker
        assert 0 <= (packet.timestamp - previous.timestamp) & 0xFFFFFFFF < 1 << 20
        before, after = descriptor(previous), descriptor(packet)
        assert after.long_picture_id
        assert after.picture_id == ((before.picture_id or 0) + new) & 0x7FFF
        assert after.tl0_picture_index == ((before.tl0_picture_index or 0) + new) & 0xFF


def test_a_lower_layer_flows_until_the_wanted_one_has_a_keyframe() -> None:
    call = Call(spatial=2)
    sent = [call.frame(0)]
    sent += [call.frame() for _ in range(2)]
    sent.append(call.frame(2))
    sent += [call.frame() for _ in range(2)]
    got = call.got()
    wanted = [p for frame in sent[:4] for p in frame[0]] + [p for frame in sent[3:] for p in frame[2]]
    assert bodies(got) == bodies(wanted)
    assert_one_stream(got)
    assert call.layers() == [(2, 2)], "coalesced"
    call.driver.assert_accounts_balance()


def test_down_and_up_again() -> None:
    call = Call(spatial=2)
    sent = [call.frame(0, 1, 2), call.frame()]
    wanted = [*sent[0][0], *sent[0][2], *sent[1][2]]
    call.layers()
    call.driver.target(call.slot, 0)
    sent = [call.frame(), call.frame(0), call.frame()]
    wanted += [*sent[0][2], *sent[1][0], *sent[2][0]]
    assert call.layers() == [(0, 2)]
    call.driver.target(call.slot, 1)
    sent = [call.frame(), call.frame(1), call.frame()]
    wanted += [*sent[0][0], *sent[1][0], *sent[1][1], *sent[2][1]]
    assert call.layers() == [(1, 2)]
    got = call.got()
    assert bodies(got) == bodies(wanted)
    assert_one_stream(got)
    assert call.driver.statistics().forwarders[call.slot].switches == 4
    call.driver.assert_accounts_balance()


def test_timestamps_advance_by_capture_time_across_layers() -> None:
    call = Call(spatial=1, rids=(b"q", b"h"))
    for number in range(20):
        call.frame(*((0,) if number == 0 else ()), *((1,) if number == 10 else ()))
    timestamps = [packet.timestamp for packet in call.got()]
    steps = [(b - a) & 0xFFFFFFFF for a, b in itertools.pairwise(timestamps)]
    assert steps[:9] == [FRAME_TICKS] * 9
    # Frame 10 comes from both layers: the keyframe's repetition of one moment follows as soon as may be.
    assert 0 < steps[10] <= 90
    assert sum(steps) - steps[10] == FRAME_TICKS * 19


def test_a_new_layer_waits_for_the_end_of_the_old_ones_frame() -> None:
    call = Call(spatial=1, rids=(b"q", b"h"))
    call.frame(0)
    old = call.cameras.layers[0].frame(3)
    call.driver.now_us += FRAME_US
    call.publisher.send(*old[:2])
    key = call.cameras.layers[1].key()
    call.publisher.send(*key)
    call.publisher.send(old[2])
    call.driver.pump()
    got = call.got()
    assert bodies(got)[1:] == bodies([*old, *key]), "whole frames, one after the other"
    assert [p.sequence - got[0].sequence for p in got] == list(range(len(got))), "and no number is left out"
    assert call.driver.drops(DropReason.HELD) == len(key)
    call.driver.assert_accounts_balance()


def test_a_frame_that_is_cut_off_leaves_one_number_out() -> None:
    call = Call(spatial=1, rids=(b"q", b"h"))
    call.frame(0)
    cut = call.cameras.layers[0].frame(3)
    call.driver.now_us += FRAME_US
    call.publisher.send(*cut[:2])
    key = call.cameras.layers[1].key()
    call.publisher.send(*key)
    call.driver.pump()
    call.driver.now_us += 50_000
    after = call.cameras.layers[1].frame(1)
    call.publisher.send(*after)
    call.driver.pump()
    got = call.got()
    assert bodies(got)[1:] == bodies([*cut[:2], *key, *after])
    assert [p.sequence - got[0].sequence for p in got] == [0, 1, 2, *range(4, 4 + len(key) + 1)]
    assert descriptor(got[3]).picture_id == (descriptor(got[2]).picture_id or 0) + 1
    call.receiver.send_rtcp(rtcp.build_nack(1, 0x1000, [got[0].sequence + 3]))
    assert call.driver.statistics().forwarders[call.slot].nack_unanswered == 1
    call.driver.assert_accounts_balance()


def test_the_keyframe_that_a_switch_needs_is_asked_for_at_once() -> None:
    call = Call(spatial=0)
    call.frame(0, 1, 2)
    call.frame()
    requests(call.publisher)
    call.driver.target(call.slot, 2)
    call.driver.pump()
    assert requests(call.publisher) == [call.cameras.layers[2].ssrc]


def test_a_layer_that_is_not_wanted_asks_for_nothing() -> None:
    call = Call(spatial=1)
    call.frame(1)
    requests(call.publisher)
    for _ in range(60):
        call.frame()
    assert requests(call.publisher) == []
    assert call.driver.all_drops() == {"awaiting_keyframe": 1, "not_selected_spatial": 121}


def test_with_nothing_flowing_any_lower_layer_will_do_but_no_higher_one() -> None:
    call = Call(spatial=1)
    sent = call.frame(2)
    assert call.got() == []
    sent = call.frame(0, 2)
    assert bodies(call.got()) == bodies(sent[0])
    assert call.layers() == [(0, 2)]


def test_pause_and_resume() -> None:
    call = Call(spatial=1, rids=(b"q", b"h"))
    call.frame(1)
    first = call.got()
    call.driver.target(call.slot, -1)
    for _ in range(30):
        call.frame()
    assert call.got() == []
    assert call.layers() == [(-1, 2)]
    assert call.driver.drops(DropReason.PAUSED) == 60
    call.driver.target(call.slot, 1)
    call.frame()
    assert call.got() == [], "it begins with a keyframe"
    call.frame(1)
    second = call.got()
    assert second[0].sequence == first[-1].sequence + 1
    ticks = (second[0].timestamp - first[-1].timestamp) & 0xFFFFFFFF
    assert abs(ticks - 32 * FRAME_TICKS) <= 3, "the pause is in the timestamps"
    call.driver.assert_accounts_balance()


def test_packets_of_the_old_layer_that_come_late_are_dropped() -> None:
    call = Call(spatial=1, rids=(b"q", b"h"))
    call.frame(0)
    late = call.cameras.layers[0].frame(2)
    call.driver.now_us += FRAME_US
    call.publisher.send(late[1])
    call.publisher.send(*call.cameras.layers[1].key())
    call.publisher.send(late[0])
    call.driver.pump()
    assert call.driver.drops(DropReason.NOT_SELECTED_SPATIAL) == 1
    got = call.got()
    assert [p.sequence - got[0].sequence for p in got] == [0, 2, 3], "what is missing stays missing"


def test_what_came_before_the_keyframe_is_dropped_after_it() -> None:
    call = Call(spatial=0, rids=(b"q",))
    stream = call.cameras.layers[0]
    before, key = stream.frame(), stream.key()
    call.publisher.send(*key, *before)
    call.driver.pump()
    assert bodies(call.got()) == bodies(key)
    assert call.driver.all_drops() == {"late": 1}


def test_a_keyframe_that_began_too_long_ago_is_no_place_to_begin() -> None:
    call = Call(spatial=0, rids=(b"q",))
    stream = call.cameras.layers[0]
    key = stream.key(80)
    call.publisher.send(*key[1:], key[0])
    call.driver.pump()
    assert call.got() == []
    assert call.driver.drops(DropReason.LATE) == 1
    for _ in range(20):
        call.driver.advance(FRAME_US)
        call.publisher.send(*stream.frame())
    assert requests(call.publisher) != [], "another one is asked for"


def test_a_start_that_was_overtaken_by_the_rest_of_its_keyframe() -> None:
    """The stream begins there, and what had come before it follows at once."""
    call = Call(spatial=0, rids=(b"q",))
    stream = call.cameras.layers[0]
    key, between, after = stream.key(5), stream.frame(2), stream.frame()
    call.publisher.send(*key[2:], *between[1:], key[0], key[1], between[0], *after)
    call.driver.pump()
    got = call.got()
    assert bodies(got) == bodies([key[0], *key[2:], between[1], key[1], between[0], *after])
    assert [p.sequence - got[0].sequence for p in got] == [0, 2, 3, 4, 6, 1, 5, 7]
    call.driver.assert_accounts_balance()


def test_the_first_packet_after_a_bind_is_told() -> None:
    call = Call(spatial=1, rids=(b"q", b"h"))
    call.frame()
    assert call.driver.take_events(ForwarderStarted) == []
    call.frame(0)
    [got] = call.got()
    assert call.driver.take_events(ForwarderStarted) == [ForwarderStarted(call.slot, 1, got.timestamp)]
    call.frame(1)
    assert call.driver.take_events(ForwarderStarted) == [], "a switch of layers is no bind"


def test_seven_bit_picture_ids_leave_as_fifteen_bits_without_a_gap() -> None:
    call = Call(spatial=0, rids=(b"q",))
    call.cameras.layers = [Vp8Stream(5, 96, b"1", b"q", picture_id=100, long_picture_id=False)]
    for number in range(300):
        call.frame(*((0,) if number % 90 == 0 else ()))
    assert_one_stream(call.got())


def test_picture_ids_of_both_forms_in_one_stream() -> None:
    """aiortc writes ids below 128 in 7 bits, and the others in 15, of the same counter."""
    call = Call(spatial=0, rids=(b"q",))
    stream = call.cameras.layers[0]
    stream.picture_id = 0x7FFF - 20
    for number in range(200):
        stream.long_picture_id = (stream.picture_id + 1) & 0x7FFF >= 128
        call.frame(*((0,) if number == 0 else ()))
    assert_one_stream(call.got())


def test_streams_without_picture_ids_pass_as_they_are() -> None:
    call = Call(spatial=0, rids=(b"q",))
    stream = call.cameras.layers[0]
    packets = [stream.packet(b"\x10\x00\x00\x00\x9d\x01\x2a\x40\x01\xb4\x00" + stream.identity())]
    for _ in range(3):
        stream.timestamp += FRAME_TICKS
        packets.append(stream.packet(b"\x10\x01\x00\x00" + stream.identity()))
    call.publisher.send(*packets)
    call.driver.pump()
    assert [p.payload for p in call.got()] == [p.payload for p in packets]


def test_a_held_switch_that_is_called_off_costs_nothing() -> None:
    """The new layer's keyframe waited for the old frame's end; the target goes back before that end is seen."""
    call = Call(spatial=0, rids=(b"q", b"h"))
    low, high = call.cameras.layers
    call.frame(0)
    call.driver.target(call.slot, 1)
    cut, following = low.frame(3), low.frame(2)
    call.publisher.send(*cut[:2], *high.key())
    call.driver.pump()
    call.got()
    call.driver.target(call.slot, 0)
    call.publisher.send(*following)
    call.driver.pump()
    assert bodies(call.got()) == bodies(following)
    call.driver.assert_accounts_balance()


def test_a_held_switch_is_forgotten_with_its_bind() -> None:
    call = Call(spatial=0, rids=(b"q", b"h"))
    other = call.driver.connect("o")
    track = call.driver.video_track(other)
    stream = Vp8Stream(700, 96)
    low, high = call.cameras.layers
    call.frame(0)
    call.driver.target(call.slot, 1)
    call.publisher.send(*low.frame(3)[:2], *high.key())
    call.driver.pump()
    call.driver.bind(call.slot, track, csrc=5, generation=2)
    call.driver.now_us += 100_000
    call.got()
    key, second = stream.key(2), stream.frame(2)
    other.send(*key)
    call.driver.pump()
    other.send(*second)
    call.driver.pump()
    assert bodies(call.got()) == bodies([*key, *second])


def test_a_switch_waits_for_the_end_of_the_old_layers_frame() -> None:
    call = Call(spatial=1, rids=(b"q", b"h"))
    low, high = call.cameras.layers
    call.frame(0)
    old, key, following = low.frame(3), high.key(3), high.frame()
    call.publisher.send(*old[:2], key[0], key[1], old[2], key[2], *following)
    call.driver.pump()
    got = call.got()
    assert bodies(got[1:]) == bodies([*old, *key, *following])
    assert_one_stream(got)
    call.driver.assert_accounts_balance()


def test_a_switch_does_not_wait_for_an_end_that_does_not_come() -> None:
    call = Call(spatial=1, rids=(b"q", b"h"))
    low, high = call.cameras.layers
    call.frame(0)
    old, key, following = low.frame(3), high.key(2), high.frame()
    call.publisher.send(*old[:2], *key)
    call.driver.pump()
    assert len(call.got()) == 3
    call.driver.now_us += 50_000
    call.publisher.send(*following)
    call.driver.pump()
    assert bodies(call.got()) == bodies([*key, *following])
