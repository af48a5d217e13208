# SPDX-License-Identifier: Apache-2.0
"""ICE-lite in the engine: which checks are answered, from which address, and where media goes then (RFC 8445 §7.3)."""

import pytest
from aioice import stun

from sfu.engine.drops import DropReason
from sfu.engine.events import TransportPath
from tests.engine.media import OpusStream
from tests.engine.router_driver import LOCAL, Driver, Peer

OTHER = ("203.0.113.5", 5_000)
MAX_PATHS = 8
"""As in tables.pxd."""


def answers(peer: Peer) -> list[stun.Class]:
    taken, peer.stun = peer.stun, []
    return [message.message_class for message, _ in taken]


def test_a_check_is_answered_from_the_address_it_came_to() -> None:
    driver = Driver()
    peer = driver.peer()
    peer.check(local="192.0.2.77")
    driver.pump()
    [(message, delivery)] = peer.stun
    assert message.message_class is stun.Class.RESPONSE
    assert message.attributes["XOR-MAPPED-ADDRESS"] == peer.address
    assert delivery.address == peer.address
    assert delivery.local == "192.0.2.77"
    assert {"MESSAGE-INTEGRITY", "FINGERPRINT"} <= set(message.attributes)


def test_ipv6_is_answered_likewise() -> None:
    driver = Driver()
    peer = driver.peer()
    peer.check(("2001:db8::5", 777), "2001:db8::9")
    driver.pump()
    [(message, delivery)] = peer.stun
    assert message.attributes["XOR-MAPPED-ADDRESS"] == ("2001:db8::5", 777)
    assert (delivery.address, delivery.local) == (("2001:db8::5", 777), "2001:db8::9")
    assert driver.take_events(TransportPath)[0].local_ip == "2001:db8::9"


def test_media_goes_to_the_first_address_then_to_the_nominated_one() -> None:
    driver = Driver()
    peer = driver.peer()
    peer.check(nominate=False)
    assert driver.take_events(TransportPath) == [TransportPath(peer.handle, peer.address, False, LOCAL)]
    peer.check(OTHER, nominate=False)
    assert driver.take_events(TransportPath) == [], "a second address changes nothing before it is nominated"
    peer.check(OTHER, nominate=True)
    assert driver.take_events(TransportPath) == [TransportPath(peer.handle, OTHER, True, LOCAL)]
    peer.check(OTHER, nominate=True)
    peer.check(peer.address, nominate=False)
    assert driver.take_events(TransportPath) == [], "repeated checks are no news"
    peer.check(peer.address, nominate=True)
    assert driver.take_events(TransportPath) == [TransportPath(peer.handle, peer.address, True, LOCAL)]
    driver.pump()
    assert answers(peer) == [stun.Class.RESPONSE] * 6


def test_a_nomination_of_the_address_in_use_is_told() -> None:
    driver = Driver()
    peer = driver.peer()
    peer.check(nominate=False)
    driver.take_events(TransportPath)
    peer.check(nominate=True)
    assert driver.take_events(TransportPath) == [TransportPath(peer.handle, peer.address, True, LOCAL)]


def test_one_remote_at_two_of_our_addresses_is_two_paths() -> None:
    driver = Driver()
    peer = driver.peer()
    peer.check(local="192.0.2.1")
    peer.check(local="192.0.2.2")
    assert driver.take_events(TransportPath)[-1].local_ip == "192.0.2.2"
    driver.commands.send_dtls(peer.handle, b"\x16hello")
    driver.flush()
    driver.pump()
    assert [(d.local, d.data) for d in peer.other] == [("192.0.2.2", b"\x16hello")]


def test_datagrams_are_taken_from_each_authenticated_address() -> None:
    driver = Driver()
    peer = driver.peer()
    driver.audio_track(peer)
    stream = OpusStream(7, 111)
    peer.check()
    peer.check(OTHER, nominate=False)
    for address in (peer.address, OTHER):
        peer.address = address
        peer.send(stream.frame())
    assert driver.drops(DropReason.NO_RECEIVER) == 2, "both reached the track"
    peer.address = ("203.0.113.6", 5_000)
    peer.send(stream.frame())
    assert driver.drops(DropReason.UNKNOWN_ADDRESS) == 1


def test_of_many_addresses_the_one_unheard_for_longest_goes() -> None:
    driver = Driver()
    peer = driver.peer()
    addresses = [("203.0.113.1", 1_000 + n) for n in range(MAX_PATHS + 3)]
    for address in addresses[:MAX_PATHS]:
        driver.now_us += 1_000
        peer.check(address, nominate=address == addresses[0])
    driver.now_us += 1_000
    peer.check(addresses[1], nominate=False)
    for address in addresses[MAX_PATHS:]:
        driver.now_us += 1_000
        peer.check(address, nominate=False)
    gone = addresses[2:5]
    for address in addresses:
        before = driver.drops(DropReason.UNKNOWN_ADDRESS)
        peer.datagram(b"\x16\xfe\xfd\x00", address)
        assert driver.drops(DropReason.UNKNOWN_ADDRESS) - before == (address in gone), address
    assert driver.take_events(TransportPath)[-1].remote == addresses[0], "the address in use never goes"
    driver.pump()
    assert answers(peer) == [stun.Class.RESPONSE] * (MAX_PATHS + 4)


