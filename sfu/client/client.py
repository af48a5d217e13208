# SPDX-License-Identifier: Apache-2.0
"""A full participant: aiortc encodes and decodes, the server is spoken to by the public protocol only."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

from aiortc import (
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, VideoFrame

from sfu.client.messages import PROTOCOL_VERSION, Answer, Event, Joined, Ok, PublishedMedia, SlotBound
from sfu.client.roster import Roster
from sfu.client.signal import ClientError, Signal

logger = logging.getLogger(__name__)

CONNECT_LIMIT_S: Final = 20.0

Frame = AudioFrame | VideoFrame
Source = Literal["camera", "microphone", "screen_share", "screen_share_audio"]


@dataclass(frozen=True, slots=True)
class Publish:
    """A track to publish. aiortc sends one encoding, no simulcast."""

    track: MediaStreamTrack
    source: Source | None = None
    """Default: by the track's kind."""
    name: str = ""
    width: int = 0
    height: int = 0

    @property
    def described(self) -> dict[str, Any]:
        default: Source = "microphone" if self.track.kind == "audio" else "camera"
        layers = [{"width": self.width, "height": self.height}] if self.width and self.height else []
        return {"source": self.source or default, "name": self.name, "layers": layers}


class ClientSlot:
    """A section that receives. Its frames are decoded and counted; the last one is kept."""

    def __init__(self, mid: str, kind: str, track: MediaStreamTrack, pair: int | None) -> None:
        self.mid: Final = mid
        self.kind: Final = kind
        self.pair: Final = pair
        self.track: Final = track
        self.publication: str | None = None
        self.number: int | None = None
        self.generation = 0
        self.frames = 0
        self.last_frame: Frame | None = None


OnFrame = Callable[[ClientSlot, Frame], None]


def ignore_frame(_: ClientSlot, __: Frame) -> None:
    """Who only looks at `last_frame` now and then needs no callback."""


def ignore_event(_: Event) -> None:
    """As above, for the roster."""


class Client:
    """Joins by `connect`, ends by `close`."""

    def __init__(self, on_frame: OnFrame, on_event: Callable[[Event], None]) -> None:
        self._on_frame = on_frame
        self._on_event_observer = on_event
        self._signal: Signal | None = None
        self._readers: set[asyncio.Task[None]] = set()
        # No ICE servers: host candidates are all that is needed, and aiortc's default is a server on the Internet.
        self._pc = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self._connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pc.on("connectionstatechange", self._on_connection_state)
        self._bound: dict[str, SlotBound] = {}
        self.roster = Roster()
        self.slots: dict[str, ClientSlot] = {}
        """By mid."""
        self.publications: dict[str, PublishedMedia] = {}
        """Our own, by mid, in the order in which they were published."""
        self.disconnected: str | None = None
        """Why the websocket ended, if the server or the network ended it."""

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        room: str,
        name: str,
        identity: str | None = None,
        token: str | None = None,
        publish: Sequence[Publish] = (),
        video_slots: int = 4,
        audio_slots: int = 0,
        on_frame: OnFrame = ignore_frame,
        on_event: Callable[[Event], None] = ignore_event,
    ) -> Self:
        """A client whose media is connected; `audio_slots` come besides those that each video slot is paired with."""
        client = cls(on_frame, on_event)
        try:
            optional = {"identity": identity, "token": token}
            join = {"room": room, "name": name} | {key: value for key, value in optional.items() if value is not None}
            await client._enter(url, join, publish, video_slots, audio_slots)
        except BaseException:
            await client.close()
            raise
        return client

    @property
    def state(self) -> str:
        """Of the connection that carries the media."""
        return str(self._pc.connectionState)

    async def request(self, message_type: str, **fields: Any) -> None:
        """Any request that the server answers with ok: `subscription`, `mute`, `unpublish`."""
        if self._signal is None:
            raise ClientError("left", "the client has left")
        await self._signal.request(Ok, message_type, **fields)

    async def set_wish(self, publication: str, **wish: Any) -> None:
        """What we want of a publication: paused, max_width, max_height, max_spatial, max_temporal, max_fps, slot."""
        await self.request("subscription", publication=publication, **wish)

    async def statistics(self) -> dict[str, Any]:
        """aiortc's statistics, by their id."""
        return dict(await self._pc.getStats())

    async def close(self) -> None:
        """Leave and let go of everything. The published tracks are the caller's to stop."""
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        await self._pc.close()
        if not self._connected.done():
            self._connected.cancel()
        signal, self._signal = self._signal, None
        if signal is not None:
            await signal.close()

    async def _enter(
        self, url: str, join: dict[str, str], publish: Sequence[Publish], video_slots: int, audio_slots: int
    ) -> None:
        self._signal = signal = await Signal.open(url, self._on_event, self._on_disconnected)
        await signal.request(Joined, "join", self.roster.join, version=PROTOCOL_VERSION, **join)
        sending = [(self._pc.addTransceiver(wish.track, direction="sendonly"), wish) for wish in publish]
        kinds = ["video"] * video_slots + ["audio"] * (video_slots + audio_slots)
        receiving = [self._pc.addTransceiver(kind, direction="recvonly") for kind in kinds]
        await self._pc.setLocalDescription(await self._pc.createOffer())
        tracks = [{"mid": transceiver.mid, **wish.described} for transceiver, wish in sending]
        answer = await signal.request(Answer, "offer", sdp=self._pc.localDescription.sdp, tracks=tracks)
        self.publications = {publication.mid: publication for publication in answer.publications}
        await self._pc.setRemoteDescription(RTCSessionDescription(answer.sdp, "answer"))
        self._open_slots(receiving, {slot.mid: slot.pair for slot in answer.slots})
        async with asyncio.timeout(CONNECT_LIMIT_S):
            await self._connected

    def _open_slots(self, transceivers: Sequence[RTCRtpTransceiver], pairs: dict[str, int | None]) -> None:
        for transceiver in transceivers:
            if transceiver.currentDirection != "recvonly":
                continue
            mid = str(transceiver.mid)
            slot = ClientSlot(mid, transceiver.kind, transceiver.receiver.track, pairs.get(mid))
            self.slots[mid] = slot
            if mid in self._bound:  # the message came before the answer was handled
                self._bind(slot, self._bound[mid])
            reader = asyncio.create_task(self._read(slot), name=f"frames of slot {mid}")
            self._readers.add(reader)
            reader.add_done_callback(self._readers.discard)

    async def _read(self, slot: ClientSlot) -> None:
        """Take frames as they come: aiortc queues without bound what nobody takes."""
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await slot.track.recv()
                if isinstance(frame, Frame):
                    slot.frames += 1
                    slot.last_frame = frame
                    self._on_frame(slot, frame)

    def _on_event(self, event: Event) -> None:
        self.roster.take(event)
        if isinstance(event, SlotBound):
            self._bound[event.mid] = event
            if event.mid in self.slots:
                self._bind(self.slots[event.mid], event)
        self._on_event_observer(event)

    @staticmethod
    def _bind(slot: ClientSlot, bound: SlotBound) -> None:
        slot.publication, slot.number, slot.generation = bound.publication, bound.number, bound.generation

    def _on_disconnected(self, reason: str) -> None:
        self.disconnected = reason

    def _on_connection_state(self) -> None:
        state = self._pc.connectionState
        if state == "connected" and not self._connected.done():
            self._connected.set_result(None)
        elif state in ("failed", "closed") and not self._connected.done():
            self._connected.set_exception(ClientError("media_failed", f"the media connection is {state}"))
