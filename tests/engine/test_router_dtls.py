# SPDX-License-Identifier: Apache-2.0
"""DTLS between the socket and Python: only from authenticated addresses, within a rate, in a bounded queue."""

from sfu.engine.drops import DropReason
from sfu.engine.events import DtlsDatagram, TransportPath
from tests.engine.router_driver import Driver

HELLO = b"\x16\xfe\xfd" + bytes(60)
RATE = 500
"""Datagrams per second of one transport, as in demux.pyx."""
BURST = 64
RING = 256


def test_dtls_is_passed_on_from_authenticated_addresses_only() -> None:
    driver = Driver()
    peer = driver.peer()
    peer.datagram(HELLO)
    assert driver.drops(DropReason.UNKNOWN_ADDRESS) == 1
    peer.check()
    peer.datagram(HELLO)
    assert driver.take_events(DtlsDatagram) == [DtlsDatagram(peer.handle, HELLO)]
    assert driver.statistics().dtls_received == 1


def test_a_handshake_may_begin_the_moment_the_transport_is_there() -> None:
    driver = Driver()
    peer = driver.connect()
    for _ in range(BURST):
        peer.datagram(HELLO)
    assert len(driver.take_events(DtlsDatagram)) == BURST
    assert driver.drops(DropReason.DTLS_RATE) == 0


def test_the_rate_is_bounded_and_recovers() -> None:
    driver = Driver()
    peer = driver.connect()
    driver.now_us += 10_000_000
    for _ in range(100):
        peer.datagram(HELLO)
    assert len(driver.take_events(DtlsDatagram)) == BURST
    assert driver.drops(DropReason.DTLS_RATE) == 100 - BURST
    passed = 0
    for _ in range(1_000):
        driver.now_us += 1_000
        peer.datagram(HELLO)
        passed += len(driver.take_events(DtlsDatagram))
    assert abs(passed - RATE) <= 2


def test_datagrams_that_come_apart_by_less_than_a_token_still_refill() -> None:
    driver = Driver()
    peer = driver.connect()
    passed = 0
    for _ in range(200_000):
        driver.now_us += 5
        peer.datagram(HELLO)
        passed += len(driver.take_events(DtlsDatagram)) if driver.now_us % 1_000 == 0 else 0
    passed += len(driver.take_events(DtlsDatagram))
    assert abs(passed - RATE - BURST) <= 4, "one second of a flood: the burst and one second's rate"


def test_one_peer_does_not_use_up_another_ones_rate() -> None:
    driver = Driver()
    greedy, modest = driver.connect("g"), driver.connect("m")
    for _ in range(200):
        greedy.datagram(HELLO)
    modest.datagram(HELLO)
    assert DtlsDatagram(modest.handle, HELLO) in driver.take_events(DtlsDatagram)


def test_the_queue_is_bounded_and_in_order() -> None:
    driver = Driver()
    peers = [driver.connect(f"p{n}") for n in range(6)]
    driver.take_events(TransportPath)
    sent = []
    for number in range(60):
        for peer in peers:
            data = b"\x17\xfe\xfd" + number.to_bytes(2, "big")
            peer.datagram(data)
            sent.append(DtlsDatagram(peer.handle, data))
    assert driver.take_events(DtlsDatagram) == sent[:RING]
    assert driver.drops(DropReason.EVENTS_FULL) == len(sent) - RING
    peers[0].datagram(HELLO)
    assert len(driver.take_events(DtlsDatagram)) == 1, "there is room again"


def test_what_is_no_dtls_stun_or_media_is_unexpected() -> None:
    driver = Driver()
    peer = driver.connect()
    before = driver.statistics().packets_received
    for first in (4, 15, 19, 64, 79, 127, 192, 255):
        peer.datagram(bytes([first]) + bytes(30))
    assert driver.drops(DropReason.UNEXPECTED) == 8
    peer.datagram(b"")
    peer.datagram(b"\x80\x60\x00")
    assert driver.drops(DropReason.MALFORMED) == 2
    assert driver.statistics().packets_received == before + 10


def test_what_python_sends_goes_to_the_selected_address() -> None:
    driver = Driver()
    peer = driver.peer()
    driver.commands.send_dtls(peer.handle, b"\x16lost")
    driver.flush()
    peer.check(("203.0.113.1", 1_000), nominate=False)
    driver.commands.send_dtls(peer.handle, b"\x16first")
    driver.flush()
    peer.check(("203.0.113.2", 1_000))
    for number in range(20):
        driver.commands.send_dtls(peer.handle, b"\x16more%d" % number)
    driver.flush()
    driver.commands.remove_transport(peer.handle)
    driver.flush()
    driver.router.run(driver.now_us)
    sent = [(data, address) for _, data, address, _ in driver.router.egress() if data[0] == 0x16]
    assert sent[0] == (b"\x16first", ("203.0.113.1", 1_000))
    assert sent[1:] == [(b"\x16more%d" % n, ("203.0.113.2", 1_000)) for n in range(20)], "a close alert still leaves"
    assert driver.statistics().dtls_sent == 21
