# SPDX-License-Identifier: Apache-2.0
"""What Chromium sent, through the router at every target and with switches: it decodes, and to the same pixels."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from sfu.engine.codecs import Codec
from tests.captures.decode import decode
from tests.captures.depacketize import body, pictures
from tests.captures.layers import Contents, SourcePicture, contents
from tests.captures.replay import CAPTURES, Capture, Viewer, load, replay

SPATIAL, TEMPORAL = range(3), range(3)
SWITCH_EVERY_US = 1_000_000
SWITCH_GAP_US = 300_000
"""Between two pictures, more than the publisher itself paused in one of its streams."""
SWITCHERS = 4

Way = tuple[str, bool]
WAYS: list[Way] = [(name, True) for name in CAPTURES] + [
    # By the payload descriptor, as towards publishers that know no dependency descriptor.
    (name, False)
    for name in CAPTURES
    if name.startswith("vp9")
]


@pytest.fixture(params=WAYS, ids=lambda way: way[0] + ("" if way[1] else "-by-payload"))
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


def shown(capture: Capture, held: Contents, viewer: Viewer) -> list[SourcePicture]:
    """Decodes what a viewer got: each picture, to the pixels of its layer. Returns what it saw, in order.

    Left out is what nobody can show: pictures that Chromium itself cut short (see `Contents`), and those in the middle
    of which another simulcast layer took over, for which the router leaves one sequence number out.
    """
    gaps: list[int] = []
    got = pictures([packet for _, packet in viewer.got], gaps)
    cut = {id(got[at - 1]) for at in gaps}
    assert len(gaps) <= len(viewer.targets) * 2
    assert not (capture.scalable and gaps)
    after: dict[int, int] = {}
    found = [(one, held.find(capture, one, after)) for one in got if id(one) not in cut]
    strange = [packet.payload for one, source in found if source is None for packet in one.packets]
    assert not any(body(capture.codec, payload) in held.by_body for payload in strange), "a picture put together anew"
    whole = [(picture, source) for picture, source in found if source is not None]
    decoded = decode(capture.codec, [picture for picture, _ in whole])
    assert [one.index for one in decoded] == list(range(len(whole))), "not exactly one picture out of each that went in"
    widths = [width for width, _ in capture.sizes]
    seen = []
    for (picture, source), one in zip(whole, decoded, strict=True):
        layer = widths.index(one.width)
        assert one.digest == source.digests[layer], f"another picture than the publisher's at {source}"
        assert picture.packets[-1].marker
        assert not any(packet.marker for packet in picture.packets[:-1])
        seen.append(replace(source, spatials=frozenset({layer})))
    return seen


def expected(capture: Capture, held: Contents, spatial: int, temporal: int) -> list[int]:
    """The timestamps of the pictures that a fixed target stands for."""
    return [
        picture.timestamp for picture in held.pictures if spatial in picture.spatials and picture.temporal <= temporal
    ]


def test_every_target(way: Way) -> None:
    name, descriptors = way
    capture, held = load(name), contents(name)
    targets = [(spatial, temporal) for spatial in SPATIAL for temporal in TEMPORAL]
    viewers = [Viewer([(0, target)], descriptors=descriptors) for target in targets]
    played = replay(capture, viewers, descriptors=descriptors)
    # The batched path: AV1 alone cuts its frames into packets that need no padding, or differ by more.
    assert played.driver.statistics().padded_packets or capture.codec is Codec.AV1
    for (spatial, temporal), viewer in zip(targets, viewers, strict=True):
        seen = shown(capture, held, viewer)
        # Until the first keyframe of the wanted simulcast layer a lower one may be shown.
        first = next(at for at, one in enumerate(seen) if spatial in one.spatials)
        assert all(max(one.spatials) < spatial for one in seen[:first])
        assert [one.timestamp for one in seen[first:]] == expected(capture, held, spatial, temporal), (
            spatial,
            temporal,
        )


def switches(seed: int, duration_us: int) -> list[tuple[int, tuple[int, int]]]:
    choose = random.Random(seed)
    times = range(0, duration_us, SWITCH_EVERY_US)
    # The first viewer keeps all temporal layers: it must see every moment.
    return [(at, (choose.choice(SPATIAL), 2 if seed == 0 else choose.choice(TEMPORAL))) for at in times]


def test_a_switch_each_second(way: Way) -> None:
    name, descriptors = way
    capture, held = load(name), contents(name)
    duration_us = capture.packets[-1].at_us
    viewers = [Viewer(switches(seed, duration_us), descriptors=descriptors) for seed in range(SWITCHERS)]
    replay(capture, viewers, descriptors=descriptors)
    widths: set[int] = set()
    for viewer in viewers:
        seen = shown(capture, held, viewer)
        assert_forward(seen)
        widths |= {max(one.spatials) for one in seen}
    assert widths == set(SPATIAL)
    everything = shown(capture, held, viewers[0])
    paused_us = max(max_gap_us([one for one in held.pictures if one.stream == n]) for n in range(len(capture.ssrcs)))
    assert max_gap_us(everything) < paused_us + SWITCH_GAP_US


def max_gap_us(seen: Sequence[SourcePicture]) -> int:
    return max(after.at_us - before.at_us for before, after in itertools.pairwise(seen))


def assert_forward(seen: Sequence[SourcePicture]) -> None:
    """Within a stream time never goes back, and nothing is shown twice."""
    for stream in {one.stream for one in seen}:
        times = [one.timestamp for one in seen if one.stream == stream]
        assert all(0 < (after - before) % (1 << 32) < 1 << 31 for before, after in itertools.pairwise(times))


def test_captures_are_there() -> None:
    assert {load(name).codec for name in CAPTURES} == {Codec.VP8, Codec.VP9, Codec.H264, Codec.AV1}
