# SPDX-License-Identifier: Apache-2.0
"""Estimator, pacer and probes of one transport; see `congestion.pxd`. Pacing as libwebrtc's (docs/congestion.md)."""
from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy
from sfu.engine cimport drops
from sfu.engine.bwe.estimator cimport (
    BASIS_START, CONGESTION_NORMAL, estimator_close, estimator_feedback, estimator_has_probe, estimator_init,
    estimator_link_loses, estimator_next_sequence, estimator_next_us, estimator_open, estimator_pacing_bps, estimator_probe,
    estimator_rate_bps, estimator_sent, estimator_state, estimator_tick,
)
from sfu.engine.bwe.parameters cimport EstimatorParameters, parameters_default
from sfu.engine.egress cimport egress_buffer, egress_commit, egress_has_room, selected_path
from sfu.engine.memory cimport own_lines
from sfu.engine.packet_writer cimport write_padding
from sfu.engine.srtp cimport SRTP_OK, srtp_protect
from sfu.engine.tables cimport (
    EVENT_ESTIMATE, PACER_DATAGRAM, PACER_PACKETS, Congestion, Forwarder, PacedPacket, RouterState, Transport, note_transport,
    wake_pacer,
)
from sfu.wire.extensions cimport EXT_TRANSPORT_CC
from sfu.wire.rtcp cimport TransportCcHeader, rtcp_transport_cc

cdef enum:
    FEEDBACK_PACKETS = 1024        # of one feedback message
    # What may leave at once, in time at the pacing rate: while nothing waits and the link shows no queue as much as
    # libwebrtc (send_burst_interval), so that a frame stays one send; else less.
    OPEN_BURST_US = 40_000
    # Or so much, as TCP's first window (RFC 6928: ten packets): a keyframe of a small picture is far longer than its rate is in 40 ms.
    OPEN_BURST_BYTES = 12_000
    BURST_US = 10_000
    UDP_OVERHEAD = 28              # bytes of IPv4 and UDP
    START_PACING_BPS = 3_000_000   # until there is feedback: the first keyframe shall not wait for the first estimate
    # A burst shall have left within this time, if need be (up to CATCH_UP times) faster than the pacing rate; as libwebrtc's
    # queue_time_limit, by the mean wait. A queue that stands is none: it would keep the link full, and the estimate low.
    EMPTY_US = 300_000
    CATCH_UP = 2
    MAX_WAIT_US = 600_000          # what has waited longer is dropped
    MAX_DEBT_US = 300_000          # of sending at the pacing rate (libwebrtc's kMaxDebtInTime is 500 ms)
    RESEND_PERCENT = 50            # of the pacing rate, for retransmissions
    RESEND_WINDOW_US = 500_000     # over which that holds (libwebrtc's kRetransmitWindowSizeMs)
    PROBE_TICK_US = 1_000
    PROBE_LIMIT_US = 200_000       # a probe that takes longer is given up
    NO_PAYLOAD_TYPE = 255
    NO_SEQUENCE = -1
    RESERVED_PLACES = 64           # of the egress batch, left to others
    TELL_SPACING_US = 100_000
    TELL_PERCENT = 5


cdef Congestion *congestion_open(int64_t now_us) noexcept nogil:
    """NULL without memory."""
    cdef Congestion *c = <Congestion *>own_lines(sizeof(Congestion))
    cdef EstimatorParameters parameters
    if c == NULL:
        return NULL
    c.estimator = estimator_open()
    if c.estimator == NULL:
        free(c)
        return NULL
    parameters_default(&parameters)
    estimator_init(c.estimator, &parameters, now_us)
    c.debt_us = now_us
    return c


cdef void congestion_close(Congestion *c) noexcept nogil:
    if c == NULL:
        return
    estimator_close(c.estimator)
    free(c.queue)
    free(c)


cdef inline double base_bps(const Congestion *c) noexcept nogil:
    """The pacing rate while nothing has to hurry."""
    cdef double rate = <double>estimator_pacing_bps(c.estimator)
    if c.estimator.basis == BASIS_START and rate < START_PACING_BPS:
        return START_PACING_BPS
    return rate


