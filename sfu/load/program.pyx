# SPDX-License-Identifier: Apache-2.0
"""Programs and how they are written as RTP; see program.pxd."""

from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from sfu.engine.srtp cimport SRTP_OK, srtp_protect
from sfu.wire.bytes cimport write_u16, write_u24, write_u32, write_u64
from sfu.wire.extensions cimport ExtensionWriter, extensions_add, extensions_begin, extensions_finish

cdef enum:
    RTP_HEADER_SIZE = 12
    EXTENSION_ROOM = 80         # bytes
    STALL_US = 500_000          # who is later than that goes on from now


cdef class Program:
    """`frames`: [(duration_us, keyframe, base_layer, [(payload, picture_id_at, tl0_at), ...]), ...], the first a keyframe."""

    def __cinit__(self, frames):
        frames = list(frames)
        packets = [packet for *_, inside in frames for packet in inside]
        total = sum(len(payload) for payload, _, _ in packets)
        if not frames or any(not 0 < len(inside) <= FRAME_PACKETS_MAX for *_, inside in frames):
            raise ValueError(f"a program has frames of 1 to {FRAME_PACKETS_MAX} packets")
        if any(len(payload) > PACKET_ROOM - 300 for payload, _, _ in packets):
            raise ValueError(f"a payload has at most {PACKET_ROOM - 300} bytes")
        self.frames = <ProgramFrame *>calloc(len(frames), sizeof(ProgramFrame))
        self.packets = <ProgramPacket *>calloc(len(packets), sizeof(ProgramPacket))
        self.bytes = <uint8_t *>malloc(max(total, 1))
        if self.frames == NULL or self.packets == NULL or self.bytes == NULL:
            raise MemoryError
        self.frame_count = <uint32_t>len(frames)
        self._fill(frames)

    cdef _fill(self, list frames):
        cdef uint32_t offset = 0
        cdef ProgramFrame *frame
        cdef ProgramPacket *packet
        cdef bytes payload
        for number, (duration_us, keyframe, base_layer, inside) in enumerate(frames):
            frame = &self.frames[<uint32_t>number]
            frame.first = self.packet_count
            frame.count = <uint32_t>len(inside)
            frame.duration_us = duration_us
            frame.keyframe = keyframe
            frame.base_layer = base_layer
            for payload, picture_id_at, tl0_at in inside:
                packet = &self.packets[self.packet_count]
                packet.offset = offset
                packet.size = <uint16_t>len(payload)
                packet.picture_id_at = picture_id_at
                packet.tl0_at = tl0_at
                memcpy(self.bytes + offset, <const uint8_t *>payload, len(payload))
                offset += <uint32_t>len(payload)
                self.packet_count += 1

    def __dealloc__(self):
        free(self.frames)
        free(self.packets)
        free(self.bytes)

    @property
    def packets_per_second(self):
        return self.packet_count / self.seconds

    @property
    def seconds(self):
        """One round of the loop."""
        return sum(self.frames[i].duration_us for i in range(self.frame_count)) / 1e6


cdef void sender_init(Sender *sender, Program program) noexcept:
    memset(sender, 0, sizeof(Sender))
    sender.frames = program.frames
    sender.packets = program.packets
    sender.bytes = program.bytes
    sender.frame_count = program.frame_count
    sender.active = True
    sender.stamped = True


cdef const ProgramFrame *sender_frame(Sender *sender) noexcept nogil:
    cdef uint32_t i, at
    if sender.keyframe_wanted:
        for i in range(sender.frame_count):
            at = (sender.at + i) % sender.frame_count
            if sender.frames[at].keyframe:
                sender.at = at
                break
        sender.keyframe_wanted = False
    sender.picture_id += 1
    sender.tl0 += sender.frames[sender.at].base_layer
    return &sender.frames[sender.at]


