# SPDX-License-Identifier: Apache-2.0
"""The worker thread and its Python face; see `worker.pxd` and design notes in docs/architecture.md."""
import os
import threading
import weakref

from libc.errno cimport EINTR, errno
from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from posix.signal cimport sigset_t
from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, timespec
from posix.unistd cimport close
from sfu.engine.address cimport EgressPacket
from sfu.engine.atomic cimport pysfu_load, pysfu_store
from sfu.engine.commands cimport Commands
from sfu.engine.egress cimport egress_clear, egress_takes_fanout
from sfu.engine.egress_log cimport EgressLog, EgressEntry, egress_records
from sfu.engine.event_batch cimport collect_events, event_batch_close, events_of
from sfu.engine.handover cimport (
    handover_control_lock, handover_control_unlock, handover_destroy, handover_init, handover_worker_lock,
    handover_worker_unlock,
)
from sfu.engine.latency cimport LATENCY_NONE, latency_add
from sfu.engine.router cimport (
    router_busy, router_close, router_next_us, router_open, router_receive, router_run, router_tick,
)
from sfu.engine.snapshot cimport Totals, snapshot_begin, snapshot_close, snapshot_step, snapshot_take
from sfu.engine.tables cimport Forwarder, forwarder_of
from sfu.engine.thread_priority cimport prefer_this_thread
from sfu.engine.udp cimport udp_close, udp_open, udp_receive, udp_send, udp_shut

from sfu.engine.snapshot import statistics_of

cdef extern from "<poll.h>" nogil:
    ctypedef unsigned long nfds_t
    struct pollfd:
        int fd
        short events
        short revents
    short POLLIN
    short POLLOUT
    int ppoll(pollfd *fds, nfds_t count, const timespec *timeout, const sigset_t *mask)

cdef extern from "<sys/eventfd.h>" nogil:
    int EFD_NONBLOCK
    int EFD_CLOEXEC
    int eventfd(unsigned int value, int flags)
    int eventfd_write(int fd, uint64_t value)
    int eventfd_read(int fd, uint64_t *value)

cdef extern from "<signal.h>" nogil:
    int SIG_BLOCK
    int sigfillset(sigset_t *set)
    int pthread_sigmask(int how, const sigset_t *set, sigset_t *old)

cdef extern from "<sys/prctl.h>" nogil:
    int PR_SET_TIMERSLACK
    int prctl(int option, unsigned long value)

cdef enum:
    TIMER_SLACK_NS = 1_000     # Linux' own 50 µs are a quarter of what a frame may wait for its end
    RECEIVE_BATCH = 64
    RECEIVE_BATCHES = 4        # before a slice of fan-out: a crowd's feedback comes in bursts, and somebody's voice behind it
    RUN_BUDGET = 64            # (packet, receiver) pairs between two looks at the clock
    LOAD_US = 20_000           # over which the load is measured
    BUSY_PERCENT = 50          # a worker that works so much of its time coalesces
    SLICE_US = 500             # a slice's time under the lock; with 64 datagrams and what the egress takes its bounds
    LAST_SLICES = 100          # at the end: enough to say goodbye to all peers
    SNAPSHOT_US = 200_000
    SNAPSHOT_PLACES = 512      # of the tables, copied in one slice: some 20 µs
    LONGEST_SLEEP_US = 1_000_000


cdef int64_t clock_us(int clock) noexcept nogil:
    cdef timespec now
    clock_gettime(clock, &now)
    return <int64_t>now.tv_sec * 1_000_000 + now.tv_nsec // 1000


cdef inline int64_t monotonic_us() noexcept nogil:
    return clock_us(CLOCK_MONOTONIC)


cdef void run(WorkerState *w) noexcept nogil:
    """The thread's life: receive, work a slice under the lock, send; sleep when there is nothing to do."""
    cdef sigset_t all_signals
    cdef int received
    cdef uint32_t ready
    cdef bint busy, signal
    cdef int64_t woken_us, now_us
    sigfillset(&all_signals)
    pthread_sigmask(SIG_BLOCK, &all_signals, NULL)
    prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS)
    prefer_this_thread()
    while pysfu_load(&w.running):
        received = udp_receive(w.udp, w.batch, RECEIVE_BATCH)
        woken_us = monotonic_us()
        received = receive_burst(w, received)
        now_us = monotonic_us()
        handover_worker_lock(&w.lock)
        forget_sent(w)
        busy = work(w, received, now_us)
        publish(w, now_us)
        signal = w.router.signal_python and not w.signalled
        if signal:
            w.signalled = True
        ready = w.router.egress.count
        handover_worker_unlock(&w.lock)
        if signal:
            eventfd_write(w.event_fd, 1)
        send(w, ready)
        w.busy_us += monotonic_us() - woken_us
        note_load(w, now_us)
        if received <= 0 and not w.taking_snapshot and (not busy or w.router.egress.count > w.router.egress.done):
            rest(w)
    finish(w)


