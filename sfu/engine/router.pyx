# SPDX-License-Identifier: Apache-2.0
"""The sans-I/O router; see `router.pxd`. The class is how simulation, fuzzing and benchmarks drive it."""
import os

from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from sfu.engine.address cimport Datagram, EgressPacket, Path
from sfu.engine.commands cimport Commands, fill_address
from sfu.engine.demux cimport receive_datagram
from sfu.engine.egress cimport (
    egress_buffer, egress_clear, egress_close, egress_commit, egress_has_room, egress_open,
)
from sfu.engine.egress_log cimport egress_records
from sfu.engine.equaliser cimport EQUALISE_NOT
from sfu.engine.event_batch cimport EventBatch, address_text, collect_events, event_batch_close, events_of
from sfu.engine.fanout cimport fanout_next_us, fanout_release, fanout_run, fanout_waiting
from sfu.engine.fetching cimport fetch_datagrams, fetch_first
from sfu.engine.memory cimport own_lines
from sfu.engine.objects cimport remove_transport
from sfu.engine.relay cimport relay_close
from sfu.engine.schedule cimport schedule_close, schedule_next_us
from sfu.engine.snapshot cimport Snapshot, snapshot_close, snapshot_open, snapshot_take
from sfu.engine.tables cimport (
    DTLS_RING, Forwarder, Outgoing, PendingDtls, RouterState, Transport, address_map_open,
    forwarder_of,
)
from sfu.engine.timers cimport run_timers

from sfu.engine.snapshot import statistics_of

cdef enum:
    OUTGOING_RESERVE = 8       # places of the egress batch that DTLS leaves to others


cdef RouterState *router_open(int index, uint32_t epoch, int64_t wall_offset_us) except NULL:
    """`index` (0 to 255) and `epoch` go into the ICE ufrags; unix time = now_us + `wall_offset_us`."""
    cdef RouterState *s = <RouterState *>own_lines(sizeof(RouterState))
    cdef uint64_t seeds[3]
    if s == NULL:
        raise MemoryError
    random = os.urandom(sizeof(seeds))
    memcpy(seeds, <const uint8_t *>random, sizeof(seeds))
    s.random_state = seeds[0] | 1
    s.wall_offset_us = wall_offset_us
    s.run_ahead = EQUALISE_NOT
    prefix = b"%02x%04x" % (index & 0xFF, epoch & 0xFFFF)
    memcpy(s.ufrag_prefix, <const uint8_t *>prefix, 6)
    s.ufrag_prefix_size = 6
    s.dtls = <PendingDtls *>calloc(DTLS_RING, sizeof(PendingDtls))
    if s.dtls == NULL or egress_open(&s.egress) or address_map_open(&s.addresses, seeds[1], seeds[2]):
        router_close(s)
        raise MemoryError
    return s


cdef void router_close(RouterState *s) noexcept nogil:
    """Free everything; no thread may use the router any more."""
    cdef uint32_t i
    cdef Outgoing *outgoing
    if s == NULL:
        return
    for i in range(s.transports.capacity):
        if s.transports.items[i] != NULL:
            remove_transport(s, <Transport *>s.transports.items[i])
    while s.outgoing_head != NULL:
        outgoing = s.outgoing_head
        s.outgoing_head = outgoing.next
        free(outgoing)
    relay_close(s)
    free(s.transports.items)
    free(s.tracks.items)
    free(s.forwarders.items)
    free(s.addresses.slots)
    free(s.transport_events.items)
    free(s.track_events.items)
    free(s.forwarder_events.items)
    free(s.dtls)
    schedule_close(&s.schedule)
    egress_close(&s.egress)
    free(s)


cdef void router_receive(RouterState *s, Datagram *batch, uint32_t count, int64_t now_us) noexcept nogil:
    cdef uint32_t i
    s.now_us = now_us
    fetch_first(s, batch, count)
    for i in range(count):
        fetch_datagrams(s, batch, count, i)
        s.kernel_wait_us = batch[i].waited_us
        receive_datagram(s, &batch[i], now_us)


cdef int64_t router_tick(RouterState *s, int64_t now_us) noexcept nogil:
    """Run timers that are due, a slice's worth. Returns when the next one is."""
    s.now_us = now_us
    run_timers(s, now_us)
    return schedule_next_us(&s.schedule)


cdef void send_outgoing(RouterState *s) noexcept nogil:
    cdef Outgoing *outgoing
    while s.outgoing_head != NULL and egress_has_room(&s.egress, OUTGOING_RESERVE):
        outgoing = s.outgoing_head
        s.outgoing_head = outgoing.next
        if s.outgoing_head == NULL:
            s.outgoing_tail = NULL
        s.outgoing_count -= 1
        memcpy(egress_buffer(s), outgoing.data, outgoing.size)
        egress_commit(s, NULL, &outgoing.path, outgoing.size)
        s.dtls_sent += 1
        free(outgoing)