cdef uint32_t write_extensions(Sender *sender, uint16_t transport_sequence, int64_t wall_ns, uint8_t *at) noexcept nogil:
    cdef ExtensionWriter writer
    cdef uint8_t value[3]
    extensions_begin(&writer, at, at + EXTENSION_ROOM, False)
    if sender.abs_send_time_id:
        # 24 bits of NTP time, 6.18 fixed point
        write_u24(value, <uint32_t>((((wall_ns // 1000) << 18) // 1_000_000) & 0xFFFFFF))
        extensions_add(&writer, sender.abs_send_time_id, value, 3)
    if sender.transport_cc_id:
        write_u16(value, transport_sequence)
        extensions_add(&writer, sender.transport_cc_id, value, 2)
    if sender.audio_level_id:
        extensions_add(&writer, sender.audio_level_id, &sender.audio_level, 1)
    if not sender.reported:
        if sender.mid_id:
            extensions_add(&writer, sender.mid_id, sender.mid, sender.mid_size)
        if sender.rid_id and sender.rid_size:
            extensions_add(&writer, sender.rid_id, sender.rid, sender.rid_size)
    return extensions_finish(&writer)


cdef uint32_t sender_write(Sender *sender, const ProgramFrame *frame, uint32_t index, uint16_t *transport_sequence,
                           int64_t wall_ns, Srtp *srtp, uint8_t *out) noexcept nogil:
    cdef const ProgramPacket *packet = &sender.packets[frame.first + index]
    cdef uint32_t size, extension_size
    cdef uint8_t *payload
    cdef bint marker = index + 1 == frame.count if sender.video else not sender.talking
    cdef int64_t media = sender.media_us * sender.clock_rate_hz // 1_000_000
    out[0] = 0x80
    out[1] = sender.payload_type | (0x80 if marker else 0)
    write_u16(out + 2, sender.sequence)
    write_u32(out + 4, sender.timestamp_base + <uint32_t>(media & <int64_t>0xFFFFFFFF))
    write_u32(out + 8, sender.ssrc)
    extension_size = write_extensions(sender, transport_sequence[0], wall_ns, out + RTP_HEADER_SIZE)
    if extension_size:
        out[0] |= 0x10
    payload = out + RTP_HEADER_SIZE + extension_size
    memcpy(payload, sender.bytes + packet.offset, packet.size)
    if packet.picture_id_at:
        write_u16(payload + packet.picture_id_at, 0x8000 | (sender.picture_id & 0x7FFF))
    if packet.tl0_at:
        payload[packet.tl0_at] = sender.tl0
    if sender.stamped and packet.size >= 2 * STAMP_SIZE + 8:
        write_u32(payload + packet.size - STAMP_SIZE, STAMP_MAGIC)
        write_u32(payload + packet.size - STAMP_SIZE + 4, sender.frame)
        write_u64(payload + packet.size - STAMP_SIZE + 8, <uint64_t>wall_ns)
    size = RTP_HEADER_SIZE + extension_size + packet.size
    sender.sequence += 1
    transport_sequence[0] += 1
    sender.packets_sent += 1
    sender.octets_sent += packet.size
    sender.talking = True
    if srtp_protect(srtp, out, &size) != SRTP_OK:
        sender.failed += 1
        return 0
    return size


cdef void step(Sender *sender, const ProgramFrame *frame) noexcept nogil:
    sender.media_us += frame.duration_us
    sender.due_us += frame.duration_us
    sender.at = (sender.at + 1) % sender.frame_count


cdef void sender_advance(Sender *sender, const ProgramFrame *frame, int64_t now_us) noexcept nogil:
    cdef int64_t late_us = now_us - sender.due_us
    sender.frames_sent += 1
    sender.frame += 1
    sender.keyframes_sent += frame.keyframe and sender.video
    step(sender, frame)
    if late_us > STALL_US:
        # The receivers see a pause, not a burst of what is out of date.
        sender.media_us += late_us
        sender.due_us += late_us
        sender.skipped += 1
