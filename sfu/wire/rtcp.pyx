# SPDX-License-Identifier: Apache-2.0
"""RTCP readers and writers; the contract stands in rtcp.pxd. Python callers use `sfu.wire.rtcp_packets`."""

from libc.stdint cimport INT64_MIN, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from sfu.wire.bytes cimport (
    read_i24, read_u16, read_u24, read_u32, read_u64, write_u16, write_u24, write_u32, write_u64,
)


cdef enum:
    HEADER_SIZE = 4
    SENDER_INFO_SIZE = 20           # of an SR, after the sender's SSRC
    REPORT_BLOCK_SIZE = 24
    FEEDBACK_SIZE = 12              # header, sender and media SSRC
    COUNT_MAX = 31
    PACKET_SIZE_MAX = 0x40000       # what the length field can say
    PADDING_BIT = 0x20
    SDES_CNAME = 1
    REMB_NAME = 0x52454D42          # "REMB"
    REMB_MANTISSA_BITS = 18
    NACK_BITMASK_BITS = 16

    # draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1
    TCC_FIXED_SIZE = 20             # up to the first packet chunk
    TCC_DELTA_US = 250
    TCC_REFERENCE_US = 64000
    TCC_REFERENCE_DELTAS = 256      # reference time unit in delta units
    TCC_RUN_MAX = 8191
    TCC_ONE_BIT_SYMBOLS = 14
    TCC_TWO_BIT_SYMBOLS = 7
    TCC_NOT_RECEIVED = 0            # packet status symbols; a received one's number is the size of its delta
    TCC_SMALL_DELTA = 1
    TCC_LARGE_DELTA = 2

    LOST_MAX = 0x7FFFFF             # cumulative lost, 24 bits signed


cdef int rtcp_next(const uint8_t *data, uint32_t size, uint32_t *offset, RtcpHeader *out) noexcept nogil:
    cdef const uint8_t *p = data + offset[0]
    cdef uint32_t left = size - offset[0]
    cdef uint8_t padding

    if left == 0:
        return 0
    if left < HEADER_SIZE or (p[0] >> 6) != 2:
        return -1
    out.count = p[0] & COUNT_MAX
    out.packet_type = p[1]
    out.size = HEADER_SIZE + 4 * <uint32_t>read_u16(p + 2)
    if out.size > left:
        return -1
    if p[0] & PADDING_BIT:
        padding = p[out.size - 1]
        if padding == 0 or padding > out.size - HEADER_SIZE:
            return -1
    offset[0] += out.size
    return 1


cdef inline uint32_t _content_size(const uint8_t *p, uint32_t size) noexcept nogil:
    """Size with the header but without padding, which need not be a multiple of 4 (Chromium's feedback)."""
    cdef uint8_t padding
    if size < HEADER_SIZE:
        return 0
    if p[0] & PADDING_BIT:
        padding = p[size - 1]
        return size - padding if padding <= size - HEADER_SIZE else 0
    return size


# Readers

cdef int rtcp_sender_report(const uint8_t *p, uint32_t size, SenderReport *out) noexcept nogil:
    if _content_size(p, size) < HEADER_SIZE + 4 + SENDER_INFO_SIZE or p[1] != RTCP_SR:
        return -1
    out.ssrc = read_u32(p + 4)
    out.ntp = read_u64(p + 8)
    out.rtp_timestamp = read_u32(p + 16)
    out.packet_count = read_u32(p + 20)
    out.octet_count = read_u32(p + 24)
    return 0


cdef int rtcp_report_block(const uint8_t *p, uint32_t size, uint32_t index, ReportBlock *out) noexcept nogil:
    cdef uint32_t content = _content_size(p, size)
    cdef uint32_t at = HEADER_SIZE + 4

    if content < HEADER_SIZE or (p[1] != RTCP_SR and p[1] != RTCP_RR) or index >= (p[0] & COUNT_MAX):
        return -1
    if p[1] == RTCP_SR:
        at += SENDER_INFO_SIZE
    at += index * REPORT_BLOCK_SIZE
    if at + REPORT_BLOCK_SIZE > content:
        return -1
    p += at
    out.ssrc = read_u32(p)
    out.fraction_lost = p[4]
    out.cumulative_lost = read_i24(p + 5)
    out.highest_sequence = read_u32(p + 8)
    out.jitter = read_u32(p + 12)
    out.last_sr = read_u32(p + 16)
    out.delay_since_last_sr = read_u32(p + 20)
    return 0