def test_wrong_password_unknown_user_and_garbage_are_counted_not_answered() -> None:
    driver = Driver()
    peer = driver.peer()
    peer.datagram(peer.check_bytes(password=b"wrong" * 5))
    assert driver.drops(DropReason.BAD_AUTH) == 1
    for ufrag in (b"030007" + b"f" * 12, peer.ufrag[:-1] + b"!", peer.ufrag[:-1], peer.ufrag + b"0", b""):
        peer.datagram(peer.check_bytes(ufrag=ufrag or b"x"))
    assert driver.drops(DropReason.UNKNOWN_TRANSPORT) == 5
    whole = peer.check_bytes()
    peer.datagram(whole[:-3])
    peer.datagram(whole[:-1] + bytes([whole[-1] ^ 1]))
    peer.datagram(b"\x00\x01")
    assert driver.drops(DropReason.MALFORMED) == 3
    without = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    without.attributes["USERNAME"] = peer.ufrag.decode() + ":peer"
    peer.datagram(bytes(without))
    assert driver.drops(DropReason.BAD_AUTH) == 2
    response = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.RESPONSE)
    peer.datagram(bytes(response))
    assert driver.drops(DropReason.UNEXPECTED) == 1
    assert driver.pump() == []
    assert driver.take_events(TransportPath) == []


def test_a_controlled_peer_gets_role_conflict_and_no_path() -> None:
    driver = Driver()
    peer = driver.peer()
    peer.check(controlled=True)
    driver.pump()
    [(message, _)] = peer.stun
    assert message.message_class is stun.Class.ERROR
    assert message.attributes["ERROR-CODE"][0] == 487
    assert driver.take_events(TransportPath) == []
    peer.datagram(b"\x16\xfe\xfd\x00")
    assert driver.drops(DropReason.UNKNOWN_ADDRESS) == 1


def test_an_address_stays_with_the_peer_that_checks_from_it() -> None:
    """A check of another peer from the same 5-tuple (forged, or a port used again) must not lock the first one out."""
    driver = Driver()
    first, second = driver.connect("a"), driver.connect("b")
    second.check(first.address)
    first.check()
    driver.audio_track(first)
    first.send(OpusStream(7, 111).frame())
    assert driver.drops(DropReason.BAD_AUTH) == 0
    assert driver.drops(DropReason.NO_RECEIVER) == 1


def test_removed_transports_are_not_known_any_more() -> None:
    driver = Driver()
    peer = driver.connect()
    check = peer.check_bytes()
    driver.commands.remove_transport(peer.handle)
    driver.flush()
    peer.datagram(check)
    assert driver.drops(DropReason.UNKNOWN_TRANSPORT) == 1
    peer.datagram(b"\x16\xfe\xfd\x00")
    assert driver.drops(DropReason.UNKNOWN_ADDRESS) == 1
    assert driver.pump() == []


def test_a_used_again_place_has_another_handle_and_ufrag() -> None:
    driver = Driver()
    old = driver.connect("old")
    check = old.check_bytes()
    driver.commands.remove_transport(old.handle)
    new = driver.peer("new")
    assert (new.handle & 0xFFFFF) == (old.handle & 0xFFFFF)
    assert new.handle != old.handle
    old.datagram(check)
    assert driver.drops(DropReason.UNKNOWN_TRANSPORT) == 1
    with pytest.raises(ValueError, match="no transport"):
        driver.commands.send_dtls(old.handle, b"\x16")


def test_many_peers_with_many_addresses_are_told_apart() -> None:
    driver = Driver()
    peers = [driver.peer(f"peer{n}") for n in range(60)]
    paths = [(peer, ("203.0.113.9", 10_000 + 10 * n + k)) for n, peer in enumerate(peers) for k in range(MAX_PATHS)]
    driver.random.shuffle(paths)
    for peer, address in paths:
        peer.check(address)
        driver.router.egress()
    gone = driver.random.sample(peers, 30)
    for peer in gone:
        driver.commands.remove_transport(peer.handle)
    driver.flush()
    driver.router.events()
    for peer, address in paths:
        before = driver.drops(DropReason.UNKNOWN_ADDRESS)
        received = driver.statistics().transports[peer.handle].packets_received if peer not in gone else 0
        peer.datagram(b"\x80\x6f" + bytes(20), address)
        if peer in gone:
            assert driver.drops(DropReason.UNKNOWN_ADDRESS) == before + 1
        else:
            assert driver.statistics().transports[peer.handle].packets_received == received + 1
