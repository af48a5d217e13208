# SPDX-License-Identifier: Apache-2.0
"""VP8 temporal layers: down at any frame, up at a layer sync, and neither leaves a gap behind."""

import itertools

from sfu.engine.drops import DropReason
from sfu.engine.events import ForwarderLayer
from tests.engine.media import Vp8Stream, bodies, descriptor
from tests.engine.router_driver import Driver
from tests.simulation import rtcp_packets as rtcp
from tests.simulation.rtp_packets import RtpPacket

FRAME_US = 33_333
PATTERN = ((0, False), (2, True), (1, True), (2, False), (0, False), (2, False), (1, False), (2, False))
"""(temporal layer, layer sync) of libwebrtc's three layers."""


class Call:
    """One layer with three temporal layers, and one slot."""

    def __init__(self, temporal: int = 2) -> None:
        self.driver = Driver()
        self.publisher, self.receiver = self.driver.connect("p"), self.driver.connect("r")
        track = self.driver.video_track(self.publisher)
        self.slot = self.driver.video_slot(self.receiver)
        self.driver.bind(self.slot, track, temporal=temporal)
        self.stream = Vp8Stream(5, 96, rtx_ssrc=6)
        self.pattern = itertools.cycle(PATTERN)
        self.started = False

    def make(self, packets: int = 1) -> tuple[int, list[RtpPacket]]:
        """The next frame, not sent yet."""
        temporal, sync = next(self.pattern)
        frame = self.stream.frame(packets, key=not self.started, temporal=temporal, sync=sync)
        self.started = True
        return temporal, frame

    def send(self, *packets: RtpPacket) -> None:
        self.driver.now_us += FRAME_US
        self.publisher.send(*packets)
        self.driver.pump()

    def run(self, frames: int, packets: int = 1) -> list[tuple[int, list[RtpPacket]]]:
        sent = []
        for _ in range(frames):
            sent.append(self.make(packets))
            self.send(*sent[-1][1])
        return sent


def assert_closed_up(packets: list[RtpPacket]) -> None:
    for previous, packet in itertools.pairwise(packets):
        assert packet.sequence == (previous.sequence + 1) & 0xFFFF
        before, after = descriptor(previous), descriptor(packet)
        step = ((after.picture_id or 0) - (before.picture_id or 0)) & 0x7FFF
        assert step == (packet.timestamp != previous.timestamp)


def test_frames_above_the_target_are_closed_up() -> None:
    for target in range(3):
        call = Call(target)
        sent = call.run(40, packets=2)
        got = call.receiver.take_rtp()
        assert bodies(got) == bodies([p for temporal, frame in sent if temporal <= target for p in frame])
        assert_closed_up(got)
        call.driver.assert_accounts_balance()


def test_down_at_once_and_up_at_a_sync() -> None:
    call = Call(2)
    call.run(8)
    call.receiver.take_rtp()
    call.driver.take_events(ForwarderLayer)
    call.driver.target(call.slot, 0, 0)
    call.run(10)
    assert [descriptor(p).temporal for p in call.receiver.take_rtp()] == [0, 0, 0]
    assert [e.temporal for e in call.driver.take_events(ForwarderLayer)] == [0]
    call.driver.target(call.slot, 0, 2)
    got = []
    for _ in range(16):
        call.run(1)
        got += [(descriptor(p).temporal, descriptor(p).layer_sync) for p in call.receiver.take_rtp()]
    assert got[0] == (1, True), "one step at a time"
    first = got.index((2, True))
    assert all(temporal in (0, 1) for temporal, _ in got[:first])
    assert call.driver.take_events(ForwarderLayer)[-1].temporal == 2
    call.driver.assert_accounts_balance()


def test_a_keyframe_brings_all_wanted_layers() -> None:
    call = Call(0)
    call.run(3)
    call.driver.target(call.slot, 0, 2)
    call.receiver.take_rtp()
    call.send(*call.stream.key())
    call.send(*call.stream.frame(temporal=2))
    assert [descriptor(p).temporal for p in call.receiver.take_rtp()] == [0, 2]


def test_frames_are_never_cut_by_a_change_of_target() -> None:
    call = Call(2)
    call.run(8)
    call.receiver.take_rtp()
    call.pattern = itertools.cycle(((2, False),))
    _, frame = call.make(4)
    call.send(*frame[:2])
    call.driver.target(call.slot, 0, 0)
    call.send(*frame[2:])
    assert bodies(call.receiver.take_rtp()) == bodies(frame)


def test_a_late_packet_is_treated_like_its_frame() -> None:
    call = Call(0)
    call.run(1)
    _, dropped = call.make(3)
    _, more = call.make(2)
    call.pattern = itertools.cycle(((0, False),))
    _, base = call.make(2)
    call.send(dropped[0], dropped[2])
    call.send(*more)
    call.send(base[0])
    call.send(dropped[1])
    call.send(base[1])
    got = call.receiver.take_rtp()
    assert bodies(got)[1:] == bodies(base)
    assert_closed_up(got)
    assert call.driver.drops(DropReason.NOT_SELECTED_TEMPORAL) == 5


