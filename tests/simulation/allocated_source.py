# SPDX-License-Identifier: Apache-2.0
"""What one receiver is sent over a bwe_path: cameras with simulcast and temporal layers, and the real allocation.

The encoders are the model's: sizes by libwebrtc's shares for three temporal layers, a keyframe at each change of the
spatial layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np

from sfu.rooms.allocation import NEVER_US, NEW, OTHER, PAUSED, Course, Receivers, Sources, allocate
from sfu.rooms.budget import Budget
from sfu.rooms.ladder import THREE_TEMPORAL, Ladder, Rates, make_ladder
from sfu.rooms.model import Layer
from tests.simulation.bwe_path import PACKET_BYTES, Path
from tests.simulation.links import OVERHEAD_BYTES

FRAME_US: Final = 33_333
FRAME_NOISE: Final = 0.2
KEYFRAME_WEIGHT: Final = 4.0
# Of four frames in a row: their temporal layers. Shares of 40, 20 and 40 per cent.
PATTERN: Final = (0, 2, 1, 2)
WEIGHTS: Final = {0: 1.6, 1: 0.8, 2: 0.8}
AUDIO_BYTES: Final = 120
AUDIO_US: Final = 20_000
RUN_US: Final = 100_000
TELL_CHANGE: Final = 0.05
"""The engine tells of an estimate that changes by more."""

LAYERS: Final = (Layer("q", 320, 180), Layer("h", 640, 360), Layer("f", 1280, 720))
RATES_BPS: Final = (150_000, 450_000, 1_100_000)


@dataclass
class Camera:
    """One subscription. `switches` are times of changes of its step."""

    rates_bps: Sequence[int] = RATES_BPS
    level: int = PAUSED
    switches: list[int] = field(default_factory=list)
    keyframe: bool = False
    frame: int = 0

    def __post_init__(self) -> None:
        with_headers = tuple(rate + OVERHEAD_BYTES * 8 * max(30.0, rate / 8 / PACKET_BYTES) for rate in self.rates_bps)
        layers = LAYERS[-len(self.rates_bps) :]
        rates = Rates(with_headers, THREE_TEMPORAL)
        self.ladder: Ladder = make_ladder(layers, (1 << len(layers)) - 1, rates, screen=False)

    @property
    def spatial(self) -> int:
        return PAUSED if self.level == PAUSED else self.ladder.steps[self.level].target.spatial

    def go(self, level: int, now_us: int) -> None:
        if level != self.level:
            before = self.spatial
            self.level = level
            self.switches.append(now_us)
            self.keyframe |= self.spatial != before and self.spatial > PAUSED


class AllocatedSource:
    """Implements `Source` of bwe_path."""

    def __init__(self, cameras: Sequence[Camera], *, audio: bool = True) -> None:
        self.cameras = list(cameras)
        self._audio = audio
        self.budget = Budget()
        count = len(self.cameras)
        shape = (1, count)
        self._course = Course(
            np.full(shape, NEW, np.int8),
            np.full(shape, OTHER, np.int8),
            np.full(shape, NEVER_US),
            np.full(shape, NEVER_US),
        )
        costs = np.array([[step.rate_bps for step in camera.ladder.steps] for camera in self.cameras], np.int64)
        goals = np.array([camera.ladder.goal for camera in self.cameras], np.int8)
        self._sources = Sources(costs, goals, np.zeros(count, np.bool_))
        self._told = (0, 0)

    @property
    def layer(self) -> int:
        """The sum of all steps, for the samples."""
        return sum(camera.level for camera in self.cameras)

    def start(self, path: Path) -> None:
        self.path = path
        if self._audio:
            path.clock.every(AUDIO_US, lambda: path.push_frame(AUDIO_BYTES))
        for camera in self.cameras:
            path.clock.call_later(path.random.randrange(FRAME_US), partial(self._frame, camera))
        path.clock.every(RUN_US, self._run)
        self._allocate()

    def _run(self) -> None:
        estimator, now_us = self.path.estimator, self.path.now_us
        rate_bps, state = estimator.rate_bps, estimator.state
        if state != self._told[1] or abs(rate_bps - self._told[0]) > TELL_CHANGE * self._told[0]:
            self._told = (rate_bps, state)
            self.budget.take(rate_bps, state, now_us)
        self._allocate()

    def _allocate(self) -> None:
        now_us, count = self.path.now_us, len(self.cameras)
        budget_bps, steady_bps = self.budget.present(now_us)
        audio_bps = round((AUDIO_BYTES + OVERHEAD_BYTES) * 8e6 / AUDIO_US)
        receivers = Receivers(
            np.array([budget_bps], np.int64),
            np.array([steady_bps], np.int64),
            np.array([audio_bps], np.int64),
            np.array([self.budget.congestion], np.int8),
            np.full((1, count), self._sources.costs.shape[1] - 1, np.int8),
            np.full((1, count), OTHER, np.int8),
        )
        allocation = allocate(self._sources, receivers, self._course, now_us)
        self._course = allocation.course
        for camera, level in zip(self.cameras, self._course.level[0].tolist(), strict=True):
            camera.go(level, now_us)
        wanted_bps, probe_bps = int(allocation.wanted_bps[0]), int(allocation.probe_bps[0])
        if self.budget.wants(wanted_bps):
            self.path.estimator.set_wanted(wanted_bps, now_us)
        if probe_bps and self.budget.may_probe(probe_bps, now_us):
            self.path.estimator.request_probe(probe_bps, now_us)

    def _frame(self, camera: Camera) -> None:
        path = self.path
        path.clock.call_later(FRAME_US, partial(self._frame, camera))
        camera.frame += 1
        if camera.level == PAUSED:
            return
        spatial, temporal = camera.ladder.steps[camera.level].target
        mean = camera.rates_bps[spatial] * FRAME_US / 8e6
        own = PATTERN[camera.frame % len(PATTERN)]
        if camera.keyframe:
            camera.keyframe, camera.frame = False, 0
            path.push_frame(round(mean * KEYFRAME_WEIGHT))
        elif own <= temporal:
            path.push_frame(round(mean * WEIGHTS[own] * max(0.3, path.random.gauss(1.0, FRAME_NOISE))))
