# SPDX-License-Identifier: Apache-2.0
from enum import IntEnum

class HeaderExtension(IntEnum):
    MID = 1
    RID = 2
    REPAIRED_RID = 3
    AUDIO_LEVEL = 4
    TRANSPORT_CC = 5
    ABS_SEND_TIME = 6
    DEPENDENCY_DESCRIPTOR = 7
    VIDEO_ORIENTATION = 8
    PLAYOUT_DELAY = 9
    VIDEO_CONTENT_TYPE = 10
    COLOR_SPACE = 11
    ABS_CAPTURE_TIME = 12
    VIDEO_LAYERS_ALLOCATION = 13

EXTENSION_URIS: dict[str, HeaderExtension]

def write_block(extensions: dict[int, bytes], capacity: int, two_byte: bool) -> bytes: ...
