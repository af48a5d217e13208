# SPDX-License-Identifier: Apache-2.0
"""What the engine tells Python: states coalesced per object (never lost), and DTLS datagrams (droppable, counted)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TransportPath:
    """The address that media goes to: the first authenticated one, later the one that ICE nominated."""

    transport: int
    remote: tuple[str, int]
    nominated: bool
    local_ip: str


@dataclass(frozen=True, slots=True)
class DtlsDatagram:
    """A DTLS datagram from an address that ICE has authenticated."""

    transport: int
    data: bytes


@dataclass(frozen=True, slots=True)
class TransportExpired:
    """No authenticated STUN request for 30 s (RFC 7675)."""

    transport: int


@dataclass(frozen=True, slots=True)
class TransportEstimate:
    """What the receiver's link is estimated to carry; told when it changes by more than 5 %, or its state does."""

    transport: int
    rate_bps: int
    state: int
    """0 normal, 1 a queue is building, 2 lowered just now (sfu.engine.bwe)."""


@dataclass(frozen=True, slots=True)
class TrackLayers:
    """Which layers of a track currently send: bit 0 is the lowest."""

    track: int
    active: int


@dataclass(frozen=True, slots=True)
class ForwarderStarted:
    """The first packet after a bind has left, with this outbound RTP timestamp."""

    forwarder: int
    generation: int
    rtp_timestamp: int


@dataclass(frozen=True, slots=True)
class ForwarderLayer:
    """The layers that now flow; spatial -1: nothing does."""

    forwarder: int
    spatial: int
    temporal: int


Event = (
    TransportPath
    | DtlsDatagram
    | TransportExpired
    | TransportEstimate
    | TrackLayers
    | ForwarderStarted
    | ForwarderLayer
)