cdef inline double pacing_bps(const Congestion *c, int64_t now_us) noexcept nogil:
    cdef double rate = base_bps(c)
    cdef double left_us, emptying
    if c.count == 0 or now_us - c.queue_began_us > MAX_WAIT_US:
        return rate
    left_us = EMPTY_US - (<double>now_us - <double>c.queued_sum_us / c.count)
    emptying = c.waiting_bytes * 8e6 / (left_us if left_us > 1_000 else 1_000)
    if emptying > CATCH_UP * rate:
        return CATCH_UP * rate
    return emptying if emptying > rate else rate


cdef void settle_debt(Congestion *c, int64_t now_us) noexcept nogil:
    c.debt_bytes -= pacing_bps(c, now_us) * <double>(now_us - c.debt_us) / 8e6
    c.debt_us = now_us
    if c.debt_bytes < 0:
        c.debt_bytes = 0


cdef inline bint may_send(const Congestion *c, int64_t now_us) noexcept nogil:
    """What waits: by the pacing rate, with short bursts."""
    return c.debt_bytes <= pacing_bps(c, now_us) * BURST_US / 8e6


cdef inline bint may_pass(const Congestion *c, int64_t now_us) noexcept nogil:
    """What has just come: does it leave without waiting?"""
    if c.count:
        return False
    if estimator_state(c.estimator) != CONGESTION_NORMAL:
        return c.debt_bytes <= base_bps(c) * BURST_US / 8e6
    return c.debt_bytes < OPEN_BURST_BYTES or c.debt_bytes <= base_bps(c) * OPEN_BURST_US / 8e6


cdef void note_sent(Congestion *c, int32_t sequence, uint32_t size, int64_t now_us) noexcept nogil:
    cdef double most = base_bps(c) * MAX_DEBT_US / 8e6
    c.sent_us = now_us
    c.debt_bytes += size + UDP_OVERHEAD
    if c.debt_bytes > most:
        c.debt_bytes = most
    # Feedback never tells of what carries no number, such as sound to Firefox: to the estimator it would be lost.
    if sequence == NO_SEQUENCE:
        return
    estimator_sent(c.estimator, <uint16_t>sequence, size, now_us, c.probe.cluster if c.probing else -1)
    if c.probing:
        c.probe_packets += 1
        c.probe_bytes += size + UDP_OVERHEAD


cdef bint congestion_send(RouterState *s, Transport *t, uint8_t *packet, uint32_t size, SendClass sending) noexcept nogil:
    """Send the protected packet in the current egress buffer, or let it wait. False: no place, it is dropped (counted)."""
    cdef Congestion *c = t.congestion
    cdef int32_t sequence
    if c == NULL:
        egress_commit(s, t, selected_path(t), size)
        return True
    if c.sequenced:
        sequence = c.transport_sequence
    else:
        # Where nothing is numbered the estimator goes by reports, and has to know what was sent.
        sequence = NO_SEQUENCE if c.numbered else estimator_next_sequence(c.estimator)
    c.sequenced = False
    settle_debt(c, s.now_us)
    if sending != SEND_AT_ONCE and c.numbered and not may_pass(c, s.now_us):
        return enqueue(s, t, sequence, packet, size, sending == SEND_PACED_MEDIA)
    note_sent(c, sequence, size, s.now_us)
    egress_commit(s, t, selected_path(t), size)
    return True


cdef bint congestion_may_resend(Congestion *c, uint32_t size, int64_t now_us) noexcept nogil:
    """Whether a retransmission of that size is within their share of the link; it is taken off it."""
    cdef double rate, most
    if c == NULL or not c.numbered:
        return True
    rate = base_bps(c) * RESEND_PERCENT / 100
    most = rate * RESEND_WINDOW_US / 8e6
    c.resend_credit_bytes += rate * <double>(now_us - c.resend_credit_us) / 8e6
    c.resend_credit_us = now_us
    if c.resend_credit_bytes > most:
        c.resend_credit_bytes = most
    if c.resend_credit_bytes < size:
        return False
    c.resend_credit_bytes -= size + UDP_OVERHEAD
    return True


cdef bint congestion_link_loses(const Congestion *c) noexcept nogil:
    """Whether what is lost is the link's doing, so that a retransmission is likely to be lost like any packet."""
    return c != NULL and estimator_link_loses(c.estimator)


