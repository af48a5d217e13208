# SPDX-License-Identifier: Apache-2.0
"""The router without sockets: ns of CPU per packet of ingress, of fan-out to N receivers, and of SRTP in it.

Frames of nine packets of 1,200 bytes with mid, as the C prototype of docs/benchmarks.md has them. *ingress*: from
datagram to stored packet. *fan-out*: decision, rewrite, SRTP and the place in the egress batch, per receiver. For a
flame graph: `perf record -g -e cpu-clock -F 2000 python -m benchmarks router --receivers 100 --crypto gcm`, then
`perf script | stackcollapse-perf.pl | flamegraph.pl`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.figures import Figure, in_turn, middle
from sfu.engine.srtp import PROFILES, key_salt_size
from sfu.engine.srtp_probe import protect_ns
from sfu.wire.extensions import HeaderExtension
from tests.engine.media import Vp8Stream
from tests.engine.router_driver import LOCAL, Driver
from tests.simulation.rtp_packets import build_rtp

RECEIVERS: Final = (1, 10, 100, 400)
PAYLOAD: Final = 1140
WARM_UP: Final = 20
FRAME_US: Final = 33_000
AXIS: Final = "receivers"
CRYPTO: Final = {"gcm": "SRTP_AEAD_AES_128_GCM", "gcm256": "SRTP_AEAD_AES_256_GCM", "cm": "SRTP_AES128_CM_SHA1_80"}
PROTECTED: Final = 20_000


@dataclass(frozen=True)
class Setup:
    receivers: int
    crypto: str
    packets: int


@dataclass(frozen=True)
class Spent:
    ingress_ns: float
    fan_out_ns: float


def run(arguments: Sequence[str]) -> list[Figure]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks router")
    parser.add_argument("--receivers", type=int, nargs="+", default=RECEIVERS)
    parser.add_argument("--crypto", choices=sorted(CRYPTO), nargs="+", default=("gcm", "cm"))
    parser.add_argument("--packets", type=int, default=9, help="of a frame")
    parser.add_argument("--pairs", type=int, default=100_000, help="(packet, receiver) pairs of one measurement")
    parser.add_argument("--repeats", type=int, default=5, help="of each, in turn; medians are printed")
    options = parser.parse_args(arguments)
    setups = [Setup(receivers, crypto, options.packets) for crypto in options.crypto for receivers in options.receivers]
    results = in_turn(setups, options.repeats, lambda setup: measure(setup, options.pairs))
    figures = []
    for crypto in options.crypto:
        profile = PROFILES[CRYPTO[crypto]]
        key = bytes(key_salt_size(profile))
        alone = middle([protect_ns(profile, key, PAYLOAD + 40, PROTECTED) for _ in range(options.repeats)])
        figures.append(Figure(f"{crypto}: SRTP alone", alone, "ns of CPU a packet"))
    for setup in setups:
        for stage, values in (
            ("ingress", [one.ingress_ns for one in results[setup]]),
            ("fan-out", [one.fan_out_ns for one in results[setup]]),
        ):
            what = f"{setup.crypto}, N = {setup.receivers}: {stage}"
            unit = "ns of CPU an incoming packet" if stage == "ingress" else "ns of CPU an outgoing packet"
            series = f"{setup.crypto}, {stage}"
            figures.append(Figure(what, middle(values), unit, series, float(setup.receivers), AXIS))
    return figures


def measure(setup: Setup, pairs: int) -> Spent:
    driver = Driver()
    profile = PROFILES[CRYPTO[setup.crypto]]
    publisher = driver.connect("publisher", profile=profile)
    track = driver.video_track(publisher)
    peers = []
    for number in range(setup.receivers):
        peer = driver.connect(f"receiver{number}", profile=profile)
        slot = driver.commands.add_forwarder(peer.handle, "video", b"5", 0x1000, 0x1001, {int(HeaderExtension.MID): 4})
        driver.bind(slot, track)
        peers.append(peer)
    stream = Vp8Stream(0x10, 96)
    publisher.send(*stream.key())
    driver.pump()
    rounds = max(10, pairs // (setup.packets * setup.receivers))
    ingress_ns = fan_out_ns = sent = 0
    for at in range(WARM_UP + rounds):
        if at == WARM_UP:
            ingress_ns = fan_out_ns = sent = 0
        driver.now_us += FRAME_US
        if at % 100 == 0:
            for peer in [publisher, *peers]:
                peer.check()  # else consent runs out
            driver.router.egress()
        packets = stream.frame(setup.packets, size=PAYLOAD)
        datagrams = [publisher.protect.protect(build_rtp(packet)) for packet in packets]
        began = time.thread_time_ns()
        driver.router.receive_all(datagrams, publisher.address, LOCAL, driver.now_us)
        ingress_ns += time.thread_time_ns() - began
        spent, count = fan_out(driver)
        fan_out_ns += spent
        sent += count
    return Spent(ingress_ns / (rounds * setup.packets), fan_out_ns / sent)


def fan_out(driver: Driver) -> tuple[int, int]:
    """Nanoseconds of CPU, and packets that left."""
    router, now_us = driver.router, driver.now_us
    spent = sent = 0
    while True:
        began = time.thread_time_ns()
        done = router.run(now_us)
        spent += time.thread_time_ns() - began
        sent += len(router.egress())
        if not done:
            return spent, sent