cdef int rtcp_bye_ssrc(const uint8_t *p, uint32_t size, uint32_t index, uint32_t *ssrc) noexcept nogil:
    cdef uint32_t content = _content_size(p, size)
    if content < HEADER_SIZE or p[1] != RTCP_BYE or index >= (p[0] & COUNT_MAX):
        return -1
    if HEADER_SIZE + 4 * index + 4 > content:
        return -1
    ssrc[0] = read_u32(p + HEADER_SIZE + 4 * index)
    return 0


cdef int rtcp_feedback_ssrcs(const uint8_t *p, uint32_t size, uint32_t *sender, uint32_t *media) noexcept nogil:
    if _content_size(p, size) < FEEDBACK_SIZE or (p[1] != RTCP_RTPFB and p[1] != RTCP_PSFB):
        return -1
    sender[0] = read_u32(p + 4)
    media[0] = read_u32(p + 8)
    return 0


cdef inline uint32_t _feedback_content(
    const uint8_t *p, uint32_t size, uint8_t packet_type, uint8_t format,
) noexcept nogil:
    """Content size where this is feedback of that type, else 0."""
    cdef uint32_t content = _content_size(p, size)
    if content < FEEDBACK_SIZE or p[1] != packet_type or (p[0] & COUNT_MAX) != format:
        return 0
    return content


cdef uint32_t rtcp_nack_sequences(const uint8_t *p, uint32_t size, uint16_t *out, uint32_t capacity) noexcept nogil:
    cdef uint32_t content = _feedback_content(p, size, RTCP_RTPFB, RTPFB_NACK)
    cdef uint32_t at = FEEDBACK_SIZE
    cdef uint32_t n = 0
    cdef uint32_t bit
    cdef uint16_t first, bitmask

    while at + 4 <= content and n < capacity:
        first = read_u16(p + at)
        bitmask = read_u16(p + at + 2)
        out[n] = first
        n += 1
        for bit in range(NACK_BITMASK_BITS):
            if (bitmask >> bit) & 1 and n < capacity:
                out[n] = <uint16_t>(first + 1 + bit)
                n += 1
        at += 4
    return n


cdef int rtcp_fir_entry(
    const uint8_t *p, uint32_t size, uint32_t index, uint32_t *ssrc, uint8_t *command,
) noexcept nogil:
    cdef uint32_t content = _feedback_content(p, size, RTCP_PSFB, PSFB_FIR)
    if content < FEEDBACK_SIZE or index >= (content - FEEDBACK_SIZE) >> 3:
        return -1
    p += FEEDBACK_SIZE + 8 * index
    ssrc[0] = read_u32(p)
    command[0] = p[4]
    return 0


cdef int rtcp_remb(const uint8_t *p, uint32_t size, uint64_t *bitrate_bps) noexcept nogil:
    cdef uint32_t content = _feedback_content(p, size, RTCP_PSFB, PSFB_APPLICATION)
    cdef uint64_t mantissa
    cdef uint32_t exponent

    if content < FEEDBACK_SIZE + 8 or read_u32(p + FEEDBACK_SIZE) != REMB_NAME:
        return -1
    if content < FEEDBACK_SIZE + 8 + 4 * <uint32_t>p[FEEDBACK_SIZE + 4]:
        return -1
    exponent = p[FEEDBACK_SIZE + 5] >> 2
    mantissa = read_u24(p + FEEDBACK_SIZE + 5) & ((1 << REMB_MANTISSA_BITS) - 1)
    bitrate_bps[0] = mantissa << exponent
    return 0 if (bitrate_bps[0] >> exponent) == mantissa else -1


