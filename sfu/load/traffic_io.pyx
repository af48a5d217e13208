# SPDX-License-Identifier: Apache-2.0
"""A load client's packets in and out; see traffic_io.pxd."""

from libc.stdint cimport uint8_t, uint16_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from sfu.engine.linux_socket cimport *
from sfu.engine.srtp cimport SRTP_OK, srtcp_protect, srtcp_unprotect, srtp_unprotect
from sfu.engine.transport_cc cimport arrival_log_add, arrival_log_feedback
from sfu.load.program cimport (
    FRAME_PACKETS_MAX, PACKET_ROOM, STAMP_MAGIC, STAMP_SIZE, ProgramFrame, Sender, sender_advance, sender_frame, sender_write,
)
from sfu.load.reception_log cimport (
    ARRIVED_DUPLICATE, MISSING_MAX, ReceptionLog, histogram_add, reception_log_add, reception_log_nacks,
    reception_log_recovered, reception_log_report,
)
from sfu.load.traffic cimport CONTROL_ROOM, CONTROL_SIZE, SPREAD_FRAMES, ControlDatagram, FrameSpread, SsrcEntry
from sfu.wire.bytes cimport read_u16, read_u32, read_u64
from sfu.wire.rtcp cimport (
    PSFB_FIR, PSFB_PLI, RTCP_PSFB, RTCP_RR, RTCP_SR, ReportBlock, RtcpHeader, SenderReport, rtcp_feedback_ssrcs,
    rtcp_fir_entry, rtcp_next, rtcp_report_block, rtcp_sender_report, rtcp_write_nack, rtcp_write_pli, rtcp_write_rr,
    rtcp_write_sdes_cname, rtcp_write_sr,
)
from sfu.wire.rtp cimport RtpHeader, is_rtp_or_rtcp, rtp_parse


cdef extern from *:
    """
    #include <time.h>
    """

cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    enum:
        CLOCK_REALTIME
    int clock_gettime(int clock, timespec *out)

cdef enum:
    BATCH = 64                      # messages of one recvmmsg
    GRO_BATCH = 16
    PLAIN_SIZE = 2048               # bytes
    GRO_SIZE = 65536
    CONTROL_BYTES = 128
    READS = 16                      # of one socket in a row, so that one flood does not starve the others
    RECEIVE_BUFFER = 4 * 1024 * 1024
    RTCP_ROOM = 1400                # bytes
    REPORT_US = 1_000_000
    NACK_CHECK_US = 20_000
    KEYFRAME_SPACING_US = 1_000_000
    REPORT_BLOCKS_MAX = 31          # RFC 3550 §6.4.1
    NTP_EPOCH_S = 2_208_988_800     # seconds from 1900 to 1970, RFC 3550 §4

cdef uint8_t[4] CNAME = [108, 111, 97, 100]


cdef struct AlignedControl:
    uint64_t words[16]              # CONTROL_BYTES


cdef struct Scratch:
    mmsghdr messages[64]
    iovec vectors[64]
    AlignedControl controls[64]
    uint32_t batch
    uint32_t size
    uint8_t *data                   # batch × size
    mmsghdr out_messages[256]       # FRAME_PACKETS_MAX
    iovec out_vectors[256]
    uint8_t out[409600]             # FRAME_PACKETS_MAX × PACKET_ROOM


cdef int64_t wall_now_ns() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_REALTIME, &now)
    return <int64_t>now.tv_sec * 1_000_000_000 + now.tv_nsec


cdef void *scratch_open(bint gro) noexcept nogil:
    cdef Scratch *s = <Scratch *>calloc(1, sizeof(Scratch))
    cdef uint32_t i
    if s == NULL:
        return NULL
    s.batch = GRO_BATCH if gro else BATCH
    s.size = GRO_SIZE if gro else PLAIN_SIZE
    s.data = <uint8_t *>malloc(s.batch * s.size)
    if s.data == NULL:
        free(s)
        return NULL
    for i in range(s.batch):
        s.vectors[i].iov_base = s.data + i * s.size
        s.vectors[i].iov_len = s.size
        s.messages[i].msg_hdr.msg_iov = &s.vectors[i]
        s.messages[i].msg_hdr.msg_iovlen = 1
        s.messages[i].msg_hdr.msg_control = &s.controls[i]
    for i in range(<uint32_t>FRAME_PACKETS_MAX):
        s.out_vectors[i].iov_base = s.out + i * PACKET_ROOM
        s.out_messages[i].msg_hdr.msg_iov = &s.out_vectors[i]
        s.out_messages[i].msg_hdr.msg_iovlen = 1
    return s


