# SPDX-License-Identifier: Apache-2.0
"""Which layer a receiver should get: a pure function of what is published, what is live, and what is wished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from sfu.rooms.model import Layer, Wish

PAUSED: Final = -1

# The highest temporal id that any codec has (three bits in VP9 and AV1): no limit.
ALL_TEMPORAL: Final = 7

# Chromium's VP8 simulcast encodes three temporal layers in each encoding: full, half and a quarter of the frame rate.
TEMPORAL_LAYERS: Final = 3
# Of a camera whose publisher did not say.
ASSUMED_FPS: Final = 30.0
ASSUMED_HEIGHT: Final = 720


class Target(NamedTuple):
    """What the engine is told to forward. `spatial` is an index into the publication's layers, or `PAUSED`."""

    spatial: int
    temporal: int


def choose_target(layers: Sequence[Layer], live: int, wish: Wish) -> Target:
    """The highest layer that is live and within the wish.

    `layers` is lowest first; bit i of `live` says that layer i flows. A limit of size or frame rate never refuses the
    smallest live layer: a picture larger than its tile is better than none. `max_spatial` is strict: with nothing live
    below it, the lowest layer is the target, and the engine waits for it. A publisher of a scalable stream may have
    told of fewer layers than are live: those beyond are of unknown size.
    """
    if wish.paused:
        return Target(PAUSED, ALL_TEMPORAL)
    layers = (*layers, *(Layer() for _ in range(max(1, live.bit_length()) - len(layers))))
    top = len(layers) - 1 if wish.max_spatial is None else min(len(layers) - 1, max(wish.max_spatial, 0))
    flowing = [index for index in range(top + 1) if live >> index & 1]
    fitting = [index for index in flowing if _fits(layers[index], wish)]
    spatial = fitting[-1] if fitting else flowing[0] if flowing else 0
    return Target(spatial, _temporal(layers[spatial], wish))


def limit_target(target: Target, layers: Sequence[Layer], max_height: int | None, max_temporal: int | None) -> Target:
    """The target within limits that are not the receiver's. Sizes that nobody knows halve from layer to layer."""
    spatial, temporal = target
    if spatial == PAUSED:
        return target
    if max_height is not None:
        while spatial > 0 and _shorter_side(layers, spatial) > max_height:
            spatial -= 1
    return Target(spatial, temporal if max_temporal is None else min(temporal, max_temporal))


def _shorter_side(layers: Sequence[Layer], index: int) -> int:
    """A camera may be held upright."""
    side = min(layers[index].width, layers[index].height) if index < len(layers) else 0
    return side or ASSUMED_HEIGHT >> max(0, len(layers) - 1 - index)


def layers_of(rids: Sequence[str], declared: Sequence[Layer]) -> tuple[Layer, ...]:
    """The layers of one section, lowest first: its rids, or the spatial layers of its only stream."""
    if rids:
        return order_layers(rids, {layer.rid: layer for layer in declared})
    if all(layer.pixels for layer in declared):
        return tuple(sorted(declared, key=lambda layer: layer.pixels)) or (Layer(),)
    return tuple(declared)


def order_layers(rids: Sequence[str], declared: Mapping[str, Layer]) -> tuple[Layer, ...]:
    """The layers of one publication, lowest first.

    The SDP's order of rids holds, unless the publisher declared a size for each and they say otherwise (some clients
    offer the largest first).
    """
    layers = [declared.get(rid, Layer(rid=rid)) for rid in rids]
    if all(layer.pixels for layer in layers):
        layers.sort(key=lambda layer: layer.pixels)
    return tuple(layers)


def _fits(layer: Layer, wish: Wish) -> bool:
    """An unknown size fits: the publisher may be a client that declares none."""
    too_wide = wish.max_width is not None and layer.width > wish.max_width
    too_high = wish.max_height is not None and layer.height > wish.max_height
    return not (too_wide or too_high)


def _temporal(layer: Layer, wish: Wish) -> int:
    temporal = ALL_TEMPORAL if wish.max_temporal is None else max(0, min(wish.max_temporal, ALL_TEMPORAL))
    if wish.max_fps is None:
        return temporal
    full_fps = layer.max_fps or ASSUMED_FPS
    for index in range(TEMPORAL_LAYERS - 1):
        halvings = TEMPORAL_LAYERS - 2 - index
        if full_fps / 2**halvings > wish.max_fps:
            return min(temporal, index)
    return temporal