cdef void leave_queue(Congestion *c) noexcept nogil:
    """The first one in it, sent or not."""
    cdef const PacedPacket *waiting = &c.queue[c.head]
    c.head = (c.head + 1) & (PACER_PACKETS - 1)
    c.count -= 1
    c.waiting_bytes -= waiting.size + UDP_OVERHEAD
    c.queued_sum_us -= waiting.queued_us


cdef void expire(RouterState *s, Congestion *c, int64_t now_us) noexcept nogil:
    """Drop what has waited too long. Its numbers are used: the receiver may ask for it again."""
    while c.count and now_us - c.queue[c.head].queued_us > MAX_WAIT_US:
        if c.queue[c.head].media:
            s.media_forwarded -= 1
            s.drops[drops.DROP_PACER_EXPIRED] += 1
        leave_queue(c)


cdef bint enqueue(RouterState *s, Transport *t, int32_t sequence, const uint8_t *packet, uint32_t size,
                  bint media) noexcept nogil:
    cdef Congestion *c = t.congestion
    cdef PacedPacket *waiting
    if c.queue == NULL:
        c.queue = <PacedPacket *>malloc(PACER_PACKETS * sizeof(PacedPacket))
    expire(s, c, s.now_us)
    if c.queue == NULL or c.count == PACER_PACKETS or size > PACER_DATAGRAM:
        s.drops[drops.DROP_PACER_FULL] += 1
        return False
    if c.count == 0:
        c.queue_began_us = s.now_us
    waiting = &c.queue[(c.head + c.count) & (PACER_PACKETS - 1)]
    waiting.size = <uint16_t>size
    waiting.transport_sequence = sequence
    waiting.media = media
    waiting.queued_us = s.now_us
    memcpy(waiting.data, packet, size)
    c.count += 1
    c.waiting_bytes += size + UDP_OVERHEAD
    c.queued_sum_us += s.now_us
    c.paced += 1
    wake_pacer(s, t, next_send_us(c, s.now_us))
    return True


cdef int64_t next_send_us(const Congestion *c, int64_t now_us) noexcept nogil:
    """When the debt is small enough for the next packet."""
    cdef double rate = pacing_bps(c, now_us)
    cdef double allowed = rate * BURST_US / 8e6
    if c.debt_bytes <= allowed:
        return now_us
    return now_us + 1 + <int64_t>((c.debt_bytes - allowed) * 8e6 / rate)


cdef bint send_waiting(RouterState *s, Transport *t, int64_t now_us) noexcept nogil:
    """The first in the queue. False: no place for it."""
    cdef Congestion *c = t.congestion
    cdef const PacedPacket *waiting = &c.queue[c.head]
    cdef uint8_t *buffer = egress_buffer(s)
    if buffer == NULL:
        return False
    memcpy(buffer, waiting.data, waiting.size)
    note_sent(c, waiting.transport_sequence, waiting.size, now_us)
    egress_commit(s, t, selected_path(t), waiting.size)
    leave_queue(c)
    return True


cdef void drain(RouterState *s, Transport *t, int64_t now_us) noexcept nogil:
    cdef Congestion *c = t.congestion
    expire(s, c, now_us)
    while c.count and may_send(c, now_us) and egress_has_room(&s.egress, RESERVED_PLACES):
        if not send_waiting(s, t, now_us):
            return


cdef Forwarder *padding_forwarder(Transport *t) noexcept nogil:
    """A video stream with retransmission and transport-wide numbers that has begun: padding travels on its RTX SSRC."""
    cdef Forwarder *f = t.forwarders
    while f != NULL:
        if (f.video and f.rtx_ssrc and f.extension_ids[<int>EXT_TRANSPORT_CC] and f.rewriter.started and f.binding.payload_count
                and f.binding.payloads[0].outgoing_rtx != NO_PAYLOAD_TYPE):
            return f
        f = f.next_of_transport
    return NULL


cdef bint send_padding(RouterState *s, Transport *t, Forwarder *f) noexcept nogil:
    """A packet of nothing but padding. False: it cannot be sent now."""
    cdef uint8_t *buffer = egress_buffer(s)
    cdef uint32_t size
    if buffer == NULL:
        return False
    size = write_padding(f, buffer)
    f.rtx_sequence += 1
    if srtp_protect(t.send_srtp, buffer, &size) != SRTP_OK:
        s.drops[drops.DROP_PROTECT_FAILED] += 1
        return False
    t.congestion.probe_padding += 1
    return congestion_send(s, t, buffer, size, SEND_AT_ONCE)


