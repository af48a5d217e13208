# SPDX-License-Identifier: Apache-2.0
"""A full bot: aiortc and PyAV encode and decode, and what is decoded is looked at."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final

from av import VideoFrame

from sfu.client.client import Client, ClientSlot, Frame, Publish
from sfu.client.messages import Event, LayerChanged, SlotBound
from sfu.client.signal import ClientError
from sfu.load.bots import Surroundings
from sfu.load.connection import now_us
from sfu.load.figures import Counters, Score
from sfu.load.freezes import PictureWatch
from sfu.load.pictures import (
    PictureTrack,
    ToneTrack,
    age_ms,
    clock_ms,
    level_dbfs,
    luma_of,
    open_media,
    psnr_db,
    read_time,
)
from sfu.load.scenarios import FULL_PREFIX, Seat

STATISTICS_EVERY_S: Final = 1.0
# Of the frames, one in so many is drawn again and compared.
COMPARE_EVERY: Final = 10


class FullBot:
    """Shows and hears the other full bots; what light bots send is no picture, and it asks for none of it."""

    def __init__(self, seat: Seat, around: Surroundings) -> None:
        self.seat: Final = seat
        self._around = around
        self._client: Client | None = None
        self._tracks: list[Any] = []
        self._watches: dict[str, PictureWatch] = defaultdict(PictureWatch)
        self._received: dict[str, tuple[int, int, int]] = {}
        self._sent = (0, 0)
        self._statistics: asyncio.Task[None] | None = None
        self._had_frame = False
        self._left: Counters | None = None
        self.score: Final = Score()

    async def join(self) -> None:
        spec, seat = self._around.spec, self.seat
        self._client = await Client.connect(
            spec.url,
            room=seat.room,
            name=seat.name,
            identity=seat.name,
            token=await self._around.token_for(seat),
            publish=self._publish() if seat.publishes else (),
            video_slots=seat.slots,
            on_frame=self._on_frame,
            on_event=self._on_event,
        )
        self._statistics = asyncio.create_task(self._keep_statistics(self._client))

    async def leave(self, *, silently: bool) -> None:
        """`silently` is for light bots: aiortc always says goodbye."""
        if self._left is None:
            self._left = self.counters()
        client, self._client = self._client, None
        if self._statistics is not None:
            self._statistics.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._statistics
        for track in self._tracks:
            track.stop()
        if client is not None:
            await client.close()

    def speak(self, level: int) -> None:
        """A full bot's tone is always there."""

    async def wish(self, max_spatial: int) -> None:
        client = self._client
        if client is not None:
            full = [one.id for one in _published_by_full(client) if one.kind == "video"]
            for publication in full:
                await client.set_wish(publication, max_spatial=max_spatial)

    def counters(self) -> Counters:
        if self._left is not None:
            return self._left
        client, now = self._client, now_us()
        if client is not None and (client.disconnected or client.state in ("failed", "closed")):
            self._around.on_lost(self, client.disconnected or f"media: {client.state}")
        for watch in self._watches.values():
            watch.look(now)
        watches = self._watches.values()
        received = [one[0] for one in self._received.values()]
        lost = [max(0, one[1]) for one in self._received.values()]
        return Counters(
            received_packets=sum(received),
            received_bytes=sum(one[2] for one in self._received.values()),
            expected_packets=sum(received) + sum(lost),
            lost_packets=sum(lost),
            unrepaired_packets=sum(lost),
            frames=sum(watch.frames for watch in watches),
            freezes=sum(watch.freezes for watch in watches),
            frozen_us=sum(watch.frozen_us for watch in watches),
            watched_us=sum(watch.watched_us for watch in watches),
            sent_packets=self._sent[0],
            sent_bytes=self._sent[1],
        )

    def _publish(self) -> list[Publish]:
        spec = self._around.spec
        if spec.media is not None:
            video, audio = open_media(str(spec.media))
        else:
            video = PictureTrack(spec.width, spec.width * 9 // 16, spec.fps)
            audio = ToneTrack() if spec.audio_bitrate else None
        self._tracks = [track for track in (audio, video) if track is not None]
        return [Publish(track) for track in self._tracks]

    def _on_frame(self, slot: ClientSlot, frame: Frame) -> None:
        if not isinstance(frame, VideoFrame):
            self.score.audio(level_dbfs(frame))
            return
        self._watches[slot.mid].frame(now_us())
        self._look(frame)
        if not self._had_frame:
            self._had_frame = True
            self._around.on_first_frame(self, 0.0)

    def _look(self, frame: VideoFrame) -> None:
        self.score.picture(frame.width, frame.height)
        if self._around.spec.media is not None:
            return
        luma = luma_of(frame)
        made_ms = read_time(luma)
        if made_ms is None:
            self.score.unreadable += 1
            return
        compared = psnr_db(luma, made_ms) if self.score.pictures % COMPARE_EVERY == 1 else None
        self.score.read(float(age_ms(made_ms, clock_ms())), compared)

    def _on_event(self, event: Event) -> None:
        match event:
            case LayerChanged(mid=mid, spatial=-1) | SlotBound(mid=mid, rtp_timestamp=None):
                if mid in self._watches:
                    self._watches[mid].pause()
            case _:
                pass

    async def _keep_statistics(self, client: Client) -> None:
        unwanted: set[str] = set()
        while True:
            for publication in [one for one in client.roster.publications if one not in unwanted]:
                if publication not in {one.id for one in _published_by_full(client)}:
                    unwanted.add(publication)
                    with contextlib.suppress(ClientError):  # it may just have gone
                        await client.set_wish(publication, paused=True)
            self._take_statistics((await client.statistics()).values())
            await asyncio.sleep(STATISTICS_EVERY_S)

    def _take_statistics(self, statistics: Iterable[Any]) -> None:
        packets = octets = 0
        for one in statistics:
            if one.type == "inbound-rtp":
                self._received[one.id] = (one.packetsReceived, one.packetsLost, 0)
            elif one.type == "outbound-rtp":
                packets += one.packetsSent
                octets += one.bytesSent
            elif one.type == "transport":
                self._received["transport"] = (0, 0, one.bytesReceived)
        self._sent = (packets, octets)


def _published_by_full(client: Client) -> list[Any]:
    members = client.roster.members.values()
    return [
        publication
        for member in members
        if member.name.startswith(FULL_PREFIX)
        for publication in member.publications.values()
    ]
