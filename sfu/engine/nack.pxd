# SPDX-License-Identifier: Apache-2.0
"""What is missing from one inbound source, and when to ask for it again (RFC 4585 generic NACK).

Sequence numbers are the source's 64-bit extended ones. No clock, no allocation, bounded.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t


cdef enum:
    NACK_CAPACITY = 256         # packets missing at once


cdef struct MissingPacket:
    int64_t sequence
    int64_t due_us              # when to ask (again)
    uint8_t tries


cdef struct NackGenerator:
    MissingPacket missing[256]  # ascending by sequence
    uint32_t count
    bint started
    bint keyframe_wanted
    bint deadline_stale         # next_us is to be searched again
    int64_t highest             # highest sequence seen
    int64_t keyframe            # sequence of the newest keyframe's first packet, INT64_MIN = none yet
    int64_t next_us


cdef void nack_init(NackGenerator *nack) noexcept nogil

# Each packet's first arrival: in order, late, or by RTX.
cdef void nack_on_packet(NackGenerator *nack, int64_t sequence, int64_t now_us, bint keyframe_start) noexcept nogil

# Sequence numbers to ask for now, ascending; they are taken as asked for. More than `capacity` stay due.
cdef uint32_t nack_due(NackGenerator *nack, int64_t now_us, int64_t rtt_us, uint16_t *out,
                       uint32_t capacity) noexcept nogil

# True once after a gap was given up that no newer keyframe has healed.
cdef bint nack_take_keyframe_wanted(NackGenerator *nack) noexcept nogil

# When nack_due has something to do next; INT64_MAX = nothing is missing.
cdef int64_t nack_next_us(NackGenerator *nack) noexcept nogil
