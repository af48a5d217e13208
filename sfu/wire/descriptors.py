# SPDX-License-Identifier: Apache-2.0
"""What payload descriptors say, as plain data; read and written by `sfu.wire.vp8` and `sfu.wire.h264`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Vp8:
    """VP8 payload descriptor. None = the field is absent; width and height are 0 except at a keyframe's start."""

    size: int = 0
    start_of_frame: bool = False
    keyframe: bool = False
    start_of_partition: bool = False
    partition: int = 0
    non_reference: bool = False
    picture_id: int | None = None
    long_picture_id: bool = False
    tl0_picture_index: int | None = None
    temporal: int | None = None
    layer_sync: bool = False
    key_index: int | None = None
    width: int = 0
    height: int = 0


@dataclass(frozen=True, slots=True)
class H264:
    """What one RTP payload of H.264 tells; width and height are 0 without a readable SPS."""

    keyframe: bool = False
    has_sps: bool = False
    has_idr: bool = False
    start_of_frame_hint: bool = False
    width: int = 0
    height: int = 0