cdef int receive_burst(WorkerState *w, int received) noexcept nogil:
    """Work off all batches but the last of what waits in the socket; returns how many datagrams the last one has."""
    cdef int i
    for i in range(RECEIVE_BATCHES - 1):
        if received < RECEIVE_BATCH:
            break
        handover_worker_lock(&w.lock)
        forget_sent(w)
        router_receive(w.router, w.batch, <uint32_t>received, monotonic_us())
        handover_worker_unlock(&w.lock)
        received = udp_receive(w.udp, w.batch, RECEIVE_BATCH)
    return received


cdef void note_load(WorkerState *w, int64_t now_us) noexcept nogil:
    """Whether fan-out waits long for the rest of a frame: while the worker is idle half of the time it does not."""
    cdef int64_t elapsed_us = now_us - w.load_since_us
    if elapsed_us < LOAD_US:
        return
    w.router.busy = <int64_t>(w.busy_us - w.load_busy_us) * 100 > elapsed_us * BUSY_PERCENT
    w.load_since_us = now_us
    w.load_busy_us = w.busy_us


cdef void finish(WorkerState *w) noexcept nogil:
    """What the last commands had to say, goodbyes above all."""
    cdef bint busy
    cdef uint32_t ready
    cdef int i
    for i in range(LAST_SLICES):
        handover_worker_lock(&w.lock)
        forget_sent(w)
        busy = work(w, 0, monotonic_us())
        ready = w.router.egress.count
        handover_worker_unlock(&w.lock)
        send(w, ready)
        if not busy:
            break


cdef bint work(WorkerState *w, int received, int64_t now_us) noexcept nogil:
    """One slice. Returns whether fan-out has more to do."""
    cdef int64_t end_us = now_us + SLICE_US
    if received > 0:
        router_receive(w.router, w.batch, <uint32_t>received, now_us)
    router_tick(w.router, now_us)
    while router_busy(w.router) and egress_takes_fanout(&w.router.egress):
        router_run(w.router, RUN_BUDGET, now_us)
        if monotonic_us() >= end_us:
            break
    return router_busy(w.router)


cdef void send(WorkerState *w, uint32_t ready) noexcept nogil:
    """Give the egress batch up to `ready` to the socket; what it does not take stays for the next time.

    Without the lock: meanwhile a control call may put more behind it, so that only `done` is written here.
    """
    cdef EgressPacket *packets = &w.router.egress.packets[w.router.egress.done]
    cdef uint32_t waiting = ready - w.router.egress.done
    cdef uint32_t sent, i
    cdef int64_t now_us
    if waiting:
        sent = <uint32_t>udp_send(w.udp, packets, waiting)
        w.router.egress.done += sent
        now_us = monotonic_us()
        for i in range(sent):
            if packets[i].latency != LATENCY_NONE:
                latency_add(&w.latency[packets[i].latency], now_us - packets[i].received_us)


cdef void forget_sent(WorkerState *w) noexcept nogil:
    """Under the lock: a batch that is out makes room for the next one."""
    if w.router.egress.done >= w.router.egress.count:
        egress_clear(&w.router.egress)


cdef void publish(WorkerState *w, int64_t now_us) noexcept nogil:
    """Put out a statistics snapshot now and then; never the one that Python may be reading."""
    cdef int other = 1 - w.published
    cdef Totals *totals = &w.snapshots[other].totals
    cdef int done
    if not w.taking_snapshot:
        if now_us < w.snapshot_due_us or pysfu_load(&w.reading):
            return
        w.snapshot_due_us = now_us + SNAPSHOT_US
        snapshot_begin(&w.snapshots[other])
        w.taking_snapshot = True
    done = snapshot_step(&w.snapshots[other], w.router, SNAPSHOT_PLACES)
    if done == 0:
        return
    w.taking_snapshot = False
    if done > 0:
        totals.busy_us = w.busy_us
        totals.socket = w.udp.counters
        totals.has_socket = True
        memcpy(totals.latency, w.latency, sizeof(totals.latency))
        totals.control_wait = w.control_wait
        pysfu_store(&w.published, other)


