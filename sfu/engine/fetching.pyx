# SPDX-License-Identifier: Apache-2.0
"""Memory of who comes next; see `fetching.pxd`."""
from libc.stdint cimport uint8_t, uint32_t
from sfu.engine.address cimport Datagram
from sfu.engine.aes_gcm cimport GcmKey, gcm_key_fetch, gcm_key_fetch_inner
from sfu.engine.bwe.estimator cimport Estimator
from sfu.engine.bwe.history cimport history_packet
from sfu.engine.bwe.parameters cimport THROUGHPUT_WINDOW_MAX
from sfu.engine.bwe.throughput cimport ReceivedPacket, Throughput
from sfu.engine.memory cimport fetch, fetch_range
from sfu.engine.rewriter cimport FRAME_COUNT, RANGE_COUNT
from sfu.engine.schedule cimport Schedule
from sfu.engine.srtp cimport Srtp
from sfu.engine.srtp_gcm cimport GcmStream
from sfu.engine.tables cimport (
    HANDLE_INDEX_MASK, SENT_LOG, Congestion, Forwarder, RouterState, Track, Transport, address_map_find,
)
from sfu.wire.rtp cimport is_rtcp, is_rtp_or_rtcp

cdef enum:
    FEW = 8                   # receivers: the state of so few stays cached from one turn to the next
    DATAGRAM_DEPTH = 5        # datagrams ahead that the first pointer is followed
    ALONE = 3                 # datagrams: so few are worked off before what is asked for them comes
    FEEDBACK_PACKETS = 16     # named by one feedback, about


# --- what a transport has, one pointer after the other ---

cdef inline void fetch_sessions(const Srtp *srtp, const Congestion *c) noexcept nogil:
    if srtp != NULL:
        fetch(srtp)
    if c != NULL:
        fetch(&c.estimator)
        fetch(&c.debt_bytes)
        fetch(&c.probing)


cdef inline void fetch_session(const Srtp *srtp) noexcept nogil:
    if srtp != NULL and srtp.gcm != NULL:
        fetch(srtp.gcm)
        fetch(&srtp.gcm.packets)


cdef inline const GcmKey *key_of(const Srtp *srtp, bint rtcp) noexcept nogil:
    if srtp == NULL or srtp.gcm == NULL:
        return NULL
    return srtp.gcm.rtcp_key if rtcp else srtp.gcm.rtp_key


cdef inline void fetch_stream(const Srtp *srtp, bint rtcp) noexcept nogil:
    cdef const GcmKey *key = key_of(srtp, rtcp)
    if key != NULL:
        fetch_range(&srtp.gcm.streams[srtp.gcm.last], sizeof(GcmStream))
        gcm_key_fetch(key)


cdef inline void fetch_key(const Srtp *srtp, bint rtcp) noexcept nogil:
    cdef const GcmKey *key = key_of(srtp, rtcp)
    if key != NULL:
        gcm_key_fetch_inner(key)


# --- fan-out ---

cdef inline const Forwarder *receiver_at(const Track *track, uint32_t receiver) noexcept nogil:
    """NULL: there is none, or it was removed."""
    return track.forwarders[receiver] if receiver < track.forwarder_count else NULL


cdef inline void fetch_forwarder(const Forwarder *f) noexcept nogil:
    fetch(&f.transport)
    fetch(&f.binding.payloads)
    fetch(&f.selection)
    fetch(&f.rewriter.started)
    fetch(&f.rewriter.range_first)
    fetch(&f.rewriter.frame_newest)
    fetch(&f.rewriter.last_sent)
    fetch(&f.rewriter.frame_number_offset)
    fetch(&f.ssrc)
    fetch(&f.extension_ids)
    fetch(&f.sent)
    fetch(&f.packets_sent)
    fetch(&f.rate)


cdef inline void fetch_sender(const Transport *t) noexcept nogil:
    """What sending to it reads and writes."""
    fetch(&t.handle)
    fetch(&t.paths)
    fetch(&t.selected)
    fetch(&t.send_srtp)
    fetch(&t.packets_sent)
    fetch(&t.congestion)


cdef inline void fetch_sent_estimator(const Estimator *e) noexcept nogil:
    """What it notes of each packet sent."""
    fetch(&e.p)
    fetch(&e.history.next)
    fetch(&e.alr)
    fetch(&e.fallback.sent_bytes)
    fetch(&e.now_us)
    fetch(&e.target_bps)
    fetch(&e.congested_until_us)


cdef inline void fetch_places(const Forwarder *f, const Transport *t) noexcept nogil:
    """Where the next packet will be entered."""
    cdef Estimator *e
    if f.sent != NULL:
        fetch(&f.sent[(f.rewriter.highest_out + 1) & (SENT_LOG - 1)])
    fetch(&f.rewriter.ranges[(f.rewriter.range_first + f.rewriter.range_count - 1) & (RANGE_COUNT - 1)])
    fetch(&f.rewriter.frames[f.rewriter.frame_newest & (FRAME_COUNT - 1)])
    if t.congestion != NULL:
        e = t.congestion.estimator
        fetch(history_packet(&e.history, e.history.next))


