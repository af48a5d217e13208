# SPDX-License-Identifier: Apache-2.0
"""A publisher that is authenticated and hostile: calls whose packets are changed, cut, lengthened or noise, in
virtual time.

The router must neither crash nor lose count, and must serve an honest publisher in the same call as before.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from sfu.engine.srtp import SrtpError
from tests.engine.media import Vp8Stream, bodies
from tests.engine.random_streams import KINDS
from tests.engine.twin_run import IMPAIRMENTS, Run
from tests.simulation.rtp_packets import RtpPacket, build_rtp

CALLS = 12
CHANGED = 0.3
"""Share of packets."""
HEADER_BYTES = 12
WORST = (0, 1, 0x7F, 0x80, 0xFF)


def changed(choose: random.Random, data: bytes) -> bytes:
    """Up to four changes; mostly behind the fixed header, so that the packet still finds its stream."""
    out = bytearray(data)
    for _ in range(choose.randint(1, 4)):
        at = choose.randrange(HEADER_BYTES if choose.random() < 0.9 else 0, max(HEADER_BYTES + 1, len(out)))
        kind = choose.randrange(5)
        if kind == 0 and at < len(out):
            out[at] = choose.choice(WORST)
        elif kind == 1 and at < len(out):
            out[at] ^= 1 << choose.randrange(8)
        elif kind == 2:
            del out[max(HEADER_BYTES, at) :]
        elif kind == 3:
            out[at:at] = choose.randbytes(choose.randint(1, 40))
        else:
            out += choose.randbytes(choose.randint(1, 60))
    return bytes(out[:1_200])


def changed_packet(choose: random.Random, packet: RtpPacket) -> RtpPacket:
    """What parsers see: the payload, or a header extension's value, within an RTP packet that is well formed."""
    if packet.extensions and choose.random() < 0.5:
        at = choose.randrange(len(packet.extensions))
        extensions = list(packet.extensions)
        key, value = extensions[at]
        extensions[at] = (key, changed(choose, bytes(HEADER_BYTES) + value)[HEADER_BYTES:][:255])
        return replace(packet, extensions=tuple(extensions))
    return replace(packet, payload=changed(choose, bytes(HEADER_BYTES) + packet.payload)[HEADER_BYTES:])


def fuzz(run: Run) -> int:
    """One call; the honest publisher's frames must all arrive. Returns how many datagrams were hostile."""
    choose, driver = run.choose, run.driver
    honest, second = driver.connect("honest"), driver.connect("second")
    track = driver.video_track(honest, mid=b"9")
    slot = driver.video_slot(second, ssrc=0x3000, rtx_ssrc=0x3001)
    driver.bind(slot, track)
    stream = Vp8Stream(0x900, 96, b"9")
    sent = []
    hostile = 0
    for number, arrival in enumerate(run.arrivals):
        driver.now_us = max(driver.now_us, run.start_us + arrival.at_us)
        if choose.random() < 0.05:
            driver.target(run.slot, choose.randint(-1, 3), choose.randint(0, 3))
        packet = arrival.packet
        if choose.random() < CHANGED / 2:
            packet = changed_packet(choose, packet)
        data = build_rtp(packet)
        if choose.random() < CHANGED / 2:
            data = changed(choose, data)
        try:
            wire = run.publisher.protect.protect(data)
        except SrtpError:
            wire = data  # not even SRTP takes it: as it is
        run.publisher.datagram(wire)
        hostile += 1
        if choose.random() < 0.02:
            run.publisher.datagram(changed(choose, wire))
            hostile += 1
        if choose.random() < 0.05:
            noise = bytes([0x80 | choose.randrange(32), choose.randint(200, 207), 0, choose.randrange(8)])
            run.viewer.send_rtcp(
                noise + run.viewer.handle.to_bytes(4, "big") + choose.randbytes(4 * choose.randrange(20))
            )
            hostile += 1
        if number % 20 == 0:
            frame = stream.key() if number == 0 else stream.frame()
            honest.send(*frame)
            sent += frame
        driver.pump()
    got = [packet for packet in second.take_rtp(0x3000) if packet.payload]
    assert bodies(got) == bodies(sent)
    driver.assert_accounts_balance()
    return hostile


@pytest.mark.parametrize("name", KINDS)
def test_a_hostile_publisher_harms_only_itself(
    name: str, scaled: Callable[[int], int], measured: Callable[[str, float, str], None]
) -> None:
    first = random.SystemRandom().randrange(1 << 24)
    calls, hostile = scaled(CALLS), 0
    for seed in range(first, first + calls):
        try:
            hostile += fuzz(Run(KINDS[name], seed, IMPAIRMENTS[seed % len(IMPAIRMENTS)]))
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise
    measured(f"{calls} calls from seed {first}", hostile, "datagrams")