cdef uint32_t router_run(RouterState *s, uint32_t budget, int64_t now_us) noexcept nogil:
    """Send what Python wants sent, then fan out up to `budget` (packet, receiver) pairs; returns how many were done."""
    s.now_us = now_us
    send_outgoing(s)
    fanout_release(s, now_us)
    return fanout_run(s, budget, now_us)


cdef int64_t router_next_us(const RouterState *s) noexcept nogil:
    """When router_tick or router_run has something to do that nothing else brings about."""
    return min(schedule_next_us(&s.schedule), fanout_next_us(s))


cdef bint router_busy(const RouterState *s) noexcept nogil:
    """Whether fan-out has work that the egress batch has room for."""
    return fanout_waiting(s) or s.outgoing_head != NULL


cdef class Router:
    """One data plane, driven by hand in virtual time.

    `equalise`: pad the packets of a frame to equal sizes, as a worker does whose socket segments (UDP GSO). `coalesce_us`:
    how long a frame's first packets wait for its last ones at most; in a worker that is not `busy`, 2 µs a receiver.
    """

    def __cinit__(self, index: int = 0, epoch: int = 0, wall_offset_us: int = 0, *, equalise: bool = True,
                  coalesce_us: int = 0, busy: bool = True, inbound_limit_bps: int = 0):
        self.state = router_open(index, epoch, wall_offset_us)
        self.state.inbound_limit_bps = inbound_limit_bps
        self.state.equalise = equalise
        self.state.coalesce_us = coalesce_us
        self.state.busy = busy

    def __init__(self, index: int = 0, epoch: int = 0, wall_offset_us: int = 0, *, equalise: bool = True,
                 coalesce_us: int = 0, busy: bool = True, inbound_limit_bps: int = 0):
        self.commands = Commands((<const char *>self.state.ufrag_prefix)[:self.state.ufrag_prefix_size])

    def __dealloc__(self):
        router_close(self.state)

    def flush(self, now_us: int) -> None:
        """Apply the commands given so far."""
        self.commands.apply(self.state, now_us)

    def receive(self, data: bytes, remote: tuple[str, int], local: str, now_us: int, waited_us: int = 0) -> None:
        """One datagram from `remote` to our address `local`, after it has waited in the kernel."""
        self.receive_all([data], remote, local, now_us, waited_us)

    def receive_all(
        self, datagrams: list[bytes], remote: tuple[str, int], local: str, now_us: int, waited_us: int = 0
    ) -> None:
        """Datagrams from `remote` to our address `local`, in order."""
        cdef Datagram datagram
        cdef uint8_t buffer[2048]
        memset(&datagram, 0, sizeof(datagram))
        fill_address(datagram.path.remote.ip, remote[0])
        datagram.path.remote.port = remote[1]
        fill_address(datagram.path.local_ip, local)
        datagram.waited_us = waited_us
        for data in datagrams:
            if len(data) > sizeof(buffer):
                raise ValueError(f"a datagram of {len(data)} bytes is longer than {sizeof(buffer)}")
            memcpy(buffer, <const uint8_t *>data, len(data))
            datagram.data = buffer
            datagram.size = len(data)
            router_receive(self.state, &datagram, 1, now_us)

    def tick(self, now_us: int) -> int | None:
        """Do what is due, as far as the egress batch has room; returns when something is due next
        for `tick` or `run`, None = nothing.
        """
        cdef int64_t next_us
        self.state.now_us = now_us
        while run_timers(self.state, now_us):
            pass
        next_us = router_next_us(self.state)
        return None if next_us == INT64_MAX else next_us

    def run(self, now_us: int, budget: int = 512) -> int:
        """Fan out up to `budget` (packet, receiver) pairs; returns how many were done."""
        return router_run(self.state, budget, now_us)

    def egress(self) -> list[tuple[int, bytes, tuple[str, int], str]]:
        """Take the outgoing datagrams: (transport or 0, data, remote address, local address)."""
        cdef uint32_t i
        cdef EgressPacket *packet
        taken = []
        for i in range(self.state.egress.done, self.state.egress.count):
            packet = &self.state.egress.packets[i]
            taken.append((packet.transport, (<const char *>packet.data)[:packet.size],
                          (address_text(packet.path.remote.ip), packet.path.remote.port), address_text(packet.path.local_ip)))
        egress_clear(&self.state.egress)
        return taken

    def events(self) -> list:
        """Take the waiting events."""
        cdef EventBatch batch
        memset(&batch, 0, sizeof(batch))
        try:
            collect_events(self.state, &batch)
            return events_of(&batch)
        finally:
            event_batch_close(&batch)

    def egress_log(self, forwarder: int) -> list:
        """The events of an outbound stream, oldest first; empty without a log."""
        cdef Forwarder *f = forwarder_of(self.state, forwarder)
        if f == NULL or f.log == NULL:
            return []
        return egress_records(f.log.entries, f.log.capacity, f.log.written)

    def statistics(self):
        """A snapshot of all counters."""
        cdef Snapshot snapshot
        snapshot_open(&snapshot)
        try:
            snapshot_take(&snapshot, self.state)
            return statistics_of(<size_t>&snapshot)
        finally:
            snapshot_close(&snapshot)
