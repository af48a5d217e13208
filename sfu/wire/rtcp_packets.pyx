# SPDX-License-Identifier: Apache-2.0
"""RTCP for Python callers (client, load bots, tests): compound packets to dataclasses and back."""

from libc.stdint cimport INT64_MIN, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

cimport sfu.wire.rtcp as wire
from sfu.wire.buffers cimport copy_exact
from sfu.wire.bytes cimport read_u32

from sfu.wire.rtcp_messages import (
    FullIntraRequest, Goodbye, Nack, Other, PictureLossIndication, ReceiverReport, Remb, ReportBlock, SenderReport,
    SourceDescription, TransportFeedback,
)


cdef enum:
    PACKET_SIZE_MAX = 0x40000        # what the length field can say
    STATUS_COUNT_MAX = 65535
    SDES_CNAME = 1
    PADDING_BIT = 0x20


def parse_feedback(bytes data not None, uint32_t capacity):
    """The first `capacity` entries of one NACK or transport-wide feedback packet: what the C readers do."""
    cdef wire.RtcpHeader header
    cdef uint32_t offset = 0
    cdef uint32_t sender, media
    cdef uint8_t *copy = copy_exact(data)
    try:
        if wire.rtcp_next(copy, <uint32_t>len(data), &offset, &header) != 1 or header.size != len(data):
            raise ValueError("malformed RTCP header")
        if wire.rtcp_feedback_ssrcs(copy, header.size, &sender, &media) != 0 or header.packet_type != wire.RTCP_RTPFB:
            raise ValueError("no transport layer feedback")
        if header.count == wire.RTPFB_NACK:
            return _parse_nack(copy, &header, sender, media, capacity)
        return _parse_transport_cc(copy, &header, sender, media, capacity)
    finally:
        free(copy)


def parse_compound(bytes data not None):
    """All packets of a datagram, in order; ValueError where one is malformed."""
    cdef wire.RtcpHeader header
    cdef uint32_t offset = 0
    cdef int more
    cdef uint8_t *copy = copy_exact(data)
    packets = []
    try:
        while True:
            more = wire.rtcp_next(copy, <uint32_t>len(data), &offset, &header)
            if more < 0:
                raise ValueError("malformed RTCP header")
            if more == 0:
                return packets
            packets.append(_parse(copy + offset - header.size, &header))
    finally:
        free(copy)


cdef object _parse(const uint8_t *p, const wire.RtcpHeader *h):
    if h.packet_type == wire.RTCP_SR:
        return _parse_sender_report(p, h)
    if h.packet_type == wire.RTCP_RR:
        if _content_size(p, h) < 8:
            raise ValueError("malformed receiver report")
        return ReceiverReport(ssrc=read_u32(p + 4), reports=_parse_blocks(p, h))
    if h.packet_type == wire.RTCP_BYE:
        return _parse_bye(p, h)
    if h.packet_type == wire.RTCP_SDES:
        return _parse_sdes(p, h)
    if h.packet_type == wire.RTCP_RTPFB:
        return _parse_transport_feedback(p, h)
    if h.packet_type == wire.RTCP_PSFB:
        return _parse_payload_feedback(p, h)
    return _other(p, h)


cdef uint32_t _content_size(const uint8_t *p, const wire.RtcpHeader *h):
    """Without padding, which rtcp_next has checked."""
    return h.size - p[h.size - 1] if p[0] & PADDING_BIT else h.size


cdef object _other(const uint8_t *p, const wire.RtcpHeader *h):
    return Other(packet_type=h.packet_type, count=h.count, data=bytes(p[:h.size]))


cdef object _parse_sender_report(const uint8_t *p, const wire.RtcpHeader *h):
    cdef wire.SenderReport report
    if wire.rtcp_sender_report(p, h.size, &report) != 0:
        raise ValueError("malformed sender report")
    return SenderReport(
        ssrc=report.ssrc,
        ntp=report.ntp,
        rtp_timestamp=report.rtp_timestamp,
        packet_count=report.packet_count,
        octet_count=report.octet_count,
        reports=_parse_blocks(p, h),
    )


cdef tuple _parse_blocks(const uint8_t *p, const wire.RtcpHeader *h):
    cdef wire.ReportBlock block
    cdef uint32_t i
    reports = []
    for i in range(h.count):
        if wire.rtcp_report_block(p, h.size, i, &block) != 0:
            raise ValueError("malformed report block")
        reports.append(
            ReportBlock(
                ssrc=block.ssrc,
                fraction_lost=block.fraction_lost,
                cumulative_lost=block.cumulative_lost,
                highest_sequence=block.highest_sequence,
                jitter=block.jitter,
                last_sr=block.last_sr,
                delay_since_last_sr=block.delay_since_last_sr,
            )
        )
    return tuple(reports)


