# SPDX-License-Identifier: Apache-2.0
"""Binding a slot to another publication: make before break for video, whole frames for audio."""

import itertools

import pytest

from sfu.engine.drops import DropReason
from sfu.engine.events import ForwarderLayer, ForwarderStarted
from sfu.engine.router_probe import written_memory
from tests.engine.media import AUDIO_TICKS, H264Stream, OpusStream, Vp8Stream, bodies, descriptor
from tests.engine.router_driver import H264, VP8, Driver, Peer
from tests.simulation import rtcp_packets as rtcp
from tests.simulation.rtp_packets import RtpPacket

FRAME_US = 33_333
MAKE_BEFORE_BREAK_US = 1_500_000


class Room:
    """Three publishers of one video track each, and one slot."""

    def __init__(self) -> None:
        self.driver = Driver()
        self.receiver = self.driver.connect("r")
        self.slot = self.driver.video_slot(self.receiver)
        self.publishers = [self.driver.connect(name) for name in ("a", "b", "c")]
        self.tracks = [self.driver.video_track(peer, payloads=(VP8, H264)) for peer in self.publishers]
        self.streams: list[Vp8Stream | H264Stream] = [
            Vp8Stream(10, 96, sequence=100, timestamp=1_000, picture_id=5),
            Vp8Stream(20, 96, sequence=60_000, timestamp=3_000_000_000, picture_id=9_000),
            H264Stream(30, sequence=30_000, timestamp=2_000_000_000),
        ]
        self.generation = 0

    def bind(self, which: int) -> None:
        self.generation += 1
        self.driver.bind(self.slot, self.tracks[which], 1_000 + which, self.generation)

    def frame(self, *key: int, only: tuple[int, ...] = (0, 1, 2)) -> dict[int, list[RtpPacket]]:
        self.driver.now_us += FRAME_US
        sent = {n: self.streams[n].frame(2, key=n in key) for n in only}
        for number, packets in sent.items():
            self.publishers[number].send(*packets)
        self.driver.pump()
        return sent

    def got(self) -> list[RtpPacket]:
        return self.receiver.take_rtp()


def keyframe_requests(peer: Peer) -> int:
    return len(peer.take_feedback(rtcp.PSFB, rtcp.PLI_FORMAT))


def test_the_old_one_flows_until_the_new_one_can_start() -> None:
    room = Room()
    room.bind(0)
    first = [room.frame(0)[0], room.frame()[0]]
    room.driver.take_events(ForwarderStarted)
    room.bind(1)
    room.driver.pump()
    assert keyframe_requests(room.publishers[1]) == 1
    between = [room.frame()[0], room.frame()[0]]
    assert room.driver.take_events(ForwarderStarted) == []
    after = room.frame(1)
    late = room.frame()
    got = room.got()
    expected = [p for packets in (*first, *between, after[0], after[1], late[1]) for p in packets]
    assert bodies(got) == bodies(expected)
    assert [p.csrcs[0] for p in got] == [1_000] * 10 + [1_001] * 4
    assert [p.sequence - got[0].sequence for p in got] == list(range(14))
    [started] = room.driver.take_events(ForwarderStarted)
    assert (started.generation, started.rtp_timestamp) == (2, got[10].timestamp)
    picture_ids = [descriptor(p).picture_id or 0 for p in got]
    assert [b - a for a, b in zip(picture_ids[::2], picture_ids[2::2], strict=False)] == [1] * 6
    room.driver.assert_accounts_balance()


def test_between_codecs_the_payload_type_follows() -> None:
    room = Room()
    room.bind(0)
    room.frame(0)
    room.bind(2)
    room.frame()
    room.frame(2)
    room.frame()
    room.bind(0)
    room.frame()
    room.frame(0)
    got = room.got()
    kinds = [(p.payload_type, p.csrcs[0]) for p in got]
    vp8, h264 = (100, 1_000), (104, 1_002)
    assert kinds == [vp8] * 6 + [h264] * 3 + [h264] * 4 + [vp8] * 2
    assert [p.sequence - got[0].sequence for p in got] == list(range(len(got)))
    timestamps = [p.timestamp for p in got]
    steps = {(b - a) & 0xFFFFFFFF for a, b in itertools.pairwise(timestamps)}
    assert max(steps) <= 4_000, "one timeline"
    room.driver.assert_accounts_balance()


def test_the_old_one_is_given_up_after_a_while() -> None:
    room = Room()
    room.bind(0)
    room.frame(0)
    room.bind(1)
    for _ in range(44):
        room.frame()
    assert len(room.got()) == 90
    for _ in range(10):
        room.frame()
    assert len(room.got()) <= 6
    assert room.driver.take_events(ForwarderLayer)[-1].spatial == -1
    sent = room.frame(1)
    assert bodies(room.got()) == bodies(sent[1])


