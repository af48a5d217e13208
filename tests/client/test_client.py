# SPDX-License-Identifier: Apache-2.0
"""aiortc clients in a room of a real server: what one encodes, another one decodes."""

from __future__ import annotations

import asyncio

import av
import pytest

from sfu.client.client import Client, ClientSlot, Publish
from sfu.client.signal import ClientError, websocket_url
from tests.client.conftest import Connect, until
from tests.client.media import ColourTrack, ToneTrack, colour_of, pitch_of

ORANGE, BLUE = (160, 60, 190), (60, 200, 100)


async def slot_showing(client: Client, publication: str) -> ClientSlot:
    """The slot that shows it, after some frames of it."""

    def showing() -> list[ClientSlot]:
        return [slot for slot in client.slots.values() if slot.publication == publication]

    await until(showing)
    (slot,) = showing()
    await until(lambda: slot.frames >= 10)
    return slot


async def test_pictures_arrive_as_they_were_sent(connect: Connect) -> None:
    ada = await connect("Ada", publish=[Publish(ColourTrack(ORANGE))], video_slots=2)
    bob = await connect("Bob", publish=[Publish(ColourTrack(BLUE))], video_slots=2)
    for client, other, colour in ((ada, bob, BLUE), (bob, ada, ORANGE)):
        (publication,) = other.publications.values()
        slot = await slot_showing(client, publication.id)
        frame = slot.last_frame
        assert isinstance(frame, av.VideoFrame)
        assert (frame.width, frame.height) == (320, 180)
        assert colour_of(frame) == pytest.approx(colour, abs=6)
        assert slot.number == publication.number
    assert [slot.frames for slot in ada.slots.values() if slot.publication is None] == [0, 0, 0]


async def test_sound_arrives_as_it_was_sent(connect: Connect) -> None:
    heard: list[av.AudioFrame] = []
    await connect("Ada", publish=[Publish(ToneTrack(440.0))], video_slots=0)

    def listen(_: ClientSlot, frame: object) -> None:
        assert isinstance(frame, av.AudioFrame)
        heard.append(frame)

    await connect("Bob", video_slots=0, audio_slots=1, on_frame=listen)
    await until(lambda: len(heard) >= 75)
    assert pitch_of(heard[-50:]) == pytest.approx(440.0, abs=3)


async def test_three_in_a_room_hear_and_see_each_other(connect: Connect) -> None:
    colours = [(60, 90, 200), (120, 200, 60), (200, 128, 128)]
    clients = [
        await connect(f"Client {index}", publish=[Publish(ColourTrack(colour)), Publish(ToneTrack(300.0))])
        for index, colour in enumerate(colours)
    ]
    for client in clients:
        for other, colour in zip(clients, colours, strict=True):
            if other is not client:
                camera, microphone = other.publications.values()
                sound = await slot_showing(client, microphone.id)
                slot = await slot_showing(client, camera.id)
                assert sound.pair == slot.pair
                assert isinstance(slot.last_frame, av.VideoFrame)
                assert colour_of(slot.last_frame) == pytest.approx(colour, abs=6)


async def test_leaving_and_wishes(connect: Connect) -> None:
    ada = await connect("Ada", publish=[Publish(ColourTrack(ORANGE))], video_slots=1)
    bob = await connect("Bob", video_slots=1)
    (publication,) = ada.publications.values()
    slot = await slot_showing(bob, publication.id)
    await bob.set_wish(publication.id, paused=True)
    await asyncio.sleep(0.5)
    frames = slot.frames
    await asyncio.sleep(0.5)
    assert slot.frames <= frames + 1
    await bob.set_wish(publication.id, paused=False)
    await until(lambda: slot.frames > frames + 5)
    assert bob.state == "connected"
    assert await bob.statistics()
    await ada.close()
    await until(lambda: not bob.roster.members and slot.publication is None)
    await bob.close()
    with pytest.raises(ClientError):
        await bob.set_wish(publication.id)


async def test_nothing_is_left_behind(connect: Connect) -> None:
    await (await connect("Warm", video_slots=1)).close()
    tasks = len(asyncio.all_tasks())
    track = ColourTrack(ORANGE)
    for _ in range(2):
        client = await connect("Ada", publish=[Publish(track)], video_slots=1)
        await client.close()
        await client.close()
    await until(lambda: len(asyncio.all_tasks()) <= tasks)


async def test_refusals_are_raised() -> None:
    with pytest.raises(ClientError, match="unreachable"):
        await Client.connect("http://127.0.0.1:9", room="tea", name="Ada")


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("http://example.org", "ws://example.org/ws"),
        ("https://example.org/", "wss://example.org/ws"),
        ("http://example.org:8080/?room=tea", "ws://example.org:8080/ws"),
        ("wss://example.org/some/where", "wss://example.org/some/where"),
    ],
)
def test_websocket_url(url: str, wanted: str) -> None:
    assert websocket_url(url) == wanted
