# SPDX-License-Identifier: Apache-2.0
"""What a load client sends: a recorded or synthetic stream, played in a loop as RTP with headers of its own."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from sfu.engine.srtp cimport Srtp


cdef enum:
    PACKET_ROOM = 1600          # bytes: the longest packet of a program, its headers, and what SRTP adds
    FRAME_PACKETS_MAX = 256
    SDES_MAX = 16               # bytes of mid and rid
    STAMP_SIZE = 16             # at the end of a payload: magic, frame number, when it was sent
    STAMP_MAGIC = 0x70795346


cdef struct ProgramPacket:
    uint32_t offset             # into the program's bytes
    uint16_t size
    uint16_t picture_id_at      # offset in the payload of VP8's 15-bit picture id; 0 = none
    uint16_t tl0_at             # of its TL0PICIDX; 0 = none


cdef struct ProgramFrame:
    uint32_t first
    uint32_t count
    uint32_t duration_us        # to the next frame
    bint keyframe
    bint base_layer             # of the lowest temporal layer


cdef class Program:
    """Immutable once made; any number of senders play it at once."""

    cdef ProgramFrame *frames
    cdef ProgramPacket *packets
    cdef uint8_t *bytes
    cdef uint32_t frame_count
    cdef uint32_t packet_count

    cdef _fill(self, list frames)


cdef struct Sender:
    ProgramFrame *frames        # of its program, which its owner keeps alive
    ProgramPacket *packets
    uint8_t *bytes
    uint32_t frame_count
    uint32_t at                 # the next frame
    int64_t due_us
    int64_t media_us
    uint32_t ssrc
    uint32_t timestamp_base
    uint32_t clock_rate_hz
    uint16_t sequence
    uint16_t picture_id
    uint8_t tl0
    uint8_t payload_type
    uint8_t mid_id              # header extension ids; 0 = not sent
    uint8_t rid_id
    uint8_t transport_cc_id
    uint8_t abs_send_time_id
    uint8_t audio_level_id
    uint8_t audio_level         # with the voice bit
    uint8_t mid_size
    uint8_t rid_size
    uint8_t mid[16]             # SDES_MAX
    uint8_t rid[16]
    bint video
    bint active
    bint stamped                # False: payloads go as they are, for receivers that decode
    bint reported               # the server has reported on it: mid and rid are not needed any more
    bint keyframe_wanted
    bint talking
    uint32_t frame              # number of the next frame, for its stamp
    uint64_t packets_sent
    uint64_t octets_sent        # of payload
    uint64_t frames_sent
    uint64_t keyframes_sent
    uint64_t keyframe_requests
    uint64_t skipped            # frames left out after a stall
    uint64_t failed             # packets that SRTP or the socket refused


cdef void sender_init(Sender *sender, Program program) noexcept
# Chooses the frame that is due, and where it is a keyframe that was asked for, jumps to it.
cdef const ProgramFrame *sender_frame(Sender *sender) noexcept nogil
# Writes and protects packet `index` of that frame; the size, or 0 where SRTP refused.
cdef uint32_t sender_write(Sender *sender, const ProgramFrame *frame, uint32_t index, uint16_t *transport_sequence,
                           int64_t wall_ns, Srtp *srtp, uint8_t *out) noexcept nogil
# On to the next frame. `now_us`: after a stall, frames that nobody waits for any more are left out.
cdef void sender_advance(Sender *sender, const ProgramFrame *frame, int64_t now_us) noexcept nogil
