# SPDX-License-Identifier: Apache-2.0
"""Consent (RFC 7675): a peer that checks no more is given up after 30 s, and nothing is sent to it from then on."""

from sfu.engine.drops import DropReason
from sfu.engine.events import TransportExpired
from tests.engine.media import OpusStream
from tests.engine.router_driver import Driver

CONSENT_US = 30_000_000
SECOND_US = 1_000_000


def test_consent_ends_30_s_after_the_last_check() -> None:
    driver = Driver()
    peer = driver.connect()
    driver.advance(20 * SECOND_US, SECOND_US)
    peer.check()
    driver.advance(CONSENT_US, SECOND_US)
    assert driver.take_events(TransportExpired) == []
    driver.advance(200_000)
    assert driver.take_events(TransportExpired) == [TransportExpired(peer.handle)]
    driver.advance(CONSENT_US, SECOND_US)
    assert driver.take_events(TransportExpired) == [], "told once"


def test_a_peer_that_never_checks_expires_too() -> None:
    driver = Driver()
    peer = driver.peer()
    driver.advance(CONSENT_US, SECOND_US)
    assert driver.take_events(TransportExpired) == []
    driver.advance(200_000)
    assert driver.take_events(TransportExpired) == [TransportExpired(peer.handle)]


def test_media_is_no_consent() -> None:
    driver = Driver()
    peer = driver.connect()
    driver.audio_track(peer)
    stream = OpusStream(7, 111)
    for _ in range(31):
        peer.send(stream.frame())
        driver.advance(SECOND_US, SECOND_US)
    assert driver.take_events(TransportExpired) == [TransportExpired(peer.handle)]


def test_nothing_is_sent_without_consent_and_media_goes_on_with_it() -> None:
    """RFC 7675 §5.1: without consent an agent must cease all transmission."""
    driver = Driver()
    publisher, receiver = driver.connect("p"), driver.connect("r")
    track, slot = driver.audio_track(publisher), driver.audio_slot(receiver)
    driver.bind(slot, track)
    stream = OpusStream(7, 111)
    for _ in range(32):
        publisher.check()
        publisher.send(stream.frame())
        driver.advance(SECOND_US, SECOND_US // 10)
    assert driver.take_events(TransportExpired) == [TransportExpired(receiver.handle)]
    receiver.take_rtp()
    receiver.take_rtcp()
    for _ in range(3):
        publisher.send(stream.frame())
        driver.advance(SECOND_US, SECOND_US // 10)
    assert not receiver.rtp
    assert not receiver.rtcp_deliveries
    assert driver.drops(DropReason.NOT_CONNECTED) >= 3
    receiver.check()
    publisher.send(stream.frame())
    driver.pump()
    assert len(receiver.take_rtp()) == 1
    driver.assert_accounts_balance()


def test_a_check_in_time_takes_the_expiry_back() -> None:
    driver = Driver()
    peer = driver.connect()
    driver.router.tick(driver.now_us + CONSENT_US + SECOND_US)
    driver.now_us += CONSENT_US + SECOND_US
    peer.check()
    assert driver.take_events(TransportExpired) == [], "the peer is back before anybody heard that it was gone"
