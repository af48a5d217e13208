# SPDX-License-Identifier: Apache-2.0
"""One participant's negotiated media: its offer carried out in the engine, and its slots bound and unbound there.

No policy here: the conductor says what goes where. Commands are only appended; the engine port applies a tick's worth
at once.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from sfu.engine.codecs import Codec as EngineCodec
from sfu.engine.commands import Payload
from sfu.engine.egress_events import EgressRecord
from sfu.engine.events import ForwarderLayer, ForwarderStarted, TrackLayers
from sfu.engine.statistics import Statistics
from sfu.rooms.layers import PAUSED, Target, layers_of
from sfu.rooms.model import Kind, Layer, Mid
from sfu.rooms.slots import Slot, pair_up
from sfu.sdp.codecs import REMB
from sfu.sdp.negotiation import (
    Codec,
    LocalTransport,
    MediaSection,
    Offer,
    SlotMedia,
    compare_offers,
    payload_map,
    write_answer,
)
from sfu.transport.certificate import Certificate
from sfu.transport.dtls import TransportState
from sfu.transport.engine_port import EnginePort
from sfu.transport.peer import PeerTransport
from sfu.wire.extensions import EXTENSION_URIS

# An SDP session id is a number that JavaScript can hold (RFC 9429, section 5.2.1: 63 bits at most).
SESSION_ID_BITS: Final = 53

# The engine's bounds, of which an SDP may exceed both: the lowest layers and the preferred codecs are served.
MAX_LAYERS: Final = 4
MAX_PAYLOAD_TYPES: Final = 16

# What takes a limit back: clients keep the last one that they were told.
NO_LIMIT_BPS: Final = 1_000_000_000

ENDED: Final = (TransportState.FAILED, TransportState.CLOSED)

OpenTransport = Callable[[Callable[[TransportState], None]], PeerTransport]

Readings = Mapping[EnginePort, Statistics]
"""The latest statistics of each worker that a room is on. A handle means something on its own worker only."""


@dataclass(frozen=True, slots=True)
class MediaPlane:
    """One worker as rooms see it: what every participant's transport on it has in common."""

    port: EnginePort
    certificate: Certificate
    candidates: tuple[str, ...]

    def open_transport(self, on_state: Callable[[TransportState], None]) -> PeerTransport:
        return PeerTransport(self.port, self.certificate, self.candidates, on_state)


@dataclass(slots=True, eq=False)
class SentTrack:
    """What a participant sends us in one media section, as the engine knows it."""

    section: MediaSection
    port: EnginePort
    """Of its publisher's worker."""
    handle: int
    layers: tuple[Layer, ...]
    """In the engine's order, lowest first."""
    live: int = 0
    """Bit i: layer i flows."""
    backup: bool = False
    """Stands in for another track, for who cannot decode that one."""


@dataclass(slots=True, eq=False)
class SlotState:
    """One of the participant's receiving sections. SSRCs and sequence numbers go on across binds."""

    slot: Slot
    section: MediaSection
    forwarder: int
    media: SlotMedia
    generation: int = 0
    """Counts binds and unbinds, so that a late message or event is known for what it is."""
    track: SentTrack | None = None
    target: Target | None = None
    needed: int = -1
    """The highest layer that the publisher has to send for it."""
    weighed: tuple[MediaSection, ...] = ()
    """Between which of the publisher's sections `track` was chosen."""
    current: int = PAUSED
    """The layer that flows, as the engine last said."""

    @property
    def layers(self) -> int:
        """Bit i: layer i is its target, or flows still."""
        target = PAUSED if self.target is None else self.target.spatial
        return sum({1 << layer for layer in (target, self.current) if layer > PAUSED})


HandleOn = Callable[[EnginePort, SentTrack, int], int]
"""The engine's handle of a track on a worker that need not be its publisher's, for the publication of that number."""


class MediaObserver(Protocol):
    """Who hears what the engine reports of this participant's media."""

    def on_transport(self, state: TransportState) -> None: ...
    def on_estimate(self, rate_bps: int, congestion: int) -> None: ...
    def on_live(self, track: SentTrack) -> None: ...
    def on_started(self, slot: SlotState, rtp_timestamp: int) -> None: ...
    def on_layer(self, slot: SlotState, spatial: int, temporal: int) -> None: ...


