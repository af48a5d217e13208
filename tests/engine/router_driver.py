# SPDX-License-Identifier: Apache-2.0
"""Drives a Router in virtual time with peers that speak real STUN and SRTP: what the behaviour tests have in common."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from aioice import stun

from sfu.engine.codecs import Codec
from sfu.engine.commands import Payload
from sfu.engine.drops import DropReason
from sfu.engine.events import Event
from sfu.engine.router import Router
from sfu.engine.srtp import PROFILES, SrtpSession, key_salt_size
from sfu.engine.statistics import Statistics
from sfu.wire.extensions import HeaderExtension
from tests.simulation import rtcp_packets as rtcp
from tests.simulation.rtp_packets import RtpPacket, build_rtp, is_rtcp, parse_rtp

LOCAL = "192.0.2.9"
START_US = 1_000_000
UNIX_OFFSET_US = 1_700_000_000_000_000
"""Unix time at virtual time 0."""
GCM = PROFILES["SRTP_AEAD_AES_128_GCM"]

RECEIVE_EXTENSIONS = {
    1: int(HeaderExtension.AUDIO_LEVEL),
    3: int(HeaderExtension.TRANSPORT_CC),
    4: int(HeaderExtension.MID),
    10: int(HeaderExtension.RID),
    11: int(HeaderExtension.REPAIRED_RID),
    13: int(HeaderExtension.VIDEO_ORIENTATION),
}
AUDIO_LEVEL_ID, TRANSPORT_CC_ID, MID_ID, RID_ID, REPAIRED_RID_ID, ORIENTATION_ID = RECEIVE_EXTENSIONS
SEND_EXTENSIONS = {
    int(HeaderExtension.MID): 4,
    int(HeaderExtension.AUDIO_LEVEL): 1,
    int(HeaderExtension.VIDEO_ORIENTATION): 13,
}

VP8 = Payload(96, Codec.VP8, 90_000, 97, nack=True, pli=True)
H264 = Payload(102, Codec.H264, 90_000, 103, nack=True, pli=True)
OPUS = Payload(111, Codec.OPUS, 48_000)
VIDEO_TYPES: list[tuple[int, int, int | None]] = [(96, 100, 101), (102, 104, 105)]
AUDIO_TYPES: list[tuple[int, int, int | None]] = [(111, 109, None)]

INGRESS_DROPS = frozenset(reason for reason in DropReason if reason < DropReason.EGRESS_FULL) | {
    DropReason.INBOUND_RATE
}
"""Reasons that count datagrams or packets which were offered to no receiver."""
EGRESS_DROPS = frozenset(DropReason) - INGRESS_DROPS


EventKind = TypeVar("EventKind")


@dataclass(frozen=True, slots=True)
class Delivery:
    """One datagram as the peer got it, decrypted."""

    at_us: int
    data: bytes
    address: tuple[str, int]
    local: str


@dataclass
class Peer:
    """The far side of one transport."""

    driver: Driver
    name: str
    handle: int
    ufrag: bytes
    password: bytes
    address: tuple[str, int]
    protect: SrtpSession
    unprotect: SrtpSession
    rtp: list[RtpPacket] = field(default_factory=list)
    rtp_deliveries: list[Delivery] = field(default_factory=list)
    rtcp_deliveries: list[Delivery] = field(default_factory=list)
    stun: list[tuple[stun.Message, Delivery]] = field(default_factory=list)
    other: list[Delivery] = field(default_factory=list)
    on_rtp: Callable[[bytes, int], None] | None = None

    def datagram(self, data: bytes, address: tuple[str, int] | None = None, local: str = LOCAL) -> None:
        """Send bytes as they are."""
        self.driver.router.receive(data, address or self.address, local, self.driver.now_us)

    def check_bytes(
        self,
        *,
        nominate: bool = True,
        controlled: bool = False,
        password: bytes | None = None,
        ufrag: bytes | None = None,
    ) -> bytes:
        """An ICE connectivity check of a full agent."""
        message = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
        message.attributes["USERNAME"] = (ufrag or self.ufrag).decode() + ":peer"
        message.attributes["PRIORITY"] = 1_845_501_695
        message.attributes["ICE-CONTROLLED" if controlled else "ICE-CONTROLLING"] = 77
        if nominate:
            message.attributes["USE-CANDIDATE"] = None
        message.add_message_integrity(password or self.password)
        message.add_fingerprint()
        return bytes(message)

    def check(
        self,
        address: tuple[str, int] | None = None,
        local: str = LOCAL,
        *,
        nominate: bool = True,
        controlled: bool = False,
    ) -> None:
        """Send a connectivity check from `address`."""
        self.datagram(self.check_bytes(nominate=nominate, controlled=controlled), address, local)

    def send(self, *packets: RtpPacket) -> None:
        """Send RTP packets at the present moment."""
        for packet in packets:
            self.datagram(self.protect.protect(build_rtp(packet)))

    def send_rtcp(self, data: bytes) -> None:
        """Send a compound RTCP packet."""
        self.datagram(self.protect.protect_rtcp(data))

    def deliver(self, data: bytes, address: tuple[str, int], local: str) -> None:
        """The router sent this to us."""
        delivery = Delivery(self.driver.now_us, data, address, local)
        if data[0] < 4:
            self.stun.append((stun.parse_message(data), delivery))
        elif not 128 <= data[0] < 192:
            self.other.append(delivery)
        elif is_rtcp(data):
            plain = self.unprotect.unprotect_rtcp(data)
            self.rtcp_deliveries.append(Delivery(self.driver.now_us, plain, address, local))
        else:
            plain = self.unprotect.unprotect(data)
            self.rtp_deliveries.append(Delivery(self.driver.now_us, plain, address, local))
            self.rtp.append(parse_rtp(plain))
            if self.on_rtp is not None:
                self.on_rtp(plain, self.driver.now_us)

    def take_rtp(self, ssrc: int | None = None) -> list[RtpPacket]:
        """What came since the last time, all of it or that of one SSRC (the rest is forgotten)."""
        taken, self.rtp = self.rtp, []
        self.rtp_deliveries = []
        return [packet for packet in taken if ssrc is None or packet.ssrc == ssrc]

    def take_rtcp(self) -> list[rtcp.RtcpPacket]:
        """The RTCP packets since the last time, out of their compounds."""
        taken, self.rtcp_deliveries = self.rtcp_deliveries, []
        return [packet for delivery in taken for packet in rtcp.parse_rtcp(delivery.data)]

    def take_feedback(self, packet_type: int, count: int) -> list[rtcp.RtcpPacket]:
        """Feedback packets of one format (the rest is forgotten)."""
        return [p for p in self.take_rtcp() if p.packet_type == packet_type and p.count == count]


class Driver:
    """One router, its virtual clock and its peers."""

    def __init__(
        self,
        seed: int = 0,
        now_us: int = START_US,
        *,
        equalise: bool = True,
        coalesce_us: int = 0,
        busy: bool = True,
        inbound_limit_bps: int = 0,
    ) -> None:
        self.router = Router(
            *(3, 7, UNIX_OFFSET_US),
            equalise=equalise,
            coalesce_us=coalesce_us,
            busy=busy,
            inbound_limit_bps=inbound_limit_bps,
        )
        self.commands = self.router.commands
        self.now_us = now_us
        self.random = random.Random(seed)
        self.peers: dict[int, Peer] = {}
        self.events: list[Event] = []
        self.lost: list[tuple[int, bytes]] = []
        """Egress that names no living peer."""
        self._ports = 40_000

    def peer(self, name: str = "peer", *, keys: bool = True, profile: int = GCM) -> Peer:
        """A transport and its far side, which has not sent anything yet."""
        password = (name.encode() * 24)[:24]
        handle, ufrag = self.commands.add_transport(password)
        size = key_salt_size(profile)
        theirs, ours = self.random.randbytes(size), self.random.randbytes(size)
        if keys:
            self.commands.set_keys(handle, profile, theirs, ours)
        self.commands.set_receive_extensions(handle, RECEIVE_EXTENSIONS)
        self._ports += 1
        peer = Peer(
            self,
            name,
            handle,
            ufrag,
            password,
            ("198.51.100.7", self._ports),
            SrtpSession(profile, theirs, True),
            SrtpSession(profile, ours, False),
        )
        self.peers[handle] = peer
        self.flush()
        return peer

    def connect(self, name: str = "peer", *, profile: int = GCM) -> Peer:
        """A peer whose first check was answered."""
        peer = self.peer(name, profile=profile)
        peer.check()
        self.pump()
        return peer

    def flush(self) -> None:
        """Apply the commands."""
        self.router.flush(self.now_us)

    def collect(self) -> list[tuple[int, bytes]]:
        """Take the egress batch and give each peer what is for it; returns (transport, datagram) in order."""
        taken = []
        for handle, data, address, local in self.router.egress():
            taken.append((handle, data))
            peer = self.peers.get(handle) or self._peer_at(address)
            if peer is None:
                self.lost.append((handle, data))
            else:
                peer.deliver(data, address, local)
        return taken

    def _peer_at(self, address: tuple[str, int]) -> Peer | None:
        """What Python had sent names no transport any more when it leaves."""
        return next((peer for peer in self.peers.values() if peer.address == address), None)

    def pump(self, budget: int = 512) -> list[tuple[int, bytes]]:
        """Timers that are due, then all fan-out; returns what was sent, in order."""
        self.router.tick(self.now_us)
        sent = self.collect()
        while self.router.run(self.now_us, budget):
            sent += self.collect()
        return sent + self.collect()

    def advance(self, duration_us: int, step_us: int = 5_000) -> None:
        """Let time pass."""
        until_us = self.now_us + duration_us
        while self.now_us < until_us:
            self.now_us = min(until_us, self.now_us + step_us)
            self.pump()

    def take_events(self, kind: type[EventKind]) -> list[EventKind]:
        """The events of one kind that wait; those of other kinds are kept for later calls."""
        self.events += self.router.events()
        taken: list[EventKind] = [event for event in self.events if isinstance(event, kind)]
        self.events = [event for event in self.events if not isinstance(event, kind)]
        return taken

    def statistics(self) -> Statistics:
        """Counters as they are now."""
        return self.router.statistics()

    def drops(self, *reasons: DropReason) -> int:
        """The sum of these counters."""
        drops = self.statistics().drops
        return sum(drops[reason.name.lower()] for reason in reasons)

    def all_drops(self) -> dict[str, int]:
        """The counters that are not 0."""
        return {name: count for name, count in self.statistics().drops.items() if count}

    def assert_accounts_balance(self) -> None:
        """Each offered pair was forwarded or dropped under an egress name."""
        statistics = self.statistics()
        dropped = sum(statistics.drops[reason.name.lower()] for reason in EGRESS_DROPS)
        assert statistics.media_offered == statistics.media_forwarded + dropped, self.all_drops()

    # -- tracks and slots

    def video_track(
        self, peer: Peer, rids: Iterable[bytes] = (), mid: bytes = b"1", payloads: Iterable[Payload] = (VP8,)
    ) -> int:
        """A published video section; without rids it has one layer."""
        track = self.commands.add_track(peer.handle, "video", mid, list(payloads))
        for rid in tuple(rids) or (b"",):
            self.commands.add_layer(track, rid)
        self.flush()
        return track

    def audio_track(self, peer: Peer, mid: bytes = b"0", payloads: Iterable[Payload] = (OPUS,)) -> int:
        """A published audio section."""
        track = self.commands.add_track(peer.handle, "audio", mid, list(payloads))
        self.commands.add_layer(track)
        self.flush()
        return track

    def video_slot(self, peer: Peer, ssrc: int = 0x1000, rtx_ssrc: int = 0x1001, mid: bytes = b"5") -> int:
        """A receiver's video section."""
        slot = self.commands.add_forwarder(peer.handle, "video", mid, ssrc, rtx_ssrc, SEND_EXTENSIONS)
        self.flush()
        return slot

    def audio_slot(self, peer: Peer, ssrc: int = 0x2000, mid: bytes = b"6") -> int:
        """A receiver's audio section."""
        slot = self.commands.add_forwarder(peer.handle, "audio", mid, ssrc, 0, SEND_EXTENSIONS)
        self.flush()
        return slot

    def bind(
        self,
        slot: int,
        track: int,
        csrc: int = 77,
        generation: int = 1,
        *,
        spatial: int = 0,
        temporal: int = 2,
        payloads: list[tuple[int, int, int | None]] | None = None,
    ) -> None:
        """Let `track` flow to `slot`."""
        self.commands.bind(slot, track, csrc, generation, VIDEO_TYPES + AUDIO_TYPES if payloads is None else payloads)
        self.commands.set_target(slot, spatial, temporal)
        self.flush()

    def target(self, slot: int, spatial: int, temporal: int = 2) -> None:
        """Want these layers."""
        self.commands.set_target(slot, spatial, temporal)
        self.flush()