cdef int rtcp_transport_cc(
    const uint8_t *p, uint32_t size, TransportCcHeader *h, int64_t *arrival_us, uint32_t capacity,
) noexcept nogil:
    cdef uint32_t content = _feedback_content(p, size, RTCP_RTPFB, RTPFB_TRANSPORT_CC)
    cdef uint32_t chunk_at = TCC_FIXED_SIZE
    cdef uint32_t delta_at, n, entries, chunk

    if content < TCC_FIXED_SIZE:
        return -1
    h.base_sequence = read_u16(p + 12)
    h.status_count = read_u16(p + 14)
    h.reference_time = read_i24(p + 16)
    h.feedback_count = p[19]
    entries = h.status_count if h.status_count < capacity else capacity

    # First the symbols (as numbers, in place of the times), since the deltas start where the last chunk ends.
    n = 0
    while n < h.status_count:
        if chunk_at + 2 > content:
            return -1
        chunk = read_u16(p + chunk_at)
        chunk_at += 2
        n = _read_chunk(chunk, n, arrival_us, entries)
    delta_at = chunk_at
    return _read_deltas(p, content, delta_at, h.reference_time, arrival_us, entries)


cdef inline uint32_t _read_chunk(uint32_t chunk, uint32_t n, int64_t *symbols, uint32_t entries) noexcept nogil:
    """Writes the chunk's symbols from symbols[n] on, none beyond `entries`; returns n after the whole chunk."""
    cdef uint32_t i, count, bits
    if chunk & 0x8000 == 0:
        count = chunk & TCC_RUN_MAX
        for i in range(n, min(n + count, entries)):
            symbols[i] = (chunk >> 13) & 3
        return n + count
    bits = 2 if chunk & 0x4000 else 1
    count = TCC_TWO_BIT_SYMBOLS if bits == 2 else TCC_ONE_BIT_SYMBOLS
    for i in range(count):
        if n + i < entries:
            symbols[n + i] = (chunk >> (TCC_ONE_BIT_SYMBOLS - bits * (i + 1))) & ((1 << bits) - 1)
    return n + count


cdef inline int _read_deltas(
    const uint8_t *p, uint32_t content, uint32_t at, int32_t reference_time, int64_t *arrival_us, uint32_t entries,
) noexcept nogil:
    """Turns symbols into times."""
    cdef int64_t now_us = <int64_t>reference_time * TCC_REFERENCE_US
    cdef uint32_t i
    for i in range(entries):
        if arrival_us[i] == TCC_NOT_RECEIVED:
            arrival_us[i] = INT64_MIN
            continue
        if arrival_us[i] > TCC_LARGE_DELTA or at + <uint32_t>arrival_us[i] > content:
            return -1
        if arrival_us[i] == TCC_SMALL_DELTA:
            now_us += TCC_DELTA_US * <int64_t>p[at]
            at += 1
        else:
            now_us += TCC_DELTA_US * <int64_t><int16_t>read_u16(p + at)
            at += 2
        arrival_us[i] = now_us
    return <int>entries


# Writers

cdef inline void _write_header(uint8_t *out, uint32_t count, uint8_t packet_type, uint32_t size) noexcept nogil:
    out[0] = <uint8_t>(0x80 | count)
    out[1] = packet_type
    write_u16(out + 2, <uint16_t>((size >> 2) - 1))


cdef inline void _write_feedback(
    uint8_t *out, uint8_t format, uint8_t packet_type, uint32_t size, uint32_t sender, uint32_t media,
) noexcept nogil:
    _write_header(out, format, packet_type, size)
    write_u32(out + 4, sender)
    write_u32(out + 8, media)


