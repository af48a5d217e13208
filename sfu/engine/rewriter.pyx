# SPDX-License-Identifier: Apache-2.0
"""Rewriting state of one outbound stream; see `rewriter.pxd`."""
from libc.stdint cimport int8_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset
from sfu.engine.history cimport CLOSES_PICTURE_ID, Packet, frame_newer

cdef enum:
    PICTURE_ID_MASK = 0x7FFF   # 15 bits, RFC 7741 §4.2


cdef void rewriter_init(Rewriter *r, uint16_t first_sequence, uint32_t first_timestamp) noexcept nogil:
    """The first packet will leave with `first_sequence` (< 2^15, RFC 3711 §3.3.1) and near `first_timestamp`."""
    memset(r, 0, sizeof(Rewriter))
    r.highest_out = 65536 + <int64_t>first_sequence - 1
    r.last_out_timestamp = first_timestamp
    r.last_marker = True


cdef inline SequenceRange *newest_range(const Rewriter *r) noexcept nogil:
    return <SequenceRange *>&r.ranges[(r.range_first + r.range_count - 1) % RANGE_COUNT]


cdef void add_range(Rewriter *r, int64_t start, int64_t offset, bint dropped) noexcept nogil:
    cdef SequenceRange *entry
    if r.range_count == RANGE_COUNT:
        r.range_first = (r.range_first + 1) % RANGE_COUNT
        r.range_count -= 1
    r.range_count += 1
    entry = newest_range(r)
    entry.start = start
    entry.offset = offset
    entry.dropped = dropped


cdef void rewriter_switch(Rewriter *r, const Packet *packet, uint32_t out_timestamp, bint video) noexcept nogil:
    """Begin to follow the source of `packet`, the first packet of a frame that can be decoded by itself."""
    cdef int64_t out = r.highest_out + 1
    cdef uint32_t i
    if video and not r.last_marker:
        # The old layer's frame stays incomplete: one missing number tells the decoder so.
        out += 1
    r.range_first = 0
    r.range_count = 0
    add_range(r, packet.sequence, out - packet.sequence, False)
    for i in range(FRAME_COUNT):
        r.frames[i].used = False
    r.highest_in = packet.sequence - 1
    r.highest_frame = packet.frame
    r.newest_frame = packet.frame
    r.timestamp_offset = out_timestamp - packet.timestamp
    if packet.has_picture_id:
        r.picture_offset = (r.last_picture_id + 1 - packet.picture_id) & PICTURE_ID_MASK if r.has_picture_id else 0
    if packet.has_tl0:
        r.tl0_offset = <uint8_t>(r.last_tl0 + 1 - packet.tl0_picture_index) if r.has_tl0 else 0
    if packet.has_dependency:
        r.frame_number_offset = r.last_frame_number + 1 - packet.frame_number if r.has_frame_number else 0
    r.bound = True


cdef FrameRecord *rewriter_frame(Rewriter *r, uint64_t name) noexcept nogil:
    """What was decided on the frame of this name, or NULL."""
    cdef uint32_t i, at
    for i in range(FRAME_COUNT):
        at = (r.frame_newest + FRAME_COUNT - i) % FRAME_COUNT
        if not r.frames[at].used:
            return NULL
        if r.frames[at].frame == name:
            return &r.frames[at]
    return NULL


cdef FrameRecord *new_record(Rewriter *r, const Packet *packet, bint forwarded, uint8_t reason,
                             uint8_t temporal_limit) noexcept nogil:
    cdef FrameRecord *frame
    r.frame_newest = (r.frame_newest + 1) % FRAME_COUNT
    frame = &r.frames[r.frame_newest]
    frame.used = True
    frame.frame = packet.frame
    frame.forwarded = forwarded
    frame.reason = reason
    frame.temporal_limit = temporal_limit
    frame.spatial_limit = 0
    frame.announce = False
    return frame


cdef FrameRecord *rewriter_new_frame(Rewriter *r, const Packet *packet, bint forwarded, uint8_t reason,
                                     uint8_t temporal_limit) noexcept nogil:
    """Record the decision on a frame newer than all before. A dropped frame's picture id is closed up."""
    cdef FrameRecord *frame = new_record(r, packet, forwarded, reason, temporal_limit)
    frame.picture_offset = r.picture_offset
    if not forwarded and packet.flags & CLOSES_PICTURE_ID:
        r.picture_offset = (r.picture_offset - 1) & PICTURE_ID_MASK
    frame.picture_offset_after = r.picture_offset
    r.newest_frame = packet.frame
    return frame


