# SPDX-License-Identifier: Apache-2.0
"""The DTLS handshake: roles, certificates, SRTP profiles, fingerprints, datagram sizes."""

import pytest

from sfu.transport.certificate import SRTP_PROFILES, Certificate
from sfu.transport.dtls import HANDSHAKE_DEADLINE_S, MTU, Role, TransportState
from tests.transport.association import KEYS, Association, End, KeyName, ManualTimers, PlainPeer, private_key, records

GCM_128, GCM_256, CM_SHA1_80 = SRTP_PROFILES


def test_both_ends_get_the_same_keys_crosswise() -> None:
    association = Association(ManualTimers())
    association.start()
    association.pump()
    client, server = association.client.endpoint.keys, association.server.endpoint.keys
    assert client is not None
    assert server is not None
    assert (client.send, client.receive) == (server.receive, server.send)
    assert client.send != client.receive
    assert client.profile == server.profile == GCM_128
    assert len(client.send) == GCM_128.key_size + GCM_128.salt_size


def test_states_are_told_in_order_and_no_timer_stays() -> None:
    timers = ManualTimers()
    association = Association(timers)
    association.start()
    association.pump()
    for end in (association.client, association.server):
        assert end.states == ["connecting", "connected"]
    assert timers.pending() == []


@pytest.mark.parametrize("role", ["client", "server"])
@pytest.mark.parametrize("key", KEYS)
def test_plain_openssl_peer(role: Role, key: KeyName) -> None:
    end = End(ManualTimers(), Certificate())
    peer = PlainPeer("server" if role == "client" else "client", key)
    end.endpoint.start(role, [peer.fingerprint()])
    peer.exchange(end)
    assert end.endpoint.state is TransportState.CONNECTED
    assert peer.connected
    keys = end.endpoint.keys
    assert keys is not None
    exported = peer.ssl.export_keying_material(b"EXTRACTOR-dtls_srtp", keys.profile.exported_size)
    client, server = keys.profile.split(exported)
    assert (keys.send, keys.receive) == ((client, server) if role == "client" else (server, client))
    assert all(len(datagram) <= MTU for datagram in end.sent)


@pytest.mark.parametrize("key", KEYS)
def test_flights_are_cut_at_record_borders(key: KeyName) -> None:
    association = Association(
        ManualTimers(), client=Certificate(key=private_key(key)), server=Certificate(key=private_key(key))
    )
    association.start()
    association.pump()
    assert association.states == ("connected", "connected")
    sent = association.client.sent + association.server.sent
    assert all(len(datagram) <= MTU for datagram in sent)
    assert all(records(datagram) for datagram in sent)  # nothing but whole records
    if key == "rsa-4096":
        assert any(len(datagram) > MTU - 200 for datagram in sent)  # and not one datagram per record either
        assert any(len(records(datagram)) > 1 for datagram in sent)


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (b"SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_256_GCM:SRTP_AEAD_AES_128_GCM", GCM_128),
        (b"SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_256_GCM", GCM_256),
        (b"SRTP_AES128_CM_SHA1_80", CM_SHA1_80),
    ],
)
def test_as_the_server_our_order_of_srtp_profiles_wins(offered: bytes, chosen: object) -> None:
    end = End(ManualTimers(), Certificate())
    peer = PlainPeer("client", "ecdsa-p256", offered)
    end.endpoint.start("server", [peer.fingerprint()])
    peer.exchange(end)
    assert end.endpoint.keys is not None
    assert end.endpoint.keys.profile == chosen


def test_without_a_common_srtp_profile_there_is_no_connection() -> None:
    end = End(ManualTimers(), Certificate())
    peer = PlainPeer("client", "ecdsa-p256", b"")
    end.endpoint.start("server", [peer.fingerprint()])
    peer.exchange(end)
    assert end.endpoint.state is TransportState.FAILED
    assert end.endpoint.failure == "no common SRTP profile"
    assert end.endpoint.keys is None
    assert peer.closed


