# SPDX-License-Identifier: Apache-2.0
"""Rewriter: makes what one receiver gets look like one uninterrupted stream.

Sequence numbers by a range map on 64-bit extended numbers (closing up what was dropped, keeping holes for what was lost),
VP8 picture ids and TL0PICIDX by offsets, each frame's rewrite remembered so that late packets are treated like their frame.
Mutates nothing but its own state; the forwarder writes the packet.
"""
from libc.stdint cimport int8_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from sfu.engine.history cimport Packet

cdef enum:
    RANGE_COUNT = 64          # about two seconds of temporal drops
    FRAME_COUNT = 32
    OUT_LATE = -1             # no place is left for the packet
    OUT_HOLE_CLOSED = -2      # it lies in what was dropped: already closed up

cdef struct SequenceRange:
    int64_t start             # first source sequence number it covers, up to the next range's start
    int64_t offset            # out = source + offset
    bint dropped

cdef struct FrameRecord:
    uint64_t frame            # its name, see history.pxd
    bint used
    bint forwarded
    uint8_t reason            # drop reason, if not forwarded
    uint8_t temporal_limit    # highest temporal layer that flowed after this frame
    int8_t spatial_limit      # and the spatial layer that ends a picture (scalable streams)
    uint16_t picture_offset   # modulo 2^15
    uint16_t picture_offset_after
    bint announce             # its packets tell the active decode targets:
    uint32_t active_targets

cdef struct Rewriter:
    bint started              # something was sent on this outbound stream
    bint bound                # a source flows: ranges and offsets are valid
    SequenceRange ranges[64]
    uint32_t range_first      # ring: index of the oldest
    uint32_t range_count
    FrameRecord frames[32]
    uint32_t frame_newest     # index of the newest record
    int64_t highest_in
    uint64_t highest_frame    # of the packet that highest_in is
    int64_t highest_out
    uint64_t newest_frame     # the newest that was decided on
    int64_t last_sent         # of the packets that were sent the highest; highest_out may be a number that is kept
    bint last_marker          # that packet ended its frame
    uint32_t timestamp_offset
    uint32_t last_out_timestamp
    int64_t last_sent_us
    uint16_t last_picture_id
    bint has_picture_id
    uint8_t last_tl0
    bint has_tl0
    uint16_t picture_offset
    uint8_t tl0_offset
    uint16_t last_frame_number
    bint has_frame_number
    uint16_t frame_number_offset

cdef void rewriter_init(Rewriter *r, uint16_t first_sequence, uint32_t first_timestamp) noexcept nogil
cdef void rewriter_switch(Rewriter *r, const Packet *packet, uint32_t out_timestamp, bint video) noexcept nogil
cdef FrameRecord *rewriter_frame(Rewriter *r, uint64_t name) noexcept nogil
cdef FrameRecord *rewriter_new_frame(Rewriter *r, const Packet *packet, bint forwarded, uint8_t reason,
                                     uint8_t temporal_limit) noexcept nogil
cdef FrameRecord *rewriter_late_frame(Rewriter *r, const Packet *packet, bint wanted, uint8_t reason) noexcept nogil
cdef int64_t rewriter_map(const Rewriter *r, int64_t sequence) noexcept nogil
cdef int64_t rewriter_unmap(const Rewriter *r, int64_t out) noexcept nogil
cdef void rewriter_advance(Rewriter *r, const Packet *packet) noexcept nogil
cdef void rewriter_drop(Rewriter *r, const Packet *packet) noexcept nogil