cdef void _write_blocks(uint8_t *at, const ReportBlock *blocks, uint32_t n) noexcept nogil:
    cdef uint32_t i
    cdef int32_t lost
    for i in range(n):
        lost = blocks[i].cumulative_lost
        lost = max(-LOST_MAX - 1, min(lost, LOST_MAX))
        write_u32(at, blocks[i].ssrc)
        at[4] = blocks[i].fraction_lost
        write_u24(at + 5, <uint32_t>lost & 0xFFFFFF)
        write_u32(at + 8, blocks[i].highest_sequence)
        write_u32(at + 12, blocks[i].jitter)
        write_u32(at + 16, blocks[i].last_sr)
        write_u32(at + 20, blocks[i].delay_since_last_sr)
        at += REPORT_BLOCK_SIZE


cdef uint32_t rtcp_write_sr(
    uint8_t *out, uint32_t capacity, const SenderReport *report, const ReportBlock *blocks, uint32_t n,
) noexcept nogil:
    cdef uint32_t size = HEADER_SIZE + 4 + SENDER_INFO_SIZE + REPORT_BLOCK_SIZE * n
    if n > COUNT_MAX or size > capacity:
        return 0
    _write_header(out, n, RTCP_SR, size)
    write_u32(out + 4, report.ssrc)
    write_u64(out + 8, report.ntp)
    write_u32(out + 16, report.rtp_timestamp)
    write_u32(out + 20, report.packet_count)
    write_u32(out + 24, report.octet_count)
    _write_blocks(out + 28, blocks, n)
    return size


cdef uint32_t rtcp_write_rr(
    uint8_t *out, uint32_t capacity, uint32_t sender, const ReportBlock *blocks, uint32_t n,
) noexcept nogil:
    cdef uint32_t size = HEADER_SIZE + 4 + REPORT_BLOCK_SIZE * n
    if n > COUNT_MAX or size > capacity:
        return 0
    _write_header(out, n, RTCP_RR, size)
    write_u32(out + 4, sender)
    _write_blocks(out + 8, blocks, n)
    return size


cdef uint32_t rtcp_write_sdes_cname(
    uint8_t *out, uint32_t capacity, uint32_t ssrc, const uint8_t *cname, uint32_t n,
) noexcept nogil:
    # SSRC, one item, then 1–4 zero bytes: the list ends with one, the chunk at a 32-bit border.
    cdef uint32_t content = HEADER_SIZE + 4 + 2 + n
    cdef uint32_t size = (content & ~<uint32_t>3) + 4
    if n > 255 or size > capacity:
        return 0
    _write_header(out, 1, RTCP_SDES, size)
    write_u32(out + 4, ssrc)
    out[8] = SDES_CNAME
    out[9] = <uint8_t>n
    if n:
        memcpy(out + 10, cname, n)
    memset(out + content, 0, size - content)
    return size


cdef uint32_t rtcp_write_bye(uint8_t *out, uint32_t capacity, const uint32_t *ssrcs, uint32_t n) noexcept nogil:
    cdef uint32_t size = HEADER_SIZE + 4 * n
    cdef uint32_t i
    if n > COUNT_MAX or size > capacity:
        return 0
    _write_header(out, n, RTCP_BYE, size)
    for i in range(n):
        write_u32(out + HEADER_SIZE + 4 * i, ssrcs[i])
    return size


cdef uint32_t rtcp_write_pli(uint8_t *out, uint32_t capacity, uint32_t sender, uint32_t media) noexcept nogil:
    if capacity < FEEDBACK_SIZE:
        return 0
    _write_feedback(out, PSFB_PLI, RTCP_PSFB, FEEDBACK_SIZE, sender, media)
    return FEEDBACK_SIZE


cdef uint32_t rtcp_write_fir(
    uint8_t *out, uint32_t capacity, uint32_t sender, uint32_t media, uint8_t command,
) noexcept nogil:
    if capacity < FEEDBACK_SIZE + 8:
        return 0
    # The media source stands in the entry; the common field is zero (RFC 5104 §4.3.1.2).
    _write_feedback(out, PSFB_FIR, RTCP_PSFB, FEEDBACK_SIZE + 8, sender, 0)
    write_u32(out + FEEDBACK_SIZE, media)
    write_u32(out + FEEDBACK_SIZE + 4, <uint32_t>command << 24)
    return FEEDBACK_SIZE + 8