cdef object _parse_bye(const uint8_t *p, const wire.RtcpHeader *h):
    cdef uint32_t ssrc, i
    ssrcs = []
    for i in range(h.count):
        if wire.rtcp_bye_ssrc(p, h.size, i, &ssrc) != 0:
            raise ValueError("malformed BYE")
        ssrcs.append(ssrc)
    return Goodbye(ssrcs=tuple(ssrcs))


cdef object _parse_sdes(const uint8_t *p, const wire.RtcpHeader *h):
    cdef uint32_t size = _content_size(p, h)
    if h.count != 1 or size < 12 or p[8] != SDES_CNAME or 10 + <uint32_t>p[9] >= size or p[10 + p[9]] != 0:
        return _other(p, h)
    return SourceDescription(ssrc=read_u32(p + 4), cname=bytes(p[10:10 + p[9]]))


cdef object _parse_transport_feedback(const uint8_t *p, const wire.RtcpHeader *h):
    cdef uint32_t sender, media
    if wire.rtcp_feedback_ssrcs(p, h.size, &sender, &media) != 0:
        raise ValueError("malformed feedback")
    if h.count == wire.RTPFB_TRANSPORT_CC:
        return _parse_transport_cc(p, h, sender, media, STATUS_COUNT_MAX)
    if h.count == wire.RTPFB_NACK:
        # Each word of 4 bytes names at most 17 packets.
        return _parse_nack(p, h, sender, media, 17 * (h.size >> 2))
    return _other(p, h)


cdef object _parse_nack(
    const uint8_t *p, const wire.RtcpHeader *h, uint32_t sender, uint32_t media, uint32_t capacity,
):
    cdef uint32_t n
    cdef uint16_t *sequences = <uint16_t *>malloc(capacity * sizeof(uint16_t))
    if sequences == NULL and capacity:
        raise MemoryError
    try:
        n = wire.rtcp_nack_sequences(p, h.size, sequences, capacity)
        return Nack(sender=sender, media=media, sequences=tuple([sequences[i] for i in range(n)]))
    finally:
        free(sequences)


cdef object _parse_transport_cc(
    const uint8_t *p, const wire.RtcpHeader *h, uint32_t sender, uint32_t media, uint32_t capacity,
):
    cdef wire.TransportCcHeader header
    cdef int n
    cdef int64_t *arrivals = <int64_t *>malloc(capacity * sizeof(int64_t))
    if arrivals == NULL and capacity:
        raise MemoryError
    try:
        n = wire.rtcp_transport_cc(p, h.size, &header, arrivals, capacity)
        if n < 0:
            raise ValueError("malformed transport-wide feedback")
        return TransportFeedback(
            sender=sender,
            media=media,
            base_sequence=header.base_sequence,
            feedback_count=header.feedback_count,
            arrivals_us=tuple([arrivals[i] if arrivals[i] != INT64_MIN else None for i in range(n)]),
        )
    finally:
        free(arrivals)


cdef object _parse_payload_feedback(const uint8_t *p, const wire.RtcpHeader *h):
    cdef uint32_t sender, media, ssrc
    cdef uint64_t bitrate_bps
    cdef uint8_t command
    cdef uint32_t i = 0
    if wire.rtcp_feedback_ssrcs(p, h.size, &sender, &media) != 0:
        raise ValueError("malformed feedback")
    if h.count == wire.PSFB_PLI:
        return PictureLossIndication(sender=sender, media=media)
    if h.count == wire.PSFB_FIR:
        entries = []
        while wire.rtcp_fir_entry(p, h.size, i, &ssrc, &command) == 0:
            entries.append((ssrc, command))
            i += 1
        return FullIntraRequest(sender=sender, entries=tuple(entries))
    if h.count == wire.PSFB_APPLICATION and wire.rtcp_remb(p, h.size, &bitrate_bps) == 0:
        ssrcs = tuple([read_u32(p + 20 + 4 * i) for i in range(p[16])])
        return Remb(sender=sender, bitrate_bps=bitrate_bps, ssrcs=ssrcs)
    return _other(p, h)


def serialize(packet):
    """The bytes of one packet; ValueError where it does not fit RTCP's limits."""
    cdef uint32_t size
    cdef uint8_t *out
    if isinstance(packet, Other):
        return packet.data
    if isinstance(packet, TransportFeedback):
        data, consumed = write_transport_feedback(packet, PACKET_SIZE_MAX)
        if not data or consumed != len(packet.arrivals_us):
            raise ValueError("nothing was received, or the times lie too far apart for one packet")
        return data
    out = <uint8_t *>malloc(PACKET_SIZE_MAX)
    if out == NULL:
        raise MemoryError
    try:
        size = _write(out, packet)
        if size == 0:
            raise ValueError(f"does not fit an RTCP packet: {packet}")
        return bytes(out[:size])
    finally:
        free(out)


def serialize_compound(packets):
    """One datagram of several packets."""
    return b"".join([serialize(packet) for packet in packets])


