# SPDX-License-Identifier: Apache-2.0
"""The load client's thread and its Python face; see traffic.pxd."""

import os
import random
import threading

from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from sfu.engine.atomic cimport pysfu_load, pysfu_store
from sfu.engine.handover cimport (
    handover_control_lock, handover_control_unlock, handover_destroy, handover_init, handover_worker_lock,
    handover_worker_unlock,
)
from sfu.engine.srtp cimport srtp_close, srtp_open
from sfu.engine.thread_priority cimport prefer_this_thread
from sfu.engine.transport_cc cimport arrival_log_init
from sfu.load.picture_log cimport picture_log_look, picture_log_pause
from sfu.load.program cimport SDES_MAX, Program, sender_init
from sfu.load.reception_log cimport HISTOGRAM_BUCKETS, reception_log_init, reception_log_lost
from sfu.load.traffic_io cimport peer_care, peer_receive, peer_send, scratch_close, scratch_open, socket_prepare

from sfu.load.counts import FrameArrival, Latency, SenderCounts, StreamCounts, TrafficTotals

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    enum:
        EPOLLIN, EPOLLET, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CLOEXEC
    int epoll_create1(int flags)
    int epoll_ctl(int epoll_fd, int operation, int fd, epoll_event *event)
    int epoll_wait(int epoll_fd, epoll_event *events, int capacity, int timeout_ms)

cdef extern from "<sys/eventfd.h>" nogil:
    int EFD_NONBLOCK
    int EFD_CLOEXEC
    int eventfd(unsigned int value, int flags)
    int eventfd_write(int fd, uint64_t value)
    int eventfd_read(int fd, uint64_t *value)

cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    enum:
        CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_THREAD_CPUTIME_ID
    int clock_gettime(int clock, timespec *out)
    int nanosleep(const timespec *duration, timespec *left)

cdef extern from "<sys/prctl.h>" nogil:
    enum:
        PR_SET_TIMERSLACK
    int prctl(int option, unsigned long value)

cdef extern from "<unistd.h>" nogil:
    int c_close "close"(int fd)

cdef enum:
    EVENTS = 256
    CARE_US = 5_000                 # between two looks at what is due of feedback and reports
    IDLE_US = 1_000_000_000


cdef int64_t clock_ns(int clock) noexcept nogil:
    cdef timespec now
    clock_gettime(clock, &now)
    return <int64_t>now.tv_sec * 1_000_000_000 + now.tv_nsec