def test_the_last_bind_counts() -> None:
    room = Room()
    room.bind(0)
    room.frame(0)
    room.bind(1)
    room.frame()
    room.bind(2)
    room.frame()
    room.got()
    sent = room.frame(1, 2)
    got = room.got()
    assert bodies(got) == bodies([*sent[0], *sent[2]])
    assert [e.generation for e in room.driver.take_events(ForwarderStarted)] == [3], "the first one was overtaken"


def test_back_to_what_is_just_leaving() -> None:
    room = Room()
    room.bind(0)
    room.frame(0)
    room.bind(1)
    room.frame()
    room.got()
    room.bind(0)
    room.frame()
    room.frame(1)
    assert room.got() == []
    sent = room.frame(0)
    got = room.got()
    assert bodies(got) == bodies(sent[0])
    assert [e.generation for e in room.driver.take_events(ForwarderStarted)] == [3]
    room.driver.assert_accounts_balance()


def test_a_pause_stops_the_old_one_too() -> None:
    room = Room()
    room.bind(0)
    room.frame(0)
    room.bind(1)
    room.driver.target(room.slot, -1)
    room.got()
    room.frame()
    room.frame(1)
    assert room.got() == []
    room.driver.target(room.slot, 0)
    sent = room.frame(0, 1)
    assert bodies(room.got()) == bodies(sent[1])


def test_the_old_track_goes_while_the_new_one_has_not_started() -> None:
    room = Room()
    room.bind(0)
    room.frame(0)
    room.bind(1)
    room.driver.take_events(ForwarderLayer)
    room.driver.commands.remove_track(room.tracks[0])
    room.driver.flush()
    assert [e.spatial for e in room.driver.take_events(ForwarderLayer)] == [-1], "nothing flows, and that is told"
    room.frame(only=(1,))
    room.got()
    sent = room.frame(1, only=(1,))
    assert bodies(room.got()) == bodies(sent[1])


def test_the_new_track_goes_before_it_has_started() -> None:
    room = Room()
    room.bind(0)
    room.frame(0)
    room.bind(1)
    room.driver.commands.remove_transport(room.publishers[1].handle)
    room.driver.flush()
    room.got()
    room.frame(only=(0, 2))
    assert room.got() == [], "the slot is unbound"
    room.bind(2)
    sent = room.frame(2, only=(0, 2))
    assert bodies(room.got()) == bodies(sent[2])


def test_unbind_stops_at_once() -> None:
    room = Room()
    room.bind(0)
    room.frame(0)
    room.driver.commands.unbind(room.slot)
    room.driver.flush()
    room.got()
    room.frame(0)
    assert room.got() == []
    assert room.driver.take_events(ForwarderLayer)[-1].spatial == -1


def test_binds_at_random_never_break_the_numbers() -> None:
    room = Room()
    choose = room.driver.random
    for _ in range(60):
        room.bind(choose.randrange(3))
        for _ in range(choose.randrange(1, 5)):
            room.frame(*[n for n in range(3) if choose.random() < 0.2])
    got = room.got()
    sequences = [p.sequence for p in got]
    assert len(got) > 100
    assert all((b - a) & 0xFFFF == 1 for a, b in itertools.pairwise(sequences))
    room.driver.assert_accounts_balance()


class Sound:
    """Two microphones and a slot."""

    def __init__(self) -> None:
        self.driver = Driver()
        self.receiver = self.driver.connect("r")
        self.slot = self.driver.audio_slot(self.receiver)
        self.publishers = [self.driver.connect(name) for name in ("a", "b")]
        self.tracks = [self.driver.audio_track(peer) for peer in self.publishers]
        self.streams = [OpusStream(10, 111, sequence=9, timestamp=50), OpusStream(20, 111, sequence=65_530)]

    def run(self, packets: int, only: tuple[int, ...] = (0, 1), jitter_us: int = 0) -> None:
        for _ in range(packets):
            self.driver.now_us += 20_000
            late = self.driver.random.randrange(jitter_us + 1)
            self.driver.now_us += late
            for number in only:
                self.publishers[number].send(self.streams[number].frame())
            self.driver.pump()
            self.driver.now_us -= late


@pytest.mark.parametrize("jitter_us", [0, 9_000])
def test_audio_goes_on_by_whole_frames_with_a_marker(jitter_us: int) -> None:
    sound = Sound()
    for number in range(8):
        sound.driver.bind(sound.slot, sound.tracks[number % 2], 500 + number % 2, number)
        sound.run(10, jitter_us=jitter_us)
    got = sound.receiver.take_rtp()
    # Of the four times that the first microphone is left, one more packet of it comes before the second one's first.
    assert len(got) == 80 + 4
    assert [p.sequence - got[0].sequence for p in got] == list(range(len(got)))
    for previous, packet in itertools.pairwise(got):
        new = packet.csrcs != previous.csrcs
        assert packet.marker == new
        assert (packet.timestamp - previous.timestamp) & 0xFFFFFFFF == AUDIO_TICKS
    assert got[0].marker
    assert {p.payload_type for p in got} == {109}
    sound.driver.assert_accounts_balance()


