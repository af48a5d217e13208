# SPDX-License-Identifier: Apache-2.0
"""Joins, offers and leaving over a real websocket to a real server with a real engine."""

from __future__ import annotations

import asyncio

import pytest

from sfu.rooms import conductor, roster
from sfu.server import Server
from signaling.ws import session
from tests.sdp.descriptions import OPUS, VP8, audio, captured, offer_text, video
from tests.signaling.websocket import Clients

TRACKS = [{"mid": "cam", "source": "camera", "layers": [{"rid": "", "width": 640, "height": 360}]}]


def offer(slots: int = 1) -> str:
    return offer_text(
        video("cam", "a=sendonly", *VP8),
        audio("mic", "a=sendonly", *OPUS),
        *(video(f"v{k}", "a=recvonly", *VP8) for k in range(slots)),
        *(audio(f"a{k}", "a=recvonly", *OPUS) for k in range(slots)),
    )


async def test_a_join_lists_who_is_there_and_the_others_hear_of_it(clients: Clients) -> None:
    ada = await clients.join("Ada", identity="ada")
    bob = await clients.connect()
    joined = await bob.join(name="Bob", identity="bob")
    assert [(one["id"], one["name"], one["identity"]) for one in joined["participants"]] == [(ada.id, "Ada", "ada")]
    assert (joined["identity"], joined["room"], joined["permissions"]["can_publish"]) == ("bob", "tea", True)
    assert joined["max_bitrate_bps"] == {"camera": 5_000_000, "screen_share": 8_000_000}
    assert joined["video_codecs"] == joined["allowed_video_codecs"] == ["VP8", "H264", "VP9", "AV1"]
    heard = (await ada.hears("participant_joined"))["participant"]
    assert heard == {"id": bob.id, "identity": "bob", "name": "Bob", "publications": []}


async def test_who_gives_no_identity_gets_one(clients: Clients) -> None:
    first, second = await clients.connect(), await clients.connect()
    identities = {(await one.join())["identity"] for one in (first, second)}
    assert len(identities) == 2
    assert "" not in identities


async def test_an_offer_is_answered_and_published_and_bound(clients: Clients) -> None:
    ada, bob = await clients.join("Ada"), await clients.join("Bob")
    await bob.request("offer", sdp=offer())
    answer = await ada.request("offer", sdp=offer(), tracks=TRACKS)
    assert answer["type"] == "answer"
    assert "a=candidate:" in answer["sdp"]
    assert answer["slots"] == [
        {"mid": "v0", "kind": "video", "pair": 0},
        {"mid": "a0", "kind": "audio", "pair": 0},
    ]
    published = await bob.hears("published", lambda message: message["publication"]["source"] == "camera")
    camera = next(one for one in answer["publications"] if one["mid"] == "cam")
    assert published["participant"] == ada.id
    assert (published["publication"]["id"], published["publication"]["number"]) == (camera["id"], camera["number"])
    assert published["publication"]["layers"] == [
        {"rid": "", "width": 640, "height": 360, "max_bitrate_bps": 0, "max_fps": 0}
    ]
    slot = await bob.hears("slot", lambda message: message["mid"] == "v0")
    assert slot == {
        "type": "slot",
        "mid": "v0",
        "publication": camera["id"],
        "number": camera["number"],
        "generation": 1,
        "rtp_timestamp": None,
    }


@pytest.mark.parametrize(
    "name",
    [
        "chromium-156-all-codecs-offer",
        "chromium-156-simulcast-offer",
        "chromium-156-slots-offer",
        "firefox-153-slots-offer",
    ],
)
async def test_offers_of_browsers_are_answered(clients: Clients, name: str) -> None:
    ada = await clients.join()
    assert (await ada.request("offer", sdp=captured(name)))["type"] == "answer"


async def test_mute_wish_and_unpublish(clients: Clients) -> None:
    ada, bob = await clients.join("Ada"), await clients.join("Bob")
    answer = await ada.request("offer", sdp=offer(), tracks=TRACKS)
    await bob.request("offer", sdp=offer())
    camera = next(one["id"] for one in answer["publications"] if one["mid"] == "cam")
    assert (await ada.request("mute", publication=camera, muted=True))["type"] == "ok"
    assert (await bob.hears("publication_updated"))["publication"]["muted"] is True
    wish = {"max_width": 320.5, "max_height": 180, "max_spatial": 0, "max_fps": 15, "slot": None}
    assert (await bob.request("subscription", publication=camera, **wish))["type"] == "ok"
    assert (await bob.request("subscription", publication=camera, paused=True))["type"] == "ok"
    assert (await bob.hears("slot", lambda message: message["generation"] == 2))["publication"] is None
    assert (await ada.request("unpublish", publication=camera))["type"] == "ok"
    assert (await bob.hears("unpublished"))["publication"] == camera