cdef void scratch_close(void *scratch) noexcept nogil:
    if scratch != NULL:
        free((<Scratch *>scratch).data)
        free(scratch)


cdef bint socket_prepare(int fd, bint gro) noexcept nogil:
    cdef int on = 1
    cdef int size = RECEIVE_BUFFER
    if setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) != 0:
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size))
    setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof(on))
    if setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) != 0:
        return False
    return not gro or setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof(on)) == 0


# --- receiving ---

cdef inline SsrcEntry *find(const Peer *p, uint32_t ssrc) noexcept nogil:
    cdef uint32_t at = (ssrc * <uint32_t>2654435761) >> 7
    cdef SsrcEntry *entry
    if p.entry_count == 0:
        return NULL
    while True:
        entry = &p.entries[at & p.entry_mask]
        if entry.ssrc == ssrc:
            return entry
        if entry.ssrc == 0:
            return NULL
        at += 1


cdef inline int transport_sequence_of(const Peer *p, const uint8_t *data, uint32_t size) noexcept nogil:
    """From the header extension in one-byte form, which SRTP leaves in the clear; -1 = none."""
    cdef uint32_t at = 12 + 4 * (data[0] & 0x0F)
    cdef uint32_t end, length
    if not data[0] & 0x10 or at + 4 > size or read_u16(data + at) != 0xBEDE:
        return -1
    end = at + 4 + 4 * read_u16(data + at + 2)
    at += 4
    if end > size:
        return -1
    while at < end:
        if data[at] == 0:
            at += 1
            continue
        length = (data[at] & 0x0F) + 1
        if data[at] >> 4 == p.transport_cc_id and length == 2 and at + 2 < end:
            return read_u16(data + at + 1)
        at += 1 + length
    return -1


cdef void note_frame(TrafficState *t, uint8_t group, uint32_t frame, int64_t sent_ns, int64_t arrival_ns) noexcept nogil:
    cdef FrameSpread *spread = &t.spread[group * SPREAD_FRAMES + (frame & (SPREAD_FRAMES - 1))]
    if spread.frame != frame or spread.receivers == 0:
        spread.frame = frame
        spread.receivers = 0
        spread.sent_ns = sent_ns
        spread.first_ns = arrival_ns
        spread.last_ns = arrival_ns
    spread.receivers += 1
    spread.first_ns = min(spread.first_ns, arrival_ns)
    spread.last_ns = max(spread.last_ns, arrival_ns)


