# SPDX-License-Identifier: Apache-2.0
"""Random publishers of every codec: their packets in the order of arrival, with losses, reordering, duplicates,
padding, counters about to wrap, and encoders that start anew."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache

from sfu.engine.codecs import Codec
from sfu.wire.payloads import Vp9
from tests.reference.layer_graph import Graph, Mode
from tests.reference.wire_dependency_descriptor import (
    Descriptor,
    ReferenceReader,
    read_descriptor,
    renumber,
    write_descriptor,
)
from tests.reference.wire_vp9 import write_vp9
from tests.simulation.rtp_packets import RtpPacket
from tests.simulation.vp8_payload import Vp8Descriptor, build_vp8_descriptor

PICTURE_US, PICTURE_TICKS = 33_000, 2_970
MID_ID, RID_ID, DESCRIPTOR_ID = 4, 10, 12
TAG_BYTES = 8
RIDS = (b"q", b"h", b"f")

Parts = list[tuple[bytes, tuple[tuple[int, bytes], ...]]]
"""The packets of a frame: payload, header extensions."""


@dataclass(frozen=True)
class Kind:
    """What is published."""

    name: str
    codec: Codec
    streams: int = 1
    spatial: int = 1
    described: bool = False
    """With dependency descriptors."""

    @property
    def scalable(self) -> bool:
        return self.streams == 1 and (self.described or self.codec is Codec.VP9)


KINDS = {
    kind.name: kind
    for kind in (
        Kind("vp8", Codec.VP8, streams=3),
        Kind("vp9-svc", Codec.VP9, spatial=3),
        Kind("vp9-simulcast", Codec.VP9, streams=3),
        Kind("h264", Codec.H264, streams=3),
        Kind("av1-svc", Codec.AV1, spatial=3, described=True),
        Kind("av1-simulcast", Codec.AV1, streams=3, described=True),
        # End-to-end encrypted: the payload says nothing.
        Kind("descriptor-only", Codec.H264, spatial=3, described=True),
    )
}


@dataclass(frozen=True)
class Impairment:
    """Shares of packets, 0..1."""

    loss: float = 0.0
    reorder: float = 0.0
    duplicate: float = 0.0
    padding: float = 0.0
    key: float = 0.05
    restart: float = 0.0
    interleave: bool = False
    """Packets of simulcast layers come in between each other."""


@dataclass(frozen=True)
class Arrival:
    """A packet of one layer's stream; `generation` counts the encoder's restarts."""

    at_us: int
    layer: int
    packet: RtpPacket
    generation: int
    duplicate: bool = False


@cache
def graph_of(spatial: int, number: int) -> Graph:
    """From a pool: they are dear to make."""
    choose = random.Random(1000 * spatial + number)
    pictures = choose.randint(10, 40)
    modes: tuple[Mode, ...] = ("full", "key", "none")
    keys = frozenset(choose.randrange(pictures) for _ in range(choose.randrange(4)))
    cling = choose.random() * 0.6
    return Graph.build(
        choose.randint(1, spatial),
        choose.randint(1, 3),
        choose.choice(modes),
        keys,
        [choose.random() < cling for _ in range(pictures)],
    )


@cache
def described(spatial: int, number: int, first: int, offset: int) -> tuple[bytes, ...]:
    return tuple(graph_of(spatial, number).descriptors(first, offset))


GRAPHS = 40
MASK_SHARE = 0.03


@dataclass
class Encoder:
    """One inbound stream."""

    kind: Kind
    choose: random.Random
    layer: int
    ssrc: int
    generation: int = 0
    sequence: int = 0
    base: int = 0
    picture_id: int = 0
    tl0: int = 0
    number: int = 0
    started: bool = False
    flexible: bool = True
    temporal_layers: int = 3
    graph: Graph | None = None
    at_frame: int = 0
    structures: int = 0
    written: tuple[bytes, ...] = ()
    reader: ReferenceReader = field(default_factory=ReferenceReader)
    tags: Iterator[int] = field(default_factory=lambda: iter(range(1 << 60)))

    def __post_init__(self) -> None:
        choose = self.choose
        self.sequence = choose.choice((5, 65_400, choose.randrange(1 << 16)))
        self.base = choose.choice((9_000, (1 << 32) - 60_000, choose.randrange(1 << 32)))
        self.picture_id = choose.choice((0, (1 << 15) - 20, choose.randrange(1 << 15)))
        self.tl0 = choose.choice((0, 250, choose.randrange(256)))
        self.number = choose.choice((0, 65_500, 0x7FF0))
        self.flexible = choose.random() < 0.5
        self.temporal_layers = choose.randint(1, 3)

    def picture(self, at: int, *, key: bool, padding: float) -> list[RtpPacket]:
        """All packets of one picture."""
        timestamp = (self.base + at * PICTURE_TICKS) & 0xFFFFFFFF
        key = key or not self.started
        self.started = True
        if self.kind.described:
            frames = self._described()
        elif self.kind.codec is Codec.VP8:
            frames = [self._vp8(key=key)]
        elif self.kind.codec is Codec.VP9:
            frames = self._vp9(key=key)
        else:
            frames = [self._h264(key=key)]
        packets = []
        for number, frame in enumerate(frames):
            for part, (payload, extensions) in enumerate(frame):
                last = number == len(frames) - 1 and part == len(frame) - 1
                packets.append(self._packet(timestamp, payload, extensions, marker=last))
        while self.choose.random() < padding:
            packets.append(self._packet(timestamp, b"", (), marker=False))
        return packets

    def _packet(
        self, timestamp: int, payload: bytes, extensions: tuple[tuple[int, bytes], ...], *, marker: bool
    ) -> RtpPacket:
        body = payload + next(self.tags).to_bytes(TAG_BYTES, "big") if payload else b""
        named = ((MID_ID, b"1"), (RID_ID, RIDS[self.layer])) if self.kind.streams > 1 else ((MID_ID, b"1"),)
        packet = RtpPacket(
            45, marker, self.sequence, timestamp, self.ssrc, (), named + extensions, body, 0 if payload else 40
        )
        self.sequence = (self.sequence + 1) & 0xFFFF
        return packet

    def _parts(self) -> int:
        return self.choose.choice((1, 1, 1, 2, 3, 4))

    def _vp8(self, *, key: bool) -> Parts:
        self.picture_id = (self.picture_id + 1) & 0x7FFF
        temporal = 0 if key else self.choose.choice((0, 0, 1, 2, 2, 3)) % self.temporal_layers
        if temporal == 0:
            self.tl0 = (self.tl0 + 1) & 0xFF
        sync = temporal > 0 and self.choose.random() < 0.4
        made: Parts = []
        for part in range(self._parts()):
            head = build_vp8_descriptor(
                Vp8Descriptor(
                    start_of_frame=part == 0,
                    picture_id=self.picture_id,
                    long_picture_id=True,
                    tl0_picture_index=self.tl0,
                    temporal=temporal,
                    layer_sync=sync,
                )
            )
            made.append((head + (b"\x00" if key else b"\x01"), ()))
        return made

    def _vp9(self, *, key: bool) -> list[Parts]:
        self.picture_id = (self.picture_id + 1) & 0x7FFF
        temporal = 0 if key else self.choose.choice((0, 0, 1, 2, 2)) % self.temporal_layers
        if temporal == 0:
            self.tl0 = (self.tl0 + 1) & 0xFF
        up = self.choose.random() < 0.4
        frames: list[Parts] = []
        for spatial in range(self.kind.spatial):
            predicted = not key
            parts = self._parts()
            d = Vp9(
                inter_picture_predicted=predicted,
                flexible=self.flexible,
                picture_id=self.picture_id,
                long_picture_id=True,
                temporal=temporal,
                spatial=spatial,
                switching_up=up,
                inter_layer=spatial > 0 and self.choose.random() < 0.6,
                tl0_picture_index=None if self.flexible else self.tl0,
                p_diffs=(1,) if self.flexible and predicted else (),
            )
            frames.append(
                [
                    (write_vp9(replace(d, start_of_frame=part == 0, end_of_frame=part == parts - 1)) + b"x", ())
                    for part in range(parts)
                ]
            )
        return frames

    def _h264(self, *, key: bool) -> Parts:
        unit = 5 if key else 1
        parts = self._parts()
        made: Parts = []
        if key and self.choose.random() < 0.7:
            made.append((b"\x78\x00\x04\x67\x42\x00\x1f\x00\x02\x68\xce\x00\x09\x06", ()))
        if parts == 1:
            return [*made, (bytes([0x60 | unit, 0x88]), ())]
        for part in range(parts):
            bits = (0x80 if part == 0 else 0) | (0x40 if part == parts - 1 else 0)
            made.append((bytes([0x7C, bits | unit, 0x88]), ()))
        return made

    def _opaque(self) -> bytes:
        """What descriptors let nobody look at; of AV1 at least the aggregation header is in the clear."""
        return b"\x10" if self.kind.codec is Codec.AV1 else self.choose.randbytes(4)

    def _masked(self, descriptor: bytes) -> bytes:
        """Now and then another set of active decode targets, never an empty one."""
        reader = self.reader
        read, where = read_descriptor(descriptor, reader.structure)
        reader.read(descriptor)
        assert reader.structure is not None
        if self.choose.random() >= MASK_SHARE:
            return descriptor
        mask = self.choose.randrange(1, 1 << reader.structure.decode_targets)
        return renumber(descriptor, where, read.frame_number, mask)

    def _without_structure(self, descriptor: bytes) -> bytes:
        """As most packets of a frame that brings a structure have it: read by that structure all the same."""
        reader = ReferenceReader()
        read = reader.read(descriptor) if len(descriptor) > 3 and descriptor[3] & 0x80 else None
        if read is None or read.structure is None:
            return descriptor
        return write_descriptor(
            Descriptor(
                template_id=read.template_id,
                mask=read.active_targets if read.has_mask else None,
                frame_number=read.frame_number,
                indications=read.indications,
                fdiffs=tuple((2, fdiff) for fdiff in read.fdiffs),
                chain_fdiffs=read.chain_fdiffs,
            ),
            read.structure,
        )

    def _described(self) -> list[Parts]:
        if self.graph is None or self.at_frame >= len(self.graph.frames):
            number = self.choose.randrange(GRAPHS)
            self.graph = graph_of(self.kind.spatial, number)
            self.written = described(self.kind.spatial, number, self.number, self.structures)
            self.number = (self.number + len(self.written)) & 0xFFFF
            self.at_frame = 0
            brought = sum(frame.key and frame.spatial == 0 for frame in self.graph.frames)
            used = brought * self.graph.spatial * self.graph.temporal
            # A new structure's template ids begin behind those of the one before (A.5), here at a multiple of 9.
            self.structures = (self.structures + -(-used // 9) * 9) % 63
        graph = self.graph
        picture = graph.frames[self.at_frame].picture
        frames: list[Parts] = []
        while self.at_frame < len(graph.frames) and graph.frames[self.at_frame].picture == picture:
            descriptor = self._masked(self.written[self.at_frame])
            parts = self._parts()
            frame: Parts = []
            for part in range(parts):
                bits = (0x80 if part == 0 else 0) | (0x40 if part == parts - 1 else 0)
                if part and self.choose.random() < 0.8:
                    descriptor = self._without_structure(descriptor)
                frame.append(
                    (self._opaque(), ((DESCRIPTOR_ID, bytes([descriptor[0] & 0x3F | bits]) + descriptor[1:]),))
                )
            frames.append(frame)
            self.at_frame += 1
        return frames


def arrivals(kind: Kind, choose: random.Random, pictures: int, how: Impairment) -> list[Arrival]:
    """What comes of a publisher, in order."""
    tags = iter(range(1 << 60))
    encoders = [Encoder(kind, choose, layer, 0x70 + layer, tags=tags) for layer in range(kind.streams)]
    ssrc = 0x80
    made: list[Arrival] = []
    for at in range(pictures):
        for layer in range(kind.streams):
            if at and choose.random() < how.restart:
                encoders[layer] = Encoder(
                    kind, choose, layer, ssrc, generation=encoders[layer].generation + 1, tags=tags
                )
                ssrc += 1
            encoder = encoders[layer]
            start_us = at * PICTURE_US + (500 if how.interleave else 8_000) * layer
            for n, packet in enumerate(encoder.picture(at, key=choose.random() < how.key, padding=how.padding)):
                at_us = start_us + 200 * n + choose.randrange(150)
                if choose.random() < how.reorder:
                    at_us += choose.choice((300, 900, 3_000, 30_000, 70_000))
                if choose.random() >= how.loss:
                    made.append(Arrival(at_us, layer, packet, encoder.generation))
                    if choose.random() < how.duplicate:
                        made.append(Arrival(at_us + 2_000, layer, packet, encoder.generation, duplicate=True))
    made.sort(key=lambda one: one.at_us)
    # What a replaced stream sends after its successor began is nobody's.
    newest = [0] * kind.streams
    kept = []
    for one in made:
        newest[one.layer] = max(newest[one.layer], one.generation)
        if one.generation == newest[one.layer]:
            kept.append(one)
    return kept
