# SPDX-License-Identifier: Apache-2.0
"""Workers share nothing: no cache line holds what two of them write."""

from __future__ import annotations

from sfu.engine.router_probe import written_memory
from tests.engine.media import Vp8Stream
from tests.engine.router_driver import Driver, Peer

LINE_BYTES = 64
PEERS = 20
WRITTEN = {"router", "transport", "track", "forwarder", "sent", "congestion", "estimator", "srtp", "gcm", "streams"}


def lines(driver: Driver) -> dict[int, str]:
    """Cache lines that the thread of this router would write to."""
    return {
        line: what
        for what, address, size in written_memory(driver.router)
        for line in range(address // LINE_BYTES, (address + size - 1) // LINE_BYTES + 1)
    }


def test_objects_of_two_routers_that_are_made_in_turn_share_no_line() -> None:
    drivers = [Driver(1), Driver(2)]
    publishers = [driver.connect("p") for driver in drivers]
    tracks = [driver.video_track(peer) for driver, peer in zip(drivers, publishers, strict=True)]
    receivers: list[Peer] = []
    for number in range(PEERS):
        for driver, track in zip(drivers, tracks, strict=True):
            receivers.append(driver.connect(f"r{number}"))
            driver.bind(driver.video_slot(receivers[-1]), track)
    stream = Vp8Stream(5, 96)
    for driver, publisher in zip(drivers, publishers, strict=True):
        publisher.send(*stream.key(3))
        driver.pump()
    assert all(peer.take_rtp() for peer in receivers)
    first, second = (lines(driver) for driver in drivers)
    assert set(first.values()) == set(second.values()) == WRITTEN
    shared = {line: (first[line], second[line]) for line in first.keys() & second.keys()}
    assert not shared
    for driver in drivers:
        assert all(address % LINE_BYTES == 0 for _, address, _ in written_memory(driver.router))
