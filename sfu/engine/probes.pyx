# SPDX-License-Identifier: Apache-2.0
"""Thin Python views of kernels that have none of their own, for tests and benchmarks; the server never imports this."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset
from sfu.engine.address cimport Path
from sfu.engine.history cimport (
    CLOSES_PICTURE_ID, FRAME_KEY, FRAME_LAYER_SYNC, History, Packet, frame_name, history_accepts, history_add, history_close,
    history_data, history_get, history_open,
)
from sfu.engine.reception cimport (
    RateMeter, Reception, rate_add, rate_roll, reception_init, reception_lost, reception_packet, reception_report,
    reception_sequence,
)
from sfu.engine.rewriter cimport (
    FrameRecord, Rewriter, rewriter_advance, rewriter_drop, rewriter_frame, rewriter_init, rewriter_late_frame, rewriter_map,
    rewriter_new_frame, rewriter_switch, rewriter_unmap,
)
from sfu.engine.selector cimport Decision, Selection, Stream, select_frame
from sfu.engine.tables cimport AddressMap, address_map_find, address_map_open, address_map_put, address_map_remove
from sfu.wire.rtcp cimport ReportBlock


def select_layer(target, current, int layer, int temporal, bint key, bint sync):
    """`select_frame` on a simulcast track without VP9: (verdict, want_keyframe, (spatial, temporal) after the frame)."""
    cdef Selection selection
    cdef Stream stream
    cdef Packet packet
    cdef Decision decision
    memset(&selection, 0, sizeof(selection))
    memset(&stream, 0, sizeof(stream))
    memset(&packet, 0, sizeof(packet))
    selection.target_spatial, selection.target_temporal = target
    selection.current_spatial, selection.current_temporal = current
    stream.layer = layer
    packet.temporal = temporal
    packet.flags = (FRAME_KEY if key else 0) | (FRAME_LAYER_SYNC if sync else 0)
    select_frame(&selection, &packet, &stream, &decision)
    return decision.verdict, bool(decision.want_keyframe), (decision.spatial, decision.temporal)


cdef class RewriterProbe:
    """A Rewriter, told packet by packet what to do. `picture_id` None: the packet has none."""

    cdef Rewriter rewriter

    def __cinit__(self, uint16_t first_sequence, uint32_t first_timestamp):
        rewriter_init(&self.rewriter, first_sequence, first_timestamp)

    cdef Packet packet(self, int64_t sequence, uint32_t timestamp, picture_id, tl0, int temporal):
        cdef Packet packet
        memset(&packet, 0, sizeof(packet))
        packet.sequence = sequence
        packet.timestamp = timestamp
        packet.frame = frame_name(timestamp, 0)
        packet.temporal = temporal
        if picture_id is not None:
            packet.has_picture_id = True
            packet.picture_id = picture_id
            packet.flags = CLOSES_PICTURE_ID
        if tl0 is not None:
            packet.has_tl0 = True
            packet.tl0_picture_index = tl0
        return packet

    def switch(self, int64_t sequence, uint32_t timestamp, uint32_t out_timestamp, picture_id=None, tl0=None):
        cdef Packet packet = self.packet(sequence, timestamp, picture_id, tl0, 0)
        rewriter_switch(&self.rewriter, &packet, out_timestamp, True)

    def new_frame(self, uint32_t timestamp, picture_id, bint forwarded, int temporal_limit):
        """Returns the frame's picture id as sent."""
        cdef Packet packet = self.packet(0, timestamp, picture_id, None, 0)
        return self.picture_id(rewriter_new_frame(&self.rewriter, &packet, forwarded, 0, temporal_limit), picture_id)

    def late_frame(self, uint32_t timestamp, picture_id, int temporal):
        """None: nothing older is known; else (forwarded, picture id as sent)."""
        cdef Packet packet = self.packet(0, timestamp, picture_id, None, temporal)
        cdef FrameRecord *frame = rewriter_late_frame(&self.rewriter, &packet, True, 0)
        return None if frame == NULL else (bool(frame.forwarded), self.picture_id(frame, picture_id))

    def frame(self, uint32_t timestamp, picture_id):
        """What was decided: None, or (forwarded, picture id as sent)."""
        cdef FrameRecord *frame = rewriter_frame(&self.rewriter, frame_name(timestamp, 0))
        return None if frame == NULL else (bool(frame.forwarded), self.picture_id(frame, picture_id))

    cdef object picture_id(self, const FrameRecord *frame, picture_id):
        return None if picture_id is None else (picture_id + frame.picture_offset) & 0x7FFF

    def advance(self, int64_t sequence, uint32_t timestamp):
        """Returns the outbound number."""
        cdef Packet packet = self.packet(sequence, timestamp, None, None, 0)
        rewriter_advance(&self.rewriter, &packet)
        return self.rewriter.highest_out

    def drop(self, int64_t sequence, uint32_t timestamp):
        cdef Packet packet = self.packet(sequence, timestamp, None, None, 0)
        rewriter_drop(&self.rewriter, &packet)

    def sent(self, bint marker, picture_id=None, tl0=None):
        """The newest packet was sent so."""
        self.rewriter.last_marker = marker
        if picture_id is not None:
            self.rewriter.has_picture_id = True
            self.rewriter.last_picture_id = picture_id
        if tl0 is not None:
            self.rewriter.has_tl0 = True
            self.rewriter.last_tl0 = tl0

    def map(self, int64_t sequence):
        return rewriter_map(&self.rewriter, sequence)

    def unmap(self, int64_t out):
        return rewriter_unmap(&self.rewriter, out)

    @property
    def highest_in(self):
        return self.rewriter.highest_in

    @property
    def highest_out(self):
        return self.rewriter.highest_out

    @property
    def tl0_offset(self):
        return self.rewriter.tl0_offset

    @property
    def timestamp_offset(self):
        return self.rewriter.timestamp_offset


