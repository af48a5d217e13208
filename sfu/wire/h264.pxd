# SPDX-License-Identifier: Apache-2.0
"""H.264 payloads (RFC 6184, packetization modes 0 and 1): is this a keyframe's start, and how large is the picture?"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t


cdef struct H264Payload:
    bint keyframe                   # has_sps or has_idr
    bint has_sps
    bint has_idr                    # the start of an IDR slice (not a later fragment of it)
    bint start_of_frame_hint        # begins with AUD, SPS, PPS, SEI or a slice at macroblock 0: no more than a hint
    uint16_t width                  # from the SPS with cropping, else 0
    uint16_t height


# 0, or -1 where it is malformed or neither a single NAL unit, nor STAP-A, nor FU-A.
cdef int h264_parse(const uint8_t *payload, uint32_t size, H264Payload *out) noexcept nogil
