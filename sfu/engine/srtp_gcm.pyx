# SPDX-License-Identifier: Apache-2.0
"""SRTP with AES-GCM; see `srtp_gcm.pxd`."""
from libc.stdint cimport UINT64_MAX, int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from sfu.engine.aes_gcm cimport (
    GCM_TAG, GcmKey, aes_counter_stream, gcm_key_close, gcm_key_open, gcm_seal, gcm_unseal,
)
from sfu.engine.memory cimport own_lines
from sfu.engine.srtp cimport SRTP_BAD_AUTH, SRTP_FAILED, SRTP_OK, SRTP_REPLAYED
from sfu.wire.bytes cimport read_u16, read_u32, write_u16, write_u32

cdef enum:
    FIRST_STREAMS = 8
    RTP_HEADER = 12             # bytes, RFC 3550 §5.1
    RTP_SSRC = 8
    RTCP_HEADER = 8             # of the first packet of a compound, up to its SSRC: RFC 3550 §6.4.1
    RTCP_SSRC = 4
    RTCP_INDEX = 4              # the E bit and 31 bits, RFC 3711 §3.4
    SEQUENCE_MEDIAN = 0x8000
    # Labels of RFC 3711 §4.3.2
    LABEL_RTP_KEY = 0
    LABEL_RTP_SALT = 2
    LABEL_RTCP_KEY = 3
    LABEL_RTCP_SALT = 5

cdef uint32_t RTCP_ENCRYPTED = 0x80000000


# --- keys ---

cdef int derive(const uint8_t *key, uint32_t key_size, const uint8_t *salt, uint8_t label, uint8_t *out,
                uint32_t size) noexcept nogil:
    """RFC 3711 §4.3.1; RFC 7714 §11 fills the 96-bit salt up with zeros."""
    cdef uint8_t counter[16]
    memset(counter, 0, 16)
    memcpy(counter, salt, GCM_SALT)
    counter[7] ^= label
    return aes_counter_stream(key, key_size, counter, out, size)


cdef GcmKey *derived_key(const uint8_t *key, uint32_t key_size, const uint8_t *salt, uint8_t label, bint sealing) noexcept nogil:
    cdef uint8_t session_key[32]
    cdef volatile uint8_t *secret = session_key
    cdef GcmKey *opened = NULL
    cdef int i
    if derive(key, key_size, salt, label, session_key, key_size) == 0:
        opened = gcm_key_open(session_key, key_size, sealing)
    for i in range(32):
        secret[i] = 0
    return opened


cdef GcmSession *gcm_session_open(const uint8_t *key, uint32_t key_size, const uint8_t *salt, bint outbound,
                                  uint32_t limit) noexcept nogil:
    cdef GcmSession *g = <GcmSession *>own_lines(sizeof(GcmSession))
    if g == NULL:
        return NULL
    g.outbound = outbound
    g.limit = limit
    g.rtp_key = derived_key(key, key_size, salt, LABEL_RTP_KEY, outbound)
    g.rtcp_key = derived_key(key, key_size, salt, LABEL_RTCP_KEY, outbound)
    if (g.rtp_key == NULL or g.rtcp_key == NULL or grow(g, FIRST_STREAMS)
            or derive(key, key_size, salt, LABEL_RTP_SALT, g.rtp_salt, GCM_SALT)
            or derive(key, key_size, salt, LABEL_RTCP_SALT, g.rtcp_salt, GCM_SALT)):
        gcm_session_close(g)
        return NULL
    return g


cdef void gcm_session_close(GcmSession *g) noexcept nogil:
    if g != NULL:
        gcm_key_close(g.rtp_key)
        gcm_key_close(g.rtcp_key)
        free(g.streams)
        free(g.places)
        free(g)


# --- streams ---

cdef inline uint32_t first_place(const GcmSession *g, uint32_t ssrc) noexcept nogil:
    # The peer chooses inbound SSRCs: what it may do to this table, it does to its own packets.
    return ((ssrc * <uint32_t>2654435761) >> 8) & (2 * g.capacity - 1)


