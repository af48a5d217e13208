# SPDX-License-Identifier: Apache-2.0
"""Writing outbound packets; see `packet_writer.pxd`."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset
from sfu.engine.codecs cimport CODEC_VP8, CODEC_VP9
from sfu.engine.history cimport HAS_AUDIO_LEVEL, HAS_ORIENTATION, Packet, history_data
from sfu.engine.bwe.estimator cimport estimator_next_sequence
from sfu.engine.tables cimport Congestion, Forwarder, SentPacket, Source
from sfu.wire.bytes cimport write_u16, write_u32
from sfu.wire.dependency_descriptor cimport dd_write
from sfu.wire.extensions cimport (
    EXT_AUDIO_LEVEL, EXT_DEPENDENCY_DESCRIPTOR, EXT_MID, EXT_TRANSPORT_CC, EXT_VIDEO_ORIENTATION, ExtensionWriter, extensions_add,
    extensions_begin, extensions_finish,
)
from sfu.wire.red cimport red_primary
from sfu.wire.rtp cimport RTP_FIXED_HEADER_SIZE
from sfu.wire.vp8 cimport Vp8Descriptor, vp8_parse, vp8_write
from sfu.wire.vp9 cimport Vp9Descriptor, vp9_parse, vp9_write

cdef enum:
    MAX_DATAGRAM = 1472        # bytes with SRTP's tag: what Ethernet carries over IPv4 and UDP
    SRTP_TAG = 16
    MAX_DESCRIPTOR = 255       # bytes: what the two-byte form carries
    MAX_EXTENSIONS = 320
    PADDING = 224              # bytes of a padding packet, below the 255 that the last octet can say
    ONE_BYTE_MAX = 16          # bytes of one element in the one-byte form


cdef uint32_t write_header(Forwarder *f, const SentPacket *entry, uint8_t *out, uint32_t csrc_count) noexcept nogil:
    out[0] = <uint8_t>(0x80 | csrc_count)
    out[1] = <uint8_t>((0x80 if entry.marker else 0) | entry.payload_type)
    write_u16(out + 2, <uint16_t>entry.sequence)
    write_u32(out + 4, entry.timestamp)
    write_u32(out + 8, f.ssrc)
    if csrc_count:
        write_u32(out + 12, entry.csrc)
    return RTP_FIXED_HEADER_SIZE + 4 * csrc_count


cdef uint32_t write_packet(Forwarder *f, Source *source, const Packet *packet, const SentPacket *entry, uint8_t *out,
                           bint rtx) noexcept nogil:
    """The packet as the receiver sees it, in plaintext; with `rtx` in the RFC 4588 form. 0: too large."""
    cdef const uint8_t *data = history_data(&source.history, packet)
    cdef const uint8_t *payload = data + packet.payload_offset
    cdef uint32_t payload_size = packet.payload_size
    cdef uint32_t at = write_header(f, entry, out, 1)
    cdef Vp8Descriptor vp8
    cdef Vp9Descriptor vp9
    cdef uint32_t extension_size
    cdef uint8_t red_type
    cdef uint32_t red_offset, red_size
    if rtx:
        out[1] = <uint8_t>((0x80 if entry.marker else 0) | entry.rtx_payload_type)
        write_u16(out + 2, f.rtx_sequence)
        write_u32(out + 8, f.rtx_ssrc)
    extension_size = write_extensions(f, data, packet, entry, out + at)
    if extension_size:
        out[0] |= 0x10
        at += extension_size
    if rtx:
        write_u16(out + at, <uint16_t>entry.sequence)
        at += 2
    if packet.codec == CODEC_VP8 and packet.has_picture_id and vp8_parse(payload, payload_size, &vp8) == 0:
        at += vp8_write(out + at, &vp8, entry.picture_id, entry.tl0)
        payload += vp8.size
        payload_size -= vp8.size
    elif packet.codec == CODEC_VP9 and packet.has_picture_id and vp9_parse(payload, payload_size, &vp9) == 0:
        at += vp9_write(out + at, payload, &vp9, entry.picture_id, entry.tl0)
        payload += vp9.size
        payload_size -= vp9.size
    elif entry.strip_red:
        if red_primary(payload, payload_size, &red_type, &red_offset, &red_size) or red_size == 0:
            return 0
        payload += red_offset
        payload_size = red_size
    if at + payload_size + SRTP_TAG > MAX_DATAGRAM:
        return 0
    memcpy(out + at, payload, payload_size)
    return at + payload_size


cdef uint32_t write_extensions(Forwarder *f, const uint8_t *data, const Packet *packet, const SentPacket *entry,
                               uint8_t *out) noexcept nogil:
    """The header extension block at `out`; its size, 0 = none. Two-byte form where a descriptor needs it (RFC 8285)."""
    cdef ExtensionWriter writer
    cdef uint8_t descriptor[MAX_DESCRIPTOR]
    cdef uint32_t size = 0
    if packet.has_dependency and f.extension_ids[<int>EXT_DEPENDENCY_DESCRIPTOR]:
        size = dd_write(descriptor, MAX_DESCRIPTOR, data + packet.dependency_at, packet.dependency_size,
                        &packet.dependency_layout, entry.frame_number,
                        entry.set_targets, entry.active_targets)
    extensions_begin(&writer, out, out + MAX_EXTENSIONS, size > ONE_BYTE_MAX)
    if f.extension_ids[<int>EXT_MID]:
        extensions_add(&writer, f.extension_ids[<int>EXT_MID], f.mid, f.mid_size)
    if packet.flags & HAS_AUDIO_LEVEL and f.extension_ids[<int>EXT_AUDIO_LEVEL]:
        extensions_add(&writer, f.extension_ids[<int>EXT_AUDIO_LEVEL], &packet.audio_level, 1)
    if packet.flags & HAS_ORIENTATION and f.extension_ids[<int>EXT_VIDEO_ORIENTATION]:
        extensions_add(&writer, f.extension_ids[<int>EXT_VIDEO_ORIENTATION], &packet.orientation, 1)
    add_transport_sequence(f, &writer)
    if size:
        extensions_add(&writer, f.extension_ids[<int>EXT_DEPENDENCY_DESCRIPTOR], descriptor, <uint8_t>size)
    return extensions_finish(&writer)


cdef void add_transport_sequence(Forwarder *f, ExtensionWriter *writer) noexcept nogil:
    """Number the packet for transport-wide feedback; congestion_send completes it when the packet leaves."""
    cdef Congestion *c = f.transport.congestion
    cdef uint8_t number[2]
    if c == NULL or not f.extension_ids[<int>EXT_TRANSPORT_CC]:
        return
    c.transport_sequence = estimator_next_sequence(c.estimator)
    c.sequenced = True
    write_u16(number, c.transport_sequence)
    extensions_add(writer, f.extension_ids[<int>EXT_TRANSPORT_CC], number, 2)


cdef uint32_t write_plain_extensions(Forwarder *f, uint8_t *packet, uint8_t *out) noexcept nogil:
    """Those that say nothing of a payload; returns their size."""
    cdef ExtensionWriter writer
    cdef uint32_t size
    extensions_begin(&writer, out, out + MAX_EXTENSIONS, False)
    if f.extension_ids[<int>EXT_MID]:
        extensions_add(&writer, f.extension_ids[<int>EXT_MID], f.mid, f.mid_size)
    add_transport_sequence(f, &writer)
    size = extensions_finish(&writer)
    if size:
        packet[0] |= 0x10
    return size


cdef uint32_t write_filler(Forwarder *f, const SentPacket *entry, uint8_t *out, bint rtx) noexcept nogil:
    """The smallest packet without payload: one octet of padding, which counts itself (RFC 3550 §5.1). With `rtx` it is
    asked for again: the original sequence number is all of its payload (RFC 4588 §4)."""
    cdef uint32_t at = write_header(f, entry, out, 1)
    if rtx:
        out[1] = entry.rtx_payload_type
        write_u16(out + 2, f.rtx_sequence)
        write_u32(out + 8, f.rtx_ssrc)
    at += write_plain_extensions(f, out, out + at)
    if rtx:
        write_u16(out + at, <uint16_t>entry.sequence)
        return at + 2
    out[0] |= 0x20
    out[at] = 1
    return at + 1


cdef uint32_t write_padding(Forwarder *f, uint8_t *out) noexcept nogil:
    """A packet of padding alone on the retransmission SSRC, as browsers send them for probing (RFC 3550 §5.1)."""
    cdef uint32_t at = RTP_FIXED_HEADER_SIZE
    out[0] = 0xA0
    out[1] = f.binding.payloads[0].outgoing_rtx
    write_u16(out + 2, f.rtx_sequence)
    write_u32(out + 4, f.rewriter.last_out_timestamp)
    write_u32(out + 8, f.rtx_ssrc)
    at += write_plain_extensions(f, out, out + at)
    memset(out + at, 0, PADDING)
    out[at + PADDING - 1] = PADDING
    return at + PADDING