@pytest.mark.parametrize("role", ["client", "server"])
def test_wrong_fingerprint_fails_without_keys(role: Role) -> None:
    end = End(ManualTimers(), Certificate())
    peer = PlainPeer("server" if role == "client" else "client", "ecdsa-p256")
    end.endpoint.start(role, End(ManualTimers(), Certificate()).fingerprints)
    peer.exchange(end)
    assert end.endpoint.state is TransportState.FAILED
    assert "fingerprint" in (end.endpoint.failure or "")
    assert end.endpoint.keys is None
    assert TransportState.CONNECTED not in end.states


@pytest.mark.parametrize("algorithm", ["sha-256", "sha-384", "sha-512"])
def test_hash_functions(algorithm: str) -> None:
    end = End(ManualTimers(), Certificate())
    peer = PlainPeer("client", "ecdsa-p256")
    name, value = peer.fingerprint(algorithm)
    end.endpoint.start("server", [("sha-1", "00:11"), (name.upper(), value.lower())])
    peer.exchange(end)
    assert end.endpoint.state is TransportState.CONNECTED


def test_the_strongest_hash_decides() -> None:
    end = End(ManualTimers(), Certificate())
    peer = PlainPeer("client", "ecdsa-p256")
    wrong = End(ManualTimers(), Certificate()).fingerprints[0][1]
    end.endpoint.start("server", [peer.fingerprint("sha-256"), ("sha-512", wrong)])
    peer.exchange(end)
    assert end.endpoint.state is TransportState.FAILED


def test_one_of_several_announced_certificates_is_enough() -> None:
    end = End(ManualTimers(), Certificate())
    peer = PlainPeer("client", "ecdsa-p256")
    other = PlainPeer("client", "ecdsa-p256")
    end.endpoint.start("server", [other.fingerprint(), peer.fingerprint()])
    peer.exchange(end)
    assert end.endpoint.state is TransportState.CONNECTED


@pytest.mark.parametrize("fingerprints", [[], [("sha-1", "AA:BB")]])
def test_no_usable_fingerprint_fails_at_once(fingerprints: list[tuple[str, str]]) -> None:
    timers = ManualTimers()
    end = End(timers, Certificate())
    end.endpoint.start("client", fingerprints)
    assert end.endpoint.state is TransportState.FAILED
    assert end.sent == []
    assert timers.pending() == []


@pytest.mark.parametrize("role", ["client", "server"])
def test_silent_peer_meets_the_deadline(role: Role) -> None:
    timers = ManualTimers()
    association = Association(timers)
    end = association.client
    end.endpoint.start(role, association.server.fingerprints)
    timers.advance(HANDSHAKE_DEADLINE_S - 0.1)
    assert end.states == ["connecting"]
    timers.advance(0.2)
    assert end.states == ["connecting", "failed"]
    assert end.endpoint.failure == "no handshake within 15 s"
    assert timers.pending() == []


def test_start_twice_is_refused() -> None:
    association = Association(ManualTimers())
    association.start()
    with pytest.raises(RuntimeError, match="connecting"):
        association.start()


def test_client_hello_before_start_is_replayed() -> None:
    association = Association(ManualTimers())
    association.client.endpoint.start("client", association.server.fingerprints)
    association.pump()  # the server keeps the ClientHello
    assert association.server.sent == []
    association.server.endpoint.start("server", association.client.fingerprints)
    association.pump()
    assert association.states == ("connected", "connected")


def test_only_so_many_early_datagrams_are_kept() -> None:
    association = Association(ManualTimers())
    for _ in range(8):
        association.server.endpoint.datagram(b"\x16 noise")
    association.client.endpoint.start("client", association.server.fingerprints)
    association.pump()
    association.server.endpoint.start("server", association.client.fingerprints)
    association.pump()
    assert association.server.sent == []  # its ClientHello was the ninth


def test_certificates_differ_and_dates_hold() -> None:
    one, other = Certificate(), Certificate()
    assert one.fingerprint != other.fingerprint
    assert one.x509.subject != other.x509.subject
    assert (one.x509.not_valid_after_utc - one.x509.not_valid_before_utc).days == 366
    assert one.fingerprint.startswith("sha-256 ")
    assert len(one.fingerprint) == len("sha-256 ") + 32 * 3 - 1
