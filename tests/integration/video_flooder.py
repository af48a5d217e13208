# SPDX-License-Identifier: Apache-2.0
"""A program: a room of its own with one camera whose packets come by the thousand, and many who do not read them.

`python -m tests.integration.video_flooder URL RECEIVERS`, until its standard input is closed. It makes any worker busy:
what it sends is far more than one can hand out, and no layer can be left out of it.
"""

from __future__ import annotations

import asyncio
import struct
import sys
from typing import Final

from sfu.load.description import MID, VP8
from sfu.load.media import START_CODE, VideoLayer, VideoSpec
from sfu.load.peer import LightPeer, LightSpec
from sfu.load.publishing import VIDEO_MID
from sfu.transport.certificate import Certificate
from tests.integration.processes import commands, say

ROOM: Final = "flood"
WIDTH, HEIGHT = 160, 90
CAMERA: Final = VideoSpec((VideoLayer("", WIDTH, HEIGHT, 20_000_000),), 30, 1)
SSRC: Final = 0x1234_5678
RTP: Final = struct.Struct("!BBHII")
HEADER: Final = 0x90  # version 2 with extensions
MARKER: Final = 0x80
# RFC 8285 §4.2: one element, padded to whole words.
ONE_BYTE_HEADERS: Final = 0xBEDE
ELEMENT: Final = bytes((MID << 4 | len(VIDEO_MID) - 1,)) + VIDEO_MID.encode()
WORDS: Final = -(-len(ELEMENT) // 4)
EXTENSIONS: Final = struct.pack("!HH", ONE_BYTE_HEADERS, WORDS) + ELEMENT.ljust(4 * WORDS, b"\0")
# RFC 7741 §4.2: start of partition 0, with a picture id of 15 bits.
DESCRIPTOR: Final = struct.Struct("!BBH")
START_OF_PARTITION, WITH_PICTURE_ID, LONG_ID = 0x90, 0x80, 0x8000
# RFC 6386 §9.1
KEYFRAME: Final = b"\x10\x02\x00" + START_CODE + struct.pack("<HH", WIDTH, HEIGHT)
DELTA_FRAME: Final = b"\x11\x02\x00"
FRAME_BYTES: Final = 60
KEYFRAME_EVERY: Final = 2_000
TICKS: Final = 9
BATCH: Final = 64  # packets at once
PACKETS_PER_S: Final = 8_000
"""A worker reads that without end; it is to hand out too much, and not to be flooded."""


def packet(number: int) -> bytes:
    """One frame of one packet."""
    header = RTP.pack(HEADER, MARKER | VP8, number & 0xFFFF, number * TICKS & 0xFFFFFFFF, SSRC)
    descriptor = DESCRIPTOR.pack(START_OF_PARTITION, WITH_PICTURE_ID, LONG_ID | number & 0x7FFF)
    frame = KEYFRAME if number % KEYFRAME_EVERY == 0 else DELTA_FRAME
    return header + EXTENSIONS + descriptor + frame.ljust(FRAME_BYTES, b"\0")


async def flood(publisher: LightPeer) -> None:
    """At a steady rate, for as long as this process keeps up."""
    loop = asyncio.get_running_loop()
    number, due_s = 0, loop.time()
    while True:
        for _ in range(BATCH):
            publisher.connection.send_rtp(packet(number))
            number += 1
        due_s = max(due_s + BATCH / PACKETS_PER_S, loop.time())
        await asyncio.sleep(due_s - loop.time())


async def main(url: str, receivers: int) -> None:
    certificate = Certificate()
    spec = LightSpec(room=ROOM, name="flooder", audio=None, video=CAMERA, video_slots=0)
    publisher = await LightPeer.join(url, spec, certificate=certificate)
    publisher.publisher.stop()
    unread = []
    for number in range(receivers):
        spec = LightSpec(room=ROOM, name=f"receiver {number}", audio=None, video=None, video_slots=1)
        unread.append(await LightPeer.join(url, spec, certificate=certificate))
        # Nobody takes it over: what comes fills the socket's buffer, and then the kernel drops it.
        unread[-1].connection.hand_over()
    flooding = asyncio.ensure_future(flood(publisher))
    say(flooding=True)
    async for _ in commands():
        pass
    flooding.cancel()
    for peer in (publisher, *unread):
        await peer.close(silently=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
