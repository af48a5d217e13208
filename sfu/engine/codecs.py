# SPDX-License-Identifier: Apache-2.0
"""Codecs as the engine numbers them; `codecs.pxd` holds the same numbers for the Cython side."""

from enum import IntEnum


class Codec(IntEnum):
    """What a payload type carries. Audio codecs are forwarded as they are."""

    UNKNOWN = 0
    OPUS = 1
    RED = 2
    PCMU = 3
    PCMA = 4
    VP8 = 5
    VP9 = 6
    H264 = 7
    AV1 = 8
