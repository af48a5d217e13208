# SPDX-License-Identifier: Apache-2.0
"""A frame's first packets wait for its last ones: long in a busy worker, else by the receivers; nothing else waits."""

from __future__ import annotations

from tests.engine.media import OpusStream, Vp8Stream, bodies
from tests.engine.router_driver import Driver, Peer

COALESCE_US = 300


class Room:
    def __init__(self, coalesce_us: int = COALESCE_US, *, busy: bool = True, viewers: int = 1) -> None:
        self.driver = Driver(coalesce_us=coalesce_us, busy=busy)
        self.publisher = self.driver.connect("publisher")
        self.viewer: Peer = self.driver.connect("viewer")
        self.track = self.driver.video_track(self.publisher)
        for viewer in (self.viewer, *(self.driver.connect(f"viewer {number}") for number in range(1, viewers))):
            self.driver.bind(self.driver.video_slot(viewer), self.track)
        self.audio = self.driver.audio_track(self.publisher)
        self.driver.bind(self.driver.audio_slot(self.viewer), self.audio)
        self.camera, self.microphone = Vp8Stream(0x10, 96), OpusStream(0x20, 111)
        self.publisher.send(*self.camera.key())
        self.driver.pump()
        self.viewer.rtp.clear()

    def got(self) -> list[bytes]:
        """What came at this moment."""
        self.driver.pump()
        found = bodies(self.viewer.rtp)
        self.viewer.rtp.clear()
        return found


def test_the_first_packets_leave_with_the_last() -> None:
    room = Room()
    frame = room.camera.frame(4)
    room.publisher.send(*frame[:2])
    assert room.got() == []
    room.driver.now_us += COALESCE_US // 2
    room.publisher.send(frame[2])
    assert room.got() == []
    room.publisher.send(frame[3])
    assert room.got() == bodies(frame)


def test_the_wait_is_bounded_and_told_as_the_next_thing_to_do() -> None:
    room = Room()
    first, second = room.camera.frame(2)
    room.publisher.send(first)
    assert room.got() == []
    due_us = room.driver.router.tick(room.driver.now_us)
    assert due_us is not None
    assert due_us <= room.driver.now_us + COALESCE_US
    room.driver.now_us += COALESCE_US
    assert room.got() == bodies([first])
    room.publisher.send(second)
    assert room.got() == bodies([second])


def test_a_whole_frame_and_audio_do_not_wait() -> None:
    room = Room()
    frame = room.camera.frame()
    room.publisher.send(*frame)
    assert room.got() == bodies(frame)
    first, last = room.camera.frame(2)
    sound = room.microphone.frame()
    room.publisher.send(first, sound)
    assert room.got() == bodies([sound])
    room.publisher.send(last)
    assert room.got() == bodies([first, last])


def test_a_keyframe_of_many_packets_does_not_wait_for_its_end() -> None:
    room = Room()
    frame = room.camera.frame(50)
    room.publisher.send(*frame[:31])
    assert room.got() == []
    room.publisher.send(frame[31])
    assert room.got() == bodies(frame[:32])


def test_an_idle_worker_waits_for_nothing() -> None:
    room = Room(coalesce_us=0)
    for packet in room.camera.frame(4):
        room.publisher.send(packet)
        assert room.got() == bodies([packet])


def test_a_worker_with_time_waits_for_as_long_as_a_packets_fan_out_takes() -> None:
    few = Room(busy=False, viewers=20)
    first, last = few.camera.frame(2)
    few.publisher.send(first)
    assert few.got() == bodies([first])
    many = Room(busy=False, viewers=50)
    first, last = many.camera.frame(2)
    many.publisher.send(first)
    assert many.got() == []
    many.driver.now_us += 99
    assert many.got() == []
    many.driver.now_us += 1
    assert many.got() == bodies([first])
    many.publisher.send(last)
    assert many.got() == bodies([last])


def test_a_track_that_ends_while_it_waits_is_forgotten() -> None:
    room = Room()
    room.publisher.send(room.camera.frame(2)[0])
    assert room.got() == []
    room.driver.commands.remove_track(room.track)
    room.driver.flush()
    room.driver.now_us += COALESCE_US
    assert room.got() == []
    room.driver.assert_accounts_balance()
