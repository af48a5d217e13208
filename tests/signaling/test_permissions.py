# SPDX-License-Identifier: Apache-2.0
"""What a token allows is what the server lets its bearer do, whatever its client tries."""

from __future__ import annotations

from typing import Any

from sfu.rooms.model import Permissions
from sfu.server import Server
from tests.sdp.descriptions import OPUS, VP8, audio, offer_text, video
from tests.signaling.signed import join_token
from tests.signaling.websocket import Client, Clients, Json

CAMERA = {"mid": "cam", "source": "camera"}
SCREEN = {"mid": "cam", "source": "screen_share"}
MICROPHONE = {"mid": "mic", "source": "microphone"}


def offer(*sending: str) -> str:
    sections = {"cam": video("cam", "a=sendonly", *VP8), "mic": audio("mic", "a=sendonly", *OPUS)}
    slots = (video("v0", "a=recvonly", *VP8), audio("a0", "a=recvonly", *OPUS))
    return offer_text(*(sections[mid] for mid in sending), *slots)


async def enter(guests: Clients, identity: str, *sending: str, **grants: Any) -> tuple[Client, Json]:
    """Joined and negotiated; the answer."""
    client = await guests.join(token=join_token(identity, **grants))
    return client, await client.request("offer", sdp=offer(*sending))


def forbidden(error: Json) -> bool:
    return (error["type"], error["code"], error["fatal"]) == ("error", "forbidden", False) and bool(error["advice"])


async def test_publishing_by_source(guests: Clients) -> None:
    client = await guests.join(token=join_token("ada", canPublishSources=["screen_share", "microphone"]))
    assert forbidden(await client.request("offer", sdp=offer("cam", "mic"), tracks=[CAMERA, MICROPHONE]))
    assert forbidden(await client.request("offer", sdp=offer("cam")))
    answer = await client.request("offer", sdp=offer("cam", "mic"), tracks=[SCREEN, MICROPHONE])
    assert len(answer["publications"]) == 2


async def test_who_may_not_publish(guests: Clients) -> None:
    client = await guests.join(token=join_token("ada", canPublish=False))
    assert forbidden(await client.request("offer", sdp=offer("mic")))
    assert (await client.request("offer", sdp=offer()))["type"] == "answer"


async def test_the_hidden_may_not_publish(guests: Clients) -> None:
    spy = await guests.join(token=join_token("spy", hidden=True))
    assert forbidden(await spy.request("offer", sdp=offer("cam")))


async def test_who_may_not_subscribe(guests: Clients, guarded_server: Server) -> None:
    _, answer = await enter(guests, "ada", "cam")
    bob, _ = await enter(guests, "bob", canSubscribe=False)
    wished = await bob.request("subscription", publication=answer["publications"][0]["id"], slot="v0")
    assert forbidden(wished)
    await enter(guests, "cleo")
    assert await bob.still_works()
    assert [one for one in bob.told if one["type"] == "slot"] == []
    members = guarded_server.directory.conductors["tea"].members.values()
    assert [one.participant.identity for one in members if one.bound] == ["cleo"]


async def test_muting_others(guests: Clients) -> None:
    ada, answer = await enter(guests, "ada", "mic")
    bob, _ = await enter(guests, "bob")
    microphone = answer["publications"][0]["id"]
    assert forbidden(await bob.request("mute", publication=microphone, muted=True))
    admin, _ = await enter(guests, "admin", roomAdmin=True)
    assert (await admin.request("mute", publication=microphone, muted=True))["type"] == "ok"
    told = await ada.hears("publication_updated")
    assert (told["participant"], told["publication"]["muted"]) == (ada.id, True)
    assert (await bob.hears("publication_updated"))["publication"]["muted"] is True
    freed = await bob.hears("slot", lambda message: message["mid"] == "a0" and message["publication"] is None)
    assert freed["generation"] == 2
    assert forbidden(await admin.request("mute", publication=microphone, muted=False))
    assert (await ada.request("mute", publication=microphone, muted=False))["type"] == "ok"
    await bob.hears("slot", lambda message: message["publication"] == microphone)


async def test_others_publications_are_not_ones_own(guests: Clients) -> None:
    _, answer = await enter(guests, "ada", "cam")
    admin, _ = await enter(guests, "admin", roomAdmin=True)
    error = await admin.request("unpublish", publication=answer["publications"][0]["id"])
    assert error["code"] == "not_found"


async def test_the_hidden_are_not_announced(guests: Clients, guarded_server: Server) -> None:
    ada, _ = await enter(guests, "ada", "cam")
    spy = await guests.connect()
    joined = await spy.join(token=join_token("spy", hidden=True))
    assert [one["identity"] for one in joined["participants"]] == ["ada"]
    assert joined["permissions"]["hidden"] is True
    await spy.request("offer", sdp=offer())
    assert (await spy.hears("slot"))["mid"] == "v0"
    late = await guests.connect()
    joined = await late.join(token=join_token("late"))
    assert [one["identity"] for one in joined["participants"]] == ["ada"]
    await spy.request("leave")
    await spy.closed()
    assert guarded_server.directory.participants == 2
    assert await ada.still_works()
    about = [one["participant"] for one in ada.told if one["type"].startswith("participant_")]
    assert [one["identity"] for one in about] == ["late"]


async def test_what_one_says_of_oneself(guests: Clients) -> None:
    ada, _ = await enter(guests, "ada", canUpdateOwnMetadata=True)
    bob, _ = await enter(guests, "bob")
    assert (await ada.request("update", name="Ada L.", attributes={"hand": "up"}))["type"] == "ok"
    told = (await bob.hears("participant_updated"))["participant"]
    assert (told["id"], told["name"], told["attributes"]) == (ada.id, "Ada L.", {"hand": "up"})
    assert "metadata" not in told
    assert forbidden(await bob.request("update", name="Ada L."))


async def test_updates_are_bounded(guests: Clients) -> None:
    ada, _ = await enter(guests, "ada", canUpdateOwnMetadata=True)
    codes = [(await ada.request("update", metadata=str(index))).get("code") for index in range(20)]
    assert codes[0] is None
    assert codes[-1] == "rate_limited"


async def test_a_guest_of_a_development_server(clients: Clients) -> None:
    ada = await clients.join()
    assert (await ada.request("update", name="Ada L."))["type"] == "ok"
    error = await ada.request("mute", publication="pu_1", muted=True)
    assert error["code"] == "not_found"


def test_defaults_are_those_of_livekit() -> None:
    assert Permissions() == Permissions(
        can_publish=True,
        can_subscribe=True,
        can_publish_data=True,
        can_publish_sources=None,
        can_update_metadata=False,
        hidden=False,
        room_admin=False,
    )
