# SPDX-License-Identifier: Apache-2.0
"""Two routers in virtual time with modelled links between them, over which relay legs run (docs/relay.md)."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from sfu.transport.relay import ALL_TEMPORAL, Address, Content, Keys, open_far_end, open_origin_end
from tests.engine.router_driver import Driver, Peer
from tests.simulation.links import DropCause, Link, LinkModel
from tests.simulation.rtp_packets import is_rtcp

ORIGIN: Address = ("192.0.2.21", 7001)
FAR: Address = ("192.0.2.22", 7002)


@dataclass
class Wire:
    """Stands where a peer stands: what a router sends to it goes to the other router."""

    driver: Driver
    address: Address
    """Of the other router."""
    link: Link
    sent: list[bytes] = field(default_factory=list)
    """Datagrams, as they left."""
    keep: bool = False

    def deliver(self, data: bytes, address: Address, local: str) -> None:
        if self.keep:
            self.sent.append(data)
        self.link.send(data, self.driver.now_us)


@dataclass
class Leg:
    """Both ends."""

    number: int
    keys: Keys
    origin_transport: int
    forwarders: list[int]
    far_transport: int
    track: int
    """On the far router."""


class RelayPair:
    """An origin and a far router. The caller moves their clocks and pumps them; `exchange` carries what they send."""

    def __init__(self, origin: Driver, far: Driver, model: LinkModel | None = None, seed: int = 0) -> None:
        self.origin, self.far = origin, far
        self.model = model or LinkModel(delay_us=0)
        self.rtt_ms = 2 * self.model.delay_us / 1000 + 1
        links = random.Random(seed)
        self.forth = Wire(origin, FAR, Link(self.model, seed=links.getrandbits(32), on_drop=self._on_drop))
        self.back = Wire(far, ORIGIN, Link(self.model, seed=links.getrandbits(32)))
        self.on_loss: Callable[[bytes], None] | None = None
        """Hears of each packet of media that was lost on its way."""
        self._legs = 0

    def _on_drop(self, data: bytes, cause: DropCause) -> None:
        if self.on_loss is not None and not is_rtcp(data):
            self.on_loss(data)

    def open(self, track: int, content: Content, layers: int = 0b1111) -> Leg:
        """A leg for a track of the origin; `layers` cross."""
        self._legs += 1
        keys = Keys.fresh()
        far_transport, far_track = open_far_end(
            self.far.commands, self._legs, (ORIGIN, FAR[0]), keys, content, self.rtt_ms
        )
        origin_transport, forwarders = open_origin_end(
            self.origin.commands, self._legs, (FAR, ORIGIN[0]), keys, content, self.rtt_ms, track
        )
        self.far.peers[far_transport] = cast("Peer", self.back)
        self.origin.peers[origin_transport] = cast("Peer", self.forth)
        self.far.flush()
        self.origin.flush()
        leg = Leg(self._legs, keys, origin_transport, forwarders, far_transport, far_track)
        self.set_layers(leg, layers)
        return leg

    def set_layers(self, leg: Leg, layers: int) -> None:
        for index, forwarder in enumerate(leg.forwarders):
            self.origin.commands.set_target(forwarder, 0 if layers >> index & 1 else -1, ALL_TEMPORAL)
        self.origin.flush()

    def close(self, leg: Leg) -> None:
        self.origin.commands.remove_transport(leg.origin_transport)
        self.far.commands.remove_transport(leg.far_transport)
        self.origin.flush()
        self.far.flush()
        del self.far.peers[leg.far_transport], self.origin.peers[leg.origin_transport]

    def exchange(self, now_us: int) -> None:
        """What has come over the links by now goes into the routers."""
        for wire, to in ((self.forth, self.far), (self.back, self.origin)):
            source = self.back.address if wire is self.forth else self.forth.address
            for arrival in wire.link.receive_until(now_us):
                to.now_us = max(to.now_us, arrival.at_us)
                to.router.receive(arrival.data, source, wire.address[0], to.now_us)

    def pump(self) -> None:
        """Let both routers do what there is to do, and what follows from it at once."""
        for _ in range(4):
            self.origin.pump()
            self.exchange(self.origin.now_us)
            self.far.pump()
            self.exchange(self.far.now_us)

    def advance(self, duration_us: int, step_us: int = 1_000) -> None:
        """Both clocks go on together."""
        until_us = self.origin.now_us + duration_us
        while self.origin.now_us < until_us:
            self.origin.now_us = self.far.now_us = min(until_us, self.origin.now_us + step_us)
            self.origin.pump()
            self.far.pump()
            self.exchange(self.origin.now_us)
            self.origin.pump()
            self.far.pump()