@pytest.mark.parametrize("phase_us", [1_000, 10_000, 19_000])
def test_at_a_bind_no_packet_of_sound_comes_later_than_its_timestamp_says(phase_us: int) -> None:
    """Whatever the phase between two microphones and the moment of the bind: else receivers conceal the difference."""
    sound = Sound()
    number = 0
    for step in range(400):
        if step % 7 == 0:
            sound.driver.bind(sound.slot, sound.tracks[number % 2], 500 + number % 2, number)
            number += 1
        sound.driver.now_us += phase_us if step % 2 else 20_000 - phase_us
        sound.publishers[step % 2].send(sound.streams[step % 2].frame())
        sound.driver.pump()
    times_us = [delivery.at_us for delivery in sound.receiver.rtp_deliveries]
    got = list(zip(times_us, sound.receiver.take_rtp(), strict=True))
    lateness = [at_us - (packet.timestamp - got[0][1].timestamp) * 1000 // 48 - got[0][0] for at_us, packet in got]
    assert all(later <= earlier for earlier, later in itertools.pairwise(lateness))
    assert len({packet.csrcs for _, packet in got}) == 2
    sound.driver.assert_accounts_balance()


def test_sound_that_does_not_come_is_not_waited_for_long() -> None:
    sound = Sound()
    sound.driver.bind(sound.slot, sound.tracks[0], 1)
    sound.run(5)
    sound.driver.bind(sound.slot, sound.tracks[1], 2, 2)
    sound.run(100, only=(0,))
    assert 5 < len(sound.receiver.take_rtp()) <= 5 + 23
    sound.run(1)
    assert [packet.csrcs for packet in sound.receiver.take_rtp()] == [(2,)]


def test_sound_stops_at_once_when_it_is_unbound() -> None:
    sound = Sound()
    sound.driver.bind(sound.slot, sound.tracks[0], 1)
    sound.run(5)
    sound.driver.bind(sound.slot, sound.tracks[1], 2, 2)
    sound.driver.commands.unbind(sound.slot)
    sound.driver.flush()
    sound.run(5)
    assert len(sound.receiver.take_rtp()) == 5


def test_audio_after_a_silence_skips_it_in_whole_frames() -> None:
    sound = Sound()
    sound.driver.bind(sound.slot, sound.tracks[0], 1)
    sound.run(5)
    sound.driver.now_us += 1_007_000
    sound.driver.bind(sound.slot, sound.tracks[1], 2, 2)
    sound.run(5, only=(1,))
    got = sound.receiver.take_rtp()
    assert len(got) == 10
    step = (got[5].timestamp - got[4].timestamp) & 0xFFFFFFFF
    assert step == AUDIO_TICKS * 51
    assert got[5].marker


def test_audio_that_pauses_resumes_in_whole_frames() -> None:
    sound = Sound()
    sound.driver.bind(sound.slot, sound.tracks[0], 1)
    sound.run(5)
    sound.driver.target(sound.slot, -1)
    sound.run(7)
    sound.driver.target(sound.slot, 0)
    sound.run(3)
    got = sound.receiver.take_rtp()
    assert len(got) == 8
    assert sound.driver.drops(DropReason.PAUSED) == 7
    assert (got[5].timestamp - got[4].timestamp) & 0xFFFFFFFF == AUDIO_TICKS * 8
    assert got[5].sequence == got[4].sequence + 1


def test_audio_keeps_its_own_pauses_and_losses() -> None:
    """Within one source timestamps and gaps are the publisher's: the receiver conceals what was really lost."""
    sound = Sound()
    sound.driver.bind(sound.slot, sound.tracks[0], 1)
    sound.run(3)
    sound.streams[0].frame()
    sound.driver.now_us += 20_000
    sound.run(2)
    sound.streams[0].timestamp += AUDIO_TICKS * 40
    sound.run(1)
    got = sound.receiver.take_rtp()
    assert [p.sequence - got[0].sequence for p in got] == [0, 1, 2, 4, 5, 6]
    ticks = [(p.timestamp - got[0].timestamp) // AUDIO_TICKS for p in got]
    assert ticks == [0, 1, 2, 4, 5, 46]


def test_audio_levels_are_passed_on() -> None:
    sound = Sound()
    sound.driver.bind(sound.slot, sound.tracks[0], 1)
    sound.streams[0].level = 12
    sound.run(1)
    [got] = sound.receiver.take_rtp()
    assert dict(got.extensions) == {4: b"6", 1: bytes([0x80 | 12])}


def test_a_slot_has_a_log_of_what_was_sent_from_its_first_bind_on() -> None:
    driver = Driver()
    track = driver.video_track(driver.connect("publisher"))
    slot, unbound = (driver.video_slot(driver.connect(name)) for name in ("shows", "shows nothing"))

    def logs() -> list[int]:
        driver.flush()
        return [address for what, address, _ in written_memory(driver.router) if what == "sent"]

    assert not logs()
    driver.bind(slot, track)
    first = logs()
    assert len(first) == 1
    driver.commands.unbind(slot)
    driver.bind(slot, track)
    assert logs() == first
    driver.commands.remove_forwarder(unbound)
    assert logs() == first