cdef void rest(WorkerState *w) noexcept nogil:
    """Sleep until a datagram comes, the socket can send again, Python has a command, or a timer is due."""
    cdef pollfd fds[2]
    cdef timespec timeout
    cdef uint64_t ignored
    cdef int64_t wait_us
    fds[0].fd = w.udp.fd
    fds[1].fd = w.wake_fd
    fds[1].events = POLLIN
    pysfu_store(&w.sleeping, 1)
    wait_us = time_to_next(w)
    fds[0].events = POLLIN | (POLLOUT if w.router.egress.count > w.router.egress.done else 0)
    timeout.tv_sec = wait_us // 1_000_000
    timeout.tv_nsec = (wait_us % 1_000_000) * 1000
    if ppoll(fds, 2, &timeout, NULL) > 0 and fds[1].revents:
        eventfd_read(w.wake_fd, &ignored)
    pysfu_store(&w.sleeping, 0)


cdef int64_t time_to_next(WorkerState *w) noexcept nogil:
    """µs until the next timer. A control call may bring it forward at any moment: it wakes the thread afterwards."""
    cdef int64_t next_us
    handover_worker_lock(&w.lock)
    forget_sent(w)
    next_us = router_next_us(w.router)
    # While the socket takes no more, work that waits for room in the egress batch waits for the socket.
    if router_busy(w.router) and w.router.egress.count == w.router.egress.done:
        next_us = 0
    handover_worker_unlock(&w.lock)
    next_us -= monotonic_us()
    if next_us < 0:
        return 0
    return next_us if next_us < LONGEST_SLEEP_US else LONGEST_SLEEP_US


def _stop(address: int, thread: threading.Thread) -> None:
    """Let the thread of the WorkerState at `address` end, and wait for it."""
    cdef WorkerState *w = <WorkerState *><size_t>address
    pysfu_store(&w.running, 0)
    eventfd_write(w.wake_fd, 1)
    thread.join()


