# SPDX-License-Identifier: Apache-2.0
"""Fan-out in slices: audio first, each track in its turn, bounded, resumable, unharmed by what changes between."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from sfu.engine.drops import DropReason
from tests.engine.media import OpusStream, Vp8Stream, bodies
from tests.engine.router_driver import Driver, Peer
from tests.simulation.rtcp_packets import build_nack

QUANTUM = 64
PENDING = 512
EGRESS_FANOUT = 512
EGRESS_SENDS = 64
FRAME_US = 20_000


class Hall:
    """One publisher with camera and microphone, and an audience."""

    def __init__(self, receivers: int, *, video: bool = True, audio: bool = True, driver: Driver | None = None) -> None:
        self.driver = driver or Driver()
        self.publisher = self.driver.connect("p")
        self.video_track = self.driver.video_track(self.publisher) if video else 0
        self.audio_track = self.driver.audio_track(self.publisher) if audio else 0
        self.receivers: list[Peer] = []
        self.slots: dict[int, list[int]] = {}
        for _ in range(receivers):
            self.join()
        self.video, self.audio = Vp8Stream(10, 96), OpusStream(11, 111)
        self.driver.pump()

    def join(self) -> Peer:
        peer = self.driver.connect(f"r{len(self.receivers)}")
        self.receivers.append(peer)
        self.slots[peer.handle] = []
        if self.video_track:
            self.slots[peer.handle].append(self.driver.video_slot(peer))
            self.driver.bind(self.slots[peer.handle][-1], self.video_track)
        if self.audio_track:
            self.slots[peer.handle].append(self.driver.audio_slot(peer))
            self.driver.bind(self.slots[peer.handle][-1], self.audio_track)
        return peer

    def slice(self, budget: int) -> list[tuple[int, bytes]]:
        """One slice of fan-out and nothing else."""
        self.driver.router.run(self.driver.now_us, budget)
        return self.driver.collect()


def kinds(peer: Peer) -> list[str]:
    return ["audio" if packet.ssrc == 0x2000 else "video" for packet in peer.rtp]


def test_audio_overtakes_a_keyframe_between_slices() -> None:
    hall = Hall(100)
    hall.publisher.send(*hall.video.key(30))
    hall.slice(QUANTUM)
    assert sum(len(peer.rtp) for peer in hall.receivers) == 90, "whole receivers: 30 packets each"
    hall.publisher.send(hall.audio.frame())
    hall.slice(EGRESS_SENDS)
    hall.slice(100 - EGRESS_SENDS)
    assert all("audio" in kinds(peer) for peer in hall.receivers)
    assert sum(kinds(peer).count("video") for peer in hall.receivers) == 90
    hall.driver.pump()
    assert all(len(peer.rtp) == 31 for peer in hall.receivers)
    hall.driver.assert_accounts_balance()


def test_audio_leaves_first_of_what_came_together() -> None:
    hall = Hall(10)
    hall.publisher.send(*hall.video.key(5), hall.audio.frame())
    sent = hall.driver.pump()
    media = [handle for handle, _ in sent]
    assert all(kinds(peer)[0] == "audio" for peer in hall.receivers)
    assert len(media) >= 60


@pytest.mark.parametrize("budget", [1, 7, 64, 512])
def test_slices_of_any_size_deliver_the_same(budget: int) -> None:
    hall = Hall(20)
    sent = []
    for number in range(10):
        frame = hall.video.key(3) if number % 5 == 0 else hall.video.frame(3)
        sent += frame
        hall.publisher.send(*frame, hall.audio.frame())
        if number % 2:
            hall.driver.pump(budget)
        else:
            hall.slice(budget)
    hall.driver.pump(budget)
    for peer in hall.receivers:
        assert bodies([p for p in peer.rtp if p.ssrc == 0x1000]) == bodies(sent)
        assert kinds(peer).count("audio") == 10
        numbers = [p.sequence for p in peer.rtp if p.ssrc == 0x1000]
        assert numbers == list(range(numbers[0], numbers[0] + 30))
    assert hall.driver.all_drops() == {}
    assert hall.driver.statistics().media_forwarded == 20 * 40


def test_tracks_take_turns() -> None:
    """A large keyframe of one publisher holds up another one's by a quantum, not by all of it."""
    driver = Driver()
    first, second = Hall(50, audio=False, driver=driver), Hall(50, audio=False, driver=driver)
    first.publisher.send(*first.video.key(40))
    second.publisher.send(*second.video.key(2))
    done = 0
    while sum(len(peer.rtp) for peer in second.receivers) < 100:
        first.slice(QUANTUM)
        done += 1
        assert done < 20
    assert sum(len(peer.rtp) for peer in first.receivers) < 50 * 40 // 4