cdef void fetch_receivers(const Track *track, uint32_t receiver) noexcept nogil:
    cdef const Forwarder *f
    if track.forwarder_count <= FEW:
        return
    f = receiver_at(track, receiver + 6)
    if f != NULL:
        fetch_forwarder(f)
    f = receiver_at(track, receiver + 5)
    if f != NULL:
        fetch_sender(f.transport)
    f = receiver_at(track, receiver + 4)
    if f != NULL:
        fetch_sessions(f.transport.send_srtp, f.transport.congestion)
    f = receiver_at(track, receiver + 3)
    if f != NULL:
        fetch_session(f.transport.send_srtp)
        if f.transport.congestion != NULL:
            fetch_sent_estimator(f.transport.congestion.estimator)
    f = receiver_at(track, receiver + 2)
    if f != NULL:
        fetch_stream(f.transport.send_srtp, False)
        fetch_places(f, f.transport)
    f = receiver_at(track, receiver + 1)
    if f != NULL:
        fetch_key(f.transport.send_srtp, False)


# --- what comes in ---

cdef inline const Transport *expected(const RouterState *s, const Datagram *batch, uint32_t count, uint32_t at) noexcept nogil:
    if at >= count or not batch[at].expected:
        return NULL
    return <const Transport *>s.transports.items[batch[at].expected & HANDLE_INDEX_MASK]


cdef inline void expect(const RouterState *s, Datagram *datagram) noexcept nogil:
    cdef const Transport *t
    cdef uint32_t index
    cdef uint32_t handle
    datagram.expected = 0
    if datagram.size < 4 or not is_rtp_or_rtcp(datagram.data[0]):
        return
    handle = address_map_find(&s.addresses, &datagram.path)
    index = handle & HANDLE_INDEX_MASK
    if index >= s.transports.capacity or s.transports.items[index] == NULL:
        return
    datagram.expected = handle
    t = <const Transport *>s.transports.items[index]
    fetch(&t.handle)
    fetch(&t.receive_srtp)
    fetch(&t.heard_us)
    fetch(&t.packets_received)
    fetch(&t.congestion)


cdef inline void fetch_heard_estimator(const Estimator *e) noexcept nogil:
    """What a feedback reads and writes, but for its packets."""
    fetch_range(&e.p, sizeof(e.p))
    fetch(&e.history.next)
    fetch_range(&e.throughput.first, <uint32_t>(<const uint8_t *>(&e.throughput + 1) - <const uint8_t *>&e.throughput.first))
    fetch_range(&e.inter_arrival, <uint32_t>(<const uint8_t *>(e + 1) - <const uint8_t *>&e.inter_arrival))


cdef inline void fetch_acknowledged(Estimator *e) noexcept nogil:
    cdef const Throughput *window = &e.throughput
    cdef uint32_t i
    for i in range(FEEDBACK_PACKETS):
        fetch(history_packet(&e.history, e.history.acknowledged + 1 + i))
    # As many come into the window as go out of it.
    fetch_range(&window.packets[(window.first + window.count) & (THROUGHPUT_WINDOW_MAX - 1)],
                FEEDBACK_PACKETS * sizeof(ReceivedPacket))
    fetch_range(&window.packets[window.first], FEEDBACK_PACKETS * sizeof(ReceivedPacket))


cdef void fetch_first(const RouterState *s, Datagram *batch, uint32_t count) noexcept nogil:
    cdef uint32_t i
    if count <= ALONE:
        return
    for i in range(min(count, <uint32_t>DATAGRAM_DEPTH)):
        expect(s, &batch[i])


cdef void fetch_datagrams(const RouterState *s, Datagram *batch, uint32_t count, uint32_t at) noexcept nogil:
    cdef const Transport *t
    cdef bint rtcp
    if count <= ALONE:
        return
    if at + DATAGRAM_DEPTH < count:
        expect(s, &batch[at + DATAGRAM_DEPTH])
    t = expected(s, batch, count, at + 4)
    if t != NULL:
        fetch_sessions(t.receive_srtp, t.congestion)
    t = expected(s, batch, count, at + 3)
    if t != NULL:
        fetch_session(t.receive_srtp)
        if t.congestion != NULL and is_rtcp(batch[at + 3].data, batch[at + 3].size):
            fetch_heard_estimator(t.congestion.estimator)
    t = expected(s, batch, count, at + 2)
    if t != NULL:
        rtcp = is_rtcp(batch[at + 2].data, batch[at + 2].size)
        fetch_stream(t.receive_srtp, rtcp)
        if rtcp and t.congestion != NULL:
            fetch_acknowledged(t.congestion.estimator)
    t = expected(s, batch, count, at + 1)
    if t != NULL:
        fetch_key(t.receive_srtp, is_rtcp(batch[at + 1].data, batch[at + 1].size))


# --- timers ---

cdef void fetch_timers(const Schedule *schedule) noexcept nogil:
    """Of the next six by their places in the heap, which come about in this order; the nearest two's further pointers."""
    cdef const Transport *t
    cdef uint32_t i
    for i in range(1, min(schedule.count, <uint32_t>7)):
        t = <const Transport *>schedule.heap[i].timer.owner
        if i > 2:
            fetch(&t.timer)
            fetch(&t.consent_us)
            fetch(&t.send_srtp)
            fetch(&t.congestion)
        elif t.congestion != NULL:
            fetch(&t.congestion.estimator)
            fetch(&t.congestion.debt_bytes)
            fetch(&t.congestion.told_bps)
            fetch_ticked_estimator(t.congestion.estimator)


cdef inline void fetch_ticked_estimator(const Estimator *e) noexcept nogil:
    fetch(&e.p)
    fetch(&e.fallback)
    fetch(&e.alr)
    fetch(&e.rate)
    fetch(&e.delay)
    fetch(&e.ticked_us)
    fetch(&e.target_bps)
    fetch(&e.probes)
    fetch(&e.probes.count)
    fetch(&e.trendline.at)