cdef void inspect(TrafficState *t, Peer *p, ReceptionLog *log, uint8_t *data, uint32_t size, int64_t arrival_ns) noexcept nogil:
    """Decrypts in place; of a packet with a stamp notes how long it took."""
    cdef RtpHeader header
    cdef const uint8_t *stamp
    cdef int64_t sent_ns
    if srtp_unprotect(p.inbound, data, &size) != SRTP_OK or rtp_parse(data, size, &header):
        log.forged += 1
        return
    log.verified += 1
    if header.payload_size < STAMP_SIZE:
        return
    stamp = data + header.header_size + header.payload_size - STAMP_SIZE
    if read_u32(stamp) != <uint32_t>STAMP_MAGIC:
        return
    sent_ns = <int64_t>read_u64(stamp + 8)
    histogram_add(&t.latency[log.group], (arrival_ns - sent_ns) // 1000)
    if header.marker:
        note_frame(t, log.group, read_u32(stamp + 4), sent_ns, arrival_ns)


cdef void take_retransmission(Peer *p, ReceptionLog *log, uint8_t *data, uint32_t size) noexcept nogil:
    """RFC 4588: the original sequence number stands before the payload. Probes of padding have none."""
    cdef RtpHeader header
    log.retransmissions += 1
    if srtp_unprotect(p.inbound, data, &size) != SRTP_OK or rtp_parse(data, size, &header):
        log.forged += 1
        return
    log.verified += 1
    if header.payload_size >= 2:
        reception_log_recovered(log, read_u16(data + header.header_size))


cdef void take_rtp(TrafficState *t, Peer *p, uint8_t *data, uint32_t size, int64_t arrival_ns) noexcept nogil:
    cdef SsrcEntry *entry
    cdef ReceptionLog *log
    cdef bint marker = data[1] >> 7
    cdef int sequence
    t.received += 1
    t.received_bytes += size
    p.datagrams += 1
    if p.transport_cc_id and p.arrivals != NULL:
        sequence = transport_sequence_of(p, data, size)
        if sequence >= 0:
            arrival_log_add(p.arrivals, <uint16_t>sequence, arrival_ns // 1000)
            p.feedback_due = True
    entry = find(p, read_u32(data + 8))
    if entry == NULL:
        p.unknown += 1
        return
    log = entry.log
    if entry.rtx:
        take_retransmission(p, log, data, size)
        return
    if reception_log_add(log, read_u16(data + 2), read_u32(data + 4), size, marker, arrival_ns // 1000) == ARRIVED_DUPLICATE:
        return
    if t.sample_every and ((marker and t.sample_markers) or log.packets % t.sample_every == 0):
        inspect(t, p, log, data, size, arrival_ns)


cdef void take_control(TrafficState *t, uint32_t number, uint32_t generation, const uint8_t *data, uint32_t size) noexcept nogil:
    cdef ControlDatagram *slot
    if t.control_in - t.control_out == CONTROL_ROOM or size > CONTROL_SIZE:
        t.control_lost += 1
        return
    slot = &t.control[t.control_in & (CONTROL_ROOM - 1)]
    slot.peer = number
    slot.generation = generation
    slot.size = size
    memcpy(slot.data, data, size)
    t.control_in += 1


cdef Sender *find_sender(Peer *p, uint32_t ssrc) noexcept nogil:
    cdef uint32_t i
    for i in range(p.sender_count):
        if p.senders[i].ssrc == ssrc:
            return p.senders[i]
    return NULL


cdef void want_keyframe(Peer *p, uint32_t ssrc) noexcept nogil:
    cdef Sender *sender = find_sender(p, ssrc)
    if sender != NULL and sender.video:
        sender.keyframe_requests += 1
        sender.keyframe_wanted = True


cdef void take_sender_report(Peer *p, const uint8_t *packet, uint32_t size, int64_t arrival_us) noexcept nogil:
    cdef SenderReport report
    cdef SsrcEntry *entry
    if rtcp_sender_report(packet, size, &report):
        return
    entry = find(p, report.ssrc)
    if entry != NULL and not entry.rtx:
        entry.log.last_sr = <uint32_t>((report.ntp >> 16) & <uint64_t>0xFFFFFFFF)
        entry.log.last_sr_us = arrival_us


cdef void take_report_blocks(Peer *p, const uint8_t *packet, const RtcpHeader *header) noexcept nogil:
    cdef ReportBlock block
    cdef Sender *sender
    cdef uint32_t i
    for i in range(header.count):
        if rtcp_report_block(packet, header.size, i, &block):
            return
        sender = find_sender(p, block.ssrc)
        if sender != NULL:
            sender.reported = True


cdef void take_keyframe_requests(Peer *p, const uint8_t *packet, const RtcpHeader *header) noexcept nogil:
    cdef uint32_t from_ssrc, ssrc
    cdef uint32_t index = 0
    cdef uint8_t command
    if header.count == PSFB_PLI:
        if rtcp_feedback_ssrcs(packet, header.size, &from_ssrc, &ssrc) == 0:
            want_keyframe(p, ssrc)
    elif header.count == PSFB_FIR:
        while rtcp_fir_entry(packet, header.size, index, &ssrc, &command) == 0:
            want_keyframe(p, ssrc)
            index += 1


cdef void take_rtcp(Peer *p, uint8_t *data, uint32_t size, int64_t arrival_us) noexcept nogil:
    cdef RtcpHeader header
    cdef uint32_t offset = 0
    cdef uint32_t start
    if srtcp_unprotect(p.inbound, data, &size) != SRTP_OK:
        p.bad_rtcp += 1
        return
    while True:
        start = offset
        if rtcp_next(data, size, &offset, &header) != 1:
            return
        if header.packet_type == RTCP_SR:
            take_sender_report(p, data + start, header.size, arrival_us)
        if header.packet_type == RTCP_SR or header.packet_type == RTCP_RR:
            take_report_blocks(p, data + start, &header)
        elif header.packet_type == RTCP_PSFB:
            take_keyframe_requests(p, data + start, &header)


cdef inline void take(TrafficState *t, Peer *p, uint32_t number, uint8_t *data, uint32_t size, int64_t arrival_ns) noexcept nogil:
    """RFC 7983 tells media from the rest, RFC 5761 RTCP from RTP."""
    if size < 12 or not is_rtp_or_rtcp(data[0]):
        take_control(t, number, p.generation, data, size)
    elif 192 <= data[1] <= 223:
        take_rtcp(p, data, size, arrival_ns // 1000)
    else:
        take_rtp(t, p, data, size, arrival_ns)


cdef void take_message(TrafficState *t, Peer *p, uint32_t number, mmsghdr *message, int64_t now_ns) noexcept nogil:
    """One message, of several packets where the kernel joined them."""
    cdef cmsghdr *at = CMSG_FIRSTHDR(&message.msg_hdr)
    cdef uint8_t *data = <uint8_t *>message.msg_hdr.msg_iov.iov_base
    cdef uint32_t left = message.msg_len
    cdef int segment = 0
    cdef uint32_t dropped
    cdef timespec stamp
    cdef uint32_t size
    while at != NULL:
        if at.cmsg_level == SOL_SOCKET and at.cmsg_type == SO_TIMESTAMPNS:
            memcpy(&stamp, CMSG_DATA(at), sizeof(stamp))
            now_ns = <int64_t>stamp.tv_sec * 1_000_000_000 + stamp.tv_nsec
        elif at.cmsg_level == IPPROTO_UDP and at.cmsg_type == UDP_GRO:
            memcpy(&segment, CMSG_DATA(at), sizeof(segment))
        elif at.cmsg_level == SOL_SOCKET and at.cmsg_type == SO_RXQ_OVFL:
            memcpy(&dropped, CMSG_DATA(at), sizeof(dropped))
            t.kernel_dropped += dropped - p.kernel_dropped
            p.kernel_dropped = dropped
        at = CMSG_NXTHDR(&message.msg_hdr, at)
    if message.msg_hdr.msg_flags & MSG_TRUNC:
        return
    while left:
        size = left if segment <= 0 else min(<uint32_t>segment, left)
        take(t, p, number, data, size, now_ns)
        data += size
        left -= size


cdef void peer_receive(TrafficState *t, Peer *p, uint32_t number) noexcept nogil:
    cdef Scratch *s = <Scratch *>t.scratch
    cdef int64_t now_ns
    cdef uint32_t i
    cdef int reads, got
    for reads in range(READS):
        for i in range(s.batch):
            s.messages[i].msg_hdr.msg_controllen = CONTROL_BYTES
            s.messages[i].msg_hdr.msg_flags = 0
        got = recvmmsg(p.fd, s.messages, s.batch, MSG_DONTWAIT, NULL)
        if got <= 0:
            return
        now_ns = wall_now_ns()
        for i in range(<uint32_t>got):
            take_message(t, p, number, &s.messages[i], now_ns)
        if <uint32_t>got < s.batch:
            return


# --- sending ---

cdef void send_frame(TrafficState *t, Peer *p, Sender *sender) noexcept nogil:
    cdef Scratch *s = <Scratch *>t.scratch
    cdef int64_t wall_ns = wall_now_ns()
    cdef const ProgramFrame *frame = sender_frame(sender)
    cdef uint32_t i, size
    cdef uint32_t count = 0
    cdef uint32_t done = 0
    cdef int sent
    for i in range(frame.count):
        size = sender_write(sender, frame, i, &p.transport_sequence, wall_ns, p.outbound, s.out + count * PACKET_ROOM)
        if size:
            s.out_vectors[count].iov_len = size
            count += 1
    while done < count:
        sent = sendmmsg(p.fd, &s.out_messages[done], count - done, MSG_DONTWAIT | MSG_NOSIGNAL)
        if sent <= 0:
            sender.failed += 1
            t.send_failures += 1
            done += 1
        else:
            t.sent += sent
            done += <uint32_t>sent


cdef void peer_send(TrafficState *t, Peer *p, int64_t now_us) noexcept nogil:
    cdef Sender *sender
    cdef uint32_t i
    for i in range(p.sender_count):
        sender = p.senders[i]
        if not sender.active:
            continue
        while sender.due_us <= now_us:
            t.latest_us = max(t.latest_us, now_us - sender.due_us)
            send_frame(t, p, sender)
            sender_advance(sender, &sender.frames[sender.at], now_us)
        t.next_due_us = min(t.next_due_us, sender.due_us)


# --- what goes out by itself ---

cdef void send_rtcp(TrafficState *t, Peer *p, uint8_t *packet, uint32_t size) noexcept nogil:
    """`packet` has room for SRTP behind it."""
    cdef mmsghdr message
    cdef iovec vector
    if size == 0 or srtcp_protect(p.outbound, packet, &size) != SRTP_OK:
        return
    memset(&message, 0, sizeof(message))
    vector.iov_base = packet
    vector.iov_len = size
    message.msg_hdr.msg_iov = &vector
    message.msg_hdr.msg_iovlen = 1
    if sendmmsg(p.fd, &message, 1, MSG_DONTWAIT | MSG_NOSIGNAL) != 1:
        t.send_failures += 1


cdef void feed_back(TrafficState *t, Peer *p) noexcept nogil:
    cdef uint8_t packet[1500]       # RTCP_ROOM and SRTP_MAX_GROWTH
    cdef uint32_t size
    while True:
        size = arrival_log_feedback(p.arrivals, packet, RTCP_ROOM, p.report_ssrc, 0)
        if size == 0:
            return
        send_rtcp(t, p, packet, size)


cdef void send_sender_report(TrafficState *t, Peer *p, Sender *sender, int64_t now_us, int64_t wall_us) noexcept nogil:
    cdef uint8_t packet[1500]
    cdef SenderReport report
    cdef uint64_t seconds = <uint64_t>(wall_us // 1_000_000 + NTP_EPOCH_S)
    cdef int64_t media_us = sender.media_us + now_us - sender.due_us
    cdef uint32_t size
    report.ssrc = sender.ssrc
    report.ntp = (seconds << 32) | ((<uint64_t>(wall_us % 1_000_000) << 32) // 1_000_000)
    report.rtp_timestamp = sender.timestamp_base + <uint32_t>(
        (media_us * sender.clock_rate_hz // 1_000_000) & <int64_t>0xFFFFFFFF)
    report.packet_count = <uint32_t>sender.packets_sent
    report.octet_count = <uint32_t>sender.octets_sent
    size = rtcp_write_sr(packet, RTCP_ROOM, &report, NULL, 0)
    size += rtcp_write_sdes_cname(packet + size, RTCP_ROOM - size, sender.ssrc, CNAME, 4)
    send_rtcp(t, p, packet, size)


cdef void send_receiver_reports(TrafficState *t, Peer *p, int64_t wall_us) noexcept nogil:
    cdef uint8_t packet[1500]
    cdef ReportBlock blocks[31]     # REPORT_BLOCKS_MAX
    cdef uint32_t count = 0
    cdef uint32_t i, size
    for i in range(p.log_count):
        if reception_log_report(p.logs[i], wall_us, &blocks[count]):
            count += 1
        if count and (count == REPORT_BLOCKS_MAX or i + 1 == p.log_count):
            size = rtcp_write_rr(packet, RTCP_ROOM, p.report_ssrc, blocks, count)
            size += rtcp_write_sdes_cname(packet + size, RTCP_ROOM - size, p.report_ssrc, CNAME, 4)
            send_rtcp(t, p, packet, size)
            count = 0


cdef void ask_again(TrafficState *t, Peer *p, int64_t now_us, int64_t wall_us) noexcept nogil:
    """Retransmissions of what is missing, and a keyframe where some of it will not come any more."""
    cdef uint8_t packet[1500]
    cdef uint16_t sequences[64]     # MISSING_MAX
    cdef ReceptionLog *log
    cdef uint64_t given_up
    cdef uint32_t i, count
    for i in range(p.log_count):
        log = p.logs[i]
        if log.missing_count == 0 or log.rtx_ssrc == 0:
            continue
        given_up = log.given_up
        count = reception_log_nacks(log, wall_us, sequences, MISSING_MAX)
        if count:
            send_rtcp(t, p, packet, rtcp_write_nack(packet, RTCP_ROOM, p.report_ssrc, log.ssrc, sequences, count))
        if log.given_up > given_up and now_us - p.keyframe_asked_us >= KEYFRAME_SPACING_US:
            p.keyframe_asked_us = now_us
            send_rtcp(t, p, packet, rtcp_write_pli(packet, RTCP_ROOM, p.report_ssrc, log.ssrc))


cdef void peer_care(TrafficState *t, Peer *p, int64_t now_us, int64_t wall_us) noexcept nogil:
    cdef uint32_t i
    if p.feedback_due and now_us >= p.feedback_us:
        p.feedback_due = False
        p.feedback_us = now_us + t.feedback_us
        feed_back(t, p)
    if p.nack and now_us >= p.nack_us:
        p.nack_us = now_us + NACK_CHECK_US
        ask_again(t, p, now_us, wall_us)
    if now_us >= p.report_us:
        p.report_us = now_us + REPORT_US
        for i in range(p.sender_count):
            if p.senders[i].packets_sent:
                send_sender_report(t, p, p.senders[i], now_us, wall_us)
        send_receiver_reports(t, p, wall_us)
