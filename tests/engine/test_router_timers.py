# SPDX-License-Identifier: Apache-2.0
"""Timers: a transport where nothing flows costs nothing, is not forgotten, and wakes with what begins to flow."""

from __future__ import annotations

from sfu.engine.events import TrackLayers, TransportExpired
from tests.engine.media import OpusStream, Vp8Stream
from tests.engine.router_driver import Driver, Peer

SECOND_US = 1_000_000
CONSENT_US = 30 * SECOND_US
QUIET_US = 4 * SECOND_US
MORE_THAN_A_SLICE = 150
RECEIVER_REPORT, SENDER_REPORT = 201, 200


def reports(peer: Peer, packet_type: int) -> int:
    return sum(packet.packet_type == packet_type for packet in peer.take_rtcp())


def test_who_is_quiet_waits_for_the_end_of_consent_only() -> None:
    driver = Driver()
    peer = driver.connect()
    driver.bind(driver.video_slot(peer), driver.video_track(peer))
    driver.advance(QUIET_US)
    next_us = driver.router.tick(driver.now_us)
    assert next_us is not None
    assert next_us - driver.now_us > 20 * SECOND_US


def test_transports_that_are_due_together_all_have_their_turn() -> None:
    driver = Driver()
    peers = [driver.connect(f"p{number}") for number in range(MORE_THAN_A_SLICE)]
    began_us = driver.now_us
    driver.advance(QUIET_US)
    peers[7].check()
    driver.now_us = began_us + CONSENT_US + 1
    driver.pump()
    expired = {event.transport for event in driver.take_events(TransportExpired)}
    assert expired == {peer.handle for number, peer in enumerate(peers) if number != 7}
    assert driver.router.tick(driver.now_us) == began_us + QUIET_US + CONSENT_US + 1
    driver.now_us = began_us + QUIET_US + CONSENT_US + 1
    driver.pump()
    assert [event.transport for event in driver.take_events(TransportExpired)] == [peers[7].handle]
    assert driver.router.tick(driver.now_us) is None, "nobody is left to wait for"
    peers[9].check()
    assert driver.router.tick(driver.now_us) is not None


def test_what_was_quiet_wakes_with_the_first_packet() -> None:
    driver = Driver()
    publisher, receiver = driver.connect("p"), driver.connect("r")
    video, audio = Vp8Stream(10, 96), OpusStream(11, 111)
    track = driver.video_track(publisher)
    driver.audio_track(publisher)
    slot = driver.video_slot(receiver)
    driver.bind(slot, track)
    publisher.send(*video.key(), audio.frame())
    driver.advance(200_000)
    driver.commands.unbind(slot)
    driver.flush()
    driver.advance(3 * QUIET_US)
    next_us = driver.router.tick(driver.now_us)
    assert next_us is not None
    assert next_us - driver.now_us > SECOND_US
    layers = driver.statistics().tracks[track].layers
    assert (layers[0].active, layers[0].bitrate_bps) == (False, 0)
    assert driver.statistics().forwarders[slot].bitrate_bps == 0
    driver.take_events(TrackLayers)
    publisher.take_rtcp(), receiver.take_rtcp()

    driver.bind(slot, track, generation=2)
    publisher.send(*video.key(), audio.frame())
    driver.advance(1_100_000)
    assert reports(receiver, SENDER_REPORT) >= 3, "with the start, and soon after it"
    assert reports(publisher, RECEIVER_REPORT) >= 1
    driver.advance(SECOND_US)
    assert [event.track for event in driver.take_events(TrackLayers)].count(track) >= 1
    assert driver.statistics().tracks[track].layers[0].active is False, "it fell silent again, and that was seen"
