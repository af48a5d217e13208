# SPDX-License-Identifier: Apache-2.0
"""Layer selector and rewriter on captures of Chromium: ns per decision and per rewrite, and 1,000 subscribers."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from statistics import median
from typing import Final

from benchmarks.figures import Figure
from sfu.engine.selector_probe import decision_ns, rewrite_ns
from sfu.wire.extensions import HeaderExtension
from tests.captures.replay import CAPTURES, Viewer, load, prepare, replay

ROUNDS: Final = 300
REPEATS: Final = 5
TARGET: Final = (1, 2)


def run(arguments: Sequence[str]) -> list[Figure]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks selector")
    parser.add_argument("--capture", choices=CAPTURES, action="append", help="default: all")
    parser.add_argument("--subscribers", type=int, default=1000)
    options = parser.parse_args(arguments)
    names = options.capture or CAPTURES
    figures = [figure for name in names for figure in kernels(name)]
    return figures + crowd(names[0], options.subscribers)


def kernels(name: str) -> list[Figure]:
    capture = load(name)
    viewer = Viewer([(0, TARGET)])
    played = replay(capture, [viewer])
    layer = 0 if capture.scalable else TARGET[0]
    decisions = [decision_ns(played.driver.router, played.track, layer, *TARGET, ROUNDS)[0] for _ in range(REPEATS)]
    rewrites = [rewrite_ns(played.driver.router, played.track, layer, viewer.slot, ROUNDS) for _ in range(REPEATS)]
    size = rewrites[0][2]
    return [
        Figure(f"{name}: decision_ns", median(decisions), "ns a frame"),
        Figure(f"{name}: rewrite_ns", median(one[1] for one in rewrites), f"ns a packet of {size:.0f} bytes"),
        Figure(f"{name}: of which numbers", median(one[0] for one in rewrites), "ns a packet"),
    ]


def crowd(name: str, subscribers: int) -> list[Figure]:
    """One track, many slots of one transport that has the lowest layer: most packets are dropped. With SRTP and all."""
    capture = load(name)
    played = prepare(capture)
    peer = played.driver.connect("crowd")
    peer.on_rtp = None
    extensions = {int(HeaderExtension.MID): 4, int(HeaderExtension.DEPENDENCY_DESCRIPTOR): 12}
    for number in range(subscribers):
        slot = played.driver.commands.add_forwarder(
            peer.handle, "video", b"%d" % number, 0x1000 + number, 0, extensions
        )
        played.driver.commands.bind(slot, played.track, 77, 1, [(capture.payload_type, 120, None)])
        played.driver.commands.set_target(slot, 0, 0)
    played.driver.flush()
    spent_ns = 0
    for at_us, data in capture.packets:
        played.driver.now_us = played.start_us + at_us
        played.publisher.datagram(played.publisher.protect.protect(data))
        router, now_us = played.driver.router, played.driver.now_us
        while True:
            began = time.perf_counter_ns()
            done = router.run(now_us)
            spent_ns += time.perf_counter_ns() - began
            router.egress()
            if not done:
                break
    statistics = played.driver.statistics()
    pairs = statistics.media_offered
    return [
        Figure(f"{name}, {subscribers} subscribers of the lowest layer", spent_ns / pairs, "ns a (packet, subscriber)"),
        Figure("of these forwarded", 100 * statistics.media_forwarded / pairs, "%"),
        Figure("verdicts", 1e9 * pairs / spent_ns, "a second"),
    ]
