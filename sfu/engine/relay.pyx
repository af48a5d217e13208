# SPDX-License-Identifier: Apache-2.0
"""Both ends of a relay leg; see `relay.pxd`."""
from libc.stdint cimport int8_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memset
from sfu.engine cimport drops
from sfu.engine.address cimport Datagram, Path, address_equal, path_equal
from sfu.engine.congestion cimport SEND_AT_ONCE, congestion_send
from sfu.engine.egress cimport egress_buffer
from sfu.engine.equaliser cimport EQUALISE_NOT, equalise
from sfu.engine.history cimport FRAME_START, HAS_AUDIO_LEVEL, HAS_ORIENTATION, PACKET_OVERTAKEN, history_data
from sfu.engine.latency cimport LATENCY_AUDIO, LATENCY_NONE, LATENCY_VIDEO
from sfu.engine.reception cimport rate_add
from sfu.engine.rewriter cimport rewriter_advance, rewriter_map, rewriter_switch
from sfu.engine.source cimport source_restart
from sfu.engine.srtp cimport SRTP_OK, srtp_protect
from sfu.engine.tables cimport (
    SENT_LOG, PayloadMapping, RelayPath, address_map_find, address_map_put, address_map_remove, wake_transport,
)
from sfu.engine.tracks cimport forwarder_stop, payload_mapping
from sfu.wire.bytes cimport read_u32, write_u16, write_u32
from sfu.wire.extensions cimport (
    EXT_AUDIO_LEVEL, EXT_DEPENDENCY_DESCRIPTOR, EXT_RELAY_EPOCH, EXT_VIDEO_ORIENTATION, ExtensionWriter, extensions_add,
    extensions_begin, extensions_finish,
)
from sfu.wire.rtp cimport RTP_FIXED_HEADER_SIZE, is_rtcp, is_rtp_or_rtcp

cdef enum:
    BUCKETS = 1024             # of legs by number; a power of two
    RTP_SSRC = 8               # offsets, RFC 3550 §5.1 and §6.4.1
    RTCP_SSRC = 4
    ID_EPOCH = 1               # header extensions of the envelope, docs/relay.md
    ID_AUDIO_LEVEL = 2
    ID_ORIENTATION = 3
    ID_DEPENDENCY = 4
    ONE_BYTE_MAX = 16          # bytes of one element in the one-byte form (RFC 8285 §4.2)
    MAX_EXTENSIONS = 320
    MAX_DATAGRAM = 1472        # bytes with SRTP's tag: what Ethernet carries over IPv4 and UDP
    SRTP_TAG = 16
    QUICK_REPORTS = 2          # sender reports soon after a start, besides the one with it


cdef void relay_extensions(ExtensionMap *map) noexcept nogil:
    """What the header extensions of a leg mean."""
    memset(map, 0, sizeof(ExtensionMap))
    map.kind[<int>ID_EPOCH] = <uint8_t>EXT_RELAY_EPOCH
    map.kind[<int>ID_AUDIO_LEVEL] = <uint8_t>EXT_AUDIO_LEVEL
    map.kind[<int>ID_ORIENTATION] = <uint8_t>EXT_VIDEO_ORIENTATION
    map.kind[<int>ID_DEPENDENCY] = <uint8_t>EXT_DEPENDENCY_DESCRIPTOR


# -- which leg


cdef int relay_link(RouterState *s, Transport *t) noexcept nogil:
    """`t` has its leg and the path in paths[0]: from now on it is found, and can send."""
    cdef Transport **bucket
    if s.relays.buckets == NULL:
        s.relays.buckets = <Transport **>calloc(BUCKETS, sizeof(Transport *))
        if s.relays.buckets == NULL:
            return -1
    if hold_path(s, &t.paths[0].path):
        return -1
    bucket = &s.relays.buckets[t.relay_leg & (BUCKETS - 1)]
    t.next_relay = bucket[0]
    bucket[0] = t
    t.selected = 0
    t.local_ssrc = (t.relay_leg << RELAY_LEG_SHIFT) | RELAY_FEEDBACK
    t.rtt_us = t.relay_rtt_us
    return 0


cdef void relay_unlink(RouterState *s, Transport *t) noexcept nogil:
    cdef Transport **link = &s.relays.buckets[t.relay_leg & (BUCKETS - 1)]
    while link[0] != NULL and link[0] != t:
        link = &link[0].next_relay
    if link[0] == NULL:
        return
    link[0] = t.next_relay
    release_path(s, &t.paths[0].path)