cdef class Worker:
    """One native thread that forwards the media of the rooms placed on it.

    All methods are for one thread, the asyncio loop's. `index` (0 to 255) goes into the ICE ufrags. `udp_host` None: all
    addresses; `udp_port` 0: any free port. Raises ValueError or OSError with what to do about it.
    `gso` False: datagrams leave one by one; `gro` False: they come one by one. `coalesce_us`: how long the first packets of a
    video frame wait for the last ones at most (while the worker is idle half of the time, 2 µs a receiver); 0 = never.
    """

    def __cinit__(self, index: int, udp_host: str | None, udp_port: int, *, gso: bool = True, gro: bool = True,
                  coalesce_us: int = 300, inbound_limit_bps: int = 0):
        memset(&self.state, 0, sizeof(WorkerState))
        memset(&self._batch, 0, sizeof(self._batch))
        self.state.event_fd = -1
        self.state.wake_fd = -1
        self._open = False

    def __init__(self, index: int, udp_host: str | None, udp_port: int, *, gso: bool = True, gro: bool = True,
                 coalesce_us: int = 300, inbound_limit_bps: int = 0):
        cdef WorkerState *w = &self.state
        if not 0 <= index <= 255:
            raise ValueError(f"worker index {index} is out of range: 0 to 255")
        w.udp = udp_open(udp_host, udp_port, gso, gro)
        w.router = router_open(index, int.from_bytes(os.urandom(2), "big"), clock_us(CLOCK_REALTIME) - monotonic_us())
        w.router.inbound_limit_bps = inbound_limit_bps
        # Neither equal sizes nor company save anything where every datagram is a send of its own.
        w.router.equalise = w.udp.gso
        w.router.coalesce_us = coalesce_us if w.udp.gso else 0
        w.event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
        w.wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
        if w.event_fd < 0 or w.wake_fd < 0 or handover_init(&w.lock):
            self._release()
            raise OSError("no file descriptors left for a worker: raise the limit (ulimit -n)")
        self._open = True
        snapshot_take(&w.snapshots[0], w.router)
        self.index = index
        self.commands = Commands((<const char *>w.router.ufrag_prefix)[:w.router.ufrag_prefix_size])
        self._thread = None
        self._finalizer = None

    def __dealloc__(self):
        self._release()

    cdef void _release(self):
        cdef WorkerState *w = &self.state
        if self._open:
            handover_destroy(&w.lock)
        self._open = False
        if w.event_fd >= 0:
            close(w.event_fd)     # not os.close: the last ones go when the interpreter ends
        if w.wake_fd >= 0:
            close(w.wake_fd)
        w.event_fd = -1
        w.wake_fd = -1
        udp_close(w.udp)
        router_close(w.router)
        w.udp = NULL
        w.router = NULL
        snapshot_close(&w.snapshots[0])
        snapshot_close(&w.snapshots[1])
        event_batch_close(&self._batch)

    def _run(self) -> None:
        cdef WorkerState *w = &self.state
        with nogil:
            run(w)

    @property
    def port(self) -> int:
        """The UDP port that was bound."""
        return self.state.udp.port

    @property
    def socket_buffers(self) -> tuple[int, int]:
        """Bytes that the kernel granted to receive and to send. It counts its own overhead with them: half is payload."""
        return self.state.udp.receive_buffer, self.state.udp.send_buffer

    @property
    def ipv4_only(self) -> bool:
        """Whether the machine has no IPv6."""
        return bool(self.state.udp.ipv4_only)

    @property
    def gso(self) -> bool:
        """Whether the kernel segments batches of datagrams for us (UDP_SEGMENT)."""
        return bool(self.state.udp.gso)

    @property
    def gro(self) -> bool:
        """Whether it hands runs of datagrams over as one (UDP_GRO)."""
        return bool(self.state.udp.gro)

    @property
    def most_slices_waited(self) -> int:
        """The most slices that any one control call had to wait for."""
        return self.state.lock.most_slices_waited

    def start(self) -> None:
        if self._thread is not None or self.state.udp.fd < 0:
            raise ValueError("this worker was started or stopped before")
        pysfu_store(&self.state.running, 1)
        self._thread = threading.Thread(target=_run_worker, args=(weakref.ref(self),), name=f"sfu-worker-{self.index}", daemon=True)
        self._thread.start()
        self._finalizer = weakref.finalize(self, _stop, <size_t>&self.state, self._thread)

    def stop(self) -> None:
        """End the thread, wait for it, and give the port back. What was counted can still be read."""
        if self._finalizer is not None:
            self._finalizer()
        udp_shut(self.state.udp)

    def fileno(self) -> int:
        """A descriptor that is readable while events wait."""
        return self.state.event_fd

    def flush(self) -> None:
        """Apply the commands given so far, all at once."""
        cdef WorkerState *w = &self.state
        cdef Commands commands = self.commands
        if commands._count == 0:
            return
        with nogil:
            self._take_lock()
            commands.apply(w.router, monotonic_us())
            self._signal()
            handover_control_unlock(&w.lock)
            if pysfu_load(&w.sleeping):
                eventfd_write(w.wake_fd, 1)

    cdef void _take_lock(self) noexcept nogil:
        cdef int64_t asked_us = monotonic_us()
        handover_control_lock(&self.state.lock)
        latency_add(&self.state.control_wait, monotonic_us() - asked_us)

    cdef void _signal(self) noexcept nogil:
        if self.state.router.signal_python and not self.state.signalled:
            self.state.signalled = True
            eventfd_write(self.state.event_fd, 1)

    def events(self) -> list:
        """Take the waiting events (sfu.engine.events)."""
        cdef WorkerState *w = &self.state
        cdef uint64_t ignored
        with nogil:
            eventfd_read(w.event_fd, &ignored)
            self._take_lock()
            w.signalled = False
            collect_events(w.router, &self._batch)
            handover_control_unlock(&w.lock)
        return events_of(&self._batch)

    def egress_log(self, forwarder: int, capacity: int) -> list:
        """The events of an outbound stream, oldest first (sfu.engine.egress_events); empty without a log.

        `capacity`: what the log was opened with (`commands.egress_log`), or more.
        """
        cdef WorkerState *w = &self.state
        cdef uint32_t handle = forwarder
        cdef uint32_t room = capacity
        cdef EgressEntry *entries = <EgressEntry *>malloc(room * sizeof(EgressEntry) + 1)
        cdef EgressLog *log = NULL
        cdef Forwarder *f
        cdef uint32_t held = 0
        cdef uint64_t written = 0
        if entries == NULL:
            raise MemoryError
        try:
            with nogil:
                self._take_lock()
                f = forwarder_of(w.router, handle)
                if f != NULL:
                    log = f.log
                if log != NULL and log.capacity <= room:
                    held = log.capacity
                    written = log.written
                    memcpy(entries, log.entries, held * sizeof(EgressEntry))
                handover_control_unlock(&w.lock)
            return egress_records(entries, held, written)
        finally:
            free(entries)

    def statistics(self):
        """The last snapshot (sfu.engine.statistics.Statistics), at most about a second old. Takes no lock."""
        cdef WorkerState *w = &self.state
        pysfu_store(&w.reading, 1)
        try:
            return statistics_of(<size_t>&w.snapshots[pysfu_load(&w.published)])
        finally:
            pysfu_store(&w.reading, 0)


def _run_worker(reference) -> None:
    """Thread target. The worker stays alive through its thread's run: `stop` ends it."""
    worker = reference()
    if worker is not None:
        worker._run()
