# SPDX-License-Identifier: Apache-2.0
"""What the load client's cameras show: bursts of equal packets, or what Chromium sent (tests/data/rtp)."""

from __future__ import annotations

from functools import cache
from typing import Final

from benchmarks.scenario import Camera, Group, Scenario
from sfu.load.media import AudioSpec, VideoLayer, VideoSpec
from sfu.load.program import Program
from sfu.load.programs import Media, bursts, recorded_video, synthetic_audio, synthetic_video
from tests.captures.replay import load
from tests.simulation.rtp_packets import RtpPacket

RECORDING: Final = "vp8-simulcast"
LAYER_BPS: Final = (150_000, 500_000, 1_500_000)
# A camera of 1280×720 at 30 frames/s as a browser sends it: rates of libwebrtc's simulcast table, rounded.
SIMULCAST: Final = VideoSpec(
    (
        VideoLayer("q", 320, 180, 150_000),
        VideoLayer("h", 640, 360, 500_000),
        VideoLayer("f", 1280, 720, 1_700_000),
    ),
    fps=30.0,
)


@cache
def recorded_layers() -> tuple[Program, ...]:
    capture = load(RECORDING)
    parsed = [packet for _, packet in capture.parsed()]
    layers = []
    for ssrc in capture.ssrcs:
        packets = sorted((packet for packet in parsed if packet.ssrc == ssrc and packet.payload), key=_sequence)
        layers.append(recorded_video(((p.timestamp, p.sequence, p.payload) for p in packets), vp8=True))
    return tuple(layers)


def _sequence(packet: RtpPacket) -> int:
    return packet.sequence


def camera_spec(camera: Camera, scenario: Scenario) -> VideoSpec | None:
    """What is told to the server of it."""
    if camera == "burst":
        rate_bps = round(scenario.burst_packets * scenario.burst_payload * 8 * scenario.fps)
        return VideoSpec((VideoLayer("f", 1280, 720, rate_bps),), fps=scenario.fps)
    if camera == "recorded":
        capture = load(RECORDING)
        sizes = zip(capture.rids, capture.sizes, LAYER_BPS, strict=True)
        return VideoSpec(tuple(VideoLayer(rid, width, height, bps) for rid, (width, height), bps in sizes), fps=30)
    return SIMULCAST if camera == "simulcast" else None


def camera_media(group: Group, scenario: Scenario) -> Media:
    layers: tuple[Program, ...] = ()
    if group.camera == "burst":
        layers = (bursts(scenario.burst_packets, scenario.burst_payload, scenario.fps),)
    elif group.camera == "recorded":
        layers = recorded_layers()
    elif group.camera == "simulcast":
        layers = tuple(synthetic_video(layer, SIMULCAST) for layer in SIMULCAST.layers)
    return Media(synthetic_audio(AudioSpec()) if group.microphone else None, layers)