@dataclass(slots=True)
class _Connection:
    """What lives as long as one PeerConnection of the client."""

    transport: PeerTransport
    offer: Offer
    session_id: int = field(default_factory=lambda: secrets.randbits(SESSION_ID_BITS))
    session_version: int = 0
    used_ssrcs: set[int] = field(default_factory=set)
    publish_limit_bps: int = 0
    """What the client is told that it may send; 0 = nothing was ever said."""

    def new_ssrc(self) -> int:
        """Never one that this transport has used: a forwarder starts its sequence numbers anew, and under the same
        keys the same SSRC would protect an index twice."""
        while True:
            ssrc = secrets.randbits(32)
            if ssrc and ssrc not in self.used_ssrcs:
                self.used_ssrcs.add(ssrc)
                return ssrc


class ParticipantMedia:
    def __init__(self, port: EnginePort, open_transport: OpenTransport, observer: MediaObserver) -> None:
        self.port: Final = port
        """Of the worker that it is on."""
        self._open_transport = open_transport
        self._observer = observer
        self._connection: _Connection | None = None
        self.tracks: Final[dict[Mid, SentTrack]] = {}
        self.slots: Final[dict[Mid, SlotState]] = {}
        self.receivable: frozenset[str] = frozenset()
        """Names of the video codecs that its slots play; empty while it receives no video."""

    @property
    def connected(self) -> bool:
        return self._connection is not None and self._connection.transport.state is TransportState.CONNECTED

    @property
    def transport(self) -> int | None:
        """The engine's handle of it, while there is one."""
        return self._connection.transport.handle if self._connection is not None and self.alive else None

    @property
    def failure(self) -> str | None:
        """Why the last transport failed."""
        return None if self._connection is None else self._connection.transport.failure

    @property
    def alive(self) -> bool:
        """Whether there is a transport, be it still connecting."""
        return self._connection is not None and self._connection.transport.state not in ENDED

    def continues(self, offer: Offer) -> bool:
        """Whether an offer is of the PeerConnection that is there; else it replaces it. SdpError if it contradicts
        itself."""
        if self._connection is None or not self.alive:
            return False
        previous = self._connection.offer
        if set(previous.fingerprints) != set(offer.fingerprints):
            return False
        compare_offers(previous, offer)
        return True

    def negotiate(self, offer: Offer, declared: Mapping[Mid, Sequence[Layer]], *, skip: Iterable[Mid]) -> str:
        """Carry out an offer; returns the answer. Afterwards `tracks` and `slots` are what was agreed.

        `declared`: the layers that the client told of, by mid: those of a section with rids are told apart by them,
        those of one without are the spatial layers of its only stream. `skip`: sections that stay unpublished although
        they could send.
        """
        if not self.continues(offer):
            self.close()
            transport = self._open_transport(self._on_state)
            transport.on_estimate = self._observer.on_estimate
            self._connection = _Connection(transport, offer)
        connection = self._connection
        assert connection is not None
        connection.offer = offer
        connection.transport.set_remote(offer.fingerprints, offer.setup)
        sections = [section for section in offer.sections if not section.rejected]
        skipped = frozenset(skip)
        sending = {s.mid: s for s in sections if s.direction == "publish" and s.mid not in skipped}
        receiving = {s.mid: s for s in sections if s.direction == "receive"}
        self.port.commands.set_receive_extensions(connection.transport.handle, _extension_kinds(sections))
        self._update_tracks(connection, sending, declared)
        self._update_slots(connection, receiving)
        pictures = (section for section in receiving.values() if section.kind == "video")
        self.receivable = frozenset(codec.name for section in pictures for codec in section.codecs)
        connection.session_version += 1
        local = LocalTransport(
            ufrag=connection.transport.ufrag,
            password=connection.transport.password,
            fingerprint=connection.transport.fingerprint,
            candidates=connection.transport.candidates,
            session_id=connection.session_id,
        )
        slots = {mid: state.media for mid, state in self.slots.items()}
        return write_answer(offer, local, slots, connection.session_version)

    def bind(self, state: SlotState, track: SentTrack, number: int, handle_on: HandleOn) -> None:
        """Show a track that the client `plays` in a slot, from its next keyframe on."""
        payloads = payload_map(track.section, state.section)
        state.generation += 1
        state.track, state.target, state.needed, state.current = track, None, 0, PAUSED
        payloads = payloads[:MAX_PAYLOAD_TYPES]
        handle = handle_on(self.port, track, number)
        self.port.commands.bind(state.forwarder, handle, number, state.generation, list(payloads))

    @staticmethod
    def plays(state: SlotState, track: SentTrack) -> bool:
        """Whether the client can decode what its publisher sends: of a video section the first codec."""
        payloads = payload_map(track.section, state.section)
        if track.section.kind == "video":
            return any(incoming == track.section.codecs[0].payload_type for incoming, *_ in payloads)
        return bool(payloads)

    def unbind(self, state: SlotState) -> None:
        state.generation += 1
        state.track, state.target, state.needed, state.current = None, None, PAUSED, PAUSED
        self.port.commands.unbind(state.forwarder)

    def set_target(self, state: SlotState, target: Target) -> None:
        if state.target != target:
            state.target = target
            self.port.commands.set_target(state.forwarder, target.spatial, target.temporal)

    def set_wanted(self, wanted_bps: int) -> None:
        """What all wishes of this participant add up to: how far its link is worth finding out about."""
        if self._connection is not None and self.alive:
            self.port.commands.set_wanted(self._connection.transport.handle, wanted_bps)

    def request_probe(self, target_bps: int) -> None:
        """Find out whether its link carries so much."""
        if self._connection is not None and self.alive:
            self.port.commands.request_probe(self._connection.transport.handle, target_bps)

    def set_publish_limit(self, limit_bps: int | None) -> None:
        """How much the client may send in all; None: as much as it likes. Only told to who negotiated REMB."""
        connection = self._connection
        if connection is None or not self.alive:
            return
        if limit_bps is None or not any(_takes_remb(track.section) for track in self.tracks.values()):
            limit_bps = NO_LIMIT_BPS if connection.publish_limit_bps else 0
        if limit_bps != connection.publish_limit_bps:
            connection.publish_limit_bps = limit_bps
            self.port.commands.set_publish_limit(connection.transport.handle, limit_bps)

    def egress_logs(self) -> dict[Mid, list[EgressRecord]]:
        """What each slot's stream did lately."""
        return {mid: self.port.egress_log(state.forwarder) for mid, state in self.slots.items()}

    def remove_track(self, mid: Mid) -> None:
        """Unpublished without a new offer: the section stays, nothing of it is routed any more."""
        track = self.tracks.pop(mid, None)
        if track is not None:
            self.port.unwatch_track(track.handle)
            self.port.commands.remove_track(track.handle)

    def close(self) -> None:
        """Say goodbye to the client's PeerConnection and leave nothing in the engine."""
        connection, self._connection = self._connection, None
        for mid in list(self.tracks):
            self.remove_track(mid)
        for mid in list(self.slots):
            self._remove_slot(mid)
        if connection is not None:
            connection.transport.close()

    def _update_tracks(
        self, connection: _Connection, sending: Mapping[Mid, MediaSection], declared: Mapping[Mid, Sequence[Layer]]
    ) -> None:
        for mid, track in list(self.tracks.items()):
            if mid not in sending or _stream(sending[mid]) != _stream(track.section):
                self.remove_track(mid)
        for mid, section in sending.items():
            told = declared.get(mid, ())
            if mid in self.tracks:
                track = self.tracks[mid]
                track.section = section
                if section.kind == "video":
                    track.layers = _told_again(section, track.layers, told)
            else:
                self.tracks[mid] = self._add_track(connection, section, told)

    def _add_track(self, connection: _Connection, section: MediaSection, declared: Sequence[Layer]) -> SentTrack:
        layers = layers_of(section.rids, declared)[:MAX_LAYERS]
        payloads = list(engine_payloads(section))
        commands = self.port.commands
        handle = commands.add_track(connection.transport.handle, section.kind, section.mid.encode(), payloads)
        if section.rids:
            for layer in layers:
                commands.add_layer(handle, layer.rid.encode(), 0, 0)
        else:
            # Several SSRCs without rids would be simulcast of the kind that browsers dropped: only the first is served.
            ssrc, rtx_ssrc = section.declared[0] if section.declared else (0, None)
            commands.add_layer(handle, b"", ssrc, rtx_ssrc or 0)
        track = SentTrack(section, self.port, handle, layers if section.kind == "video" else ())
        self.port.watch_track(handle, lambda event: self._on_layers(track, event))
        return track

    def _update_slots(self, connection: _Connection, receiving: Mapping[Mid, MediaSection]) -> None:
        for mid, state in list(self.slots.items()):
            if mid not in receiving or not self._keep_slot(state, receiving[mid]):
                self._remove_slot(mid)
        existing = [state.slot for state in self.slots.values()]
        for slot in pair_up(((mid, Kind(section.kind)) for mid, section in receiving.items()), existing):
            if slot.mid not in self.slots:
                self.slots[slot.mid] = self._add_slot(connection, slot, receiving[slot.mid])

    @staticmethod
    def _keep_slot(state: SlotState, section: MediaSection) -> bool:
        """Take over a section's new description, if its forwarder can stay."""
        before, state.section = state.section, section
        state.weighed = ()
        if before.extensions != section.extensions or _has_rtx(section) > _has_rtx(before):
            return False
        sent = None if state.track is None else state.track.section
        if sent is not None and payload_map(sent, before) != payload_map(sent, section):
            state.track = None  # bound with payload types that no longer hold
        return True

    def _add_slot(self, connection: _Connection, slot: Slot, section: MediaSection) -> SlotState:
        stream_id = f"slot-{slot.mid}" if slot.pair is None else f"pair-{slot.pair}"
        media = SlotMedia(
            ssrc=connection.new_ssrc(),
            rtx_ssrc=connection.new_ssrc() if _has_rtx(section) else None,
            stream_id=stream_id,
            track_id=f"{slot.kind}-{slot.mid}",
            cname=stream_id,
        )
        forwarder = self.port.commands.add_forwarder(
            connection.transport.handle,
            section.kind,
            section.mid.encode(),
            media.ssrc,
            media.rtx_ssrc or 0,
            {kind: identifier for identifier, kind in _extension_kinds([section]).items()},
        )
        state = SlotState(slot, section, forwarder, media)
        self.port.watch_forwarder(forwarder, lambda event: self._on_forwarder(state, event))
        return state

    def _remove_slot(self, mid: Mid) -> None:
        state = self.slots.pop(mid)
        state.track = None
        self.port.unwatch_forwarder(state.forwarder)
        self.port.commands.remove_forwarder(state.forwarder)

    def _on_state(self, state: TransportState) -> None:
        if self._connection is None:
            return  # closed on purpose
        if state in ENDED:
            # The engine has forgotten the transport with everything on it: the handles are void.
            for track in self.tracks.values():
                self.port.unwatch_track(track.handle)
            for slot in self.slots.values():
                self.port.unwatch_forwarder(slot.forwarder)
            self.tracks.clear()
            self.slots.clear()
        self._observer.on_transport(state)

    def _on_layers(self, track: SentTrack, event: TrackLayers) -> None:
        track.live = event.active
        self._observer.on_live(track)

    def _on_forwarder(self, state: SlotState, event: ForwarderStarted | ForwarderLayer) -> None:
        if state.track is None:
            return
        if isinstance(event, ForwarderLayer):
            state.current = event.spatial
            self._observer.on_layer(state, event.spatial, event.temporal)
        elif event.generation == state.generation:
            self._observer.on_started(state, event.rtp_timestamp)


