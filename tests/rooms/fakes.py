# SPDX-License-Identifier: Apache-2.0
"""A recording engine port: what the rooms ask of the engine, with the real one's rules about handles.

The real engine under the same code is in tests/signaling and tests/browser.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, cast

from sfu.engine.statistics import Statistics
from sfu.rooms.allocator import FIRST_ESTIMATE_US
from sfu.rooms.conductor import Conductor, OfferedTrack
from sfu.rooms.events import ParticipantEvent
from sfu.rooms.journal import Journal
from sfu.rooms.media import MediaPlane
from sfu.rooms.member import Member
from sfu.rooms.model import Layer, Permissions, Source
from sfu.rooms.rules import PublishRules
from sfu.transport.dtls import TransportState
from sfu.transport.engine_port import EnginePort
from sfu.transport.peer import PeerTransport
from sfu.transport.relay import RelayMesh
from tests.sdp.descriptions import FINGERPRINT, OPUS, RID, VP8, audio, offer_text, video

SIMULCAST = (
    "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
    f"a=extmap:5 {RID}",
    "a=rid:q send",
    "a=rid:h send",
    "a=rid:f send",
    "a=simulcast:send q;h;f",
)
H264_ONLY = ("a=rtpmap:98 H264/90000", "a=fmtp:98 packetization-mode=1;profile-level-id=42e01f")
LAYERS = (Layer("q", 320, 180, 150_000, 30), Layer("h", 640, 360, 500_000, 30), Layer("f", 1280, 720, 1_500_000, 30))
CAMERA = {"cam": OfferedTrack(Source.CAMERA, layers=LAYERS)}


class RecordingCommands:
    """Like the engine's list: a dead handle raises."""

    def __init__(self) -> None:
        self.log: list[tuple[Any, ...]] = []
        self.live: set[int] = set()
        self.children: dict[int, set[int]] = {}
        self.bindings: dict[int, tuple[int, int, int]] = {}
        """Forwarder → (track, csrc, generation)."""
        self.targets: dict[int, tuple[int, int]] = {}
        self.wanted: dict[int, int] = {}
        """By transport."""
        self.publish_limits: dict[int, int] = {}
        """By transport."""
        self._handles = count(1)

    def _new(self, parent: int | None = None) -> int:
        handle = next(self._handles)
        self.live.add(handle)
        if parent is None:
            self.children[handle] = set()
        else:
            self.check(parent)
            self.children[parent].add(handle)
        return handle

    def check(self, *handles: int) -> None:
        for handle in handles:
            if handle not in self.live:
                raise ValueError(f"no object with handle {handle}")

    def add_transport(self) -> int:
        return self._new()

    def add_relay(self, leg: int, remote: tuple[str, int], local: str, rtt_ms: float) -> int:
        handle = self._new()
        self.log.append(("relay", handle, leg, remote, local))
        return handle

    def set_keys(self, transport: int, profile: int, receive_key_salt: bytes, send_key_salt: bytes) -> None:
        self.check(transport)
        self.log.append(("keys", transport, receive_key_salt, send_key_salt))

    def remove_transport(self, transport: int) -> None:
        self.check(transport)
        self.live -= self.children.pop(transport) | {transport}

    def set_receive_extensions(self, transport: int, extensions: dict[int, int]) -> None:
        self.check(transport)
        self.log.append(("extensions", extensions))

    def add_track(self, transport: int, kind: str, mid: bytes, payloads: list[Any]) -> int:
        handle = self._new(transport)
        self.log.append(("track", handle, kind, mid, payloads))
        return handle

    def add_layer(self, track: int, rid: bytes, ssrc: int, rtx_ssrc: int) -> None:
        self.check(track)
        self.log.append(("layer", track, rid, ssrc, rtx_ssrc))

    def remove_track(self, track: int) -> None:
        self.check(track)
        self.live.discard(track)
        self.bindings = {key: value for key, value in self.bindings.items() if value[0] != track}

    def add_forwarder(
        self,
        transport: int,
        kind: str,
        mid: bytes,
        ssrc: int,
        rtx_ssrc: int,
        extensions: dict[int, int],
        *,
        relay_layer: int = 0,
    ) -> int:
        handle = self._new(transport)
        self.log.append(("forwarder", handle, kind, mid, ssrc, rtx_ssrc, extensions))
        return handle

    def remove_forwarder(self, forwarder: int) -> None:
        self.check(forwarder)
        self.live.discard(forwarder)
        self.bindings.pop(forwarder, None)

    def bind(self, forwarder: int, track: int, csrc: int, generation: int, payloads: list[Any]) -> None:
        self.check(forwarder, track)
        self.bindings[forwarder] = (track, csrc, generation)
        self.log.append(("bind", forwarder, track, csrc, generation, payloads))

    def unbind(self, forwarder: int) -> None:
        self.check(forwarder)
        self.bindings.pop(forwarder, None)
        self.log.append(("unbind", forwarder))

    def set_wanted(self, transport: int, wanted_bps: int) -> None:
        self.check(transport)
        self.wanted[transport] = wanted_bps

    def request_probe(self, transport: int, target_bps: int) -> None:
        self.check(transport)
        self.log.append(("probe", transport, target_bps))

    def set_publish_limit(self, transport: int, limit_bps: int) -> None:
        self.check(transport)
        self.publish_limits[transport] = limit_bps

    def set_target(self, forwarder: int, spatial: int, temporal: int) -> None:
        self.check(forwarder)
        self.targets[forwarder] = (spatial, temporal)
        self.log.append(("target", forwarder, spatial, temporal))


class FakeLoop:
    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def run(self) -> None:
        while self.soon:
            self.soon.pop(0)()


