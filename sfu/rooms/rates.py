# SPDX-License-Identifier: Apache-2.0
"""What a published video costs, layer by layer: measured, smoothed, and remembered while a layer rests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from sfu.engine.statistics import LayerStatistics
from sfu.rooms.ladder import ONE_TEMPORAL, THREE_TEMPORAL, Rates
from sfu.rooms.model import Layer

# Encoders swing, and a budget must hold the high of it: up fast, down slowly.
RISE_US: Final = 300_000
FALL_US: Final = 4_000_000

# Of a layer that nobody has measured and whose publisher declared no rate: bits per pixel and second, about what
# browsers spend on 640x360 at 30 frames a second (700 kbit/s).
ASSUMED_BPS_PER_PIXEL: Final = 3.0
# Where not even the size is known.
ASSUMED_BPS: Final = 300_000.0

# How fast a share is learnt from what receivers are really sent, and between which bounds it is believed.
LEARNING: Final = 0.1
MIN_SHARE: Final = 0.15


class TrackRates:
    def __init__(self, *, scalable: bool, temporal: bool, assumed_bps: float = ASSUMED_BPS) -> None:
        """`scalable`: layers build upon each other. `temporal`: there are believed to be temporal layers.
        `assumed_bps`: of what is not known at all."""
        self._scalable = scalable
        self._assumed_bps = assumed_bps
        self._layers_bps: list[float] = []
        self._measured: list[bool] = []
        self._shares = list(THREE_TEMPORAL if temporal else ONE_TEMPORAL)
        self._observed_us = 0

    def observe(self, declared: Sequence[Layer], measured: Sequence[LayerStatistics], now_us: int) -> None:
        """`declared` may be shorter than `measured`, which finds the layers of a scalable stream by itself."""
        passed_us = max(0, now_us - self._observed_us)
        self._observed_us = now_us
        for index in range(max(len(declared), len(measured))):
            if index == len(self._layers_bps):
                layer = declared[index] if index < len(declared) else Layer()
                size_bps = layer.pixels * ASSUMED_BPS_PER_PIXEL
                self._layers_bps.append(float(layer.max_bitrate_bps or size_bps or self._assumed_bps))
                self._measured.append(False)
            if index < len(measured) and measured[index].active and measured[index].bitrate_bps > 0:
                self._take(index, measured[index].bitrate_bps, passed_us)

    def observe_receiver(self, spatial: int, temporal: int, sent_bps: int) -> None:
        """What a receiver is sent that has for a while had a layer with the temporal layers up to `temporal` only."""
        full_bps = self._full_bps(spatial)
        if not 0 <= temporal < len(self._shares) - 1 or not full_bps or not sent_bps:
            return
        share = min(1.0, max(MIN_SHARE, sent_bps / full_bps))
        self._shares[temporal] += LEARNING * (share - self._shares[temporal])

    @property
    def total_bps(self) -> float:
        return sum(self._layers_bps)

    def rates(self, overhead: float = 1.0) -> Rates:
        """`overhead`: what to multiply media by."""
        first, second, all_of_them = self._shares
        layers_bps = tuple(overhead * self._full_bps(index) for index in range(len(self._layers_bps)))
        return Rates(layers_bps, (min(first, second), second, all_of_them))

    def _take(self, index: int, bitrate_bps: float, passed_us: int) -> None:
        if not self._measured[index]:
            self._measured[index] = True
            self._layers_bps[index] = bitrate_bps
            return
        span_us = RISE_US if bitrate_bps > self._layers_bps[index] else FALL_US
        self._layers_bps[index] += (bitrate_bps - self._layers_bps[index]) * (1 - math.exp(-passed_us / span_us))

    def _full_bps(self, index: int) -> float:
        if not 0 <= index < len(self._layers_bps):
            return 0.0
        return sum(self._layers_bps[: index + 1]) if self._scalable else self._layers_bps[index]
