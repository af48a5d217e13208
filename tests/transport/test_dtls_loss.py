# SPDX-License-Identifier: Apache-2.0
"""Lost, repeated and reordered datagrams. OpenSSL's retransmission timer is real time: 1 s, all cases at once."""

import asyncio
import functools

import pytest

from sfu.transport.certificate import Certificate
from sfu.transport.dtls import Role, TransportState
from tests.transport.association import Association, ManualTimers, private_key

POLL_S = 0.02
# OpenSSL's first retransmission comes after 1 s; a second lost flight would make it 3 s.
RECOVERY_S = 2.5
# Client: ClientHello, Certificate to Finished. Server: ServerHello to ServerHelloDone, Finished. The RSA flights take
# more datagrams.
CLIENT_DATAGRAMS, SERVER_DATAGRAMS = 4, 4


async def _recovers(association: Association) -> bool:
    association.start()
    for _ in range(int(RECOVERY_S / POLL_S)):
        association.pump()
        if association.states == ("connected", "connected"):
            return True
        await asyncio.sleep(POLL_S)
    return False


async def test_each_single_lost_datagram_recovers() -> None:
    loop = asyncio.get_running_loop()
    losses: list[tuple[Role, int]] = [("client", n) for n in range(CLIENT_DATAGRAMS)]
    losses += [("server", n) for n in range(SERVER_DATAGRAMS)]
    rsa = Certificate(key=private_key("rsa-4096"))
    ecdsa = Certificate()
    cases = [(loss, certificate) for loss in losses for certificate in (ecdsa, rsa)]
    recovered = await asyncio.gather(
        *(
            _recovers(Association(loop, client=certificate, server=certificate, dropped=[loss]))
            for loss, certificate in cases
        )
    )
    assert [case for case, good in zip(cases, recovered, strict=True) if not good] == []


async def test_the_losses_above_are_real() -> None:
    """Without a timer a lost datagram of the handshake is the end of it: so the test above drops what matters."""
    for loss in (("client", 0), ("client", 1), ("server", 0), ("server", 1)):
        association = Association(ManualTimers(), dropped=[loss])
        association.start()
        association.pump()
        assert association.states != ("connected", "connected"), loss


@pytest.mark.parametrize("role", ["client", "server"])
@pytest.mark.parametrize("number", range(3))
def test_repeated_datagram_is_harmless(role: Role, number: int) -> None:
    association = Association(ManualTimers(), repeated=[(role, number)])
    association.start()
    association.pump()
    assert association.states == ("connected", "connected")


async def test_reversed_flights() -> None:
    """OpenSSL drops a change of cipher that comes before its key exchange, so that the repeated flight is needed."""
    certificate = Certificate(key=private_key("rsa-4096"))
    association = Association(asyncio.get_running_loop(), client=certificate, server=certificate)
    association.pump = functools.partial(_pump_reversed, association)  # type: ignore[method-assign]
    assert await _recovers(association)


def _pump_reversed(association: Association) -> None:
    ends = (association.client, association.server)
    for source, sink in (ends, ends[::-1]):
        flight = list(source.unsent)
        source.unsent.clear()
        for datagram in reversed(flight):
            sink.endpoint.datagram(datagram)


async def test_lost_last_flight_of_the_server_is_repeated_while_connected() -> None:
    """The server is connected and has no timer any more; the client's repeated flight must make it answer again."""
    association = Association(asyncio.get_running_loop(), dropped=[("server", 1)])
    association.start()
    association.pump()
    assert association.states == (TransportState.CONNECTING, TransportState.CONNECTED)
    for _ in range(int(RECOVERY_S / POLL_S)):
        await asyncio.sleep(POLL_S)
        association.pump()
    assert association.states == ("connected", "connected")
    assert association.server.states == ["connecting", "connected"]
