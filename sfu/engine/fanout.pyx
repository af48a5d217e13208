# SPDX-License-Identifier: Apache-2.0
"""Resumable fan-out; see `fanout.pxd`."""
from libc.stdint cimport INT64_MAX, int64_t, uint32_t
from sfu.engine cimport drops
from sfu.engine.egress cimport egress_takes_fanout
from sfu.engine.equaliser cimport EQUALISE_NOT, equalise_job
from sfu.engine.fetching cimport fetch_receivers
from sfu.engine.forwarder cimport forward_packet
from sfu.engine.history cimport Packet, history_get, history_head_after
from sfu.engine.tables cimport PENDING_PACKETS, Forwarder, Pending, RouterState, Source, Track, TrackQueue
from sfu.engine.tracks cimport track_compact

cdef enum:
    QUANTUM = 64               # (packet, receiver) pairs of one track before another has its turn
    AUDIO_QUANTUM = 16         # each pair is a send: so that two who talk do not wait for a crowd
    FEW = 16                   # receivers; more are a crowd
    HELD_PACKETS = 32          # of one track; more need no company
    # A packet's fan-out takes so long for each receiver: to wait that long for the next one delays the last receivers by nothing.
    WAIT_US_PER_RECEIVER = 2
    SHORTEST_WAIT_US = 50      # less brings no company
    JOB_PACKETS = 64           # packets of one job: one receiver's share always fits the rest of the egress batch

cdef enum Lane:                # of the run queues
    LANE_SOUND = 0
    LANE_FEW = 1               # pictures for few receivers
    LANE_CROWD = 2
    LANES = 3


cdef void fanout_add(RouterState *s, Source *source, const Packet *packet) noexcept nogil:
    """Let `packet`, stored in its source's history, go to all receivers of its track."""
    cdef Track *track = source.track
    cdef Pending *pending
    if track.live_forwarders == 0:
        s.drops[drops.DROP_NO_RECEIVER] += 1
        return
    if track.pending_tail - track.pending_head == PENDING_PACKETS:
        s.drops[drops.DROP_FANOUT_FULL] += 1
        return
    if source.waiting == 0 or packet.position < source.waiting_position:
        source.waiting_sequence = packet.sequence
        source.waiting_position = packet.position
    source.waiting += 1
    pending = &track.pending[track.pending_tail & (PENDING_PACKETS - 1)]
    pending.generation = source.generation
    pending.layer = <unsigned char>source.layer
    pending.sequence = packet.sequence
    track.pending_tail += 1
    s.media_received += 1
    track.frame_open = track.video and not packet.marker
    if not track.queued:
        queue(s, track)
    elif track.held and (packet.marker or track.pending_tail - track.pending_head >= HELD_PACKETS):
        unhold(s, track)
        enqueue(s, track)


cdef inline int64_t wait_us(const RouterState *s, const Track *track) noexcept nogil:
    """How long a frame's first packets wait for its last ones: together they leave in one send a receiver."""
    cdef int64_t most_us = s.coalesce_us
    if not s.busy:
        most_us = min(most_us, WAIT_US_PER_RECEIVER * <int64_t>track.live_forwarders)
    return most_us if most_us >= SHORTEST_WAIT_US else 0


cdef inline void queue(RouterState *s, Track *track) noexcept nogil:
    cdef int64_t hold_us = 0
    if track.frame_open and track.pending_tail - track.pending_head < HELD_PACKETS:
        hold_us = wait_us(s, track)
    if hold_us:
        hold(s, track, hold_us)
    else:
        enqueue(s, track)


cdef void hold(RouterState *s, Track *track, int64_t hold_us) noexcept nogil:
    track.queued = True
    track.held = True
    track.held_until_us = s.now_us + hold_us
    track.next_in_queue = s.held_head
    s.held_head = track


cdef void unhold(RouterState *s, Track *track) noexcept nogil:
    cdef Track **at = &s.held_head
    while at[0] != track:
        at = &at[0].next_in_queue
    at[0] = track.next_in_queue
    track.held = False


cdef void fanout_release(RouterState *s, int64_t now_us) noexcept nogil:
    cdef Track *track = s.held_head
    cdef Track *following
    while track != NULL:
        following = track.next_in_queue
        if track.held_until_us <= now_us:
            unhold(s, track)
            enqueue(s, track)
        track = following


cdef bint fanout_spares(const Source *source, int64_t sequence, uint32_t size) noexcept nogil:
    if source.waiting == 0:
        return True
    return (sequence - source.waiting_sequence <= <int64_t>source.history.packet_mask
            and history_head_after(&source.history, size) - source.waiting_position <= source.history.arena_size)


cdef void close_job(Track *track) noexcept nogil:
    """The running job is done: its packets may be overwritten."""
    cdef const Pending *pending
    cdef Source *source
    cdef uint32_t at = track.pending_head
    cdef uint32_t unknown = 0        # layers whose first waiting packet is to be found
    while at != track.pending_job:
        pending = &track.pending[at & (PENDING_PACKETS - 1)]
        source = track.layers[pending.layer].source
        if source != NULL and source.generation == pending.generation:
            source.waiting -= 1
            if source.waiting:
                unknown |= 1 << pending.layer
            else:
                unknown &= ~(1 << pending.layer)
        at += 1
    track.pending_head = track.pending_job
    while unknown and at != track.pending_tail:
        pending = &track.pending[at & (PENDING_PACKETS - 1)]
        source = track.layers[pending.layer].source
        if unknown & (1 << pending.layer) and source.generation == pending.generation:
            first_waiting(source, pending.sequence)
            unknown &= ~(1 << pending.layer)
        at += 1


