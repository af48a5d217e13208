# SPDX-License-Identifier: Apache-2.0
"""PeerTransport on a real worker: from the offer to the keys, and every way to the end."""

import asyncio
import ipaddress
from collections.abc import Callable

import pytest

from sfu.engine.events import TransportExpired
from sfu.load.description import Setup
from sfu.transport.certificate import SRTP_PROFILES, Certificate, SrtpProfile
from sfu.transport.dtls import TransportState
from sfu.transport.ice_lite import interface_addresses
from tests.transport.association import KeyName, private_key
from tests.transport.conftest import Engine, Remote, running_engine, until

RemoteFactory = Callable[..., Remote]


@pytest.mark.parametrize("offered", ["actpass", "active", "passive"])
async def test_connects(engine: Engine, remotes: RemoteFactory, offered: Setup) -> None:
    peer, remote = engine.peer(), remotes()
    peer.set_remote(remote.fingerprints, offered)
    remote.start(peer, offered)
    await remote.connection.wait_connected()
    await until(lambda: peer.state is TransportState.CONNECTED)
    assert engine.states[peer.handle] == ["connecting", "connected"]
    assert peer.path is not None
    await until(lambda: peer.path and peer.path.nominated)
    assert peer.path.remote == ("127.0.0.1", remote.connection.local_address[1])


@pytest.mark.parametrize("profile", SRTP_PROFILES, ids=lambda profile: profile.name.decode())
async def test_the_engine_has_the_keys(engine: Engine, remotes: RemoteFactory, profile: SrtpProfile) -> None:
    """A packet that the engine cannot decrypt counts as `bad_auth`, one that belongs to no track as `no_route`."""
    peer, remote = engine.peer(), remotes(Certificate([profile]))
    peer.set_remote(remote.fingerprints, "actpass")
    remote.start(peer)
    await remote.connection.wait_connected()
    for number in range(20):
        remote.connection.send_rtp(b"\x80\x60" + number.to_bytes(2) + bytes(8) + b"payload")
    await until(lambda: engine.worker.statistics().drops["no_route"] == 20)
    assert engine.worker.statistics().drops["bad_auth"] == 0


@pytest.mark.parametrize("key", ["rsa-2048", "ecdsa-p384"])
@pytest.mark.parametrize("offered", ["actpass", "passive"])
async def test_other_kinds_of_certificate(engine: Engine, remotes: RemoteFactory, key: KeyName, offered: Setup) -> None:
    peer, remote = engine.peer(), remotes(Certificate(key=private_key(key)))
    peer.set_remote(remote.fingerprints, offered)
    remote.start(peer, offered)
    await remote.connection.wait_connected()
    await until(lambda: peer.state is TransportState.CONNECTED)


async def test_a_client_hello_before_the_offer_is_handled(engine: Engine, remotes: RemoteFactory) -> None:
    peer, remote = engine.peer(), remotes()
    remote.start(peer)
    await until(lambda: peer.path)
    await asyncio.sleep(0.05)
    assert peer.state is TransportState.NEW
    started = asyncio.get_running_loop().time()
    peer.set_remote(remote.fingerprints, "active")
    await remote.connection.wait_connected()
    assert asyncio.get_running_loop().time() - started < 0.9  # OpenSSL's first retransmission would come after 1 s


async def test_wrong_fingerprint(engine: Engine, remotes: RemoteFactory) -> None:
    peer, remote = engine.peer(), remotes()
    peer.set_remote(remotes().fingerprints, "actpass")
    remote.start(peer)
    await until(lambda: peer.state is TransportState.FAILED)
    assert "fingerprint" in (peer.failure or "")
    assert engine.states[peer.handle] == ["connecting", "failed"]
    await until(lambda: remote.connection.state is TransportState.FAILED)
    assert engine.port.watched == 0
    await until(lambda: engine.live_transports == 0)


async def test_close_tells_the_peer(engine: Engine, remotes: RemoteFactory) -> None:
    peer, remote = engine.peer(), remotes()
    peer.set_remote(remote.fingerprints, "actpass")
    remote.start(peer)
    await remote.connection.wait_connected()
    await until(lambda: peer.state is TransportState.CONNECTED)
    peer.close()
    peer.close()
    assert engine.states[peer.handle] == ["connecting", "connected", "closed"]
    await until(lambda: remote.connection.state is TransportState.FAILED)
    assert remote.connection.failure == "the server closed the connection"
    assert engine.port.watched == 0
    await until(lambda: engine.live_transports == 0)


