# SPDX-License-Identifier: Apache-2.0
"""The same few seconds of a call, always: one publisher with camera and microphone, its audience, virtual time.
It is shorter than consent (RFC 7675) lasts: STUN's HMAC would allocate, a packet must not.

`python -m tests.speed.workload` plays it and prints what was counted as JSON; `callgrind.py` runs it under callgrind.
"""

from __future__ import annotations

import json
import random
import sys
from typing import Final

from sfu.engine.router_replay import RouterReplay
from tests.engine.media import OpusStream, Vp8Stream
from tests.engine.router_driver import LOCAL, Driver, Peer
from tests.simulation.rtp_packets import RtpPacket, build_rtp

RECEIVERS: Final = 20
WARM_UP_FRAMES: Final = 60
FRAMES: Final = 120
FRAME_US: Final = 33_333
KEYFRAME_EVERY: Final = 60
KEYFRAME_PACKETS: Final = 20
KEYFRAME_PACKET_BYTES: Final = 1_000
SEED: Final = 1


def audience(driver: Driver, video: int, audio: int, receivers: int) -> list[Peer]:
    found = []
    for number in range(receivers):
        peer = driver.connect(f"r{number}")
        driver.bind(driver.video_slot(peer), video)
        driver.bind(driver.audio_slot(peer), audio)
        found.append(peer)
    return found


class Call:
    """Everything that will be received, prepared before anything is measured."""

    def __init__(self, receivers: int = RECEIVERS, *, socket: bool = False) -> None:
        self.driver = Driver(SEED)
        self.probe = RouterReplay(self.driver.router, socket=socket)
        self.publisher = self.driver.connect("p")
        video = self.driver.video_track(self.publisher)
        audio = self.driver.audio_track(self.publisher)
        self.receivers = audience(self.driver, video, audio, receivers)
        self.video, self.audio = Vp8Stream(10, 96), OpusStream(11, 111)
        self.ends: list[int] = []
        """How many datagrams were prepared at the end of each frame."""
        self.prepared = 0

    def prepare(self, frames: int) -> None:
        sizes = random.Random(SEED)
        for _ in range(frames):
            number = len(self.ends)
            at_us = self.driver.now_us + (number + 1) * FRAME_US
            packets: list[RtpPacket] = [self.audio.frame()]
            if number % KEYFRAME_EVERY == 0:
                packets += self.video.frame(KEYFRAME_PACKETS, key=True, size=KEYFRAME_PACKET_BYTES)
            else:
                packets += self.video.frame(sizes.randint(2, 4), size=sizes.randint(900, 1_100))
            for packet in packets:
                self._add(self.publisher, self.publisher.protect.protect(build_rtp(packet)), at_us)
            self.ends.append(self.prepared)

    def _add(self, peer: Peer, data: bytes, at_us: int) -> None:
        self.probe.add(data, peer.address, LOCAL, at_us)
        self.prepared += 1


def main() -> None:
    call = Call(socket="socket" in sys.argv[1:])
    call.prepare(WARM_UP_FRAMES + FRAMES)
    call.probe.warm_up(call.ends[WARM_UP_FRAMES - 1])
    before = call.probe.counters
    sent = call.probe.play(call.prepared)
    after = call.probe.counters
    counted = {name: after[name] - before[name] for name in after}
    print(json.dumps({"sent": sent, "frames": FRAMES, "socket": counted}))


if __name__ == "__main__":
    main()
