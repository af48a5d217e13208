# SPDX-License-Identifier: Apache-2.0
"""Equal sizes within a frame; see `equaliser.pxd`."""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memset
from sfu.engine.history cimport Packet, history_get
from sfu.engine.tables cimport PENDING_PACKETS, Pending, RouterState, Source, Track

cdef enum:
    SRTP_TAG = 16
    HAS_PADDING = 0x20         # the P bit, RFC 3550 §5.1


cdef inline const Packet *waiting_packet(const Track *track, const Pending *pending) noexcept nogil:
    """NULL: its stream has ended, or it has no payload."""
    cdef const Source *source = track.layers[pending.layer].source
    cdef const Packet *packet
    if source == NULL or source.generation != pending.generation:
        return NULL
    packet = history_get(&source.history, pending.sequence)
    return packet if packet != NULL and packet.payload_size else NULL


cdef inline uint32_t size_of(const Packet *packet) noexcept nogil:
    """As it came, without padding: what the header extensions add is much the same on the way out."""
    return packet.payload_offset + packet.payload_size


cdef void equalise_job(Track *track) noexcept nogil:
    cdef uint32_t at = track.pending_head
    cdef uint32_t layers = 0
    cdef uint32_t layer = 0
    while at != track.pending_job:
        track.pending[at & (PENDING_PACKETS - 1)].ahead = EQUALISE_NOT
        layers |= 1 << track.pending[at & (PENDING_PACKETS - 1)].layer
        at += 1
    if not track.video or track.pending_job - track.pending_head < 2:
        return
    # A receiver gets one simulcast layer: the packets of the others lie between its own.
    while layers >> layer:
        if layers & (1 << layer):
            equalise_layer(track, layer)
        layer += 1


cdef void equalise_layer(Track *track, uint32_t layer) noexcept nogil:
    """Runs as long as the sizes allow, from the first packet on."""
    cdef Pending *run[PENDING_PACKETS]
    cdef uint32_t sizes[PENDING_PACKETS]
    cdef uint32_t at = track.pending_head
    cdef uint32_t count = 0, size, least = 0, most = 0
    cdef uint32_t timestamp = 0
    cdef Pending *pending
    cdef const Packet *packet
    while at != track.pending_job:
        pending = &track.pending[at & (PENDING_PACKETS - 1)]
        at += 1
        if pending.layer != layer:
            continue
        packet = waiting_packet(track, pending)
        if packet == NULL:
            continue
        size = size_of(packet)
        if count and (packet.timestamp != timestamp or max(most, size) - min(least, size) > EQUALISE_LIMIT):
            close_run(run, sizes, count)
            count = 0
        if count == 0:
            timestamp = packet.timestamp
            least = most = size
        least = min(least, size)
        most = max(most, size)
        run[count] = pending
        sizes[count] = size
        count += 1
    close_run(run, sizes, count)


cdef void close_run(Pending **run, const uint32_t *sizes, uint32_t count) noexcept nogil:
    cdef uint32_t longest, i
    if count < 2:
        return
    longest = sizes[count - 1]
    i = count - 1
    while i:
        i -= 1
        longest = max(longest, sizes[i])
        run[i].ahead = <uint8_t>(longest - sizes[i])


cdef uint32_t equalise(RouterState *s, uint8_t *packet, uint32_t size) noexcept nogil:
    cdef uint32_t padding
    if s.run_size < size or s.run_size - size > EQUALISE_LIMIT:
        s.run_size = min(size + s.run_ahead, <uint32_t>(EQUALISE_DATAGRAM - SRTP_TAG))
    if s.run_size <= size:
        return size
    padding = s.run_size - size
    memset(packet + size, 0, padding - 1)
    packet[size + padding - 1] = <uint8_t>padding
    packet[0] |= HAS_PADDING
    s.padded_packets += 1
    s.padding_bytes += padding
    return size + padding
