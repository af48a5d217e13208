# SPDX-License-Identifier: Apache-2.0
"""A real peer of another family: aiortc offers, and takes our answer (no media flows)."""

import aiortc
import pytest
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack

from sfu.sdp.negotiation import compare_offers, parse_offer, write_answer
from tests.sdp.answer_rules import check_answer
from tests.sdp.descriptions import LOCAL, slots_of


@pytest.fixture
async def connection():  # type: ignore[no-untyped-def]
    connection = aiortc.RTCPeerConnection()
    yield connection
    await connection.close()


async def negotiate(connection: aiortc.RTCPeerConnection, version: int) -> str:
    """One round; returns the local description. Without candidates of ours aiortc does not start to check."""
    await connection.setLocalDescription(await connection.createOffer())
    text = connection.localDescription.sdp
    offer = parse_offer(text)
    answer = write_answer(offer, LOCAL, slots_of(offer), version)
    check_answer(text, answer)
    await connection.setRemoteDescription(aiortc.RTCSessionDescription(answer, "answer"))
    return str(text)


async def test_publish_and_receive(connection: aiortc.RTCPeerConnection) -> None:
    connection.addTransceiver(AudioStreamTrack(), direction="sendonly")
    connection.addTransceiver(VideoStreamTrack(), direction="sendonly")
    connection.addTransceiver("video", direction="recvonly")
    connection.addTransceiver("audio", direction="recvonly")
    first = parse_offer(await negotiate(connection, 1))
    assert [section.direction for section in first.sections] == ["publish", "publish", "receive", "receive"]
    assert [codec.name for codec in first.sections[1].codecs][:1] == ["VP8"]
    assert first.sections[1].declared[0][1] is not None
    assert [transceiver.currentDirection for transceiver in connection.getTransceivers()] == [
        "sendonly",
        "sendonly",
        "recvonly",
        "recvonly",
    ]

    connection.addTransceiver("audio", direction="recvonly")
    changes = compare_offers(first, parse_offer(await negotiate(connection, 2)))
    assert not changes.ice_restart
    assert [section.kind for section in changes.added] == ["audio"]
    assert changes.removed == ()