cdef inline void first_waiting(Source *source, int64_t sequence) noexcept nogil:
    cdef const Packet *packet = history_get(&source.history, sequence)
    if packet != NULL:
        source.waiting_sequence = sequence
        source.waiting_position = packet.position


cdef int64_t fanout_next_us(const RouterState *s) noexcept nogil:
    cdef const Track *track = s.held_head
    cdef int64_t next_us = INT64_MAX
    while track != NULL:
        next_us = min(next_us, track.held_until_us)
        track = track.next_in_queue
    return next_us


cdef void enqueue(RouterState *s, Track *track) noexcept nogil:
    cdef TrackQueue *queue
    track.lane = LANE_SOUND if not track.video else LANE_FEW if track.live_forwarders <= FEW else LANE_CROWD
    queue = &s.queues[track.lane]
    track.queued = True
    track.next_in_queue = NULL
    if queue.tail != NULL:
        queue.tail.next_in_queue = track
    else:
        queue.head = track
    queue.tail = track


cdef Track *pop(TrackQueue *queue) noexcept nogil:
    cdef Track *track = queue.head
    if track != NULL:
        queue.head = track.next_in_queue
        if queue.head == NULL:
            queue.tail = NULL
        track.queued = False
    return track


cdef Track *dequeue(RouterState *s) noexcept nogil:
    """Sound first; but a crowd's takes milliseconds, and between its turns go pictures for few. Those and a crowd's take turns."""
    cdef const Track *sound = s.queues[<int>LANE_SOUND].head
    cdef bint few = s.queues[<int>LANE_FEW].head != NULL
    cdef bint goes_on = sound != NULL and sound.pending_job != sound.pending_head
    if sound != NULL and not (goes_on and s.sound_last and few):
        s.sound_last = True
        return pop(&s.queues[<int>LANE_SOUND])
    s.few_last = few and (sound != NULL or not s.few_last or s.queues[<int>LANE_CROWD].head == NULL)
    s.sound_last = False
    return pop(&s.queues[<int>LANE_FEW if s.few_last else <int>LANE_CROWD])


cdef bint fanout_waiting(const RouterState *s) noexcept nogil:
    cdef int lane
    for lane in range(LANES):
        if s.queues[lane].head != NULL:
            return True
    return False


cdef uint32_t fanout_run(RouterState *s, uint32_t budget, int64_t now_us) noexcept nogil:
    """Work off up to `budget` (packet, receiver) pairs while the egress batch has room. Returns the pairs done."""
    cdef uint32_t done = 0
    cdef uint32_t quantum
    cdef Track *track
    while done < budget and egress_takes_fanout(&s.egress):
        track = dequeue(s)
        if track == NULL:
            break
        quantum = min(budget - done, <uint32_t>(QUANTUM if track.video else AUDIO_QUANTUM))
        done += run_track(s, track, quantum, now_us)
        if track.pending_job != track.pending_head:
            enqueue(s, track)
        elif track.pending_head != track.pending_tail:
            queue(s, track)
    return done


cdef uint32_t run_track(RouterState *s, Track *track, uint32_t quantum, int64_t now_us) noexcept nogil:
    """Continue the track's job for about `quantum` pairs: whole receivers, so that a burst stays together."""
    cdef uint32_t done = 0
    cdef uint32_t at
    cdef Forwarder *f
    if track.pending_job == track.pending_head:
        track_compact(track)
        track.pending_job = track.pending_tail
        if track.pending_job - track.pending_head > JOB_PACKETS:
            track.pending_job = track.pending_head + JOB_PACKETS
        track.job_receiver = 0
        equalise_job(track)
    while track.job_receiver < track.forwarder_count:
        if done >= quantum or not egress_takes_fanout(&s.egress):
            return done if done else 1
        fetch_receivers(track, track.job_receiver)
        f = track.forwarders[track.job_receiver]
        track.job_receiver += 1
        if f == NULL:
            continue
        at = track.pending_head
        s.run_size = 0
        while at != track.pending_job:
            offer(s, track, f, &track.pending[at & (PENDING_PACKETS - 1)], now_us)
            at += 1
            done += 1
    close_job(track)
    return done if done else 1


cdef inline void offer(RouterState *s, Track *track, Forwarder *f, const Pending *pending, int64_t now_us) noexcept nogil:
    cdef Source *source = track.layers[pending.layer].source
    cdef Packet *packet
    if source != NULL and source.generation == pending.generation:
        packet = history_get(&source.history, pending.sequence)
        if packet != NULL:
            s.run_ahead = pending.ahead if s.equalise else EQUALISE_NOT
            forward_packet(s, f, source, packet, now_us)
            s.run_ahead = EQUALISE_NOT
            return
    s.media_offered += 1
    s.drops[drops.DROP_OVERTAKEN] += 1


cdef void fanout_forget(RouterState *s, Track *track) noexcept nogil:
    """Take a track that is about to go out of the run queue."""
    cdef TrackQueue *queue = &s.queues[track.lane]
    cdef Track *before = NULL
    cdef Track *at = queue.head
    if not track.queued:
        return
    track.queued = False
    if track.held:
        unhold(s, track)
        return
    while at != NULL and at != track:
        before = at
        at = at.next_in_queue
    if before == NULL:
        queue.head = track.next_in_queue
    else:
        before.next_in_queue = track.next_in_queue
    if queue.tail == track:
        queue.tail = before
