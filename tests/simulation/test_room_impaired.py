# SPDX-License-Identifier: Apache-2.0
"""Rooms on bad links: loss, reordering and bursts in both directions, and people who come, go and restart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from tests.simulation.links import LinkModel
from tests.simulation.publishers import camera, microphone
from tests.simulation.room import SimulatedRoom
from tests.simulation.stream_rules import Report
from tests.simulation.test_room_clean import act_at_random, come_go_and_restart

UPLINKS = {
    "reordering": LinkModel(delay_us=10_000, jitter_us=3_000, reorder=0.03, reorder_us=12_000, duplicate=0.02),
    "loss": LinkModel(delay_us=15_000, loss=0.03),
    "bursts": LinkModel(delay_us=15_000, jitter_us=5_000, loss=0.05, loss_burst=4.0, reorder=0.02),
    "bottleneck": LinkModel(delay_us=15_000, capacity_bps=2_000_000, queue_us=60_000),
}
DOWNLINK = LinkModel(delay_us=20_000, loss=0.02, jitter_us=4_000)
FEEDBACK = LinkModel(delay_us=15_000, loss=0.01)
SILENCE_US = 2_500_000
"""A keyframe request or the keyframe itself may be lost, more than once."""


def lossy_room(seed: int, uplink: LinkModel) -> SimulatedRoom:
    return SimulatedRoom(seed, publisher_link=uplink, receiver_link=DOWNLINK, feedback_link=FEEDBACK)


def people(room: SimulatedRoom, publishers: int = 3, receivers: int = 2) -> None:
    for number in range(publishers):
        codec = "H264" if number == 2 else "VP8"
        room.publish(camera(number + 1, codec=codec), microphone(number + 11), clock_us=number * 1_500_000)
    for _ in range(receivers):
        room.join(2, 1)


def totals(reports: dict[int, Report]) -> Counter[str]:
    count: Counter[str] = Counter()
    for report in reports.values():
        count.update(
            frames=report.frames,
            damaged=report.damaged_frames,
            filled=report.holes_filled,
            retransmissions=report.retransmissions,
            padding=report.padding_packets,
        )
    return count


@pytest.mark.parametrize("kind", UPLINKS)
def test_random_switching_and_binding(kind: str, scaled: Callable[[int], int]) -> None:
    seen: Counter[str] = Counter()
    for seed in range(scaled(2)):
        room = lossy_room(seed, UPLINKS[kind])
        people(room)
        for _ in range(30):
            act_at_random(room)
            room.run(room.random.randrange(20_000, 500_000))
        seen += totals(room.check(longest_silence_us=SILENCE_US))
        room.close()
    assert seen["frames"] > 500
    assert seen["filled"] > 20, "late packets were forwarded in their places"
    assert seen["retransmissions"] > 20
    assert seen["damaged"] * (5 if kind == "bottleneck" else 20) < seen["frames"]


def test_steady_streams_survive_loss_whole(scaled: Callable[[int], int]) -> None:
    """With retransmission on both sides nearly nothing of 3 % loss is left."""
    for seed in range(scaled(2)):
        room = lossy_room(100 + seed, UPLINKS["loss"])
        people(room, publishers=1, receivers=1)
        [receiver] = room.receivers
        for slot in receiver.slots:
            wanted = [p for p in room.publications if p.model.is_audio != slot.video]
            room.bind(slot, wanted[0])
        room.run(10_000_000)
        reports = room.check(longest_silence_us=SILENCE_US)
        for slot in receiver.slots:
            report = reports[slot.handle]
            if slot.video:
                assert report.damaged_frames + report.undecodable_frames <= report.frames // 50
                assert slot.received.given_up <= slot.received.received // 500
        statistics = room.driver.statistics()
        video = next(track for track in statistics.tracks.values() if len(track.layers) == 3)
        assert all(layer.lost <= layer.packets // 200 for layer in video.layers)
        room.close()


def test_people_come_go_and_restart(scaled: Callable[[int], int]) -> None:
    for seed in range(scaled(2)):
        room = lossy_room(200 + seed, UPLINKS["bursts"] if seed % 2 else UPLINKS["reordering"])
        people(room)
        come_go_and_restart(room, 40)
        assert totals(room.check(longest_silence_us=SILENCE_US))["frames"] > 300
        room.close()


def test_one_seed_is_one_run() -> None:
    counts = []
    for _ in range(2):
        room = lossy_room(7, UPLINKS["bursts"])
        people(room, publishers=2, receivers=1)
        for _ in range(10):
            act_at_random(room)
            room.run(200_000)
        reports = room.check()
        counts.append([(r.packets, r.frames, r.retransmissions, r.longest_gap_us) for r in reports.values()])
    assert counts[0] == counts[1]
