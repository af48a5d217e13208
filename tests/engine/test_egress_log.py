# SPDX-License-Identifier: Apache-2.0
"""The egress log tells what an outbound stream did, in order, within its bound; off, there is none."""

from __future__ import annotations

from sfu.engine.drops import DropReason
from sfu.engine.egress_events import EgressEvent, EgressRecord
from tests.engine.media import Vp8Stream
from tests.engine.router_driver import Driver
from tests.simulation import rtcp_packets as rtcp

FRAME_US = 33_333
MEDIA_SSRC = 0x1000


class Call:
    """A publisher of two simulcast layers, and one receiver whose slot keeps a log."""

    def __init__(self, entries: int) -> None:
        self.driver = Driver()
        self.driver.commands.egress_log = entries
        self.publisher, self.receiver = self.driver.connect("p"), self.driver.connect("r")
        self.track = self.driver.video_track(self.publisher, (b"q", b"f"))
        self.slot = self.driver.video_slot(self.receiver)
        self.layers = [Vp8Stream(10, 96, rid=b"q"), Vp8Stream(20, 96, rid=b"f")]

    def frame(self, *key: int, lost: int = 0) -> None:
        self.driver.now_us += FRAME_US
        for number, stream in enumerate(self.layers):
            packets = stream.frame(3, key=number in key)
            self.publisher.send(*packets[: len(packets) - lost])
        self.driver.pump()

    def log(self) -> list[EgressRecord]:
        return self.driver.router.egress_log(self.slot)

    def events(self) -> list[EgressEvent]:
        return [record.event for record in self.log()]


def test_a_switch_is_told_with_its_keyframe_and_what_was_dropped_before() -> None:
    call = Call(100)
    call.driver.bind(call.slot, call.track, csrc=5, spatial=0)
    call.frame(0, 1)
    call.driver.target(call.slot, 1)
    call.frame()
    call.frame(1)
    log = call.log()
    found = [record.event for record in log if record.event is not EgressEvent.DROPPED]
    start = [EgressEvent.SWITCHED, EgressEvent.KEYFRAME]
    assert found == [EgressEvent.BOUND, EgressEvent.TARGET, *start, EgressEvent.TARGET, *start]
    switches = [record for record in log if record.event is EgressEvent.SWITCHED]
    assert [record.spatial for record in switches] == [0, 1]
    assert {record.csrc for record in log} == {5}
    waited = [record for record in log if record.reason == DropReason.AWAITING_KEYFRAME]
    assert sum(record.count for record in waited) == 3
    assert [record.now_us for record in log] == sorted(record.now_us for record in log)


def test_drops_of_one_reason_are_one_entry_until_something_else_happens() -> None:
    call = Call(100)
    call.driver.bind(call.slot, call.track, spatial=0)
    for number in range(10):
        call.frame(*[0, 1] if number == 0 else [])
    dropped = [record for record in call.log() if record.reason == DropReason.NOT_SELECTED_SPATIAL]
    assert [record.count for record in dropped] == [30]
    assert dropped[0].until_us - dropped[0].now_us == 9 * FRAME_US


def test_gaps_pauses_and_requests_are_told() -> None:
    call = Call(100)
    call.driver.bind(call.slot, call.track, spatial=0)
    call.frame(0, 1)
    call.frame(lost=1)
    call.frame()
    call.driver.now_us += 400_000
    call.frame()
    sequence = call.receiver.take_rtp(MEDIA_SSRC)[0].sequence
    call.receiver.send_rtcp(rtcp.build_nack(1, MEDIA_SSRC, [sequence]) + rtcp.build_pli(1, MEDIA_SSRC))
    call.driver.pump()
    by_event = {record.event: record for record in call.log()}
    assert by_event[EgressEvent.GAP].count == 1
    assert by_event[EgressEvent.PAUSE].count == (400_000 + FRAME_US) // 1000
    assert by_event[EgressEvent.RESENT].sequence & 0xFFFF == sequence
    assert call.events()[-2:] == [EgressEvent.RESENT, EgressEvent.KEYFRAME_REQUEST]


def test_it_is_bounded_and_keeps_the_newest() -> None:
    call = Call(4)
    call.driver.bind(call.slot, call.track, spatial=0)
    for _ in range(20):
        call.frame(0)
    log = call.log()
    assert len(log) == 4
    assert log[-1].now_us == call.driver.now_us


def test_off_there_is_none() -> None:
    call = Call(0)
    call.driver.bind(call.slot, call.track, spatial=0)
    call.frame(0)
    assert call.log() == []
    assert call.driver.router.egress_log(12345) == []