cdef class ReceptionProbe:
    """A Reception and a RateMeter."""

    cdef Reception reception
    cdef RateMeter meter

    def __cinit__(self):
        reception_init(&self.reception)
        memset(&self.meter, 0, sizeof(self.meter))

    def sequence(self, uint16_t sequence):
        """(verdict, extended number)."""
        cdef int64_t extended = -1
        cdef int verdict = reception_sequence(&self.reception, sequence, &extended)
        return verdict, extended

    def packet(self, int64_t extended, uint32_t timestamp, uint32_t clock_rate, bint recovered, int64_t now_us):
        reception_packet(&self.reception, extended, timestamp, 100, clock_rate, recovered, now_us)

    @property
    def lost(self):
        return reception_lost(&self.reception)

    def report(self, int64_t now_us):
        """(fraction lost, cumulative lost, highest sequence, jitter)."""
        cdef ReportBlock block
        reception_report(&self.reception, 1, now_us, &block)
        return block.fraction_lost, block.cumulative_lost, block.highest_sequence, block.jitter

    def rate_add(self, uint32_t size, bint frame, int64_t now_us):
        rate_add(&self.meter, size, frame, now_us)

    def rates(self, int64_t now_us):
        """(bits per second, frames per second)."""
        rate_roll(&self.meter, now_us)
        return self.meter.rate_bps, self.meter.frame_rate_q8 / 256.0


cdef class HistoryProbe:
    """A History of any size; both arguments are powers of two."""

    cdef History history

    def __cinit__(self, uint32_t packets, uint32_t arena_bytes):
        if history_open(&self.history, packets, arena_bytes):
            raise MemoryError

    def __dealloc__(self):
        history_close(&self.history)

    def accepts(self, int64_t sequence):
        return bool(history_accepts(&self.history, sequence))

    def add(self, int64_t sequence, bytes data not None):
        history_add(&self.history, sequence, <const uint8_t *>data, len(data))

    def get(self, int64_t sequence):
        """The packet's bytes, or None."""
        cdef const Packet *packet = history_get(&self.history, sequence)
        if packet == NULL:
            return None
        return (<const char *>history_data(&self.history, packet))[:packet.size]


cdef class AddressMapProbe:
    """An AddressMap; a path is (16 bytes of remote address, port, 16 bytes of local address)."""

    cdef AddressMap addresses

    def __cinit__(self, secret0: int, secret1: int):
        if address_map_open(&self.addresses, secret0, secret1):
            raise MemoryError

    def __dealloc__(self):
        free(self.addresses.slots)

    cdef Path path(self, tuple given):
        cdef Path path
        remote, port, local = given
        memset(&path, 0, sizeof(path))
        memcpy(path.remote.ip, <const uint8_t *>remote, 16)
        path.remote.port = port
        memcpy(path.local_ip, <const uint8_t *>local, 16)
        return path

    def put(self, tuple path not None, uint32_t transport):
        cdef Path found = self.path(path)
        if address_map_put(&self.addresses, &found, transport):
            raise MemoryError

    def find(self, tuple path not None):
        """The transport, or 0."""
        cdef Path found = self.path(path)
        return address_map_find(&self.addresses, &found)

    def remove(self, tuple path not None, uint32_t transport):
        cdef Path found = self.path(path)
        address_map_remove(&self.addresses, &found, transport)