def test_a_hole_kept_for_an_unknown_packet_is_filled_with_padding() -> None:
    """Lost behind a dropped frame's end: whose it was shows only when it comes."""
    call = Call(0)
    first = call.run(1)
    _, dropped = call.make(3)
    call.pattern = itertools.cycle(((0, False),))
    _, base = call.make()
    call.send(*dropped[:2])
    call.send(*base)
    call.send(dropped[2])
    got = call.receiver.take_rtp()
    assert len(got) == 3
    key, after, fill = got
    assert bodies([key, after]) == bodies([*first[0][1], *base])
    assert after.sequence == key.sequence + 2
    assert (fill.sequence, fill.payload, fill.timestamp) == (key.sequence + 1, b"", key.timestamp)
    assert fill.padding
    assert not fill.marker
    assert fill.payload_type == key.payload_type
    call.receiver.send_rtcp(rtcp.build_nack(1, 0x1000, [fill.sequence]))
    call.driver.pump()
    (again,) = call.receiver.take_rtp()
    assert again.payload == fill.sequence.to_bytes(2, "big"), "the number alone, by RTX"
    assert call.driver.statistics().forwarders[call.slot].nack_unanswered == 0
    call.driver.assert_accounts_balance()


def test_a_frame_that_comes_late_as_a_whole_is_forwarded_in_its_place() -> None:
    call = Call(2)
    call.run(8)
    call.receiver.take_rtp()
    _, first = call.make(2)
    _, late = call.make(2)
    _, last = call.make(2)
    call.send(*first, *last, *late)
    got = sorted(call.receiver.take_rtp(), key=lambda packet: packet.sequence)
    assert bodies(got) == bodies([*first, *late, *last])
    assert_closed_up(got)


def test_a_late_frame_above_the_target_is_filled_with_padding() -> None:
    call = Call(0)
    call.run(1)
    _, late = call.make(2)
    call.pattern = itertools.cycle(((0, False),))
    _, base = call.make()
    call.send(*base, *late)
    got = call.receiver.take_rtp()
    assert [len(p.payload) > 0 for p in got] == [True, True, False, False]
    assert [p.sequence - got[0].sequence for p in got] == [0, 3, 1, 2]
    call.driver.assert_accounts_balance()


def test_dropping_goes_on_over_wrapping_counters() -> None:
    call = Call(1)
    call.stream.sequence = 65_500
    call.stream.picture_id = 0x7FFF - 30
    call.stream.tl0 = 250
    call.stream.timestamp = 0xFFFFFFFF - 50_000
    call.run(120, packets=2)
    got = call.receiver.take_rtp()
    assert len(got) == 120
    assert_closed_up(got)


def test_target_changes_in_a_long_call_never_open_a_gap() -> None:
    call = Call(2)
    for step in range(60):
        call.driver.target(call.slot, 0, (step * 7 + step // 5) % 3)
        call.run(5, packets=1 + step % 3)
    got = call.receiver.take_rtp()
    assert_closed_up(got)
    tl0 = [descriptor(p).tl0_picture_index or 0 for p in got]
    assert all((b - a) & 0xFF in (0, 1) for a, b in itertools.pairwise(tl0))
    call.driver.assert_accounts_balance()


def test_a_switch_continues_what_was_sent_last_and_not_what_was_kept() -> None:
    """A frame that filled a hole late, before another hole that stays: the next stream's picture ids come after it."""
    driver = Driver()
    publisher, receiver = driver.connect("p"), driver.connect("r")
    track = driver.video_track(publisher, (b"q", b"h"))
    slot = driver.video_slot(receiver)
    driver.bind(slot, track, spatial=0, temporal=0)
    low = Vp8Stream(5, 96, b"1", b"q")
    high = Vp8Stream(7, 96, b"1", b"h", picture_id=9_000, timestamp=5)
    key, late, _missing, dropped = low.key(), low.frame(), low.frame(), low.frame(temporal=2)
    publisher.send(*key, *dropped, *late)
    driver.pump()
    driver.target(slot, 1, 0)
    publisher.send(*high.key())
    driver.pump()
    got = receiver.take_rtp()
    assert bodies(got[:2]) == bodies([*key, *late])
    assert [p.sequence - got[0].sequence for p in got] == [0, 1, 3]
    assert [(descriptor(p).picture_id or 0) - (descriptor(got[0]).picture_id or 0) for p in got] == [0, 1, 2]
    assert [(p.timestamp - got[0].timestamp) & 0xFFFFFFFF for p in got][2] > 3_000