def test_one_receivers_packets_leave_side_by_side() -> None:
    hall = Hall(30, audio=False)
    hall.publisher.send(*hall.video.key(8))
    order = [handle for handle, _ in hall.driver.pump()]
    runs = [handle for at, handle in enumerate(order) if at == 0 or order[at - 1] != handle]
    assert all(count == 1 for count in Counter(runs).values())


def test_the_batch_is_bounded() -> None:
    hall = Hall(100, audio=False)
    hall.publisher.send(*hall.video.key(20))
    hall.driver.router.run(hall.driver.now_us, 100_000)
    batch = len(hall.driver.collect())
    assert EGRESS_FANOUT <= batch <= EGRESS_FANOUT + QUANTUM
    assert hall.driver.router.run(hall.driver.now_us, 100_000) > 0
    hall.driver.collect()
    hall.driver.pump()
    assert all(len(peer.rtp) == 20 for peer in hall.receivers)
    assert hall.driver.all_drops() == {}


def test_a_batch_is_bounded_in_sends_too() -> None:
    """Single packets cost a send each: a crowd's sound leaves in pieces, between which others have their turn."""
    hall = Hall(3 * EGRESS_SENDS, video=False)
    pair = Hall(1, video=False, driver=hall.driver)
    hall.publisher.send(hall.audio.frame())
    batches: list[int] = []
    while hall.driver.router.run(hall.driver.now_us, 100_000):
        if not batches:
            pair.publisher.send(pair.audio.frame())
        batches.append(len(hall.driver.collect()))
        if len(batches) == 2:
            assert len(pair.receivers[0].rtp) == 1, "it waited for a piece, not for the crowd"
    assert max(batches) <= EGRESS_SENDS
    assert all(len(peer.rtp) == 1 for peer in hall.receivers)


def test_a_picture_for_few_does_not_wait_for_a_crowds_sound_nor_for_its_picture() -> None:
    crowd = Hall(4 * EGRESS_SENDS)
    pair = Hall(1, audio=False, driver=crowd.driver)
    crowd.publisher.send(crowd.audio.frame(), *crowd.video.key(9))
    crowd.slice(EGRESS_SENDS)
    pair.publisher.send(*pair.video.key(9))
    crowd.slice(EGRESS_SENDS)
    assert len(pair.receivers[0].rtp) == 9
    assert sum(kinds(peer).count("audio") for peer in crowd.receivers) > EGRESS_SENDS
    while not any("video" in kinds(peer) for peer in crowd.receivers):
        crowd.slice(EGRESS_SENDS)
    assert all("audio" in kinds(peer) for peer in crowd.receivers), "to them it is sound first as ever"
    pair.publisher.send(*pair.video.frame(9))
    crowd.slice(2 * QUANTUM)
    assert len(pair.receivers[0].rtp) == 18
    crowd.driver.pump()
    assert all(len(peer.rtp) == 10 for peer in crowd.receivers)
    crowd.driver.assert_accounts_balance()


def test_pictures_for_few_do_not_keep_a_crowds_out() -> None:
    driver = Driver()
    crowd = Hall(2 * EGRESS_SENDS, audio=False, driver=driver)
    few = [Hall(2, audio=False, driver=driver) for _ in range(4)]
    crowd.publisher.send(*crowd.video.key(2))
    for _ in range(30):
        for hall in few:
            hall.publisher.send(*hall.video.key(9))
        few[0].slice(QUANTUM)
    assert any(peer.rtp for peer in crowd.receivers)


def test_without_segmentation_each_packet_is_a_send() -> None:
    hall = Hall(20, audio=False, driver=Driver(equalise=False))
    hall.publisher.send(*hall.video.key(9))
    hall.driver.router.run(hall.driver.now_us, 100_000)
    assert EGRESS_SENDS <= len(hall.driver.collect()) < EGRESS_SENDS + 9


def test_a_full_batch_does_not_lose_its_place() -> None:
    """Slices that run while nobody empties the batch do nothing, and nothing is lost by them."""
    hall = Hall(40, audio=False)
    frame = hall.video.key(20)
    hall.publisher.send(*frame)
    for _ in range(50):
        hall.driver.router.run(hall.driver.now_us, QUANTUM)
    hall.driver.collect()
    hall.driver.pump()
    assert all(bodies(peer.rtp) == bodies(frame) for peer in hall.receivers)
    assert hall.driver.all_drops() == {}