cdef uint32_t rtcp_write_nack(
    uint8_t *out, uint32_t capacity, uint32_t sender, uint32_t media, const uint16_t *sequences, uint32_t n,
) noexcept nogil:
    cdef uint32_t size = FEEDBACK_SIZE
    cdef uint32_t i = 0
    cdef uint16_t first, bitmask, distance

    if n == 0 or capacity < FEEDBACK_SIZE:
        return 0
    while i < n:
        first = sequences[i]
        bitmask = 0
        i += 1
        while i < n:
            distance = <uint16_t>(sequences[i] - first)
            if distance > NACK_BITMASK_BITS:
                break
            if distance > 0:                        # a repeated number is already in
                bitmask |= <uint16_t>(1 << (distance - 1))
            i += 1
        if size + 4 > capacity or size + 4 > PACKET_SIZE_MAX:
            return 0
        write_u16(out + size, first)
        write_u16(out + size + 2, bitmask)
        size += 4
    _write_feedback(out, RTPFB_NACK, RTCP_RTPFB, size, sender, media)
    return size


cdef uint32_t rtcp_write_remb(
    uint8_t *out, uint32_t capacity, uint32_t sender, uint64_t bitrate_bps, const uint32_t *ssrcs, uint32_t n,
) noexcept nogil:
    cdef uint32_t size = FEEDBACK_SIZE + 8 + 4 * n
    cdef uint32_t exponent = 0
    cdef uint32_t i
    if n > 255 or size > capacity:
        return 0
    while (bitrate_bps >> exponent) >> REMB_MANTISSA_BITS:
        exponent += 1
    _write_feedback(out, PSFB_APPLICATION, RTCP_PSFB, size, sender, 0)
    write_u32(out + FEEDBACK_SIZE, REMB_NAME)
    out[FEEDBACK_SIZE + 4] = <uint8_t>n
    write_u24(out + FEEDBACK_SIZE + 5, (exponent << REMB_MANTISSA_BITS) | <uint32_t>(bitrate_bps >> exponent))
    for i in range(n):
        write_u32(out + FEEDBACK_SIZE + 8 + 4 * i, ssrcs[i])
    return size


cdef struct ChunkBuffer:            # symbols that are not yet in a chunk
    uint8_t symbols[TCC_ONE_BIT_SYMBOLS]
    uint32_t count                  # beyond the array only while all are the same
    bint all_same
    bint has_large


cdef inline bint _chunk_accepts(const ChunkBuffer *c, uint8_t symbol) noexcept nogil:
    """Can one chunk still hold what is there and this symbol?"""
    if c.count < TCC_TWO_BIT_SYMBOLS:
        return True
    if c.count < TCC_ONE_BIT_SYMBOLS and not c.has_large and symbol != TCC_LARGE_DELTA:
        return True
    return c.count < TCC_RUN_MAX and c.all_same and c.symbols[0] == symbol


cdef inline void _chunk_add(ChunkBuffer *c, uint8_t symbol) noexcept nogil:
    if c.count == 0:
        c.all_same = True
        c.has_large = False
    if c.count < TCC_ONE_BIT_SYMBOLS:
        c.symbols[c.count] = symbol
    c.all_same = c.all_same and symbol == c.symbols[0]
    c.has_large = c.has_large or symbol == TCC_LARGE_DELTA
    c.count += 1