def _told_again(section: MediaSection, before: tuple[Layer, ...], told: Sequence[Layer]) -> tuple[Layer, ...]:
    """A publisher's new word on the layers of a track that goes on: the engine's order of rids stays."""
    if not section.rids:
        return layers_of((), told)[:MAX_LAYERS] if told else before
    by_rid = {layer.rid: layer for layer in told}
    return tuple(by_rid.get(layer.rid, layer) for layer in before)


def _stream(section: MediaSection) -> tuple[object, ...]:
    """What of a section the engine's track is made from."""
    # The order of codecs is the publisher's preference: another one is the same stream with other packets.
    return (section.kind, frozenset(map(repr, section.codecs)), section.rids, section.declared)


def _has_rtx(section: MediaSection) -> bool:
    return any(codec.rtx_payload_type is not None for codec in section.codecs)


def _takes_remb(section: MediaSection) -> bool:
    return any(REMB in codec.feedback for codec in section.codecs)


def engine_payloads(section: MediaSection) -> tuple[Payload, ...]:
    """What a publisher may send in this section, most preferred first."""
    return tuple(_engine_payload(codec) for codec in section.codecs)


def _engine_payload(codec: Codec) -> Payload:
    return Payload(
        payload_type=codec.payload_type,
        codec=EngineCodec[codec.name.upper()],
        clock_rate=codec.clock_rate,
        rtx_payload_type=codec.rtx_payload_type,
        nack="nack" in codec.feedback,
        pli="nack pli" in codec.feedback,
    )


def _extension_kinds(sections: Iterable[MediaSection]) -> dict[int, int]:
    """Header extension id → the engine's kind. In a bundle an id means one thing, which the negotiation has seen to."""
    extensions = dict.fromkeys(tuple(section.extensions.items()) for section in sections)
    return {identifier: EXTENSION_URIS[uri] for one in extensions for identifier, uri in one if uri in EXTENSION_URIS}