def test_a_long_keyframe_starts_receivers_that_are_served_late() -> None:
    """All of it, and more, is there before fan-out reaches the last receiver: it may still begin with it."""
    hall = Hall(30, audio=False)
    sent = hall.video.key(100)
    hall.publisher.send(*sent)
    hall.slice(QUANTUM)
    for _ in range(40):
        sent += hall.video.frame(2)
        hall.publisher.send(*sent[-2:])
    hall.driver.pump(QUANTUM)
    assert all(bodies(peer.rtp) == bodies(sent) for peer in hall.receivers)
    assert hall.driver.all_drops() == {}


def test_too_much_for_the_queue_is_counted_and_asked_for() -> None:
    hall = Hall(1, audio=False)
    packets = hall.video.key(PENDING + 40)
    hall.publisher.send(*packets)
    assert hall.driver.drops(DropReason.FANOUT_FULL) == 40
    hall.driver.pump()
    assert bodies(hall.receivers[0].take_rtp()) == bodies(packets[:PENDING])
    [after] = hall.video.frame()
    hall.publisher.send(after)
    hall.driver.pump()
    [got] = hall.receivers[0].take_rtp()
    assert bodies([got]) == bodies([after])
    hall.receivers[0].send_rtcp(build_nack(1, 0x1000, [got.sequence - n for n in range(40, 0, -1)]))
    hall.driver.pump()
    assert bodies(hall.receivers[0].take_rtp()) == bodies(packets[PENDING:])
    hall.driver.assert_accounts_balance()


def test_what_waits_is_not_overwritten_in_history() -> None:
    """What has no place there any more is refused, counted, and as good as lost: nobody gets half of the rest."""
    hall = Hall(3, audio=False)
    sent = hall.video.key()
    for _ in range(500):
        sent += hall.video.frame(size=1_150)
    hall.publisher.send(*sent)
    hall.driver.pump()
    refused = hall.driver.drops(DropReason.FANOUT_FULL)
    assert 0 < refused < 100
    assert all(bodies(peer.rtp) == bodies(sent[: 501 - refused]) for peer in hall.receivers)
    assert hall.driver.drops(DropReason.OVERTAKEN) == 0
    after = hall.video.frame()
    hall.publisher.send(*after)
    hall.driver.pump()
    assert all(bodies(peer.rtp)[-1:] == bodies(after) for peer in hall.receivers), "there is place again"
    hall.driver.assert_accounts_balance()


def test_overload_is_the_same_for_all_receivers() -> None:
    """A publisher floods: what does not go is refused whole, and the last receiver gets what the first one gets."""
    hall = Hall(100, video=False)
    for _ in range(300):
        hall.publisher.send(*(hall.audio.frame() for _ in range(64)))
        hall.slice(EGRESS_FANOUT)
    hall.driver.pump()
    assert hall.driver.drops(DropReason.FANOUT_FULL) > 0
    assert hall.driver.drops(DropReason.OVERTAKEN) == 0
    received = [bodies(peer.take_rtp()) for peer in hall.receivers]
    assert all(one == received[0] for one in received)
    assert len(received[0]) >= 300 * EGRESS_FANOUT // 100
    hall.driver.assert_accounts_balance()


@pytest.mark.parametrize("seed", range(5))
def test_layers_that_wait_together_are_spared_each_by_itself(seed: int) -> None:
    """Slices of any size between packets of three layers: whatever was taken reaches everyone who wants that layer."""
    driver, choose = Driver(), random.Random(seed)
    publisher = driver.connect("p")
    track = driver.video_track(publisher, (b"q", b"h", b"f"))
    streams = [Vp8Stream(10 + layer, 96, rid=rid) for layer, rid in enumerate((b"q", b"h", b"f"))]
    receivers = [driver.connect(f"r{number}") for number in range(9)]
    for number, receiver in enumerate(receivers):
        driver.bind(driver.video_slot(receiver), track, spatial=number % 3)
    publisher.send(*(packet for stream in streams for packet in stream.key()))
    driver.pump()
    for _ in range(400):
        stream = choose.choice(streams)
        publisher.send(*stream.frame(choose.randint(1, 8), size=choose.randint(100, 1_100)))
        if choose.random() < 0.3:
            driver.router.run(driver.now_us, choose.choice((1, 7, 64)))
            driver.collect()
    driver.pump()
    assert driver.drops(DropReason.OVERTAKEN) == 0
    assert driver.drops(DropReason.FANOUT_FULL) > 0
    for layer in range(3):
        same = [bodies(receiver.take_rtp()) for receiver in receivers[layer::3]]
        assert len(same[0]) > 50
        assert same.count(same[0]) == len(same)
    driver.assert_accounts_balance()