cdef uint16_t _chunk_take(ChunkBuffer *c, bint last) noexcept nogil:
    """The next chunk's bits. What a two-bit chunk has no place for stays in the buffer, for the next one."""
    cdef uint32_t count = c.count
    cdef uint32_t bits, i
    cdef uint16_t chunk
    cdef ChunkBuffer rest

    c.count = 0
    if c.all_same:
        return <uint16_t>((<uint32_t>c.symbols[0] << 13) | count)
    # Only the last chunk may have unused places.
    bits = 1 if count == TCC_ONE_BIT_SYMBOLS or (last and count > TCC_TWO_BIT_SYMBOLS) else 2
    chunk = 0x8000 | (0x4000 if bits == 2 else 0)
    for i in range(min(count, TCC_ONE_BIT_SYMBOLS // bits)):
        chunk |= <uint16_t>(<uint32_t>c.symbols[i] << (TCC_ONE_BIT_SYMBOLS - bits * (i + 1)))
    memcpy(&rest, c, sizeof(ChunkBuffer))
    for i in range(TCC_ONE_BIT_SYMBOLS // bits, count):
        _chunk_add(c, rest.symbols[i])
    return chunk


cdef uint32_t _write_deltas(
    uint8_t *at, const int64_t *arrival_us, uint32_t count, int64_t previous_tick,
) noexcept nogil:
    cdef uint8_t *start = at
    cdef uint32_t i
    cdef int64_t delta
    for i in range(count):
        if arrival_us[i] == INT64_MIN:
            continue
        delta = arrival_us[i] // TCC_DELTA_US - previous_tick
        previous_tick += delta
        if 0 <= delta <= 255:
            at[0] = <uint8_t>delta
            at += 1
        else:
            write_u16(at, <uint16_t><int16_t>delta)
            at += 2
    return <uint32_t>(at - start)


cdef uint32_t rtcp_write_transport_cc(
    uint8_t *out, uint32_t capacity, uint32_t sender, uint32_t media, uint16_t base_sequence,
    const int64_t *arrival_us, uint32_t count, uint8_t feedback_count, uint32_t *consumed,
) noexcept nogil:
    cdef ChunkBuffer pending
    cdef uint32_t first = 0
    cdef uint32_t size = TCC_FIXED_SIZE             # with the chunks that are complete
    cdef uint32_t deltas_size = 0
    cdef uint32_t i, needed
    cdef uint8_t symbol
    cdef int64_t reference_time, tick, previous_tick, delta

    consumed[0] = 0
    count = min(count, 0xFFFF)
    while first < count and arrival_us[first] == INT64_MIN:
        first += 1
    if first == count:
        return 0
    reference_time = arrival_us[first] // TCC_REFERENCE_US
    previous_tick = reference_time * TCC_REFERENCE_DELTAS

    memset(&pending, 0, sizeof(pending))
    tick = previous_tick
    i = 0
    while i < count:
        symbol = TCC_NOT_RECEIVED
        if arrival_us[i] != INT64_MIN:
            delta = arrival_us[i] // TCC_DELTA_US - tick
            if not -32768 <= delta <= 32767:
                break
            symbol = TCC_SMALL_DELTA if 0 <= delta <= 255 else TCC_LARGE_DELTA
            tick += delta
        # The chunks that are complete, this one's if the symbol does not fit the open one, the open one, the deltas.
        needed = size + 2 + deltas_size + symbol
        if pending.count and not _chunk_accepts(&pending, symbol):
            needed += 2
        if ((needed + 3) & ~<uint32_t>3) > capacity:
            break
        if not _chunk_accepts(&pending, symbol):
            write_u16(out + size, _chunk_take(&pending, False))
            size += 2
        _chunk_add(&pending, symbol)
        deltas_size += symbol
        i += 1
    if i <= first:
        return 0
    write_u16(out + size, _chunk_take(&pending, True))
    size += 2

    size += _write_deltas(out + size, arrival_us, i, previous_tick)
    needed = (size + 3) & ~<uint32_t>3
    if needed > size:
        memset(out + size, 0, needed - size)
        out[needed - 1] = <uint8_t>(needed - size)
    _write_feedback(out, RTPFB_TRANSPORT_CC, RTCP_RTPFB, needed, sender, media)
    if needed > size:
        out[0] |= PADDING_BIT
    write_u16(out + 12, base_sequence)
    write_u16(out + 14, <uint16_t>i)
    write_u24(out + 16, <uint32_t>reference_time & 0xFFFFFF)
    out[19] = feedback_count
    consumed[0] = i
    return needed