async def test_the_peer_closes(engine: Engine, remotes: RemoteFactory) -> None:
    peer, remote = engine.peer(), remotes()
    peer.set_remote(remote.fingerprints, "actpass")
    remote.start(peer)
    await remote.connection.wait_connected()
    remote.connection.close()
    await until(lambda: peer.state is TransportState.CLOSED)
    await until(lambda: engine.live_transports == 0)


async def test_closed_before_anything_came(engine: Engine) -> None:
    peer = engine.peer()
    peer.close()
    assert engine.states[peer.handle] == ["closed"]
    assert engine.port.watched == 0
    await until(lambda: engine.live_transports == 0)


async def test_expiry_is_a_failure(engine: Engine, remotes: RemoteFactory) -> None:
    peer, remote = engine.peer(), remotes()
    peer.set_remote(remote.fingerprints, "actpass")
    remote.start(peer)
    await remote.connection.wait_connected()
    peer._on_event(TransportExpired(peer.handle))
    assert peer.state is TransportState.FAILED
    assert "consent" in (peer.failure or "")
    await until(lambda: engine.live_transports == 0)


@pytest.mark.slow
async def test_consent_expires_after_30_s(engine: Engine, remotes: RemoteFactory) -> None:
    peer, remote = engine.peer(), remotes()
    peer.set_remote(remote.fingerprints, "actpass")
    remote.start(peer)
    await remote.connection.wait_connected()
    remote.connection.close(silently=True)
    await asyncio.sleep(27)
    assert peer.state is TransportState.CONNECTED
    await until(lambda: peer.state is TransportState.FAILED)


async def test_the_path_follows_the_peer(engine: Engine, remotes: RemoteFactory) -> None:
    peer, remote = engine.peer(), remotes()
    peer.set_remote(remote.fingerprints, "actpass")
    remote.start(peer)
    await remote.connection.wait_connected()
    before = remote.connection.local_address
    remote.connection.rebind()
    assert remote.connection.local_address != before
    await until(lambda: peer.path and peer.path.remote[1] == remote.connection.local_address[1])
    assert peer.state is TransportState.CONNECTED
    peer.close()  # its goodbye goes to the new address
    await until(lambda: remote.connection.state is TransportState.FAILED)


async def test_an_identity_stays(engine: Engine, remotes: RemoteFactory) -> None:
    peer, remote = engine.peer(), remotes()
    peer.set_remote(remote.fingerprints, "actpass")
    peer.set_remote(remote.fingerprints, "actpass")
    peer.set_remote(remote.fingerprints, "active")
    with pytest.raises(ValueError, match="fingerprint"):
        peer.set_remote(remotes().fingerprints, "actpass")
    with pytest.raises(ValueError, match="holdconn"):
        engine.peer().set_remote(remote.fingerprints, "holdconn")


@pytest.mark.parametrize("host", [None, "0.0.0.0", "::1"])
async def test_other_addresses(remotes: RemoteFactory, host: str | None) -> None:
    if host == "::1" and ipaddress.ip_address(host) not in interface_addresses():
        pytest.skip("no IPv6 on this machine")
    async with running_engine(host) as engine:
        peer, remote = engine.peer(), remotes()
        peer.set_remote(remote.fingerprints, "actpass")
        remote.start(peer)
        await remote.connection.wait_connected()
        await until(lambda: peer.state is TransportState.CONNECTED)


async def test_each_address_of_the_host_answers(remotes: RemoteFactory) -> None:
    """A client takes nothing from another address than the one that it sends to."""
    async with running_engine(None) as engine:
        for candidate in engine.candidates:
            engine.candidates = (candidate,)
            peer, remote = engine.peer(), remotes()
            peer.set_remote(remote.fingerprints, "actpass")
            remote.start(peer)
            await remote.connection.wait_connected()
            assert peer.path is not None
            assert peer.path.local_ip == candidate.split()[4]


async def test_many_peers_at_once_leave_nothing(
    engine: Engine, remotes: RemoteFactory, scaled: Callable[[int], int]
) -> None:
    certificate = Certificate()
    couples = [(engine.peer(), remotes(certificate)) for _ in range(scaled(30))]
    for peer, remote in couples:
        peer.set_remote(remote.fingerprints, "actpass")
        remote.start(peer)
    await asyncio.gather(*(remote.connection.wait_connected() for _, remote in couples))
    await until(lambda: all(peer.state is TransportState.CONNECTED for peer, _ in couples))
    assert len({peer.ufrag for peer, _ in couples}) == len(couples)
    for index, (peer, remote) in enumerate(couples):
        if index % 2:
            peer.close()
        else:
            remote.connection.close()
    await until(lambda: engine.live_transports == 0)
    assert engine.port.watched == 0
