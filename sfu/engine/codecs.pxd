# SPDX-License-Identifier: Apache-2.0
"""The numbers of `sfu.engine.codecs.Codec`, for the data plane."""

cdef enum:
    CODEC_UNKNOWN = 0
    CODEC_OPUS = 1
    CODEC_RED = 2
    CODEC_PCMU = 3
    CODEC_PCMA = 4
    CODEC_VP8 = 5
    CODEC_VP9 = 6
    CODEC_H264 = 7
    CODEC_AV1 = 8