cdef uint32_t _write(uint8_t *out, packet) except *:
    if isinstance(packet, SenderReport):
        return _write_sender_report(out, packet)
    if isinstance(packet, ReceiverReport):
        return _write_receiver_report(out, packet)
    if isinstance(packet, SourceDescription):
        return wire.rtcp_write_sdes_cname(
            out, PACKET_SIZE_MAX, packet.ssrc, <const uint8_t *><bytes>packet.cname, <uint32_t>len(packet.cname)
        )
    if isinstance(packet, PictureLossIndication):
        return wire.rtcp_write_pli(out, PACKET_SIZE_MAX, packet.sender, packet.media)
    if isinstance(packet, FullIntraRequest):
        if len(packet.entries) != 1:
            raise ValueError("one entry per FIR is written")
        return wire.rtcp_write_fir(out, PACKET_SIZE_MAX, packet.sender, packet.entries[0][0], packet.entries[0][1])
    if isinstance(packet, Goodbye):
        return _write_with_ssrcs(out, packet)
    if isinstance(packet, Remb):
        return _write_with_ssrcs(out, packet)
    if isinstance(packet, Nack):
        return _write_nack(out, packet)
    raise TypeError(f"not an RTCP packet: {packet!r}")


cdef uint32_t _fill_blocks(wire.ReportBlock *blocks, reports) except *:
    cdef uint32_t n = 0
    if len(reports) > 31:
        raise ValueError("more than 31 report blocks")
    for report in reports:
        blocks[n].ssrc = report.ssrc
        blocks[n].fraction_lost = report.fraction_lost
        blocks[n].cumulative_lost = report.cumulative_lost
        blocks[n].highest_sequence = report.highest_sequence
        blocks[n].jitter = report.jitter
        blocks[n].last_sr = report.last_sr
        blocks[n].delay_since_last_sr = report.delay_since_last_sr
        n += 1
    return n


cdef uint32_t _write_sender_report(uint8_t *out, packet) except *:
    cdef wire.ReportBlock blocks[31]
    cdef wire.SenderReport report
    report.ssrc = packet.ssrc
    report.ntp = packet.ntp
    report.rtp_timestamp = packet.rtp_timestamp
    report.packet_count = packet.packet_count
    report.octet_count = packet.octet_count
    return wire.rtcp_write_sr(out, PACKET_SIZE_MAX, &report, blocks, _fill_blocks(blocks, packet.reports))


cdef uint32_t _write_receiver_report(uint8_t *out, packet) except *:
    cdef wire.ReportBlock blocks[31]
    return wire.rtcp_write_rr(out, PACKET_SIZE_MAX, packet.ssrc, blocks, _fill_blocks(blocks, packet.reports))


cdef uint32_t _write_with_ssrcs(uint8_t *out, packet) except *:
    cdef uint32_t ssrcs[255]
    cdef uint32_t n = 0
    if len(packet.ssrcs) > 255:
        raise ValueError("more than 255 SSRCs")
    for ssrc in packet.ssrcs:
        ssrcs[n] = ssrc
        n += 1
    if isinstance(packet, Goodbye):
        return wire.rtcp_write_bye(out, PACKET_SIZE_MAX, ssrcs, n)
    return wire.rtcp_write_remb(out, PACKET_SIZE_MAX, packet.sender, packet.bitrate_bps, ssrcs, n)


cdef uint32_t _write_nack(uint8_t *out, packet) except *:
    cdef uint32_t n = 0
    cdef uint16_t *sequences = <uint16_t *>malloc((len(packet.sequences) + 1) * sizeof(uint16_t))
    if sequences == NULL:
        raise MemoryError
    try:
        for sequence in packet.sequences:
            sequences[n] = sequence
            n += 1
        return wire.rtcp_write_nack(out, PACKET_SIZE_MAX, packet.sender, packet.media, sequences, n)
    finally:
        free(sequences)


def write_transport_feedback(packet, uint32_t capacity):
    """The feedback that fits `capacity` bytes, and how many entries it holds: what rtcp_write_transport_cc does."""
    cdef uint32_t n = <uint32_t>len(packet.arrivals_us)
    cdef uint32_t consumed = 0
    cdef uint32_t size, i
    cdef int64_t *arrivals = <int64_t *>malloc(n * sizeof(int64_t))
    cdef uint8_t *out = <uint8_t *>malloc(capacity)
    try:
        if (arrivals == NULL and n) or (out == NULL and capacity):
            raise MemoryError
        for i, arrival in enumerate(packet.arrivals_us):
            arrivals[i] = INT64_MIN if arrival is None else arrival
        size = wire.rtcp_write_transport_cc(
            out, capacity, packet.sender, packet.media, packet.base_sequence, arrivals, n, packet.feedback_count,
            &consumed,
        )
        return bytes(out[:size]), consumed
    finally:
        free(arrivals)
        free(out)
