# SPDX-License-Identifier: Apache-2.0
"""REMB: a publisher whose rate is bounded is told so with each receiver report, and nobody else is."""

from __future__ import annotations

import pytest

from sfu.wire.rtcp_messages import Packet, ReceiverReport, Remb, SourceDescription
from sfu.wire.rtcp_packets import parse_compound
from tests.engine.media import Vp8Stream
from tests.engine.router_driver import Driver, Peer

SECOND_US = 1_000_000
FRAME_US = 33_333
LIMIT_BPS = 5_314_000
MANTISSA = 1 << 18


def compounds(peer: Peer) -> list[list[Packet]]:
    """Those with receiver reports, since the last time."""
    found = [parse_compound(delivery.data) for delivery in peer.rtcp_deliveries]
    peer.rtcp_deliveries.clear()
    return [packets for packets in found if isinstance(packets[0], ReceiverReport)]


def rembs(peer: Peer) -> list[Remb]:
    return [packet for packets in compounds(peer) for packet in packets if isinstance(packet, Remb)]


def send(driver: Driver, peer: Peer, stream: Vp8Stream, duration_us: int) -> None:
    until_us = driver.now_us + duration_us
    while driver.now_us < until_us:
        peer.send(*stream.frame())
        driver.advance(FRAME_US, FRAME_US)


def publisher(driver: Driver, name: str = "p", ssrc: int = 5) -> tuple[Peer, Vp8Stream]:
    peer = driver.connect(name)
    driver.video_track(peer)
    return peer, Vp8Stream(ssrc, 96)


def test_the_limit_is_told_each_second_in_the_compound_of_the_report() -> None:
    driver = Driver()
    peer, stream = publisher(driver)
    driver.commands.set_publish_limit(peer.handle, LIMIT_BPS)
    driver.flush()
    send(driver, peer, stream, 5 * SECOND_US)
    found = compounds(peer)
    assert 4 <= len(found) <= 6
    for packets in found:
        report, description, remb = packets
        assert isinstance(report, ReceiverReport)
        assert isinstance(description, SourceDescription)
        assert isinstance(remb, Remb)
        assert LIMIT_BPS * (1 - 2 / MANTISSA) <= remb.bitrate_bps <= LIMIT_BPS
        assert remb.sender == report.ssrc
        assert remb.ssrcs == (5,)


def test_who_has_no_limit_is_told_nothing() -> None:
    driver = Driver()
    bounded, bounded_stream = publisher(driver, "a", 5)
    free, free_stream = publisher(driver, "b", 6)
    driver.commands.set_publish_limit(bounded.handle, LIMIT_BPS)
    driver.flush()
    for _ in range(30):
        send(driver, bounded, bounded_stream, FRAME_US)
        send(driver, free, free_stream, FRAME_US)
    assert rembs(bounded)
    assert compounds(free)
    assert not rembs(free)


def test_another_limit_holds_with_the_next_report() -> None:
    driver = Driver()
    peer, stream = publisher(driver)
    for limit_bps in (1_000_000, 8_000_000, 100_000):
        driver.commands.set_publish_limit(peer.handle, limit_bps)
        driver.flush()
        send(driver, peer, stream, SECOND_US + FRAME_US)
        assert {remb.bitrate_bps for remb in rembs(peer)} == {limit_bps}
    driver.commands.set_publish_limit(peer.handle, 0)
    driver.flush()
    send(driver, peer, stream, 2 * SECOND_US)
    assert not rembs(peer)


def test_a_transport_that_is_gone_has_no_limit() -> None:
    driver = Driver()
    peer, _ = publisher(driver)
    driver.commands.remove_transport(peer.handle)
    with pytest.raises(ValueError, match="no transport"):
        driver.commands.set_publish_limit(peer.handle, LIMIT_BPS)
