# SPDX-License-Identifier: Apache-2.0
"""A program: a bot that sends packets with their number and the time in them, or one that notes when they come.

The monotonic clock is one for the whole machine, and the kernel says when a datagram came: so what is measured is the
way through the server, and not how soon this process gets to its socket.

- `send`: at `{"stop": true}` it stops sending and says how many packets of each kind there were.
- `receive`: at `{"report": true}` it says what came, at which times its connectivity checks were answered, and how many
  publications the server has ever paused for it.
"""

from __future__ import annotations

import asyncio
import itertools
import struct
import sys
from dataclasses import dataclass, field

from sfu.client.messages import Event, SubscriptionPaused
from sfu.load.connection import now_us
from sfu.load.media import AudioSpec, PacketMark, VideoLayer, VideoSpec
from sfu.load.peer import LightPeer, LightSpec
from sfu.load.receiving import ReceivedPacket
from sfu.transport.dtls import TransportState
from tests.integration.processes import commands, say

ROOM = "clock"
KINDS = ("audio", "video")
MAGIC = b"\xf7cLk"
STAMP = struct.Struct("!4sQQ")
"""Magic, number of the packet within its kind, when it was made (us)."""
SEARCH_BYTES = 64
"""In front of a stamp there are only a codec's headers."""
CAMERA = VideoSpec((VideoLayer("", 320, 180, 100_000),), fps=30, temporal_layers=1)
"""Within what a server gives a receiver before it has measured anything."""
CHECK_EVERY_S = 0.1
"""Browsers ask for consent each 5 s: too seldom to see that a check within a short stall is answered."""


@dataclass
class Stamps:
    """Makes them; `made` counts by kind."""

    made: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))

    def __call__(self, mark: PacketMark) -> bytes:
        number = self.made[mark.kind]
        self.made[mark.kind] += 1
        return STAMP.pack(MAGIC, number, now_us())


@dataclass
class Arrivals:
    """(kind, number, made, came) of each packet."""

    packets: list[tuple[str, int, int, int]] = field(default_factory=list)

    def __call__(self, received: ReceivedPacket) -> None:
        payload = received.packet.payload
        at = payload.find(MAGIC, 0, SEARCH_BYTES)
        if at >= 0:
            _, number, made_us = STAMP.unpack_from(payload, at)
            self.packets.append((received.slot.kind, number, made_us, received.arrived_us))


async def check_often(peer: LightPeer, answered_us: list[int]) -> None:
    """Notes the times by which another check was answered."""
    answers = peer.connection.ice.answers
    for _ in itertools.count():
        peer.connection.ice.check_now()
        await asyncio.sleep(CHECK_EVERY_S)
        if peer.connection.ice.answers > answers:
            answers = peer.connection.ice.answers
            answered_us.append(now_us())


def health(peer: LightPeer) -> dict[str, object]:
    return {
        "connected": peer.connection.state is TransportState.CONNECTED,
        "failure": peer.connection.failure,
        "srtp_errors": peer.connection.statistics.srtp_errors,
    }


async def send(url: str) -> None:
    stamps = Stamps()
    spec = LightSpec(room=ROOM, name="sender", audio=AudioSpec(), video=CAMERA, video_slots=0, stamp=stamps)
    peer = await LightPeer.join(url, spec)
    say(joined=True)
    async for _ in commands():
        peer.publisher.stop()
        say(made=stamps.made, **health(peer))
    await peer.close()


async def receive(url: str) -> None:
    arrivals = Arrivals()
    answered_us: list[int] = []
    paused: set[str] = set()

    def on_event(event: Event) -> None:
        if isinstance(event, SubscriptionPaused) and event.paused:
            paused.add(event.publication)

    spec = LightSpec(room=ROOM, name="receiver", audio=None, video=None, video_slots=1)
    peer = await LightPeer.join(url, spec, on_packet=arrivals, on_event=on_event)
    checking = asyncio.create_task(check_often(peer, answered_us))
    say(joined=True)
    async for _ in commands():
        repeated = sum(slot.statistics.duplicates for slot in peer.slots.values())
        heard = {"packets": arrivals.packets, "answered_us": answered_us, "repeated": repeated}
        say(paused=len(paused), **heard, **health(peer))
    checking.cancel()
    await asyncio.gather(checking, return_exceptions=True)
    await peer.close()


if __name__ == "__main__":
    asyncio.run({"send": send, "receive": receive}[sys.argv[1]](sys.argv[2]))
