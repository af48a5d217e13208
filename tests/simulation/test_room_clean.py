# SPDX-License-Identifier: Apache-2.0
"""Rooms on perfect links: whatever is bound and switched, each slot sees one legal stream, without a pause."""

from __future__ import annotations

from collections.abc import Callable

from tests.simulation.links import LinkModel
from tests.simulation.publishers import camera, microphone
from tests.simulation.room import SimulatedRoom

SECOND_US = 1_000_000
SWITCH_GAP_US = 150_000
SILENCE_US = 1_600_000
"""A switch waits for a keyframe while the old layer runs on: no longer pause between frames than this."""


def test_one_publisher_one_receiver() -> None:
    room = SimulatedRoom(1)
    publisher = room.publish(camera(1), microphone(2))
    receiver = room.join()
    for slot, publication in zip(receiver.slots, publisher.publications, strict=True):
        room.bind(slot, publication)
    room.run(4 * SECOND_US)
    for spatial, temporal in ((0, 2), (2, 2), (1, 0), (1, 2), (2, 1), (0, 0), (2, 2)):
        room.target(receiver.slots[0], spatial, temporal)
        room.run(700_000)
    reports = room.check(longest_silence_us=SILENCE_US)
    video, audio = (reports[slot.handle] for slot in receiver.slots)
    assert video.switches >= 5
    assert video.longest_gap_us <= SWITCH_GAP_US
    assert audio.longest_gap_us <= 40_000
    assert audio.frames >= 400
    room.close()


def test_binds_between_publishers_codecs_and_clocks() -> None:
    room = SimulatedRoom(2)
    publishers = [
        room.publish(camera(1), microphone(11)),
        room.publish(camera(2, codec="H264", layers=camera(0).layers[:1]), microphone(12), clock_us=3_600 * SECOND_US),
        room.publish(camera(3), microphone(13), clock_us=-1_500_000, skew_ppm=80.0),
    ]
    receiver = room.join()
    room.run(300_000)
    for turn in range(14):
        for slot, publication in zip(receiver.slots, publishers[turn % 3].publications, strict=True):
            room.bind(slot, publication)
        room.run(600_000)
    reports = room.check(longest_silence_us=SILENCE_US)
    for slot in receiver.slots:
        report = reports[slot.handle]
        assert report.binds == 14
        assert report.longest_gap_us <= SWITCH_GAP_US
    room.close()


def test_random_switching_and_binding(scaled: Callable[[int], int]) -> None:
    for seed in range(scaled(3)):
        room = SimulatedRoom(seed)
        for number in range(3):
            codec = "H264" if number == 2 else "VP8"
            room.publish(camera(number + 1, codec=codec), microphone(number + 11), clock_us=number * 1_500_000)
        for _ in range(2):
            room.join(2, 1)
        for _ in range(40):
            act_at_random(room)
            room.run(room.random.randrange(20_000, 400_000))
        reports = room.check(longest_silence_us=SILENCE_US)
        assert sum(report.frames for report in reports.values()) > 300
        room.close()


def test_random_switching_with_a_pacer(scaled: Callable[[int], int]) -> None:
    """What the pacer delays stays in order; retransmissions and audio pass it."""
    paced = 0
    for seed in range(scaled(2)):
        room = SimulatedRoom(300 + seed, receiver_link=LinkModel(delay_us=15_000, loss=0.01), paced=True)
        for number in range(3):
            room.publish(camera(number + 1), microphone(number + 11))
        for _ in range(2):
            room.join(2, 1)
        for _ in range(25):
            act_at_random(room)
            room.run(room.random.randrange(20_000, 400_000))
        reports = room.check(longest_silence_us=SILENCE_US)
        paced += sum(report.frames for report in reports.values())
        room.close()
    assert paced > 300


def come_go_and_restart(room: SimulatedRoom, steps: int) -> None:
    """What `act_at_random` does, and people who leave, enter, and start their cameras anew."""
    choose = room.random
    number = 20
    for _ in range(steps):
        act_at_random(room)
        action = choose.random()
        if action < 0.08 and len(room.publishers) > 1:
            room.unpublish(choose.choice(room.publishers))
        elif action < 0.2:
            number += 1
            room.publish(camera(number), microphone(number + 100), clock_us=choose.randrange(-10, 10) * 1_000_000)
        elif action < 0.3:
            room.restart(choose.choice(room.publishers))
        elif action < 0.35:
            room.join(1, 1)
        room.run(choose.randrange(20_000, 400_000))


def act_at_random(room: SimulatedRoom) -> None:
    """One change that a room's policy may make."""
    choose = room.random
    slot = choose.choice(room.slots)
    wanted = [p for p in room.publications if p.model.is_audio != slot.video]
    action = choose.random()
    if not wanted:
        return
    if slot.bound is None or action < 0.35:
        room.bind(slot, choose.choice(wanted), choose.randrange(3), choose.randrange(3))
    elif action < 0.85:
        room.target(slot, choose.randrange(3) if slot.video else 0, choose.randrange(3) if slot.video else 0)
    elif action < 0.95:
        room.target(slot, -1)
    else:
        room.unbind(slot)
