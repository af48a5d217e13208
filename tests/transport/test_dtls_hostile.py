# SPDX-License-Identifier: Apache-2.0
"""What anybody can throw at a DTLS endpoint, before, during and after the handshake."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.transport.certificate import Certificate
from sfu.transport.dtls import MAX_DATAGRAM, TransportState
from tests.transport.association import Association, ManualTimers, records

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23
CERTIFICATE = Certificate()


def record(kind: int, body: bytes, *, epoch: int = 0, sequence: int = 0, version: int = 0xFEFD) -> bytes:
    return struct.pack("!BHHHIH", kind, version, epoch, 0, sequence, len(body)) + body


def handshake(kind: int, body: bytes, *, number: int = 0, sequence: int = 0) -> bytes:
    size = len(body).to_bytes(3)
    return record(HANDSHAKE, struct.pack("!B3sH", kind, size, number) + b"\0\0\0" + size + body, sequence=sequence)


FATAL_ALERT = record(ALERT, b"\x02\x28")
CLOSE_NOTIFY = record(ALERT, b"\x01\x00")

HARMLESS_ALWAYS = {
    "empty": b"",
    "one byte": b"\x16",
    "short": bytes(12),
    "zeros": bytes(100),
    "oversized": b"\x16\xfe\xfd" + bytes(MAX_DATAGRAM),
    "torn record": record(HANDSHAKE, bytes(200))[:-20],
    "huge length": struct.pack("!BHHHIH", HANDSHAKE, 0xFEFD, 0, 0, 0, 0xFFFF) + bytes(50),
    "fatal alert": FATAL_ALERT,
    "close notify": CLOSE_NOTIFY,
    "unknown type": record(63, b"hello"),
    "TLS version": record(HANDSHAKE, b"hello", version=0x0303),
    "future epoch": record(APPLICATION_DATA, bytes(40), epoch=7),
    "short protected": record(APPLICATION_DATA, bytes(23), epoch=1),
    "short protected alert": record(ALERT, b"\x01\x00", epoch=1),
    "protected noise": record(APPLICATION_DATA, bytes(40), epoch=1),
    "protected noise alert": record(ALERT, bytes(40), epoch=1),
    "protected noise handshake": record(HANDSHAKE, bytes(60), epoch=1),
}

HARMLESS_BEFORE_CLIENT_HELLO = HARMLESS_ALWAYS | {
    "application data": record(APPLICATION_DATA, b"hello"),
    "change cipher spec": record(CHANGE_CIPHER_SPEC, b"\x01"),
    "empty handshake": record(HANDSHAKE, b""),
    "empty record": record(APPLICATION_DATA, b""),
    "finished": handshake(20, bytes(12)),
    "certificate": handshake(11, b"\0\0\0"),
    "garbled client hello": handshake(1, bytes(40)),
    "client hello without ciphers": handshake(1, b"\xfe\xfd" + bytes(32) + b"\0\0" + b"\0\0" + b"\x01\0"),
    "unknown handshake": handshake(99, bytes(10)),
    "out of sequence": handshake(1, bytes(40), number=9),
}


@pytest.mark.parametrize("name", HARMLESS_BEFORE_CLIENT_HELLO)
def test_before_the_client_hello(name: str) -> None:
    association = Association(ManualTimers(), server=CERTIFICATE)
    association.server.endpoint.start("server", association.client.fingerprints)
    for _ in range(3):
        association.server.endpoint.datagram(HARMLESS_BEFORE_CLIENT_HELLO[name])
    assert association.server.sent == []  # not even an alert: it would go to somebody innocent
    association.client.endpoint.start("client", association.server.fingerprints)
    association.pump()
    assert association.states == ("connected", "connected")


@pytest.mark.parametrize("name", HARMLESS_BEFORE_CLIENT_HELLO)
def test_early_and_replayed(name: str) -> None:
    association = Association(ManualTimers(), server=CERTIFICATE)
    association.server.endpoint.datagram(HARMLESS_BEFORE_CLIENT_HELLO[name])
    association.start()
    association.pump()
    assert association.states == ("connected", "connected")


@pytest.mark.parametrize("name", HARMLESS_ALWAYS)
def test_during_the_handshake(name: str) -> None:
    association = Association(ManualTimers(), server=CERTIFICATE)
    association.start()
    client, server = association.client, association.server
    while client.unsent or server.unsent:
        for source, sink in ((client, server), (server, client)):
            while source.unsent:
                for end in (client, server):
                    end.endpoint.datagram(HARMLESS_ALWAYS[name])
                sink.endpoint.datagram(source.unsent.popleft())
    assert association.states == ("connected", "connected")


@pytest.mark.parametrize("name", HARMLESS_BEFORE_CLIENT_HELLO)
def test_when_connected(name: str) -> None:
    association = Association(ManualTimers(), server=CERTIFICATE)
    association.start()
    association.pump()
    for end in (association.client, association.server):
        end.endpoint.datagram(HARMLESS_BEFORE_CLIENT_HELLO[name])
    association.pump()
    association.client.endpoint.send(b"to the server")
    association.server.endpoint.send(b"to the client")
    association.pump()
    assert association.states == ("connected", "connected")
    assert (association.client.data, association.server.data) == ([b"to the client"], [b"to the server"])


def test_foreign_client_hello_when_connected_changes_nothing() -> None:
    association = Association(ManualTimers(), server=CERTIFICATE)
    association.start()
    association.pump()
    keys = association.server.endpoint.keys
    stranger = Association(ManualTimers(), server=CERTIFICATE)
    stranger.start()
    association.server.endpoint.datagram(stranger.client.sent[0])
    association.pump()
    assert association.server.endpoint.state is TransportState.CONNECTED
    assert association.server.endpoint.keys == keys


def test_a_corrupted_flight_fails_only_its_own_end() -> None:
    """Once a ClientHello was answered the handshake is bound to that peer: what it then says wrongly ends it, with an
    alert.
    """
    association = Association(ManualTimers(), server=CERTIFICATE)
    association.start()
    association.server.endpoint.datagram(association.client.unsent.popleft())
    association.server.unsent.clear()
    association.server.endpoint.datagram(handshake(20, bytes(12), number=1, sequence=1))
    assert association.server.endpoint.state is TransportState.FAILED
    assert association.server.endpoint.keys is None
    assert association.server.endpoint.failure is not None
    association.server.endpoint.datagram(b"\x16 after the end")
    association.server.endpoint.close()
    assert association.server.states == ["connecting", "failed"]


def test_last_trouble_is_told_at_the_deadline() -> None:
    timers = ManualTimers()
    association = Association(timers, server=CERTIFICATE)
    association.server.endpoint.start("server", association.client.fingerprints)
    association.server.endpoint.datagram(FATAL_ALERT)
    timers.advance(60)
    assert association.server.endpoint.failure == "no handshake within 15 s; last seen: unprotected alert 02 28"


@settings(deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=10))
def test_noise_never_stops_a_server_from_connecting(noise: list[bytes]) -> None:
    association = Association(ManualTimers(), server=CERTIFICATE, client=CERTIFICATE)
    association.server.endpoint.start("server", association.client.fingerprints)
    for datagram in noise:
        association.server.endpoint.datagram(datagram)
    association.client.endpoint.start("client", association.server.fingerprints)
    association.pump()
    assert association.states == ("connected", "connected")


PLAUSIBLE = st.builds(
    lambda kind, body, epoch, sequence: record(kind, body, epoch=epoch, sequence=sequence),
    st.sampled_from([CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA]),
    st.binary(max_size=80),
    st.sampled_from([0, 0, 0, 1]),
    st.integers(0, 9),
)


@settings(deadline=None)
@given(st.lists(st.lists(PLAUSIBLE, max_size=4).map(b"".join), max_size=8))
def test_plausible_noise_never_stops_a_server_from_connecting(noise: list[bytes]) -> None:
    association = Association(ManualTimers(), server=CERTIFICATE, client=CERTIFICATE)
    association.server.endpoint.start("server", association.client.fingerprints)
    for datagram in noise:
        association.server.endpoint.datagram(datagram)
    association.client.endpoint.start("client", association.server.fingerprints)
    association.pump()
    assert association.states == ("connected", "connected")


@settings(deadline=None)
@given(st.lists(st.lists(PLAUSIBLE, max_size=4).map(b"".join), max_size=8))
def test_plausible_noise_never_ends_a_connection(noise: list[bytes]) -> None:
    association = Association(ManualTimers(), server=CERTIFICATE, client=CERTIFICATE)
    association.start()
    association.pump()
    for datagram in noise:
        association.client.endpoint.datagram(datagram)
        association.server.endpoint.datagram(datagram)
    association.client.endpoint.send(b"still here")
    association.pump()
    assert association.states == ("connected", "connected")
    assert association.server.data == [b"still here"]


@settings(deadline=None)
@given(victim=st.integers(0, 3), flipped=st.integers(0, 8 * 1200))
def test_a_bit_flipped_anywhere_never_gives_keys_that_differ(victim: int, flipped: int) -> None:
    association = Association(ManualTimers(), server=CERTIFICATE, client=CERTIFICATE)
    association.start()
    count = 0
    client, server = association.client, association.server
    while client.unsent or server.unsent:
        for source, sink in ((client, server), (server, client)):
            while source.unsent:
                datagram = source.unsent.popleft()
                if count == victim:
                    position = flipped % (8 * len(datagram))
                    garbled = bytearray(datagram)
                    garbled[position // 8] ^= 1 << position % 8
                    datagram = bytes(garbled)
                count += 1
                sink.endpoint.datagram(datagram)
    if client.endpoint.keys is not None and server.endpoint.keys is not None:
        assert client.endpoint.keys.send == server.endpoint.keys.receive


def test_several_records_in_one_datagram_are_all_delivered() -> None:
    association = Association(ManualTimers(), server=CERTIFICATE)
    association.start()
    association.pump()
    for word in (b"one", b"two", b"three"):
        association.client.endpoint.send(word)
    together = b"".join(association.client.unsent)
    association.client.unsent.clear()
    assert len(records(together)) == 3
    association.server.endpoint.datagram(together + b"\x17 torn")
    assert association.server.data == [b"one", b"two", b"three"]


def test_replayed_data_is_delivered_once() -> None:
    association = Association(ManualTimers(), server=CERTIFICATE)
    association.start()
    association.pump()
    association.client.endpoint.send(b"once")
    datagram = association.client.unsent.popleft()
    association.server.endpoint.datagram(datagram)
    association.server.endpoint.datagram(datagram)
    assert association.server.data == [b"once"]