cdef FrameRecord *rewriter_late_frame(Rewriter *r, const Packet *packet, bint wanted, uint8_t reason) noexcept nogil:
    """Decide on a frame of which nothing came before a newer one did: its place lies after the nearest older frame.

    It is forwarded if it is `wanted` and its layers flowed then, else dropped for `reason`. NULL: nothing older is known.
    A dropped frame's picture id is closed up if nothing behind it was sent yet; else it stays a gap.
    """
    cdef FrameRecord *older = NULL
    cdef FrameRecord *frame
    cdef bint overtaken = False
    cdef uint16_t offset
    cdef uint8_t limit
    cdef int8_t spatial
    cdef uint32_t i
    for i in range(FRAME_COUNT):
        frame = &r.frames[i]
        if not frame.used:
            continue
        if frame_newer(frame.frame, packet.frame):
            overtaken = overtaken or frame.forwarded
        elif older == NULL or frame_newer(frame.frame, older.frame):
            older = frame
    if older == NULL:
        return NULL
    offset = older.picture_offset_after
    limit = older.temporal_limit
    spatial = older.spatial_limit
    wanted = wanted and packet.temporal <= limit and (packet.has_dependency or packet.spatial <= spatial)
    if not wanted and not overtaken and packet.flags & CLOSES_PICTURE_ID:
        close_picture(r, packet)
        offset = (offset - 1) & PICTURE_ID_MASK
    frame = new_record(r, packet, wanted, reason, limit)
    frame.picture_offset = offset
    frame.picture_offset_after = offset
    frame.spatial_limit = spatial
    return frame


cdef void close_picture(Rewriter *r, const Packet *packet) noexcept nogil:
    """The picture id of `packet`'s frame is not used: those behind it, of which none was sent yet, move down."""
    cdef FrameRecord *frame
    cdef uint32_t i
    for i in range(FRAME_COUNT):
        frame = &r.frames[i]
        if frame.used and frame_newer(frame.frame, packet.frame):
            frame.picture_offset = (frame.picture_offset - 1) & PICTURE_ID_MASK
            frame.picture_offset_after = (frame.picture_offset_after - 1) & PICTURE_ID_MASK
    r.picture_offset = (r.picture_offset - 1) & PICTURE_ID_MASK


cdef SequenceRange *find_range(const Rewriter *r, int64_t sequence) noexcept nogil:
    cdef uint32_t i
    cdef SequenceRange *entry
    for i in range(r.range_count):
        entry = <SequenceRange *>&r.ranges[(r.range_first + r.range_count - 1 - i) % RANGE_COUNT]
        if entry.start <= sequence:
            return entry
    return NULL


cdef int64_t rewriter_map(const Rewriter *r, int64_t sequence) noexcept nogil:
    """Outbound sequence number of a source packet, or OUT_LATE, or OUT_HOLE_CLOSED."""
    cdef SequenceRange *entry = find_range(r, sequence)
    if entry == NULL:
        return OUT_LATE
    if entry.dropped:
        # Beyond what was dropped a new number begins; only the newest range can be asked for that.
        if sequence > r.highest_in:
            return sequence + entry.offset
        return OUT_HOLE_CLOSED
    return sequence + entry.offset


cdef int64_t rewriter_unmap(const Rewriter *r, int64_t out) noexcept nogil:
    """Source sequence number that has, or would have had, this outbound number; -1 = none of the current source."""
    cdef uint32_t i
    cdef SequenceRange *entry
    cdef int64_t upper = r.highest_in + 1
    if out > r.highest_out:
        return -1
    for i in range(r.range_count):
        entry = <SequenceRange *>&r.ranges[(r.range_first + r.range_count - 1 - i) % RANGE_COUNT]
        if not entry.dropped and entry.start <= out - entry.offset < upper:
            return out - entry.offset
        upper = entry.start
    return -1


cdef void rewriter_advance(Rewriter *r, const Packet *packet) noexcept nogil:
    """`packet`, newer than all before, is being forwarded."""
    cdef SequenceRange *entry = newest_range(r)
    if entry.dropped:
        # Numbers lost between the drop and here stay holes: nobody knows whose they were.
        add_range(r, r.highest_in + 1, entry.offset, False)
        entry = newest_range(r)
    r.highest_in = packet.sequence
    r.highest_frame = packet.frame
    r.highest_out = packet.sequence + entry.offset


cdef void rewriter_drop(Rewriter *r, const Packet *packet) noexcept nogil:
    """`packet`, newer than all before, is not forwarded: later numbers move down.

    Numbers missing between two packets of one dropped frame belong to it and are closed up with them.
    """
    cdef SequenceRange *entry = newest_range(r)
    cdef int64_t start = packet.sequence
    if entry.dropped and r.highest_frame == packet.frame:
        start = r.highest_in + 1
    if start == r.highest_in + 1 and entry.dropped:
        entry.offset -= packet.sequence - start + 1
    else:
        if entry.dropped:
            add_range(r, r.highest_in + 1, entry.offset, False)
            entry = newest_range(r)
        if start > r.highest_in + 1:
            # The hole before it keeps its numbers on the receiver's side.
            r.highest_out = start - 1 + entry.offset
        add_range(r, start, entry.offset - (packet.sequence - start + 1), True)
    r.highest_in = packet.sequence
    r.highest_frame = packet.frame