cdef void probe(RouterState *s, Transport *t, int64_t now_us) noexcept nogil:
    """Send what a running probe lacks so far (what waits before padding, as libwebrtc), and end it when it has all."""
    cdef Congestion *c = t.congestion
    cdef Forwarder *f = padding_forwarder(t)
    cdef int64_t elapsed_us
    cdef double due
    if f == NULL:
        c.probing = False
        return
    if not c.probing:
        if not estimator_probe(c.estimator, now_us, &c.probe):
            return
        c.probing = True
        c.probe_started_us = now_us
        c.probe_packets = 0
        c.probe_bytes = 0
    elapsed_us = now_us - c.probe_started_us
    # One tick's worth ahead: the first packets go out at once.
    due = <double>c.probe.rate_bps * <double>(elapsed_us + PROBE_TICK_US) / 8e6
    while c.probe_bytes < due and egress_has_room(&s.egress, RESERVED_PLACES):
        if c.probe_packets >= c.probe.min_packets and c.probe_bytes >= c.probe.min_bytes:
            break
        if not (send_waiting(s, t, now_us) if c.count else send_padding(s, t, f)):
            break
    if (c.probe_packets >= c.probe.min_packets and c.probe_bytes >= c.probe.min_bytes) or elapsed_us > PROBE_LIMIT_US:
        c.probing = False


cdef void tell(RouterState *s, Transport *t, int64_t now_us) noexcept nogil:
    """Let Python know when the estimate or its state has changed enough."""
    cdef Congestion *c = t.congestion
    cdef int64_t rate = estimator_rate_bps(c.estimator)
    cdef int64_t difference = rate - c.told_bps
    cdef int state = <int>estimator_state(c.estimator)
    if c.estimator.basis == BASIS_START or now_us - c.told_us < TELL_SPACING_US:
        return
    if difference < 0:
        difference = -difference
    if state == c.told_state and difference * 100 <= c.told_bps * TELL_PERCENT:
        return
    c.told_bps = rate
    c.told_state = state
    c.told_us = now_us
    note_transport(s, t, EVENT_ESTIMATE)


cdef void congestion_feedback(RouterState *s, Transport *t, const uint8_t *packet, uint32_t size, int64_t now_us) noexcept nogil:
    """One transport-wide feedback message of the receiver."""
    cdef TransportCcHeader header
    cdef int64_t arrival_us[FEEDBACK_PACKETS]
    cdef Congestion *c = t.congestion
    cdef int count
    if c == NULL:
        return
    count = rtcp_transport_cc(packet, size, &header, arrival_us, FEEDBACK_PACKETS)
    if count < 0:
        s.drops[drops.DROP_MALFORMED] += 1
        return
    estimator_feedback(c.estimator, &header, arrival_us, <uint32_t>count, now_us)
    tell(s, t, now_us)
    if c.count or c.probing or estimator_has_probe(c.estimator):
        wake_pacer(s, t, now_us)


cdef bint congestion_busy(const Congestion *c, int64_t since_us) noexcept nogil:
    return c.count != 0 or c.probing or c.sent_us > since_us


cdef int64_t congestion_tick(RouterState *s, Transport *t, int64_t now_us) noexcept nogil:
    """Estimator's timers, waiting packets, probes. Returns when it is to be called again."""
    cdef Congestion *c = t.congestion
    cdef int64_t next_us
    if c == NULL:
        return INT64_MAX
    if estimator_next_us(c.estimator) <= now_us:
        estimator_tick(c.estimator, now_us)
    settle_debt(c, now_us)
    drain(s, t, now_us)
    probe(s, t, now_us)
    tell(s, t, now_us)
    next_us = estimator_next_us(c.estimator)
    if c.count and next_send_us(c, now_us) < next_us:
        next_us = next_send_us(c, now_us)
    if c.probing and now_us + PROBE_TICK_US < next_us:
        next_us = now_us + PROBE_TICK_US
    # A batch that is full must empty first.
    return next_us if next_us > now_us else now_us + PROBE_TICK_US
