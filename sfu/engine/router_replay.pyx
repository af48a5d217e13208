# SPDX-License-Identifier: Apache-2.0
"""Drives a router with datagrams prepared beforehand and no Python in between, as the worker does; for benchmarks and the
speed gate, the server never imports it."""
import ipaddress

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from sfu.engine.address cimport Datagram, Path
from sfu.engine.egress cimport egress_clear, egress_takes_fanout
from sfu.engine.router cimport Router, router_busy, router_receive, router_run, router_tick
from sfu.engine.tables cimport RouterState
from sfu.engine.udp cimport UdpSocket, udp_close, udp_open, udp_send

cdef enum:
    BATCH = 64                 # datagrams of one cycle, as the worker's
    BUFFER = 2048              # bytes of one
    BUDGET = 64                # (packet, receiver) pairs of one run, as the worker's

cdef extern from *:
    """
    #include <malloc.h>
    #if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 33)
    static size_t pysfu_allocated(void) { struct mallinfo2 i = mallinfo2(); return i.uordblks + i.hblkhd; }
    #else
    static size_t pysfu_allocated(void) { return 0; }
    #endif
    """
    size_t pysfu_allocated() nogil

cdef struct Prepared:
    int64_t at_us
    uint8_t *data
    Datagram datagram


cdef inline int64_t clock_ns() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t>now.tv_sec * 1_000_000_000 + now.tv_nsec


cdef void keep_at_home(Path *path, uint16_t port) noexcept nogil:
    """To 127.1.x.y, where x.y was the port: receivers stay apart, nobody listens, and nothing leaves the machine."""
    memset(path.local_ip, 0, 16)
    path.remote.ip[12] = 127
    path.remote.ip[13] = 1
    path.remote.ip[14] = <uint8_t>(path.remote.port >> 8)
    path.remote.ip[15] = <uint8_t>path.remote.port
    path.remote.port = port


cdef class RouterReplay:
    """Datagrams of one moment are received together, then all that follows from them is sent (to nobody), or thrown away.

    `socket`: the egress goes through a UDP socket to 127.0.0.1, so that system calls and segments are counted.
    """

    cdef Router _router
    cdef UdpSocket *_udp
    cdef Prepared *_prepared
    cdef uint32_t _count
    cdef uint32_t _capacity
    cdef uint32_t _next
    cdef uint8_t *_buffers
    cdef readonly int64_t spent_ns    # in `play`
    cdef readonly uint64_t sent       # datagrams

    def __cinit__(self, Router router, *, bint socket=False):
        self._router = router
        self._buffers = <uint8_t *>malloc(BATCH * BUFFER)
        if self._buffers == NULL:
            raise MemoryError
        self._udp = udp_open("127.0.0.1", 0, True, False) if socket else NULL

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self._count):
            free(self._prepared[i].data)
        free(self._prepared)
        free(self._buffers)
        udp_close(self._udp)

    def add(self, bytes data, remote, local, int64_t at_us):
        """One datagram that comes at `at_us` from `remote` to our address `local`; times do not go back."""
        cdef Prepared *bigger
        cdef Prepared *one
        cdef size_t size = len(data)
        if size > BUFFER:
            raise ValueError(f"a datagram of {size} bytes is longer than {BUFFER}")
        if self._count == self._capacity:
            bigger = <Prepared *>realloc(self._prepared, (2 * self._capacity + 64) * sizeof(Prepared))
            if bigger == NULL:
                raise MemoryError
            self._prepared = bigger
            self._capacity = 2 * self._capacity + 64
        one = &self._prepared[self._count]
        memset(one, 0, sizeof(Prepared))
        one.at_us = at_us
        one.data = <uint8_t *>malloc(size)
        if one.data == NULL:
            raise MemoryError
        self._count += 1
        memcpy(one.data, <const char *>data, size)
        one.datagram.size = <uint32_t>size
        fill_ip(one.datagram.path.remote.ip, remote[0])
        one.datagram.path.remote.port = <uint16_t>remote[1]
        fill_ip(one.datagram.path.local_ip, local)

    def play(self, uint32_t until):
        """All datagrams before number `until` that were not played yet; returns how many were sent for them."""
        return self._all(until)

    def warm_up(self, uint32_t until):
        """As `play`: a profiler that counts from the entry of `play` leaves it out."""
        return self._all(until)

    cdef uint64_t _all(self, uint32_t until) noexcept:
        cdef uint64_t before = self.sent
        with nogil:
            self.spent_ns -= clock_ns()
            while self._next < until and self._next < self._count:
                self._cycle(until)
            self.spent_ns += clock_ns()
        return self.sent - before

    def tick(self, int64_t now_us):
        """The timers that are due at `now_us`; returns the ns it took."""
        cdef int64_t began_ns
        cdef int64_t ended_ns
        with nogil:
            began_ns = clock_ns()
            router_tick(self._router.state, now_us)
            ended_ns = clock_ns()
            self._send()
        return ended_ns - began_ns

    cdef void _cycle(self, uint32_t until) noexcept nogil:
        cdef Datagram batch[BATCH]
        cdef RouterState *s = self._router.state
        cdef int64_t now_us = self._prepared[self._next].at_us
        cdef Prepared *one
        cdef uint32_t count = 0
        while count < BATCH and self._next < until and self._next < self._count and self._prepared[self._next].at_us == now_us:
            one = &self._prepared[self._next]
            batch[count] = one.datagram
            batch[count].data = self._buffers + count * BUFFER
            memcpy(batch[count].data, one.data, one.datagram.size)
            count += 1
            self._next += 1
        router_receive(s, batch, count, now_us)
        router_tick(s, now_us)
        while router_busy(s):
            router_run(s, BUDGET, now_us)
            if not egress_takes_fanout(&s.egress):
                self._send()
        self._send()

    cdef void _send(self) noexcept nogil:
        cdef RouterState *s = self._router.state
        cdef uint32_t i
        if self._udp != NULL:
            for i in range(s.egress.count):
                keep_at_home(&s.egress.packets[i].path, self._udp.port)
            udp_send(self._udp, s.egress.packets, s.egress.count)
        self.sent += s.egress.count
        egress_clear(&s.egress)

    @property
    def counters(self):
        """The socket's counters; empty without one."""
        return dict(self._udp.counters) if self._udp != NULL else {}


cdef int fill_ip(uint8_t *ip, text) except -1:
    packed = ipaddress.ip_address(text).packed
    if len(packed) == 4:
        packed = b"\x00" * 10 + b"\xff\xff" + packed
    memcpy(ip, <const uint8_t *><const char *>packed, 16)
    return 0


def allocated_bytes():
    """What malloc has given out in this process and was not given back; 0 where the C library does not tell (before glibc 2.33)."""
    return pysfu_allocated()