cdef int hold_path(RouterState *s, const Path *path) noexcept nogil:
    """The 5-tuple belongs to relays while a leg uses it."""
    cdef RelayPath *bigger
    cdef uint32_t i
    for i in range(s.relays.path_count):
        if path_equal(&s.relays.paths[i].path, path):
            s.relays.paths[i].legs += 1
            return 0
    bigger = <RelayPath *>realloc(s.relays.paths, (s.relays.path_count + 1) * sizeof(RelayPath))
    if bigger == NULL:
        return -1
    s.relays.paths = bigger
    if address_map_put(&s.addresses, path, RELAY_PATH):
        return -1
    bigger[s.relays.path_count].path = path[0]
    bigger[s.relays.path_count].legs = 1
    s.relays.path_count += 1
    return 0


cdef void release_path(RouterState *s, const Path *path) noexcept nogil:
    cdef uint32_t i
    for i in range(s.relays.path_count):
        if path_equal(&s.relays.paths[i].path, path):
            s.relays.paths[i].legs -= 1
            if s.relays.paths[i].legs == 0:
                address_map_remove(&s.addresses, path, RELAY_PATH)
                s.relays.path_count -= 1
                s.relays.paths[i] = s.relays.paths[s.relays.path_count]
            return


cdef void relay_close(RouterState *s) noexcept nogil:
    free(s.relays.buckets)
    free(s.relays.paths)
    s.relays.buckets = NULL
    s.relays.paths = NULL


cdef Transport *relay_of(RouterState *s, const Datagram *datagram) noexcept nogil:
    """The leg that a datagram from a relay's 5-tuple is of, by its SSRC; NULL = none, or not SRTP."""
    cdef Transport *t
    cdef uint32_t leg
    if datagram.size < RTP_FIXED_HEADER_SIZE or not is_rtp_or_rtcp(datagram.data[0]):
        return NULL
    leg = read_u32(datagram.data + (RTCP_SSRC if is_rtcp(datagram.data, datagram.size) else RTP_SSRC)) >> RELAY_LEG_SHIFT
    t = s.relays.buckets[leg & (BUCKETS - 1)]
    while t != NULL and not (t.relay_leg == leg and address_equal(&t.paths[0].path.remote, &datagram.path.remote)):
        t = t.next_relay
    return t


# -- where a leg ends


cdef bint relay_accepts(RouterState *s, Source *source, const Extensions *x) noexcept nogil:
    """Whether a packet is of the layer's present epoch. With a higher one the layer begins anew."""
    cdef int8_t newer
    if x.data[<int>EXT_RELAY_EPOCH] == NULL:
        return True          # the filler of a hole
    newer = <int8_t>(x.data[<int>EXT_RELAY_EPOCH][0] - source.relay_epoch)
    if not source.has_epoch:
        source.has_epoch = True
    elif newer < 0:
        return False
    elif newer > 0:
        source_restart(s, source)
    source.relay_epoch = x.data[<int>EXT_RELAY_EPOCH][0]
    return True


# -- where a leg begins


cdef int relay_forward(RouterState *s, Forwarder *f, const Binding *binding, Source *source, const Packet *packet,
                       int64_t now_us) noexcept nogil:
    """Send a packet of the forwarder's layer as it came. Returns the drop reason, or -1."""
    cdef const PayloadMapping *mapping
    cdef int64_t out
    if source.layer != f.relay_layer:
        return drops.DROP_NOT_SELECTED_SPATIAL
    if f.selection.target_spatial < 0:
        if f.rewriter.bound:
            forwarder_stop(s, f)
        return drops.DROP_PAUSED
    mapping = payload_mapping(binding, packet.payload_type)
    if mapping == NULL:
        return drops.DROP_NO_PAYLOAD_TYPE
    if not f.rewriter.bound or f.source_generation != source.generation:
        if (packet.flags & PACKET_OVERTAKEN
                or (f.source_generation == source.generation and packet.sequence <= f.rewriter.highest_in)):
            return drops.DROP_LATE          # it begins with what comes next
        begin(s, f, source, packet, now_us)
    if packet.sequence > f.rewriter.highest_in:
        rewriter_advance(&f.rewriter, packet)
        out = f.rewriter.highest_out
    else:
        out = rewriter_map(&f.rewriter, packet.sequence)
        if out < 0:
            return drops.DROP_LATE
    return send(s, f, binding, mapping, source, packet, out, now_us)


