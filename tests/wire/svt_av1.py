# SPDX-License-Identifier: Apache-2.0
"""`python -m tests.wire.svt_av1 WIDTH HEIGHT`: one picture as AV1, a low-overhead byte stream, to standard output.

A process of its own: as root SVT-AV1 gives the whole process, and all that it starts later, the highest real-time
priority. Where other threads wait actively, such a process brings the machine to a halt.
"""

import sys
from fractions import Fraction

import av


def encode(width: int, height: int) -> bytes:
    codec = av.CodecContext.create("libsvtav1", "w")
    assert isinstance(codec, av.VideoCodecContext)
    codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
    codec.time_base = Fraction(1, 30)
    codec.options = {"preset": "12", "svtav1-params": "lp=1"}
    frame = av.VideoFrame(width, height, "yuv420p")
    return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])


if __name__ == "__main__":
    sys.stdout.buffer.write(encode(int(sys.argv[1]), int(sys.argv[2])))
