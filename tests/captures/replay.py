# SPDX-License-Identifier: Apache-2.0
"""A capture through the router in virtual time: one publisher, any number of viewers with targets of their own."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from sfu.engine.codecs import Codec
from sfu.engine.commands import Payload
from sfu.wire.extensions import HeaderExtension
from tests.captures.pcap import Timed, read_pcap
from tests.engine.router_driver import Driver, Peer
from tests.simulation.rtp_packets import RtpPacket, parse_rtp

FOLDER = Path(__file__).resolve().parents[1] / "data" / "rtp"
CAPTURES = sorted(path.stem for path in FOLDER.glob("*.pcap"))
CLOCK_RATE = 90_000
OUT_PAYLOAD_TYPE, OUT_RTX = 120, 121
RTX_OFFSET = 1
MID_ID, DESCRIPTOR_ID = 4, 12
SETTLE_US = 300_000
BATCH_US = 1_000


@dataclass(frozen=True)
class Capture:
    name: str
    codec: Codec
    payload_type: int
    mid: str
    rids: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    extensions: dict[HeaderExtension, int]
    ssrcs: tuple[int, ...]
    packets: tuple[Timed, ...]

    @property
    def scalable(self) -> bool:
        """All layers in one stream."""
        return not self.rids

    def parsed(self) -> list[tuple[int, RtpPacket]]:
        return [(packet.at_us, parse_rtp(packet.data)) for packet in self.packets]

    def descriptor(self, packet: RtpPacket) -> bytes | None:
        """The dependency descriptor."""
        return dict(packet.extensions).get(self.extensions.get(HeaderExtension.DEPENDENCY_DESCRIPTOR, 0))


@cache
def load(name: str) -> Capture:
    told = json.loads((FOLDER / f"{name}.json").read_text())
    return Capture(
        name,
        Codec[told["codec"]],
        told["payload_type"],
        told["mid"],
        tuple(told["rids"]),
        tuple((width, height) for width, height in told["sizes"]),
        {HeaderExtension[kind]: identifier for kind, identifier in told["extensions"].items()},
        tuple(told["ssrcs"]),
        tuple(read_pcap(FOLDER / f"{name}.pcap")),
    )


@dataclass
class Viewer:
    """What it wants from when on, and what it got. Targets are (spatial, temporal)."""

    targets: Sequence[tuple[int, tuple[int, int]]]
    """(time since the capture's begin, target), the first at 0."""
    descriptors: bool = True
    got: list[tuple[int, RtpPacket]] = field(default_factory=list)
    slot: int = 0


@dataclass
class Played:
    driver: Driver
    publisher: Peer
    track: int
    start_us: int


def prepare(capture: Capture, *, descriptors: bool = True) -> Played:
    """The publisher and its track. `descriptors=False`: its dependency descriptors are not negotiated."""
    driver = Driver()
    publisher = driver.connect("publisher")
    ids = {identifier: int(kind) for kind, identifier in capture.extensions.items()}
    if not descriptors:
        ids = {key: kind for key, kind in ids.items() if kind != HeaderExtension.DEPENDENCY_DESCRIPTOR}
    driver.commands.set_receive_extensions(publisher.handle, ids)
    payload = Payload(capture.payload_type, capture.codec, CLOCK_RATE, nack=True, pli=True)
    track = driver.commands.add_track(publisher.handle, "video", capture.mid.encode(), [payload])
    for rid, ssrc in zip(capture.rids or ("",), capture.ssrcs, strict=True):
        driver.commands.add_layer(track, rid.encode(), ssrc)
    driver.flush()
    return Played(driver, publisher, track, driver.now_us)


def replay(
    capture: Capture, viewers: Sequence[Viewer], *, descriptors: bool = True, batch_us: int = BATCH_US
) -> Played:
    """All of a capture, at its own pace; what arrives within `batch_us` is received at once, as by a busy worker."""
    played = prepare(capture, descriptors=descriptors)
    driver = played.driver
    for number, viewer in enumerate(viewers):
        peer = driver.connect(f"viewer{number}")
        extensions = {int(HeaderExtension.MID): MID_ID}
        if viewer.descriptors:
            extensions[int(HeaderExtension.DEPENDENCY_DESCRIPTOR)] = DESCRIPTOR_ID
        ssrc = 0x1000 + 2 * number
        viewer.slot = driver.commands.add_forwarder(peer.handle, "video", b"5", ssrc, ssrc + RTX_OFFSET, extensions)
        peer.on_rtp = _keep(viewer)
        driver.flush()
        spatial, temporal = viewer.targets[0][1]
        payloads: list[tuple[int, int, int | None]] = [(capture.payload_type, OUT_PAYLOAD_TYPE, OUT_RTX)]
        driver.bind(viewer.slot, played.track, 77, 1, spatial=spatial, temporal=temporal, payloads=payloads)
    _feed(played, capture.packets, viewers, batch_us)
    driver.assert_accounts_balance()
    return played


def _keep(viewer: Viewer) -> Callable[[bytes, int], None]:
    def keep(data: bytes, at_us: int) -> None:
        packet = parse_rtp(data)
        if packet.payload_type == OUT_PAYLOAD_TYPE and packet.payload:
            viewer.got.append((at_us, packet))

    return keep


def _feed(played: Played, packets: Sequence[Timed], viewers: Sequence[Viewer], batch_us: int) -> None:
    driver, publisher = played.driver, played.publisher
    changes = sorted((at, n, target) for n, viewer in enumerate(viewers) for at, target in viewer.targets[1:])
    batch_end_us = 0
    for at_us, data in packets:
        if at_us > batch_end_us:
            driver.pump()
            batch_end_us = at_us + batch_us
        while changes and changes[0][0] <= at_us:
            _, number, (spatial, temporal) = changes.pop(0)
            driver.target(viewers[number].slot, spatial, temporal)
        driver.now_us = played.start_us + at_us
        publisher.datagram(publisher.protect.protect(data))
    driver.pump()
    driver.advance(SETTLE_US)