def test_a_stream_that_is_replaced_before_fan_out_is_counted() -> None:
    hall = Hall(4, audio=False)
    hall.publisher.send(*hall.video.key(3))
    new = Vp8Stream(500, 96, sequence=7)
    hall.publisher.send(*new.key(2))
    hall.driver.pump()
    assert hall.driver.all_drops() == {"overtaken": 12}
    assert all(len(peer.rtp) == 2 for peer in hall.receivers)
    hall.driver.assert_accounts_balance()


def test_receivers_that_leave_and_join_between_slices() -> None:
    hall = Hall(20)
    newcomer = hall.driver.connect("late")
    slot = hall.driver.video_slot(newcomer)
    frame = hall.video.key(10)
    hall.publisher.send(*frame)
    hall.slice(1)
    assert len(hall.receivers[0].rtp) == 10
    for peer in (hall.receivers[0], hall.receivers[1], hall.receivers[19]):
        hall.driver.commands.remove_transport(peer.handle)
    hall.driver.flush()
    hall.driver.bind(slot, hall.video_track)
    hall.driver.pump(1)
    assert len(newcomer.rtp) == 10, "it joined before the job was done"
    assert all(len(peer.rtp) == 10 for peer in hall.receivers[2:19])
    assert hall.receivers[1].rtp == hall.receivers[19].rtp == []
    hall.driver.assert_accounts_balance()


@pytest.mark.parametrize("what", ["track", "transport"])
def test_the_publisher_leaves_between_slices(what: str) -> None:
    hall = Hall(20)
    hall.publisher.send(*hall.video.key(10), hall.audio.frame())
    hall.slice(25)
    if what == "track":
        hall.driver.commands.remove_track(hall.video_track)
        hall.driver.commands.remove_track(hall.audio_track)
    else:
        hall.driver.commands.remove_transport(hall.publisher.handle)
    hall.driver.flush()
    sent = hall.driver.pump()
    assert [data for _, data in sent if not 192 <= data[1] <= 223] == []
    hall.driver.assert_accounts_balance()
    again = Hall(5, driver=hall.driver)
    again.publisher.send(*again.video.key(3))
    again.driver.pump()
    assert all(len(peer.rtp) == 3 for peer in again.receivers)


def test_binds_between_slices() -> None:
    driver = Driver()
    first, second = Hall(10, audio=False, driver=driver), Hall(0, audio=False, driver=driver)
    first.publisher.send(*first.video.key(4))
    first.slice(1)
    for peer in first.receivers:
        driver.bind(first.slots[peer.handle][0], second.video_track, csrc=88, generation=2)
    second.publisher.send(*second.video.key(4))
    driver.pump(1)
    served, *others = first.receivers
    assert [p.csrcs for p in served.rtp] == [(77,)] * 4 + [(88,)] * 4
    for peer in others:
        assert [p.csrcs for p in peer.rtp] == [(88,)] * 4
    driver.assert_accounts_balance()


def test_changes_at_random_between_slices_of_one() -> None:
    driver = Driver(seed=11)
    choose = driver.random
    halls = [Hall(6, driver=driver) for _ in range(3)]
    slots = [slot for hall in halls for peer in hall.receivers for slot in hall.slots[peer.handle][:1]]
    for step in range(400):
        driver.now_us += 5_000
        hall = choose.choice(halls)
        hall.publisher.send(*(hall.video.key(3) if choose.random() < 0.3 else hall.video.frame(2)), hall.audio.frame())
        hall.slice(choose.choice((1, 5, 40)))
        action = choose.random()
        if action < 0.4:
            driver.bind(choose.choice(slots), choose.choice(halls).video_track, 70 + step, step)
        elif action < 0.5:
            driver.commands.unbind(choose.choice(slots))
            driver.flush()
        elif action < 0.55:
            driver.commands.remove_track(hall.video_track)
            hall.video_track = driver.video_track(hall.publisher)
            hall.video = Vp8Stream(10_000 + step, 96)
        if step % 20 == 0:
            for peer in driver.peers.values():
                peer.check()
    driver.pump(1)
    driver.assert_accounts_balance()
    for hall in halls:
        driver.commands.remove_transport(hall.publisher.handle)
        for peer in hall.receivers:
            driver.commands.remove_transport(peer.handle)
    driver.flush()
    assert driver.commands.live_handles == (0, 0, 0)
    statistics = driver.statistics()
    assert (statistics.transports, statistics.tracks, statistics.forwarders) == ({}, {}, {})