cdef void place(GcmSession *g, uint32_t position) noexcept nogil:
    cdef uint32_t at = first_place(g, g.streams[position].ssrc)
    while g.places[at]:
        at = (at + 1) & (2 * g.capacity - 1)
    g.places[at] = <uint16_t>(position + 1)


cdef int grow(GcmSession *g, uint32_t capacity) noexcept nogil:
    """0, or -1 without memory: then all is as it was."""
    cdef GcmStream *streams = <GcmStream *>own_lines(capacity * sizeof(GcmStream))
    cdef uint16_t *places = <uint16_t *>calloc(2 * capacity, sizeof(uint16_t))
    cdef uint32_t i
    if streams == NULL or places == NULL:
        free(streams)
        free(places)
        return -1
    if g.count:
        memcpy(streams, g.streams, g.count * sizeof(GcmStream))
    free(g.streams)
    free(g.places)
    g.streams = streams
    g.places = places
    g.capacity = capacity
    for i in range(g.count):
        place(g, i)
    return 0


cdef inline GcmStream *find(GcmSession *g, uint32_t ssrc) noexcept nogil:
    """NULL: not seen before."""
    cdef uint32_t at
    if g.streams[g.last].ssrc == ssrc and g.last < g.count:
        return &g.streams[g.last]
    at = first_place(g, ssrc)
    while g.places[at]:
        if g.streams[g.places[at] - 1].ssrc == ssrc:
            g.last = g.places[at] - 1
            return &g.streams[g.last]
        at = (at + 1) & (2 * g.capacity - 1)
    return NULL


cdef GcmStream *oldest(GcmSession *g) noexcept nogil:
    cdef uint64_t heard = UINT64_MAX
    cdef uint32_t i, found = 0
    for i in range(g.count):
        if g.streams[i].heard < heard:
            heard = g.streams[i].heard
            found = i
    return &g.streams[found]


cdef GcmStream *add(GcmSession *g, uint32_t ssrc) noexcept nogil:
    """NULL: no memory, or MAX_OUTBOUND_SSRCS."""
    cdef GcmStream *stream
    cdef uint32_t i
    if g.limit and g.count >= g.limit:
        stream = oldest(g)
        memset(stream, 0, sizeof(GcmStream))
        stream.ssrc = ssrc
        memset(g.places, 0, 2 * g.capacity * sizeof(uint16_t))
        for i in range(g.count):
            place(g, i)
        return stream
    if g.count >= MAX_OUTBOUND_SSRCS or (g.count == g.capacity and grow(g, 2 * g.capacity)):
        return NULL
    g.last = g.count
    g.count += 1
    g.streams[g.last].ssrc = ssrc
    place(g, g.last)
    return &g.streams[g.last]


cdef int gcm_session_reserve(GcmSession *g, uint32_t ssrc) noexcept nogil:
    return 0 if find(g, ssrc) != NULL or add(g, ssrc) != NULL else -1


# --- indices ---

cdef inline uint64_t estimate(const GcmStream *stream, uint16_t sequence) noexcept nogil:
    """The index that `sequence` most likely has (RFC 3711 §3.3.1); as long as the roll-over counter is 0, never less."""
    cdef int32_t newest
    cdef uint64_t base
    if stream == NULL or stream.highest <= SEQUENCE_MEDIAN:
        return sequence
    newest = <int32_t>(stream.highest & 0xFFFF)
    base = stream.highest - <uint64_t>newest
    if newest < SEQUENCE_MEDIAN:
        if <int32_t>sequence - newest > SEQUENCE_MEDIAN:
            base -= 0x10000
    elif newest - SEQUENCE_MEDIAN > <int32_t>sequence:
        base += 0x10000
    return base + sequence


cdef inline bint seen(const uint64_t *window, uint32_t bits, uint64_t highest, uint64_t index) noexcept nogil:
    """Whether `index` was there before, or is older than the window."""
    if index > highest:
        return False
    if highest - index >= bits:
        return True
    index &= bits - 1
    return (window[index >> 6] >> (index & 63)) & 1


