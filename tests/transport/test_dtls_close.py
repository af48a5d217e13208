# SPDX-License-Identifier: Apache-2.0
"""Ends of a DTLS association, on purpose and otherwise."""

import pytest

from sfu.transport.certificate import Certificate
from sfu.transport.dtls import TransportState
from tests.transport.association import Association, ManualTimers, PlainPeer
from tests.transport.association import End as EndOfAssociation


def test_close_tells_the_peer() -> None:
    timers = ManualTimers()
    association = Association(timers)
    association.start()
    association.pump()
    association.client.endpoint.close()
    association.pump()
    assert association.states == ("closed", "closed")
    assert association.server.states == ["connecting", "connected", "closed"]
    assert timers.pending() == []


def test_close_twice_and_in_every_state() -> None:
    timers = ManualTimers()
    fresh = Association(timers)
    fresh.server.endpoint.close()
    assert fresh.server.states == ["closed"]

    waiting = Association(timers)
    waiting.start()
    waiting.client.endpoint.close()
    waiting.client.endpoint.close()
    waiting.server.endpoint.close()
    assert waiting.client.states == ["connecting", "closed"]
    assert timers.pending() == []


def test_datagrams_after_the_end_are_ignored() -> None:
    association = Association(ManualTimers())
    association.start()
    association.pump()
    association.server.endpoint.close()
    association.server.unsent.clear()
    association.client.endpoint.send(b"too late")
    association.pump()
    assert association.server.data == []
    assert association.server.endpoint.state is TransportState.CLOSED


def test_close_notify_of_a_plain_openssl_peer() -> None:
    end = EndOfAssociation(ManualTimers(), Certificate())
    peer = PlainPeer("client", "ecdsa-p256")
    end.endpoint.start("server", [peer.fingerprint()])
    peer.exchange(end)
    peer.ssl.shutdown()
    peer.exchange(end)
    assert end.endpoint.state is TransportState.CLOSED
    assert peer.closed


def test_send_needs_a_connection_and_a_record_that_fits() -> None:
    association = Association(ManualTimers())
    with pytest.raises(ConnectionError, match="new"):
        association.client.endpoint.send(b"x")
    association.start()
    association.pump()
    with pytest.raises(ValueError, match="0 bytes"):
        association.client.endpoint.send(b"")
    with pytest.raises(ValueError, match="16385 bytes"):
        association.client.endpoint.send(bytes(16385))
    association.client.endpoint.close()
    with pytest.raises(ConnectionError, match="closed"):
        association.client.endpoint.send(b"x")


def test_receiver_may_close_in_its_callback() -> None:
    association = Association(ManualTimers())
    association.start()
    association.pump()
    received: list[bytes] = []

    def close_at_once(data: bytes) -> None:
        received.append(data)
        association.server.endpoint.close()

    association.server.endpoint._on_data = close_at_once
    association.client.endpoint.send(b"one")
    association.client.endpoint.send(b"two")
    together = b"".join(association.client.unsent)
    association.client.unsent.clear()
    association.server.endpoint.datagram(together)
    assert received == [b"one"]
    assert association.server.endpoint.state is TransportState.CLOSED
