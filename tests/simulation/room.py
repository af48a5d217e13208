# SPDX-License-Identifier: Apache-2.0
"""A room in virtual time: synthetic publishers and receivers behind modelled links, the real router between them, and a
stream checker on each slot."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from sfu.engine.codecs import Codec
from sfu.engine.commands import Payload
from sfu.engine.transport_cc import ArrivalTracker
from sfu.transport.relay import Content
from sfu.wire.extensions import EXTENSION_URIS
from tests.engine.router_driver import EGRESS_DROPS, Driver, Peer
from tests.simulation import rtcp_packets as rtcp
from tests.simulation.encoders import H264Encoder, OpusEncoder, Vp8Encoder
from tests.simulation.links import Arrival, Link, LinkModel
from tests.simulation.publishers import Publisher, PublisherModel, Sent, TrackModel
from tests.simulation.receiving import ReceivedStream
from tests.simulation.relay import Leg, RelayPair
from tests.simulation.rtp_packets import AUDIO_LEVEL, MID, TRANSPORT_CC, is_rtcp, parse_rtp
from tests.simulation.stream_checker import StreamChecker
from tests.simulation.stream_rules import PayloadFormat, Report, SlotDescription

STEP_US = 1_000
COALESCE_US = 2_000
CHECK_PERIOD_US = 5_000_000
"""Browsers check consent about every 5 s (RFC 7675 §5.1)."""
FEEDBACK_PERIOD_US = 20_000
REPORT_PERIOD_US = 1_000_000
VIDEO_FORMATS = {96: PayloadFormat("VP8", 90_000, 97), 102: PayloadFormat("H264", 90_000, 103)}
AUDIO_FORMATS = {111: PayloadFormat("opus", 48_000)}
VIDEO_TYPES: list[tuple[int, int, int | None]] = [(96, 96, 97), (102, 102, 103)]
AUDIO_TYPES: list[tuple[int, int, int | None]] = [(111, 111, None)]
PERFECT = LinkModel(delay_us=0)


def payloads_of(track: TrackModel) -> list[Payload]:
    """As the SDP negotiation would say."""
    if track.is_audio:
        return [Payload(track.payload_type, Codec.OPUS, 48_000)]
    codec = Codec.VP8 if track.codec == "VP8" else Codec.H264
    return [Payload(track.payload_type, codec, 90_000, track.rtx_payload_type, nack=True, pli=True)]


@dataclass
class Publication:
    """A track in the room; `number` is its CSRC and the ground truth in its payloads."""

    number: int
    track: int
    model: TrackModel
    owner: SimulatedPublisher


@dataclass
class SimulatedPublisher:
    """One sending peer."""

    peer: Peer
    source: Publisher
    uplink: Link
    downlink: Link
    publications: list[Publication] = field(default_factory=list)
    legs: list[Leg] = field(default_factory=list)


@dataclass
class SimulatedSlot:
    """One receiving media section, watched as the router sends it and as the peer gets it."""

    handle: int
    video: bool
    checker: StreamChecker
    received: ReceivedStream
    owner: SimulatedReceiver
    bound: Publication | None = None
    target: tuple[int, int] = (-1, 0)
    generation: int = 0
    credited_switches: int = 0
    flows_since_us: int | None = None
    """When it was last bound or resumed out of nothing, or sent a packet; None = nothing is wanted of it."""
    longest_silence_us: int = 0


@dataclass
class SimulatedReceiver:
    """One receiving peer."""

    peer: Peer
    uplink: Link
    downlink: Link
    slots: list[SimulatedSlot] = field(default_factory=list)
    arrivals: ArrivalTracker = field(default_factory=ArrivalTracker)


class SimulatedRoom:
    """One seed is one run."""

    def __init__(
        self,
        seed: int = 0,
        *,
        publisher_link: LinkModel = PERFECT,
        receiver_link: LinkModel = PERFECT,
        feedback_link: LinkModel = PERFECT,
        paced: bool = False,
        relay_link: LinkModel | None = None,
    ) -> None:
        """With `paced` the receivers take transport-wide feedback: bursts wait in the pacer. With `relay_link` they are
        on another router, to which every publication is relayed over that link.

        Every other seed has a busy worker, which lets a frame's first packets wait for the last ones.
        """
        self.paced = paced
        self.random = random.Random(seed)
        self.driver = Driver(seed, coalesce_us=COALESCE_US if seed % 2 else 0)
        self.receiving = self.driver if relay_link is None else Driver(seed + 1)
        """The router that the receivers are on."""
        self.relay = None if relay_link is None else RelayPair(self.driver, self.receiving, relay_link, seed)
        self.publisher_link, self.receiver_link, self.feedback_link = publisher_link, receiver_link, feedback_link
        if self.relay is not None:
            self.relay.on_loss = lambda data: self._on_upstream_loss(data, None)
        self.publishers: list[SimulatedPublisher] = []
        self.receivers: list[SimulatedReceiver] = []
        self.start_us = self.driver.now_us
        self._links = 0
        self._restarts = 0

    @property
    def now_us(self) -> int:
        """Virtual time."""
        return self.driver.now_us

    @property
    def publications(self) -> list[Publication]:
        """All that can be bound."""
        return [publication for publisher in self.publishers for publication in publisher.publications]

    @property
    def slots(self) -> list[SimulatedSlot]:
        """Of all receivers."""
        return [slot for receiver in self.receivers for slot in receiver.slots]

    def _link(self, model: LinkModel, on_drop: Callable[[bytes, object], None] | None = None) -> Link:
        self._links += 1
        return Link(model, seed=self.random.getrandbits(32), on_drop=on_drop)

    def publish(self, *tracks: TrackModel, clock_us: int = 0, skew_ppm: float = 0.0) -> SimulatedPublisher:
        """A new peer sends these tracks."""
        model = PublisherModel(tracks, start_us=self.now_us, ntp_offset_us=clock_us, clock_skew_ppm=skew_ppm)
        peer = self.driver.peer(f"p{len(self.publishers)}")
        kinds = {number: int(EXTENSION_URIS[uri]) for uri, number in model.extensions.items()}
        self.driver.commands.set_receive_extensions(peer.handle, kinds)
        publisher = SimulatedPublisher(
            peer,
            Publisher(model, seed=self.random.getrandbits(32)),
            self._link(self.publisher_link, self._on_upstream_loss),
            self._link(self.feedback_link),
        )
        for track in tracks:
            kind = "audio" if track.is_audio else "video"
            handle = self.driver.commands.add_track(peer.handle, kind, track.mid, payloads_of(track))
            for layer in track.layers or (None,):
                self.driver.commands.add_layer(handle, layer.rid if layer is not None else b"")
            self.driver.flush()
            if self.relay is not None:
                content = Content(kind, tuple(payloads_of(track)), max(1, len(track.layers)), track.publication)
                publisher.legs.append(self.relay.open(handle, content))
                handle = publisher.legs[-1].track
            publisher.publications.append(Publication(track.publication, handle, track, publisher))
        self.driver.flush()
        peer.check()
        self.publishers.append(publisher)
        return publisher

    def restart(self, publisher: SimulatedPublisher) -> None:
        """Its encoders begin anew, under other SSRCs."""
        model = replace(publisher.source.model, start_us=self.now_us)
        publisher.source = Publisher(model, seed=self.random.getrandbits(32))
        self._restarts += 1
        for source in publisher.source.sources():
            assert isinstance(source.encoder, (Vp8Encoder, H264Encoder, OpusEncoder))
            # The ground truth counts on: its frames are later ones of the same publication.
            source.encoder.frames.number = self._restarts * 1_000_000
        for slot in self.slots:
            if slot.bound is not None and slot.bound.owner is publisher:
                slot.checker.lost_upstream()

    def unpublish(self, publisher: SimulatedPublisher) -> None:
        """The peer is gone, and with it what it sent."""
        for slot in self.slots:
            if slot.bound is not None and slot.bound.owner is publisher:
                slot.bound = slot.flows_since_us = None
                slot.checker.expect_pause()
        for leg in publisher.legs:
            assert self.relay is not None
            self.relay.close(leg)
        self.publishers.remove(publisher)
        self.driver.commands.remove_transport(publisher.peer.handle)
        self.driver.flush()

    def join(self, video_slots: int = 1, audio_slots: int = 1) -> SimulatedReceiver:
        """A new peer with that many slots."""
        peer = self.receiving.peer(f"r{len(self.receivers)}")
        receiver = SimulatedReceiver(peer, self._link(self.feedback_link), self._link(self.receiver_link))
        uris = {4: MID, 1: AUDIO_LEVEL} | ({3: TRANSPORT_CC} if self.paced else {})
        extensions = {int(EXTENSION_URIS[uri]): number for number, uri in uris.items()}
        impaired = self._upstream_is_impaired()
        for index in range(video_slots + audio_slots):
            video = index < video_slots
            mid = b"%d" % (20 + index)
            ssrc = 0x1000 + 2 * index
            handle = self.receiving.commands.add_forwarder(
                peer.handle, "video" if video else "audio", mid, ssrc, ssrc + 1 if video else 0, extensions
            )
            description = SlotDescription(
                ssrc=ssrc,
                payloads=VIDEO_FORMATS if video else AUDIO_FORMATS,
                rtx_ssrc=ssrc + 1 if video else None,
                extensions=uris,
                mid=mid,
                inbound_impaired=impaired,
            )
            checker, received = StreamChecker(description), ReceivedStream(ssrc, nack=video)
            receiver.slots.append(SimulatedSlot(handle, video, checker, received, receiver))
        self.receiving.flush()
        peer.check()
        peer.on_rtp = lambda data, now_us: self._on_sent(receiver, data, now_us)
        self.receivers.append(receiver)
        return receiver

    def bind(self, slot: SimulatedSlot, publication: Publication, spatial: int = 2, temporal: int = 2) -> None:
        """Let it flow to the slot."""
        slot.generation += 1
        slot.checker.expect_bind(publication.number)
        if slot.bound is publication or slot.target[0] < 0 or slot.bound is None:
            slot.checker.expect_pause()
        slot.bound = publication
        self.receiving.commands.bind(
            slot.handle,
            publication.track,
            publication.number,
            slot.generation,
            VIDEO_TYPES if slot.video else AUDIO_TYPES,
        )
        self.target(slot, spatial if slot.video else 0, temporal if slot.video else 0)

    def target(self, slot: SimulatedSlot, spatial: int, temporal: int = 2) -> None:
        """Want these layers, as far as there are so many; spatial -1 pauses."""
        if spatial < 0:
            slot.checker.expect_pause()
        elif slot.bound is not None:
            spatial = min(spatial, max(len(slot.bound.model.layers) - 1, 0))
        if spatial < 0 or slot.bound is None:
            slot.flows_since_us = None
        elif slot.flows_since_us is None:
            slot.flows_since_us = self.now_us
        slot.target = (spatial, temporal)
        self.receiving.target(slot.handle, spatial, temporal)

    def unbind(self, slot: SimulatedSlot) -> None:
        """Nothing flows to it any more."""
        slot.bound = slot.flows_since_us = None
        slot.checker.expect_pause()
        self.receiving.commands.unbind(slot.handle)
        self.receiving.flush()

    def run(self, duration_us: int) -> None:
        """Let time pass."""
        until_us = self.now_us + duration_us
        while self.driver.now_us < until_us:
            self._step(min(until_us, self.driver.now_us + STEP_US))

    def check(self, *, longest_silence_us: int | None = None) -> dict[int, Report]:
        """All slots' verdicts, each legal; no packet unaccounted for; no slot silent for longer than that."""
        reports = {}
        for slot in self.slots:
            if slot.flows_since_us is not None:
                slot.longest_silence_us = max(slot.longest_silence_us, self.now_us - slot.flows_since_us)
            if longest_silence_us is not None:
                assert slot.longest_silence_us <= longest_silence_us, (slot.handle, slot.longest_silence_us)
            self._credit_switches(slot)
            report = slot.checker.finish(self.now_us)
            report.assert_legal()
            reports[slot.handle] = report
        for driver in {id(driver): driver for driver in (self.driver, self.receiving)}.values():
            statistics = driver.statistics()
            dropped = sum(statistics.drops[reason.name.lower()] for reason in EGRESS_DROPS)
            assert statistics.media_offered == statistics.media_forwarded + dropped, driver.all_drops()
            for name in ("protect_failed", "egress_full", "bad_auth", "malformed", "too_large"):
                assert statistics.drops[name] == 0, name
            # What is on its way when a leg is closed finds it gone.
            assert statistics.drops["no_route"] == 0 or self.relay is not None
        return reports

    def close(self) -> None:
        """Everybody leaves; nothing may be left of them."""
        for publisher in list(self.publishers):
            self.unpublish(publisher)
        for receiver in self.receivers:
            self.receiving.commands.remove_transport(receiver.peer.handle)
        for driver in (self.driver, self.receiving):
            driver.flush()
            assert driver.commands.live_handles == (0, 0, 0)
            statistics = driver.statistics()
            assert (statistics.transports, statistics.tracks, statistics.forwarders) == ({}, {}, {})

    def _upstream_is_impaired(self) -> bool:
        models = [self.publisher_link, *([] if self.relay is None else [self.relay.model])]
        return any(model.loss or model.reorder or model.capacity_bps for model in models)

    def _on_upstream_loss(self, data: bytes, cause: object) -> None:
        """Only its SSRC is readable: count it for every slot that might have got it."""
        if not is_rtcp(data):
            for slot in self.slots:
                slot.checker.lost_upstream()

    def _credit_switches(self, slot: SimulatedSlot) -> None:
        """A switch may leave one number out, to tell the decoder that the old layer's last frame was cut off."""
        switches = self.receiving.statistics().forwarders[slot.handle].switches
        if slot.video and switches > slot.credited_switches:
            slot.checker.lost_upstream(switches - slot.credited_switches)
            slot.credited_switches = switches

    def _on_sent(self, receiver: SimulatedReceiver, data: bytes, now_us: int) -> None:
        """The router sent an RTP packet: watch it, then let it travel."""
        ssrc = parse_rtp(data).ssrc
        for slot in receiver.slots:
            if ssrc in (slot.checker.slot.ssrc, slot.checker.slot.rtx_ssrc):
                slot.checker.on_packet(data, now_us)
                if slot.flows_since_us is not None:
                    slot.longest_silence_us = max(slot.longest_silence_us, now_us - slot.flows_since_us)
                    slot.flows_since_us = now_us
        receiver.downlink.send(data, now_us)

    def _step(self, now_us: int) -> None:
        """Up to `now_us`: everything arrives in order of time; slices and batches are of any size."""
        arrivals: list[tuple[Arrival, Peer]] = []
        for publisher in self.publishers:
            for sent in publisher.source.packets_until(now_us):
                publisher.uplink.send(self._protected(publisher.peer, sent), sent.at_us)
            arrivals += [(arrival, publisher.peer) for arrival in publisher.uplink.receive_until(now_us)]
        for receiver in self.receivers:
            arrivals += [(arrival, receiver.peer) for arrival in receiver.uplink.receive_until(now_us)]
        for arrival, peer in sorted(arrivals, key=lambda item: item[0].at_us):
            peer.driver.now_us = max(peer.driver.now_us, arrival.at_us)
            peer.datagram(arrival.data)
            if self.random.random() < 0.5:
                peer.driver.pump(self.random.choice((1, 16, 512)))
        self.driver.now_us = self.receiving.now_us = now_us
        self.driver.pump()
        if self.relay is not None:
            self.receiving.pump()
            self.relay.exchange(now_us)
            self.driver.pump()
            self.receiving.pump()
        if any(slot.video for slot in self.slots) and (now_us - self.start_us) % 100_000 < STEP_US:
            for slot in self.slots:
                self._credit_switches(slot)
        self._deliver(now_us)
        if (now_us - self.start_us) % CHECK_PERIOD_US < STEP_US:
            for peer in [*(p.peer for p in self.publishers), *(r.peer for r in self.receivers)]:
                peer.check()

    def _protected(self, peer: Peer, sent: Sent) -> bytes:
        return peer.protect.protect_rtcp(sent.data) if is_rtcp(sent.data) else peer.protect.protect(sent.data)

    def _deliver(self, now_us: int) -> None:
        """What has arrived at the peers, and their feedback."""
        for publisher in self.publishers:
            for delivery in publisher.peer.rtcp_deliveries:
                publisher.downlink.send(delivery.data, delivery.at_us)
            publisher.peer.rtcp_deliveries.clear()
            for arrival in publisher.downlink.receive_until(now_us):
                publisher.source.on_feedback(arrival.data, arrival.at_us)
        for receiver in self.receivers:
            peer = receiver.peer
            for delivery in peer.rtcp_deliveries:
                receiver.downlink.send(delivery.data, max(delivery.at_us, now_us))
            peer.rtcp_deliveries.clear()
            peer.rtp.clear()
            peer.rtp_deliveries.clear()
            for arrival in receiver.downlink.receive_until(now_us):
                self._on_arrival(receiver, arrival)
            if (now_us - self.start_us) % FEEDBACK_PERIOD_US < STEP_US:
                self._feed_back(receiver, now_us)

    def _on_arrival(self, receiver: SimulatedReceiver, arrival: Arrival) -> None:
        if is_rtcp(arrival.data):
            for part in rtcp.parse_rtcp(arrival.data):
                if part.packet_type == rtcp.SR:
                    report = rtcp.parse_sender_report(part)
                    for slot in receiver.slots:
                        slot.received.on_report(report, arrival.at_us)
            return
        packet = parse_rtp(arrival.data)
        if self.paced:
            sequence = next(value for number, value in packet.extensions if number == 3)
            receiver.arrivals.add(int.from_bytes(sequence, "big"), arrival.at_us)
        for slot in receiver.slots:
            if packet.ssrc == slot.checker.slot.ssrc:
                slot.received.on_packet(packet.sequence, arrival.at_us)
            elif packet.ssrc == slot.checker.slot.rtx_ssrc and len(packet.payload) >= 2:
                slot.received.on_packet(int.from_bytes(packet.payload[:2], "big"), arrival.at_us)

    def _feed_back(self, receiver: SimulatedReceiver, now_us: int) -> None:
        compound = b""
        for slot in receiver.slots:
            compound += slot.received.feedback(now_us)
        if (now_us - self.start_us) % REPORT_PERIOD_US < STEP_US:
            blocks = [block for slot in receiver.slots for block in slot.received.report_blocks(now_us)]
            compound = rtcp.build_receiver_report(1, blocks) + compound
        compound += b"".join(receiver.arrivals.feedback(1, 0))
        if compound:
            receiver.uplink.send(receiver.peer.protect.protect_rtcp(compound), now_us)