async def test_leave_is_seen_at_once(clients: Clients, server: Server) -> None:
    ada, bob = await clients.join("Ada"), await clients.join("Bob")
    await ada.request("offer", sdp=offer())
    assert (await ada.request("leave"))["type"] == "ok"
    assert await ada.closed() == 1000
    left = await bob.hears("participant_left")
    assert (left["participant"], left["reason"]) == (ada.id, "left")
    assert server.directory.participants == 1


async def test_a_closed_page_is_gone_at_once(clients: Clients) -> None:
    ada, bob = await clients.join("Ada"), await clients.join("Bob")
    await ada.request("offer", sdp=offer())
    await ada.socket.close(code=1001)
    assert (await bob.hears("participant_left"))["participant"] == ada.id


async def test_a_lost_websocket_keeps_the_participant_for_the_consent_time(
    clients: Clients, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conductor, "CONSENT_US", 400_000)
    ada, bob = await clients.join("Ada"), await clients.join("Bob")
    await ada.request("offer", sdp=offer())
    started = asyncio.get_running_loop().time()
    ada.vanish()
    left = await bob.hears("participant_left")
    assert (left["participant"], left["reason"]) == (ada.id, "lost")
    assert asyncio.get_running_loop().time() - started >= 0.4


async def test_a_lost_websocket_without_media_is_gone_at_once(clients: Clients) -> None:
    ada, bob = await clients.join("Ada"), await clients.join("Bob")
    ada.vanish()
    assert (await bob.hears("participant_left"))["reason"] == "lost"


async def test_the_same_identity_replaces_the_older_session(clients: Clients) -> None:
    old, bob = await clients.join("Ada", identity="ada"), await clients.join("Bob")
    await old.request("offer", sdp=offer())
    new = await clients.join("Ada", identity="ada")
    closing = await old.hears("closing")
    assert (closing["reason"], closing["retry_after_ms"]) == ("replaced", None)
    assert await old.closed() == 1000
    assert (await bob.hears("participant_left"))["participant"] == old.id
    assert (await bob.hears("participant_joined", lambda m: m["participant"]["id"] == new.id))["participant"]
    assert await new.still_works()


async def test_after_everybody_left_nothing_is_left(clients: Clients, server: Server) -> None:
    people = [await clients.join(str(index), room=f"room {index % 2}") for index in range(6)]
    for one in people:
        await one.request("offer", sdp=offer(3))
    assert server.directory.rooms == 2
    for one in people:
        await one.request("leave")
        await one.closed()
    assert (server.directory.rooms, server.directory.participants) == (0, 0)
    while any(task.get_name() == "websocket writer" for task in asyncio.all_tasks()):
        await asyncio.sleep(0.01)
    assert server.workers[0].commands.live_handles == (0, 0, 0)


async def test_a_client_that_does_not_read_is_dropped(
    clients: Clients, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "MAX_QUEUED_BYTES", 2_000_000)
    deaf, ada = await clients.join("Deaf"), await clients.join("Ada")
    await ada.request("offer", sdp=offer(), tracks=TRACKS)
    deaf.socket._response.connection.transport.pause_reading()  # type: ignore[union-attr]
    room = server.directory.conductors["tea"].room
    camera = next(iter(room.publications.values()))
    # The kernel's buffers take megabytes before ours fills: so in large pieces.
    for index in range(1000):
        room.update(camera, name=f"{index} {'x' * 100_000}")
        await asyncio.sleep(0)
        if server.directory.participants == 1:
            break
    assert server.directory.participants == 1
    assert await ada.still_works()
    deaf.vanish()


async def test_in_a_crowd_all_are_told_who_comes_and_goes_in_order(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are told together, a moment later; what depends on it still comes behind it."""
    monkeypatch.setattr(roster, "CROWD", 3)
    crowd = [await clients.join(f"P{index}") for index in range(5)]
    await crowd[0].request("offer", sdp=offer())
    came = [await clients.join(f"late {index}") for index in range(3)]
    await came[0].request("leave")
    assert (await came[2].request("offer", sdp=offer(), tracks=TRACKS))["type"] == "answer"
    await crowd[0].hears("published", lambda message: message["participant"] == came[2].id)
    changes = [one for one in crowd[0].told if one["type"] in ("participant_joined", "participant_left")]
    heard = [one["participant"] if isinstance(one["participant"], str) else one["participant"]["id"] for one in changes]
    assert heard == [*(one.id for one in crowd[1:]), *(one.id for one in came), came[0].id]


async def test_a_crowd_hears_of_a_newcomer_without_anything_else_happening(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roster, "CROWD", 1)
    ada = await clients.join("Ada")
    bob = await clients.join("Bob")
    cy = await clients.join("Cy")
    for one in (bob, cy):
        assert (await ada.hears("participant_joined"))["participant"]["id"] == one.id
