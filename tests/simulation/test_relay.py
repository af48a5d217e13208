# SPDX-License-Identifier: Apache-2.0
"""Rooms whose receivers are on another router: what they get over a relay is as legal as on one router."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from tests.simulation.links import LinkModel
from tests.simulation.room import PERFECT, SimulatedRoom
from tests.simulation.test_room_clean import act_at_random, come_go_and_restart
from tests.simulation.test_room_impaired import DOWNLINK, FEEDBACK, SILENCE_US, UPLINKS, people, totals

RELAYS = {
    "loopback": LinkModel(delay_us=100),
    "overloaded loopback": LinkModel(delay_us=200, loss=0.02, loss_burst=5.0),
    "another node": LinkModel(delay_us=10_000, jitter_us=2_000, loss=0.02, reorder=0.01, duplicate=0.01),
}


@pytest.mark.parametrize("kind", RELAYS)
def test_random_switching_and_binding(kind: str, scaled: Callable[[int], int]) -> None:
    seen: Counter[str] = Counter()
    for seed in range(scaled(1)):
        room = SimulatedRoom(
            seed,
            publisher_link=PERFECT if kind == "loopback" else UPLINKS["loss"],
            receiver_link=DOWNLINK,
            feedback_link=FEEDBACK,
            relay_link=RELAYS[kind],
        )
        people(room)
        for _ in range(25):
            act_at_random(room)
            room.run(room.random.randrange(20_000, 500_000))
        seen += totals(room.check(longest_silence_us=SILENCE_US))
        room.close()
    assert seen["frames"] > 250
    assert seen["retransmissions"] > 10
    assert seen["damaged"] * 20 < seen["frames"]


def test_steady_streams_survive_loss_on_all_three_hops_whole(scaled: Callable[[int], int]) -> None:
    for seed in range(scaled(1)):
        room = SimulatedRoom(
            300 + seed,
            publisher_link=UPLINKS["loss"],
            receiver_link=DOWNLINK,
            feedback_link=FEEDBACK,
            relay_link=RELAYS["another node"],
        )
        people(room, publishers=1, receivers=1)
        [receiver] = room.receivers
        for slot in receiver.slots:
            wanted = [one for one in room.publications if one.model.is_audio != slot.video]
            room.bind(slot, wanted[0])
        room.run(10_000_000)
        reports = room.check(longest_silence_us=SILENCE_US)
        for slot in receiver.slots:
            report = reports[slot.handle]
            if slot.video:
                assert report.frames > 200
                assert report.damaged_frames + report.undecodable_frames <= report.frames // 50
                assert slot.received.given_up <= slot.received.received // 500
        assert room.driver.statistics().resent > 5, "the relay's hop was repaired"
        assert room.receiving.statistics().resent > 5, "and the receiver's"
        room.close()


def test_people_come_go_and_restart(scaled: Callable[[int], int]) -> None:
    for seed in range(scaled(1)):
        room = SimulatedRoom(
            400 + seed,
            publisher_link=UPLINKS["reordering"],
            receiver_link=DOWNLINK,
            feedback_link=FEEDBACK,
            relay_link=RELAYS["another node"],
        )
        people(room)
        come_go_and_restart(room, 30)
        assert totals(room.check(longest_silence_us=SILENCE_US))["frames"] > 200
        room.close()