cdef inline uint64_t note(uint64_t *window, uint32_t bits, uint64_t highest, uint64_t index) noexcept nogil:
    """Enter `index`; returns the newest one."""
    cdef uint64_t at
    if index > highest:
        if index - highest >= bits:
            memset(window, 0, bits // 8)
        else:
            at = highest + 1
            while at < index:
                window[(at & (bits - 1)) >> 6] &= ~(<uint64_t>1 << (at & 63))
                at += 1
        highest = index
    at = index & (bits - 1)
    window[at >> 6] |= <uint64_t>1 << (at & 63)
    return highest


cdef inline void make_nonce(const uint8_t *salt, uint32_t ssrc, uint32_t upper, uint16_t lower, uint8_t *nonce) noexcept nogil:
    """RFC 7714 §8.1 (upper = ROC, lower = sequence number) and §9.1 (the 48 bits hold the SRTCP index)."""
    cdef int i
    write_u16(nonce, 0)
    write_u32(nonce + 2, ssrc)
    write_u32(nonce + 6, upper)
    write_u16(nonce + 10, lower)
    for i in range(GCM_SALT):
        nonce[i] ^= salt[i]


# --- packets ---

cdef inline uint32_t header_size(const uint8_t *packet, uint32_t size) noexcept nogil:
    """Of an RTP packet: what stays readable. 0: it runs past the packet."""
    cdef uint32_t at
    if size < RTP_HEADER:
        return 0
    at = RTP_HEADER + 4 * (packet[0] & 0x0F)
    if packet[0] & 0x10:
        if at + 4 > size:
            return 0
        at += 4 + 4 * read_u16(packet + at + 2)
    return at if at <= size else 0


cdef int gcm_protect(GcmSession *g, uint8_t *packet, uint32_t *size) noexcept nogil:
    cdef uint32_t head = header_size(packet, size[0])
    cdef uint32_t ssrc
    cdef uint8_t nonce[12]
    cdef uint64_t index
    cdef GcmStream *stream
    if head == 0:
        return SRTP_FAILED
    ssrc = read_u32(packet + RTP_SSRC)
    stream = find(g, ssrc)
    if stream == NULL:
        stream = add(g, ssrc)
        if stream == NULL:
            return SRTP_FAILED
    index = estimate(stream, read_u16(packet + 2))
    if index >> 48:
        return SRTP_FAILED
    if seen(stream.window, RTP_WINDOW, stream.highest, index):
        return SRTP_REPLAYED
    # Before the packet is sealed: whatever becomes of it, the index is used.
    stream.highest = note(stream.window, RTP_WINDOW, stream.highest, index)
    make_nonce(g.rtp_salt, ssrc, <uint32_t>(index >> 16), <uint16_t>(index & 0xFFFF), nonce)
    if gcm_seal(g.rtp_key, nonce, packet, head, packet + head, size[0] - head, packet + size[0]):
        return SRTP_FAILED
    size[0] += GCM_TAG
    return SRTP_OK


cdef int gcm_unprotect(GcmSession *g, uint8_t *packet, uint32_t *size) noexcept nogil:
    cdef uint32_t head = header_size(packet, size[0])
    cdef uint32_t ssrc
    cdef uint8_t nonce[12]
    cdef uint64_t index
    cdef GcmStream *stream
    if head == 0 or size[0] < head + GCM_TAG:
        return SRTP_FAILED
    ssrc = read_u32(packet + RTP_SSRC)
    stream = find(g, ssrc)
    index = estimate(stream, read_u16(packet + 2))
    if index >> 48:
        return SRTP_FAILED
    if stream != NULL and seen(stream.window, RTP_WINDOW, stream.highest, index):
        return SRTP_REPLAYED
    make_nonce(g.rtp_salt, ssrc, <uint32_t>(index >> 16), <uint16_t>(index & 0xFFFF), nonce)
    size[0] -= GCM_TAG
    if gcm_unseal(g.rtp_key, nonce, packet, head, packet + head, size[0] - head, packet + size[0]):
        return SRTP_BAD_AUTH
    if stream == NULL:
        stream = add(g, ssrc)
        if stream == NULL:
            return SRTP_FAILED
    stream.highest = note(stream.window, RTP_WINDOW, stream.highest, index)
    hear(g, stream)
    return SRTP_OK


cdef inline void hear(GcmSession *g, GcmStream *stream) noexcept nogil:
    g.packets += 1
    stream.heard = g.packets


# RTCP: the authenticated part is the first header, then (RFC 7714 §9.2) the word with the index, which lies behind the
# ciphertext and its tag in the packet.

cdef inline void rtcp_head(uint8_t *head, const uint8_t *packet, const uint8_t *index) noexcept nogil:
    memcpy(head, packet, RTCP_HEADER)
    memcpy(head + RTCP_HEADER, index, RTCP_INDEX)


cdef int gcm_protect_rtcp(GcmSession *g, uint8_t *packet, uint32_t *size) noexcept nogil:
    cdef uint8_t head[12]
    cdef uint8_t nonce[12]
    cdef uint8_t *end = packet + size[0]
    cdef uint32_t ssrc, index
    cdef GcmStream *stream
    if size[0] < RTCP_HEADER:
        return SRTP_FAILED
    ssrc = read_u32(packet + RTCP_SSRC)
    stream = find(g, ssrc)
    if stream == NULL:
        stream = add(g, ssrc)
        if stream == NULL:
            return SRTP_FAILED
    if stream.rtcp_highest == ~RTCP_ENCRYPTED:
        return SRTP_FAILED
    stream.rtcp_highest += 1
    index = stream.rtcp_highest
    write_u32(end + GCM_TAG, RTCP_ENCRYPTED | index)
    rtcp_head(head, packet, end + GCM_TAG)
    make_nonce(g.rtcp_salt, ssrc, index >> 16, <uint16_t>(index & 0xFFFF), nonce)
    if gcm_seal(g.rtcp_key, nonce, head, sizeof(head), packet + RTCP_HEADER, size[0] - RTCP_HEADER, end):
        return SRTP_FAILED
    size[0] += GCM_TAG + RTCP_INDEX
    return SRTP_OK


cdef int gcm_unprotect_rtcp(GcmSession *g, uint8_t *packet, uint32_t *size) noexcept nogil:
    cdef uint8_t head[12]
    cdef uint8_t nonce[12]
    cdef uint8_t *end
    cdef uint32_t ssrc, index
    cdef GcmStream *stream
    if size[0] < RTCP_HEADER + GCM_TAG + RTCP_INDEX:
        return SRTP_FAILED
    end = packet + size[0] - GCM_TAG - RTCP_INDEX
    index = read_u32(end + GCM_TAG)
    if not index & RTCP_ENCRYPTED:
        return SRTP_FAILED          # no profile of DTLS-SRTP leaves SRTCP in the clear
    index &= ~RTCP_ENCRYPTED
    ssrc = read_u32(packet + RTCP_SSRC)
    stream = find(g, ssrc)
    if stream != NULL and seen(stream.rtcp_window, RTCP_WINDOW, stream.rtcp_highest, index):
        return SRTP_REPLAYED
    rtcp_head(head, packet, end + GCM_TAG)
    make_nonce(g.rtcp_salt, ssrc, index >> 16, <uint16_t>(index & 0xFFFF), nonce)
    if gcm_unseal(g.rtcp_key, nonce, head, sizeof(head), packet + RTCP_HEADER, <uint32_t>(end - packet) - RTCP_HEADER, end):
        return SRTP_BAD_AUTH
    if stream == NULL:
        stream = add(g, ssrc)
        if stream == NULL:
            return SRTP_FAILED
    stream.rtcp_highest = <uint32_t>note(stream.rtcp_window, RTCP_WINDOW, stream.rtcp_highest, index)
    hear(g, stream)
    size[0] = <uint32_t>(end - packet)
    return SRTP_OK
