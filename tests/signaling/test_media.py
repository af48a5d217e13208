# SPDX-License-Identifier: Apache-2.0
"""What the room says about media that really flows: two aiortc peers through the server."""

from __future__ import annotations

import asyncio
import fractions
from collections.abc import AsyncIterator

import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack
from av import AudioFrame

from sfu.rooms import conductor
from sfu.server import Server
from tests.signaling.websocket import Client, Clients, Json

WITHIN_S = 20
RATE = 48_000
FRAME = 960


class Voice(MediaStreamTrack):
    """A loud tone."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._samples = 0
        self._started: float | None = None

    async def recv(self) -> AudioFrame:
        now = asyncio.get_running_loop().time()
        self._started = self._started or now
        await asyncio.sleep(max(0, self._started + self._samples / RATE - now))
        angles = 2 * np.pi * 440 * np.arange(self._samples, self._samples + FRAME) / RATE
        frame = AudioFrame.from_ndarray((np.sin(angles) * 20_000).astype(np.int16)[None, :], "s16", "mono")
        frame.pts, frame.sample_rate, frame.time_base = self._samples, RATE, fractions.Fraction(1, RATE)
        self._samples += FRAME
        return frame


class Peer:
    def __init__(self, client: Client) -> None:
        self.client = client
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))

    async def negotiate(self) -> Json:
        await self.pc.setLocalDescription(await self.pc.createOffer())
        answer = await self.client.request("offer", sdp=self.pc.localDescription.sdp)
        assert answer["type"] == "answer", answer
        await self.pc.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
        return answer

    async def becomes(self, state: str) -> None:
        async with asyncio.timeout(WITHIN_S):
            while self.pc.connectionState != state:
                await asyncio.sleep(0.02)


@pytest.fixture
async def talk(clients: Clients) -> AsyncIterator[tuple[Peer, Peer]]:
    """One who speaks and one who listens, connected."""
    speaker, listener = Peer(await clients.join("Ada")), Peer(await clients.join("Bob"))
    listener.pc.addTransceiver("audio", direction="recvonly")
    await listener.negotiate()
    speaker.pc.addTransceiver(Voice(), direction="sendonly")
    await speaker.negotiate()
    await asyncio.gather(speaker.becomes("connected"), listener.becomes("connected"))
    yield speaker, listener
    await asyncio.gather(speaker.pc.close(), listener.pc.close())


async def test_the_first_packet_of_a_bind_is_told_with_its_timestamp(talk: tuple[Peer, Peer]) -> None:
    _, listener = talk
    bound = await listener.client.hears("slot")
    assert bound["rtp_timestamp"] is None
    started = await listener.client.hears("slot")
    assert (started["generation"], started["number"]) == (bound["generation"], bound["number"])
    assert 0 <= started["rtp_timestamp"] < 2**32


async def test_media_arrives(talk: tuple[Peer, Peer]) -> None:
    _, listener = talk
    async with asyncio.timeout(WITHIN_S):
        while not await hears_the_tone(listener):
            pass


async def test_a_peer_connection_can_be_replaced(talk: tuple[Peer, Peer]) -> None:
    speaker, listener = talk
    number = (await listener.client.hears("slot"))["number"]
    again = Peer(listener.client)
    again.pc.addTransceiver("audio", direction="recvonly")
    await again.negotiate()
    await again.becomes("connected")
    await listener.becomes("closed")
    started = await again.client.hears("slot", lambda message: message["rtp_timestamp"] is not None)
    async with asyncio.timeout(WITHIN_S):
        while not await hears_the_tone(again):
            pass
    assert started["number"] == number
    await again.pc.close()
    assert speaker.pc.connectionState == "connected"


async def hears_the_tone(peer: Peer) -> bool:
    """Whether the next frame that is played is loud."""
    frame = await peer.pc.getReceivers()[0].track.recv()
    assert isinstance(frame, AudioFrame)
    return bool(np.abs(frame.to_ndarray()).max() > 5_000)


async def test_a_lost_websocket_leaves_the_media_alone(
    talk: tuple[Peer, Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conductor, "CONSENT_US", 2_000_000)
    speaker, listener = talk
    speaker.client.vanish()
    for _ in range(25):
        await listener.pc.getReceivers()[0].track.recv()
    assert [one for one in listener.client.told if one["type"] == "participant_left"] == []
    assert (await listener.client.hears("participant_left"))["reason"] == "lost"
    await speaker.becomes("closed")


async def test_the_end_of_the_peer_connection_ends_who_has_no_websocket(talk: tuple[Peer, Peer]) -> None:
    speaker, listener = talk
    speaker.client.vanish()
    await asyncio.sleep(0.1)
    await speaker.pc.close()
    assert (await listener.client.hears("participant_left"))["participant"] == speaker.client.id


async def test_a_stop_says_goodbye_to_every_transport(talk: tuple[Peer, Peer], server: Server) -> None:
    await server.stop()
    await asyncio.gather(*(peer.becomes("closed") for peer in talk))
