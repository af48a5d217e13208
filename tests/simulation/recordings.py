# SPDX-License-Identifier: Apache-2.0
"""Legal streams to try the stream checker on: synthetic publishers, through the ideal forwarder."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from tests.simulation.ideal_forwarder import IdealForwarder
from tests.simulation.links import DropCause, Link, LinkModel
from tests.simulation.publishers import Publisher, PublisherModel, camera, microphone
from tests.simulation.rtcp_packets import build_pli
from tests.simulation.rtp_packets import AUDIO_LEVEL, MID, is_rtcp, parse_rtp
from tests.simulation.stream_checker import StreamChecker
from tests.simulation.stream_rules import PayloadFormat, Report, SlotDescription

VP8_TYPE, VP8_RTX_TYPE, H264_TYPE, H264_RTX_TYPE, OPUS_TYPE = 96, 97, 102, 103, 111
VIDEO_SLOT = SlotDescription(
    ssrc=0x1000,
    rtx_ssrc=0x1001,
    payloads={
        VP8_TYPE: PayloadFormat("VP8", 90_000, VP8_RTX_TYPE),
        H264_TYPE: PayloadFormat("H264", 90_000, H264_RTX_TYPE),
    },
    extensions={4: MID},
    mid=b"5",
)
AUDIO_SLOT = SlotDescription(
    ssrc=0x2000, payloads={OPUS_TYPE: PayloadFormat("opus", 48_000)}, extensions={1: AUDIO_LEVEL, 4: MID}, mid=b"6"
)
STEP_US = 5_000
Stream = list[tuple[int, bytes]]


@dataclass
class Stage:
    """Publishers behind links, one slot, and what it was sent."""

    slot: SlotDescription
    publishers: dict[int, Publisher]
    forwarder: IdealForwarder
    uplink: LinkModel = field(default_factory=lambda: LinkModel(delay_us=5_000))
    seed: int = 0
    now_us: int = 0
    losses: int = 0
    stream: Stream = field(default_factory=list)
    binds: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._links = {
            publication: Link(self.uplink, seed=self.seed + publication, on_drop=self._on_drop)
            for publication in self.publishers
        }

    def _on_drop(self, data: bytes, cause: DropCause) -> None:
        if not is_rtcp(data) and parse_rtp(data).ssrc in self.forwarder.sources:
            self.losses += 1

    def bind(self, publication: int) -> None:
        """The slot shows that publisher's first track."""
        sources = next(iter(self.publishers[publication].tracks.values()))
        self.binds.append(publication)
        self.forwarder.bind(publication, sources[0].track.codec, tuple(source.ssrc for source in sources))
        if not sources[0].track.is_audio:
            self._request(sources[min(self.forwarder.target[0], len(sources) - 1)].ssrc)

    def target(self, spatial: int, temporal: int) -> None:
        """Ask for that layer."""
        self.forwarder.target = (spatial, temporal)
        if self.forwarder.sources:
            self._request(self.forwarder.sources[min(spatial, len(self.forwarder.sources) - 1)])

    def _request(self, ssrc: int) -> None:
        if ssrc != self.forwarder.layer_ssrc:
            for publisher in self.publishers.values():
                publisher.on_feedback(build_pli(1, ssrc))

    def run(self, duration_us: int) -> None:
        """Let time pass."""
        until_us = self.now_us + duration_us
        while self.now_us < until_us:
            self.now_us += STEP_US
            for publication, publisher in self.publishers.items():
                for at_us, data in publisher.packets_until(self.now_us):
                    self._links[publication].send(data, at_us)
            arrivals = [item for link in self._links.values() for item in link.receive_until(self.now_us)]
            for arrival in sorted(arrivals):
                self.stream += [(arrival.at_us, out) for out in self.forwarder.on_packet(arrival.data, arrival.at_us)]
            if self.forwarder.keyframe_wanted is not None and self.now_us % 300_000 < STEP_US:
                self._request(self.forwarder.keyframe_wanted)

    def check(self, slot: SlotDescription | None = None) -> Report:
        """What the checker says of all that was sent."""
        checker = StreamChecker(slot or self.slot)
        for csrc in self.binds:
            checker.expect_bind(csrc)
        if self.losses + self.forwarder.reserved_holes:
            checker.lost_upstream(self.losses + self.forwarder.reserved_holes)
        return feed(checker, self.stream)


def feed(checker: StreamChecker, stream: Stream) -> Report:
    """Let the checker see a whole stream."""
    for at_us, data in stream:
        checker.on_packet(data, at_us)
    return checker.finish(stream[-1][0] if stream else 0)


def publisher(publication: int, codec: str = "VP8", *, seed: int = 0, clock_us: int = 0) -> Publisher:
    """A camera or, for codec "opus", a microphone."""
    track = microphone(publication) if codec == "opus" else camera(publication, codec=codec)
    return Publisher(PublisherModel((track,), ntp_offset_us=clock_us), seed=seed * 100 + publication)


def video_stage(seed: int = 0, uplink: LinkModel | None = None, *, slot: SlotDescription = VIDEO_SLOT) -> Stage:
    """Publication 1 is VP8, 2 is H.264, 3 is VP8 with another clock."""
    publishers = {
        1: publisher(1, seed=seed),
        2: publisher(2, "H264", seed=seed),
        3: publisher(3, seed=seed, clock_us=1_500_000),
    }
    forwarder = IdealForwarder(slot, first_sequence=random.Random(seed).randrange(1 << 15))
    return Stage(slot, publishers, forwarder, uplink or LinkModel(delay_us=5_000), seed)


def video_recording(seed: int = 0) -> Stage:
    """Starts, switches in both dimensions, and binds across codecs, on clean links."""
    stage = video_stage(seed)
    stage.target(2, 2)
    stage.bind(1)
    stage.run(700_000)
    for publication, targets in ((1, ((0, 2), (1, 0), (1, 2), (2, 1))), (2, ((0, 2), (2, 2))), (3, ((1, 2), (2, 2)))):
        if stage.binds[-1] != publication:
            stage.bind(publication)
        for spatial, temporal in targets:
            stage.target(spatial, temporal)
            stage.run(500_000)
    return stage


def audio_recording(seed: int = 0) -> Stage:
    """Three microphones in one slot."""
    publishers = {number: publisher(number, "opus", seed=seed) for number in (1, 2, 3)}
    stage = Stage(AUDIO_SLOT, publishers, IdealForwarder(AUDIO_SLOT), seed=seed)
    for publication in (1, 2, 3, 1):
        stage.bind(publication)
        stage.run(400_000)
    return stage


def retransmitted_recording(seed: int = 0) -> Stage:
    """The video recording, some of whose packets are sent again as RTX a moment later."""
    stage = video_recording(seed)
    choose = random.Random(seed)
    again = [
        (at_us + 40_000, rtx)
        for at_us, data in stage.stream
        if choose.random() < 0.1
        for rtx in stage.forwarder.on_nack([parse_rtp(data).sequence])
    ]
    stage.stream = sorted([*stage.stream, *again], key=lambda item: item[0])
    return stage