cdef void begin(RouterState *s, Forwarder *f, Source *source, const Packet *packet, int64_t now_us) noexcept nogil:
    """The next epoch of the layer on this leg begins with `packet`."""
    # With its own timestamp the offset is 0: timestamps pass unchanged.
    rewriter_switch(&f.rewriter, packet, packet.timestamp, False)
    f.source_generation = source.generation
    f.clock_rate = source.timestamps.clock_rate
    f.relay_epoch += 1
    f.selection.current_spatial = <int8_t>source.layer
    f.awaiting_start = False
    f.switches += 1
    f.report_due_us = now_us
    f.quick_reports = QUICK_REPORTS
    wake_transport(s, f.transport, now_us)


cdef int send(RouterState *s, Forwarder *f, const Binding *binding, const PayloadMapping *mapping, Source *source,
              const Packet *packet, int64_t out, int64_t now_us) noexcept nogil:
    cdef SentPacket entry
    cdef uint8_t *buffer
    cdef uint32_t size
    if f.sent != NULL and f.sent[out & (SENT_LOG - 1)].sequence == out:
        return drops.DROP_ALREADY_SENT
    memset(&entry, 0, sizeof(entry))
    entry.sequence = out
    entry.source_sequence = packet.sequence
    entry.track = source.track.handle
    entry.source_generation = source.generation
    entry.timestamp = packet.timestamp
    entry.csrc = binding.csrc
    entry.layer = <uint8_t>source.layer
    entry.payload_type = mapping.outgoing
    entry.rtx_payload_type = mapping.outgoing_rtx
    entry.marker = packet.marker
    buffer = egress_buffer(s)
    if buffer == NULL:
        return -1            # counted there
    size = relay_write(f, source, packet, &entry, buffer, False)
    if size == 0:
        return drops.DROP_TOO_LARGE
    if s.run_ahead != EQUALISE_NOT:
        size = equalise(s, buffer, size)
    if srtp_protect(f.transport.send_srtp, buffer, &size) != SRTP_OK:
        return drops.DROP_PROTECT_FAILED
    f.packets_sent += 1
    f.bytes_sent += packet.payload_size
    rate_add(&f.rate, packet.size, packet.flags & FRAME_START, now_us)
    f.rewriter.started = True
    f.rewriter.last_sent = out
    f.rewriter.last_sent_us = now_us
    if f.sent != NULL:
        f.sent[out & (SENT_LOG - 1)] = entry
    s.egress.latency = LATENCY_VIDEO if f.video else LATENCY_AUDIO
    s.egress.received_us = packet.arrival_us - packet.kernel_wait_us
    if congestion_send(s, f.transport, buffer, size, SEND_AT_ONCE):
        s.media_forwarded += 1
    s.egress.latency = LATENCY_NONE
    return -1                # else counted there


cdef uint32_t relay_write(Forwarder *f, Source *source, const Packet *packet, const SentPacket *entry, uint8_t *out,
                          bint rtx) noexcept nogil:
    """The packet in the leg's envelope, in plaintext; with `rtx` in the RFC 4588 form. 0: too large."""
    cdef const uint8_t *data = history_data(&source.history, packet)
    cdef uint32_t at = RTP_FIXED_HEADER_SIZE + 4
    cdef ExtensionWriter writer
    out[0] = 0x91            # version 2, header extensions, one CSRC
    out[1] = <uint8_t>((0x80 if entry.marker else 0) | (entry.rtx_payload_type if rtx else entry.payload_type))
    write_u16(out + 2, f.rtx_sequence if rtx else <unsigned short>entry.sequence)
    write_u32(out + 4, entry.timestamp)
    write_u32(out + 8, f.rtx_ssrc if rtx else f.ssrc)
    write_u32(out + 12, entry.csrc)
    extensions_begin(&writer, out + at, out + at + MAX_EXTENSIONS, packet.dependency_size > ONE_BYTE_MAX)
    extensions_add(&writer, ID_EPOCH, &f.relay_epoch, 1)
    if packet.flags & HAS_AUDIO_LEVEL:
        extensions_add(&writer, ID_AUDIO_LEVEL, &packet.audio_level, 1)
    if packet.flags & HAS_ORIENTATION:
        extensions_add(&writer, ID_ORIENTATION, &packet.orientation, 1)
    if packet.dependency_size:
        extensions_add(&writer, ID_DEPENDENCY, data + packet.dependency_at, packet.dependency_size)
    at += extensions_finish(&writer)
    if rtx:
        write_u16(out + at, <unsigned short>entry.sequence)
        at += 2
    if at + packet.payload_size + SRTP_TAG > MAX_DATAGRAM:
        return 0
    memcpy(out + at, data + packet.payload_offset, packet.payload_size)
    return at + packet.payload_size