cdef void run(TrafficState *t) noexcept nogil:
    cdef int64_t now_us, pause_us
    cdef timespec pause
    cdef bint more
    prctl(PR_SET_TIMERSLACK, 1)
    prefer_this_thread()       # what Python's part of the bots waits for is not to be measured as the server's latency
    while pysfu_load(&t.running):
        handover_worker_lock(&t.lock)
        send_due(t)
        more = receive_some(t)
        now_us = clock_ns(CLOCK_MONOTONIC) // 1000
        if now_us >= t.next_care_us:
            t.next_care_us = now_us + CARE_US
            care(t, now_us)
        if t.control_in != t.control_out and not t.signalled:
            t.signalled = True
            eventfd_write(t.event_fd, 1)
        t.cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID)
        pause_us = min(t.poll_us, t.next_due_us - clock_ns(CLOCK_MONOTONIC) // 1000)
        handover_worker_unlock(&t.lock)
        if pause_us > 0 and not more:
            pause.tv_sec = 0
            pause.tv_nsec = pause_us * 1000
            nanosleep(&pause, NULL)


cdef void send_due(TrafficState *t) noexcept nogil:
    cdef int64_t now_us = clock_ns(CLOCK_MONOTONIC) // 1000
    cdef uint32_t i
    if now_us < t.next_due_us:
        return
    t.next_due_us = now_us + IDLE_US
    for i in range(t.peer_count):
        if t.peers[i] != NULL and t.peers[i].sender_count:
            peer_send(t, t.peers[i], now_us)


cdef bint receive_some(TrafficState *t) noexcept nogil:
    """Returns whether more sockets may be ready than were looked at."""
    cdef epoll_event events[EVENTS]
    cdef int ready = epoll_wait(t.epoll_fd, events, EVENTS, 0)
    cdef uint32_t number
    cdef Peer *p
    cdef int i
    for i in range(ready):
        number = <uint32_t>(events[i].data.u64 & <uint64_t>0xFFFFFFFF)
        p = t.peers[number]
        if p != NULL and p.generation == <uint32_t>(events[i].data.u64 >> 32):
            peer_receive(t, p, number)
    return ready == EVENTS


cdef void care(TrafficState *t, int64_t now_us) noexcept nogil:
    cdef int64_t wall_us = clock_ns(CLOCK_REALTIME) // 1000
    cdef uint32_t i
    for i in range(t.peer_count):
        if t.peers[i] != NULL:
            peer_care(t, t.peers[i], now_us, wall_us)


cdef void peer_free(Peer *p) noexcept nogil:
    cdef uint32_t i
    if p == NULL:
        return
    if p.fd >= 0:
        c_close(p.fd)
    srtp_close(p.inbound)
    srtp_close(p.outbound)
    for i in range(p.log_count):
        free(p.logs[i])
    for i in range(p.sender_count):
        free(p.senders[i])
    free(p.logs)
    free(p.senders)
    free(p.entries)
    free(p.arrivals)
    free(p)


cdef void insert(SsrcEntry *entries, uint32_t mask, const SsrcEntry *entry) noexcept nogil:
    cdef uint32_t at = (entry.ssrc * <uint32_t>2654435761) >> 7
    while entries[at & mask].ssrc:
        at += 1
    entries[at & mask] = entry[0]


cdef int add_entry(Peer *p, uint32_t ssrc, bint rtx, ReceptionLog *log) except -1:
    """At most half of the places are taken."""
    cdef uint32_t places = p.entry_mask + 1 if p.entry_count else 0
    cdef SsrcEntry *grown
    cdef SsrcEntry entry
    cdef uint32_t i
    if 2 * (p.entry_count + 1) > places:
        grown = <SsrcEntry *>calloc(max(2 * places, 8), sizeof(SsrcEntry))
        if grown == NULL:
            raise MemoryError
        for i in range(places):
            if p.entries[i].ssrc:
                insert(grown, max(2 * places, <uint32_t>8) - 1, &p.entries[i])
        free(p.entries)
        p.entries = grown
        p.entry_mask = max(2 * places, <uint32_t>8) - 1
    entry.ssrc = ssrc
    entry.rtx = rtx
    entry.log = log
    insert(p.entries, p.entry_mask, &entry)
    p.entry_count += 1
    return 0


cdef class Traffic:
    """`add_peer` after its DTLS, `add_stream` for what it receives, `add_sender` for what it sends; `start` and `stop`.

    Control datagrams (STUN, DTLS) are read by `take_control` when `fileno` is readable.
    """

    cdef TrafficState state
    cdef object _thread
    cdef object _random
    cdef set _programs          # which senders play

    def __cinit__(self, *, bint gro=False, int sample_every=16, bint sample_markers=False, int64_t poll_us=1000,
                  int64_t feedback_ms=50):
        cdef TrafficState *t = &self.state
        memset(t, 0, sizeof(TrafficState))
        t.epoll_fd = epoll_create1(EPOLL_CLOEXEC)
        t.event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
        if handover_init(&t.lock) or t.epoll_fd < 0 or t.event_fd < 0:
            raise OSError("no descriptors for a load client: raise the limit of open files (ulimit -n)")
        t.gro = gro
        t.sample_every = max(sample_every, 0)
        t.sample_markers = sample_markers
        t.poll_us = min(max(poll_us, 100), 500_000)
        t.feedback_us = feedback_ms * 1000
        t.next_due_us = clock_ns(CLOCK_MONOTONIC) // 1000 + IDLE_US
        t.spread = <FrameSpread *>calloc(GROUPS * SPREAD_FRAMES, sizeof(FrameSpread))
        t.control = <ControlDatagram *>calloc(CONTROL_ROOM, sizeof(ControlDatagram))
        t.scratch = scratch_open(gro)
        if t.spread == NULL or t.control == NULL or t.scratch == NULL:
            raise MemoryError
        self._programs = set()
        self._random = random.Random()

    def __dealloc__(self):
        cdef TrafficState *t = &self.state
        cdef uint32_t i
        for i in range(t.peer_count):
            peer_free(t.peers[i])
        if t.epoll_fd > 0:
            c_close(t.epoll_fd)
        if t.event_fd > 0:
            c_close(t.event_fd)
        free(t.spread)
        free(t.control)
        scratch_close(t.scratch)

    def start(self):
        if self._thread is not None:
            raise ValueError("this load client was started before")
        pysfu_store(&self.state.running, 1)
        self._thread = threading.Thread(target=self._run, name="load-traffic", daemon=True)
        self._thread.start()

    def _run(self):
        with nogil:
            run(&self.state)

    def stop(self):
        """End the thread and wait for it. What was counted can still be read."""
        pysfu_store(&self.state.running, 0)
        if self._thread is not None:
            self._thread.join()

    def fileno(self):
        """Readable while control datagrams wait."""
        return self.state.event_fd

    def take_control(self):
        """[(peer, datagram), ...]; of peers that are gone, none."""
        cdef TrafficState *t = &self.state
        cdef uint64_t ignored
        cdef ControlDatagram *slot
        taken = []
        handover_control_lock_nogil(t)
        try:
            eventfd_read(t.event_fd, &ignored)
            t.signalled = False
            while t.control_out != t.control_in:
                slot = &t.control[t.control_out & (CONTROL_ROOM - 1)]
                if t.peers[slot.peer] != NULL and t.peers[slot.peer].generation == slot.generation:
                    taken.append((slot.peer, (<const char *>slot.data)[:slot.size]))
                t.control_out += 1
        finally:
            handover_control_unlock(&t.lock)
        return taken

    # Peers

    def add_peer(self, int fd, int profile, const uint8_t[::1] receive_key, const uint8_t[::1] send_key, *,
                 uint32_t report_ssrc=1, int transport_cc_id=0, bint nack=True):
        """Its number. `fd` is a connected, non-blocking UDP socket, which is duplicated; `transport_cc_id`: the header
        extension of what it receives, 0 where it gives no feedback.
        """
        cdef TrafficState *t = &self.state
        cdef Peer *p = <Peer *>calloc(1, sizeof(Peer))
        cdef uint32_t number
        if p == NULL:
            raise MemoryError
        p.fd = -1
        p.inbound = srtp_open(profile, &receive_key[0], <uint32_t>receive_key.shape[0], False)
        p.outbound = srtp_open(profile, &send_key[0], <uint32_t>send_key.shape[0], True)
        if transport_cc_id:
            p.arrivals = <ArrivalLog *>calloc(1, sizeof(ArrivalLog))
        if p.inbound == NULL or p.outbound == NULL or (transport_cc_id and p.arrivals == NULL):
            peer_free(p)
            raise ValueError(f"SRTP profile {profile} with keys of {len(receive_key)} and {len(send_key)} bytes")
        if transport_cc_id:
            arrival_log_init(p.arrivals)
        p.transport_cc_id = <uint8_t>transport_cc_id
        p.report_ssrc = report_ssrc
        p.nack = nack
        p.transport_sequence = 1
        p.report_us = clock_ns(CLOCK_MONOTONIC) // 1000 + self._random.randrange(1_000_000)
        try:
            p.fd = os.dup(fd)
            if not socket_prepare(p.fd, t.gro):
                raise OSError("the kernel gives no arrival times, or joins no datagrams (UDP_GRO)")
            number = self._place(p)
        except BaseException:
            peer_free(p)
            raise
        return number

    cdef uint32_t _place(self, Peer *p) except? 0xFFFFFFFF:
        cdef TrafficState *t = &self.state
        cdef epoll_event event
        cdef uint32_t number = 0
        cdef int failed = 0
        handover_control_lock_nogil(t)
        while number < t.peer_count and t.peers[number] != NULL:
            number += 1
        if number < PEERS_MAX:
            t.next_generation += 1
            p.generation = t.next_generation
            event.events = EPOLLIN | EPOLLET
            event.data.u64 = (<uint64_t>p.generation << 32) | number
            failed = epoll_ctl(t.epoll_fd, EPOLL_CTL_ADD, p.fd, &event)
            if not failed:
                t.peers[number] = p
                t.peer_count = max(t.peer_count, number + 1)
        handover_control_unlock(&t.lock)
        if number == PEERS_MAX or failed:
            raise OSError(f"a load client takes at most {PEERS_MAX} peers with a socket each")
        return number

    def remove_peer(self, uint32_t number):
        """Its socket is let go of; its counts are gone."""
        cdef TrafficState *t = &self.state
        cdef Peer *p
        self._peer(number)
        handover_control_lock_nogil(t)
        p = t.peers[number]
        t.peers[number] = NULL
        handover_control_unlock(&t.lock)
        epoll_ctl(t.epoll_fd, EPOLL_CTL_DEL, p.fd, NULL)
        peer_free(p)

    cdef Peer *_peer(self, uint32_t number) except NULL:
        if number >= self.state.peer_count or self.state.peers[number] == NULL:
            raise ValueError(f"there is no peer {number}")
        return self.state.peers[number]

    def add_stream(self, uint32_t number, uint32_t ssrc, uint32_t clock_rate_hz, *, uint32_t rtx_ssrc=0, int group=0):
        """Count what the peer receives on these SSRCs. `group` (0 to 7) is the histogram of its latencies."""
        cdef Peer *p = self._peer(number)
        cdef ReceptionLog *log
        cdef ReceptionLog **grown
        if not 0 <= group < GROUPS or ssrc == 0:
            raise ValueError(f"groups are 0 to {GROUPS - 1}, and an SSRC is not 0")
        log = <ReceptionLog *>calloc(1, sizeof(ReceptionLog))
        grown = <ReceptionLog **>calloc(p.log_count + 1, sizeof(ReceptionLog *))
        if log == NULL or grown == NULL:
            free(log)
            free(grown)
            raise MemoryError
        reception_log_init(log, ssrc, rtx_ssrc, clock_rate_hz, <uint8_t>group)
        handover_control_lock_nogil(&self.state)
        try:
            if p.log_count:
                memcpy(grown, p.logs, p.log_count * sizeof(ReceptionLog *))
            grown[p.log_count] = log
            free(p.logs)
            p.logs = grown
            p.log_count += 1
            add_entry(p, ssrc, False, log)
            if rtx_ssrc:
                add_entry(p, rtx_ssrc, True, log)
        finally:
            handover_control_unlock(&self.state.lock)

    def add_sender(self, uint32_t number, Program program not None, *, uint32_t ssrc, int payload_type,
                   uint32_t clock_rate_hz, bint video, bytes mid=b"", bytes rid=b"", int mid_id=0, int rid_id=0,
                   int transport_cc_id=0, int abs_send_time_id=0, int audio_level_id=0, int audio_level=0,
                   int64_t delay_us=0, bint stamped=True):
        """The peer plays `program` from now on (after `delay_us`). Header extension ids that are 0 are not sent. A stamp takes
        the end of each payload; who decodes it wants it without (`stamped`).
        """
        cdef Peer *p = self._peer(number)
        cdef Sender *sender
        cdef Sender **grown
        if len(mid) > SDES_MAX or len(rid) > SDES_MAX:
            raise ValueError(f"mid and rid have at most {SDES_MAX} bytes")
        sender = <Sender *>calloc(1, sizeof(Sender))
        grown = <Sender **>calloc(p.sender_count + 1, sizeof(Sender *))
        if sender == NULL or grown == NULL:
            free(sender)
            free(grown)
            raise MemoryError
        sender_init(sender, program)
        sender.ssrc = ssrc
        sender.payload_type = <uint8_t>payload_type
        sender.clock_rate_hz = clock_rate_hz
        sender.video = video
        sender.stamped = stamped
        sender.mid_id, sender.rid_id, sender.transport_cc_id = mid_id, rid_id, transport_cc_id
        sender.abs_send_time_id, sender.audio_level_id, sender.audio_level = abs_send_time_id, audio_level_id, audio_level
        sender.mid_size, sender.rid_size = len(mid), len(rid)
        memcpy(sender.mid, <const char *>mid, len(mid))
        memcpy(sender.rid, <const char *>rid, len(rid))
        # Below 2^15, so that SRTP's rollover counter is never guessed wrongly (RFC 3711 §3.3.1).
        sender.sequence = self._random.randrange(1 << 15)
        sender.timestamp_base = self._random.randrange(1 << 32)
        sender.picture_id = self._random.randrange(1 << 15)
        self._programs.add(program)
        handover_control_lock_nogil(&self.state)
        sender.due_us = clock_ns(CLOCK_MONOTONIC) // 1000 + delay_us
        self.state.next_due_us = min(self.state.next_due_us, sender.due_us)
        if p.sender_count:
            memcpy(grown, p.senders, p.sender_count * sizeof(Sender *))
        grown[p.sender_count] = sender
        free(p.senders)
        p.senders = grown
        p.sender_count += 1
        handover_control_unlock(&self.state.lock)

    def set_sender_active(self, uint32_t number, uint32_t ssrc, bint active):
        """A sender that comes back begins with a keyframe."""
        cdef Peer *p = self._peer(number)
        cdef Sender *sender
        cdef int64_t now_us
        cdef uint32_t i
        handover_control_lock_nogil(&self.state)
        now_us = clock_ns(CLOCK_MONOTONIC) // 1000
        for i in range(p.sender_count):
            sender = p.senders[i]
            if sender.ssrc == ssrc and sender.active != active:
                sender.active = active
                if active:
                    sender.media_us += max(0, now_us - sender.due_us)
                    sender.due_us = max(sender.due_us, now_us)
                    sender.keyframe_wanted = sender.video
                    sender.talking = False
                    self.state.next_due_us = min(self.state.next_due_us, sender.due_us)
        handover_control_unlock(&self.state.lock)

    def set_sender_level(self, uint32_t number, uint32_t ssrc, int audio_level):
        """From now on the microphone says so (RFC 6464, the voice bit included)."""
        cdef Peer *p = self._peer(number)
        cdef uint32_t i
        handover_control_lock_nogil(&self.state)
        for i in range(p.sender_count):
            if p.senders[i].ssrc == ssrc:
                p.senders[i].audio_level = <uint8_t>audio_level
        handover_control_unlock(&self.state.lock)

    def pause_stream(self, uint32_t number, uint32_t ssrc):
        """No picture is expected on this SSRC: until the next frame, nothing is a freeze."""
        cdef Peer *p = self._peer(number)
        cdef uint32_t i
        handover_control_lock_nogil(&self.state)
        for i in range(p.log_count):
            if p.logs[i].ssrc == ssrc:
                picture_log_pause(&p.logs[i].picture)
        handover_control_unlock(&self.state.lock)

    # What was counted

    def streams(self, uint32_t number):
        """[StreamCounts, ...] of what the peer receives."""
        cdef Peer *p = self._peer(number)
        cdef ReceptionLog *log
        cdef uint32_t i
        cdef int64_t wall_us = clock_ns(CLOCK_REALTIME) // 1000
        found = []
        handover_control_lock_nogil(&self.state)
        try:
            for i in range(p.log_count):
                log = p.logs[i]
                picture_log_look(&log.picture, wall_us)
                found.append(StreamCounts(
                    log.ssrc, log.group, log.packets, log.bytes, log.frames, reception_log_lost(log), log.duplicates,
                    log.late, log.recovered, log.retransmissions, log.nacks, log.given_up, log.verified, log.forged,
                    log.first_us, log.last_us, log.jitter * 1000 / log.clock_rate_hz, log.picture.first_us,
                    log.picture.freezes, log.picture.frozen_us, log.picture.watched_us))
        finally:
            handover_control_unlock(&self.state.lock)
        return found

    def senders(self, uint32_t number):
        """[SenderCounts, ...] of what the peer sends."""
        cdef Peer *p = self._peer(number)
        cdef Sender *sender
        cdef uint32_t i
        found = []
        handover_control_lock_nogil(&self.state)
        try:
            for i in range(p.sender_count):
                sender = p.senders[i]
                found.append(SenderCounts(
                    sender.ssrc, sender.packets_sent, sender.octets_sent, sender.frames_sent, sender.keyframes_sent,
                    sender.keyframe_requests, sender.skipped, sender.failed))
        finally:
            handover_control_unlock(&self.state.lock)
        return found

    def totals(self):
        """TrafficTotals since the beginning."""
        cdef TrafficState *t = &self.state
        cdef uint64_t unknown = 0
        cdef uint64_t bad_rtcp = 0
        cdef uint32_t i
        handover_control_lock_nogil(t)
        try:
            for i in range(t.peer_count):
                if t.peers[i] != NULL:
                    unknown += t.peers[i].unknown
                    bad_rtcp += t.peers[i].bad_rtcp
            return TrafficTotals(t.received, t.received_bytes, t.sent, t.send_failures, unknown, bad_rtcp,
                                 t.kernel_dropped, t.control_lost, t.cpu_ns, t.latest_us)
        finally:
            handover_control_unlock(&t.lock)

    def latency(self, int group=0):
        """Latency of the sampled packets of a group since `reset_latency`: from before SRTP at the sender to the kernel
        of the receiver.
        """
        cdef TrafficState *t = &self.state
        if not 0 <= group < GROUPS:
            raise ValueError(f"groups are 0 to {GROUPS - 1}")
        handover_control_lock_nogil(t)
        try:
            counts = [t.latency[group].counts[i] for i in range(HISTOGRAM_BUCKETS)]
            return Latency(counts, t.latency[group].total, t.latency[group].highest_us)
        finally:
            handover_control_unlock(&t.lock)

    def frames(self, int group=0):
        """[FrameArrival, ...]: the last 1,024 frames of a group that has one sender of video, as all receivers got their
        last packets. Needs `sample_markers`.
        """
        cdef TrafficState *t = &self.state
        cdef FrameSpread *spread
        if not 0 <= group < GROUPS:
            raise ValueError(f"groups are 0 to {GROUPS - 1}")
        found = []
        handover_control_lock_nogil(t)
        try:
            for i in range(SPREAD_FRAMES):
                spread = &t.spread[group * SPREAD_FRAMES + i]
                if spread.receivers:
                    found.append(FrameArrival(
                        spread.frame, spread.receivers, (spread.first_ns - spread.sent_ns) / 1000,
                        (spread.last_ns - spread.sent_ns) / 1000))
        finally:
            handover_control_unlock(&t.lock)
        return sorted(found)

    def reset_latency(self):
        """Begin the histograms, the frames, and the worst lateness anew."""
        cdef TrafficState *t = &self.state
        handover_control_lock_nogil(t)
        memset(t.latency, 0, sizeof(t.latency))
        memset(t.spread, 0, GROUPS * SPREAD_FRAMES * sizeof(FrameSpread))
        t.latest_us = 0
        handover_control_unlock(&t.lock)


cdef void handover_control_lock_nogil(TrafficState *t) noexcept:
    """The thread needs no GIL, but others do while we wait."""
    with nogil:
        handover_control_lock(&t.lock)