class FakePort:
    def __init__(self, loop: FakeLoop | None = None) -> None:
        self.commands = RecordingCommands()
        self.loop = loop or FakeLoop()
        self.tracks: dict[int, Callable[[Any], None]] = {}
        self.forwarders: dict[int, Callable[[Any], None]] = {}

    def watch_track(self, handle: int, handler: Callable[[Any], None]) -> None:
        self.tracks[handle] = handler

    def watch_forwarder(self, handle: int, handler: Callable[[Any], None]) -> None:
        self.forwarders[handle] = handler

    def unwatch_track(self, handle: int) -> None:
        self.tracks.pop(handle, None)

    def unwatch_forwarder(self, handle: int) -> None:
        self.forwarders.pop(handle, None)


class FakeTransport:
    def __init__(self, port: FakePort, on_state: Callable[[TransportState], None]) -> None:
        self._port = port
        self._on_state = on_state
        self.handle = port.commands.add_transport()
        self.ufrag, self.password, self.fingerprint = "ufrag", "p" * 24, FINGERPRINT
        self.candidates = ("candidate:1 1 udp 2130706431 192.0.2.7 40000 typ host",)
        self.state = TransportState.NEW
        self.failure: str | None = None
        self.on_estimate: Callable[[int, int], None] | None = None

    def set_remote(self, fingerprints: object, setup: str) -> None:
        self.setup = setup

    def become(self, state: TransportState) -> None:
        if self.state in (TransportState.FAILED, TransportState.CLOSED):
            return
        self.state = state
        if state in (TransportState.FAILED, TransportState.CLOSED):
            self._port.commands.remove_transport(self.handle)
        self._on_state(state)

    def close(self) -> None:
        self.become(TransportState.CLOSED)


@dataclass
class FakePlane:
    """A worker as rooms see it."""

    port: FakePort
    open_transport: Callable[[Callable[[TransportState], None]], PeerTransport]


@dataclass
class Client:
    """One participant of a test room, with what it was told."""

    member: Member
    events: list[ParticipantEvent] = field(default_factory=list)
    transport: FakeTransport = field(init=False)

    def told(self, kind: type[ParticipantEvent]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def shows(self) -> dict[str, str]:
        """mid → name of the participant that is shown there."""
        return {mid: one.participant.name for mid, one in self.member.bound.items()}


class House:
    """A room on a recording engine, with a clock that the test moves."""

    def __init__(self, rules: PublishRules | None = None) -> None:
        self.port = FakePort()
        self.far_port = FakePort(self.port.loop)
        self.now_us = 1_000_000
        self.transports: list[FakeTransport] = []
        self.emptied = 0
        self.plane = self._plane(self.port)
        self.far_plane = self._plane(self.far_port)
        """Of a second worker."""
        mesh = RelayMesh({self.plane.port: ("127.0.0.1", 7001), self.far_plane.port: ("127.0.0.1", 7002)})
        self.crowd: Counter[EnginePort] = Counter()
        self.journal = Journal(lambda: self.now_us)
        self.conductor = Conductor(
            "tea",
            cast("AbstractEventLoop", self.port.loop),
            lambda: self.now_us,
            self._on_empty,
            self.crowd,
            self.journal,
            mesh.open,
            rules or PublishRules(),
        )

    def join(
        self, name: str, identity: str | None = None, permissions: Permissions | None = None, *, far: bool = False
    ) -> Client:
        """`far`: on the second worker."""
        events: list[ParticipantEvent] = []
        plane = self.far_plane if far else self.plane
        member = self.conductor.join(identity or name, name, permissions or Permissions(), events.append, plane)
        return Client(member, events)

    def offer(self, client: Client, sdp: str, described: dict[str, OfferedTrack] | None = None) -> Any:
        answer = self.conductor.offer(client.member, sdp, described or {})
        client.transport = self.transports[-1]
        self.settle()
        if client.transport.state is TransportState.NEW:
            client.transport.become(TransportState.CONNECTED)
            self.now_us += FIRST_ESTIMATE_US  # who has sent no estimate by now sends none at all
        return answer

    def enter(
        self, name: str, slots: int = 2, *, camera: bool = True, microphone: bool = True, far: bool = False
    ) -> Client:
        """Joined and negotiated: a simulcast camera, a microphone, pairs of slots."""
        client = self.join(name, far=far)
        self.offer(client, usual_offer(slots, camera=camera, microphone=microphone), CAMERA if camera else {})
        return client

    def settle(self) -> None:
        self.port.loop.run()

    def tick(self, statistics: Statistics, now_us: int | None = None) -> None:
        """With that of the worker, at the present moment if none is given."""
        readings = {self.plane.port: statistics, self.far_plane.port: Statistics()}
        self.conductor.tick(readings, self.now_us if now_us is None else now_us)

    def track(self, client: Client, mid: str = "cam") -> int:
        return client.member.media.tracks[mid].handle

    def _plane(self, port: FakePort) -> MediaPlane:
        def open_transport(on_state: Callable[[TransportState], None]) -> PeerTransport:
            self.transports.append(FakeTransport(port, on_state))
            return cast("PeerTransport", self.transports[-1])

        return cast("MediaPlane", FakePlane(port, open_transport))

    def _on_empty(self, conductor: Conductor) -> None:
        self.emptied += 1


def usual_offer(slots: int = 2, *, camera: bool = True, microphone: bool = True, codec: tuple[str, ...] = VP8) -> str:
    sections = []
    if camera:
        sections.append(video("cam", "a=sendonly", *codec, *SIMULCAST))
    if microphone:
        sections.append(audio("mic", "a=sendonly", *OPUS))
    sections += [video(f"v{index}", "a=recvonly", *codec) for index in range(slots)]
    sections += [audio(f"a{index}", "a=recvonly", *OPUS) for index in range(slots)]
    return offer_text(*sections)
