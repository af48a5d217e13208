# SPDX-License-Identifier: Apache-2.0
"""Records what Chromium publishes, decrypted, with arrival times: `python -m tests.captures.record [NAME ...]`.

Chromium sends its fake camera through a server of this process (`wiretap`); keyframes are asked for once a second, so
that a replay finds places to switch. The files go to tests/data/rtp, see the README there.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfu.engine.codecs import Codec
from sfu.rooms.media import SentTrack
from sfu.wire.extensions import EXTENSION_URIS, HeaderExtension
from tests.browser.calls import WATCH, CallPage
from tests.browser.chromium import Chromium
from tests.captures.pcap import Timed, write_pcap
from tests.captures.wiretap import Tapped, TappedServer
from tests.simulation.rtp_packets import RtpPacket, parse_rtp

FOLDER = Path(__file__).resolve().parents[1] / "data" / "rtp"
CAMERA = {"width": 960, "height": 540, "fps": 10, "audio": 0}
DURATION_S = 5.0
KEYFRAME_EVERY_S = 1.0
MAX_BITRATES = (40_000, 70_000, 130_000)
"""Of the layers, lowest first: the files are to be small."""
SCALABLE_BITRATE = 1_000_000
"""Of one stream with three spatial layers; with less Chromium leaves the highest one out."""
READY_WITHIN_S = 30.0
KEPT = (HeaderExtension.MID, HeaderExtension.RID, HeaderExtension.DEPENDENCY_DESCRIPTOR)

KEEP_CONNECTIONS = """globalThis.connections = []; const Original = RTCPeerConnection;
globalThis.RTCPeerConnection = class extends Original {
  constructor(...all) { super(...all); connections.push(this); } };"""
LIMIT = """(async () => { for (const sender of connections.flatMap((one) => one.getSenders())) {
  if (sender.track?.kind !== "video") continue;
  const parameters = sender.getParameters(); const rates = %s;
  parameters.encodings.forEach((encoding, index) => {
    encoding.maxBitrate = parameters.encodings.length === 1 ? %d : rates[index];
  });
  await sender.setParameters(parameters);
} return true; })()"""


@dataclass(frozen=True)
class Wanted:
    codec: str
    scalability: str = ""


CAPTURES = {
    "vp8-simulcast": Wanted("VP8"),
    "vp9-l3t3-key": Wanted("VP9", "L3T3_KEY"),
    "vp9-l3t3": Wanted("VP9", "L3T3"),
    "vp9-simulcast": Wanted("VP9"),
    "h264-simulcast": Wanted("H264", "L1T3"),
    "av1-l3t3-key": Wanted("AV1", "L3T3_KEY"),
    "av1-l3t3": Wanted("AV1", "L3T3"),
    "av1-simulcast": Wanted("AV1"),
}


async def record(name: str, browser: Chromium, server: TappedServer) -> None:
    wanted = CAPTURES[name]
    page = await browser.new_page()
    await page.page.add_init_script(KEEP_CONNECTIONS)
    scalability = {"svc": wanted.scalability} if wanted.scalability else {}
    await CallPage.join(page, server.url, name, "Ada", codec=wanted.codec, **scalability, **CAMERA)
    await page.evaluate(LIMIT % (json.dumps(list(MAX_BITRATES)), SCALABLE_BITRATE))
    # Somebody to watch each layer: what nobody watches is not sent.
    viewers = []
    for layer, scale in enumerate((4, 2, 1)):
        viewers.append(await CallPage.join(await browser.new_page(), server.url, name, f"Ben{layer}", **WATCH))
        await viewers[-1].force("Ada", "spatial", str(layer))
        await viewers[-1].sees("Ada", CAMERA["width"] // scale, READY_WITHIN_S)
    conductor = server.server.directory.conductors[name]
    member, track = next((m, t) for m in conductor.members.values() for t in m.media.tracks.values())
    connection = member.media._connection
    assert connection is not None
    line = server.tap.line_of(connection.transport)
    assert line is not None
    port = server.server._ports[0]
    until = asyncio.get_running_loop().time() + DURATION_S
    await asyncio.sleep(1.5)  # after the answer to the last request; the next ones are what the capture begins with
    start_us = asyncio.get_running_loop().time() * 1e6
    while asyncio.get_running_loop().time() < until + 1.5:
        for layer in range(max(1, len(track.section.rids))):
            port.commands.request_keyframe(track.handle, layer)
        await asyncio.sleep(KEYFRAME_EVERY_S)
    save(name, track, line.sent_rtp(), start_us)
    for one in viewers:
        await one.close()
    await page.close()


def save(name: str, track: SentTrack, tapped: list[Tapped], start_us: float) -> None:
    section = track.section
    parsed = [parse_rtp(packet.data) for packet in tapped]
    codecs = {codec.payload_type: codec for codec in section.codecs}
    codec = next(codecs[packet.payload_type] for packet in parsed if packet.payload_type in codecs)
    kinds = {identifier: EXTENSION_URIS[uri] for identifier, uri in section.extensions.items() if uri in EXTENSION_URIS}
    told: dict[str, Any] = {
        "codec": Codec[codec.name.upper()].name,
        "payload_type": codec.payload_type,
        "mid": section.mid,
        "rids": [layer.rid for layer in track.layers if layer.rid],
        "sizes": [[layer.width, layer.height] for layer in track.layers],
        "extensions": {kind.name: identifier for identifier, kind in kinds.items() if kind in KEPT},
        "ssrcs": ssrcs_of(track, kinds, [packet for packet in parsed if packet.payload_type == codec.payload_type]),
    }
    media = [
        one
        for one, packet in zip(tapped, parsed, strict=True)
        if packet.ssrc in told["ssrcs"] and one.at_us >= start_us
    ]
    path = FOLDER / f"{name}.pcap"
    write_pcap(path, (Timed(packet.at_us - media[0].at_us, packet.data) for packet in media))
    path.with_suffix(".json").write_text(json.dumps(told, indent=1) + "\n")
    print(name, len(media), "packets,", path.stat().st_size // 1000, "kB")


def ssrcs_of(track: SentTrack, kinds: dict[int, HeaderExtension], packets: list[RtpPacket]) -> list[int]:
    """Of each layer, in their order. Chromium names the rid only until the server has heard it."""
    rid_id = next((identifier for identifier, kind in kinds.items() if kind == HeaderExtension.RID), None)
    named = {dict(packet.extensions)[rid_id]: packet.ssrc for packet in packets if rid_id in dict(packet.extensions)}
    return [named[layer.rid.encode()] for layer in track.layers if layer.rid] or [packets[0].ssrc]


async def main(names: list[str]) -> None:
    executable = shutil.which("chromium")
    assert executable is not None, "this needs Chromium"
    server = await TappedServer.start()
    browser = await Chromium.launch(executable)
    try:
        for name in names or CAPTURES:
            await record(name, browser, server)
    finally:
        await browser.close()
        await server.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
