# SPDX-License-Identifier: Apache-2.0
"""Relay legs: one publication on its way from its publisher's worker to another (docs/relay.md).

No policy here: the rooms say which publication goes where, and which of its layers.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Final

from sfu.engine.commands import Commands, Payload
from sfu.engine.srtp import PROFILES, key_salt_size
from sfu.transport.engine_port import EnginePort

PROFILE: Final = PROFILES["SRTP_AEAD_AES_128_GCM"]

# The engine's bounds.
MAX_BOUND_PAYLOADS: Final = 16
LAST_LEG: Final = (1 << 28) - 1

# Of an SSRC: the leg above, the layer below, and a bit for its retransmission.
LEG_SHIFT: Final = 4
RETRANSMISSION: Final = 4

# RFC 5761, section 4: with the marker bit these payload types would look like RTCP.
RTCP_LOOKALIKES: Final = range(64, 96)

# Within a process: what two queues and two wake-ups take.
LOOPBACK_RTT_MS: Final = 1.0

ALL_TEMPORAL: Final = 7

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Keys:
    """Of one leg, both directions: master key and salt."""

    to_far: bytes
    to_origin: bytes

    @classmethod
    def fresh(cls) -> Keys:
        size = key_salt_size(PROFILE)
        return cls(secrets.token_bytes(size), secrets.token_bytes(size))


@dataclass(frozen=True, slots=True)
class Content:
    """What crosses a leg."""

    kind: str
    """audio or video"""
    payloads: tuple[Payload, ...]
    """The publisher's, most preferred first."""
    layers: int
    """Simulcast layers, or 1."""
    number: int
    """The publication's, which is its CSRC."""

    @property
    def on_the_leg(self) -> list[Payload]:
        """Video is retransmitted and asks for keyframes on a leg whatever the publisher negotiated."""
        if self.kind == "audio":
            return [payload._replace(rtx_payload_type=None, nack=False) for payload in self.payloads]
        used = {number for payload in self.payloads for number in (payload.payload_type, payload.rtx_payload_type)}
        free = (number for number in range(127, -1, -1) if number not in used and number not in RTCP_LOOKALIKES)
        return [
            payload._replace(
                rtx_payload_type=next(free, None) if payload.rtx_payload_type is None else payload.rtx_payload_type,
                nack=True,
                pli=True,
            )
            for payload in self.payloads
        ]


def open_far_end(
    commands: Commands, leg: int, path: tuple[Address, str], keys: Keys, content: Content, rtt_ms: float
) -> tuple[int, int]:
    """At the worker that receives. `path`: the other's address, and ours. Returns (transport, track)."""
    transport = commands.add_relay(leg, *path, rtt_ms)
    commands.set_keys(transport, PROFILE, keys.to_far, keys.to_origin)
    track = commands.add_track(transport, content.kind, b"", content.on_the_leg)
    for layer in range(content.layers):
        ssrc = leg << LEG_SHIFT | layer
        commands.add_layer(track, b"", ssrc, ssrc | RETRANSMISSION if content.kind == "video" else 0)
    return transport, track


def open_origin_end(
    commands: Commands, leg: int, path: tuple[Address, str], keys: Keys, content: Content, rtt_ms: float, track: int
) -> tuple[int, list[int]]:
    """At the publisher's worker; every layer of `track` is paused. Returns (transport, a forwarder for each layer)."""
    transport = commands.add_relay(leg, *path, rtt_ms)
    commands.set_keys(transport, PROFILE, keys.to_origin, keys.to_far)
    payloads = [
        (payload.payload_type, payload.payload_type, payload.rtx_payload_type)
        for payload in content.on_the_leg[:MAX_BOUND_PAYLOADS]
    ]
    forwarders = []
    for layer in range(content.layers):
        ssrc = leg << LEG_SHIFT | layer
        rtx_ssrc = ssrc | RETRANSMISSION if content.kind == "video" else 0
        forwarder = commands.add_forwarder(transport, content.kind, b"", ssrc, rtx_ssrc, {}, relay_layer=layer)
        commands.bind(forwarder, track, content.number, 1, payloads)
        forwarders.append(forwarder)
    return transport, forwarders


class RelayLeg:
    """Both ends of one leg within this process. Its layers are paused until `set_layers`."""

    def __init__(self, mesh: RelayMesh, leg: int, origin: EnginePort, far: EnginePort, track: int, content: Content):
        self.origin: Final = origin
        self.far: Final = far
        self._layers = 0
        self._sent = 0
        self._begun = False
        self._closed = False
        keys = Keys.fresh()
        paths = mesh.path(origin, far), mesh.path(far, origin)
        self._far_transport, self.track = open_far_end(far.commands, leg, paths[1], keys, content, LOOPBACK_RTT_MS)
        """`track`: its handle on the far worker."""
        self._transport, self._forwarders = open_origin_end(
            origin.commands, leg, paths[0], keys, content, LOOPBACK_RTT_MS, track
        )
        # The far worker's flush is on the loop's list by now, so it has the keys before the first packet leaves.
        far.loop.call_soon(self._begin)

    def set_layers(self, layers: int) -> None:
        """Bit i: layer i crosses."""
        self._layers = layers
        self._apply()

    def close(self) -> None:
        """The handle `track` is void from now on."""
        if self._closed:
            return
        self._closed = True
        self.origin.commands.remove_transport(self._transport)
        self.far.commands.remove_transport(self._far_transport)

    def _begin(self) -> None:
        self._begun = True
        self._apply()

    def _apply(self) -> None:
        if self._closed or not self._begun:
            return
        for layer, forwarder in enumerate(self._forwarders):
            if (self._layers ^ self._sent) >> layer & 1:
                self.origin.commands.set_target(forwarder, 0 if self._layers >> layer & 1 else -1, ALL_TEMPORAL)
        self._sent = self._layers


class RelayMesh:
    """The workers of this process, and where each of them receives from the others."""

    def __init__(self, addresses: Mapping[EnginePort, Address]) -> None:
        self._addresses = dict(addresses)
        self._legs = count(1)

    def path(self, origin: EnginePort, far: EnginePort) -> tuple[Address, str]:
        """The far worker's address, and the origin's own as the far one sees it."""
        return self._addresses[far], self._addresses[origin][0]

    def open(self, origin: EnginePort, far: EnginePort, track: int, content: Content) -> RelayLeg:
        """Let the publication behind `track` of `origin` be received on `far`, under the leg's own handle there."""
        number = next(self._legs)
        if number > LAST_LEG:
            # Two hundred million legs ago; keys are never used twice, so a number may be.
            self._legs = count(1)
            number = next(self._legs)
        return RelayLeg(self, number, origin, far, track, content)


def relay_address(udp_host: str | None, port: int) -> Address:
    """Where a worker bound to `udp_host` is reached by the others: on loopback, unless it is bound to one address."""
    everywhere = udp_host is None or ipaddress.ip_address(udp_host).is_unspecified
    return ("127.0.0.1" if everywhere else str(udp_host), port)
