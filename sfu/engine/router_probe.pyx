# SPDX-License-Identifier: Apache-2.0
"""A Router driven without the GIL, so that several can run at once (`python -m benchmarks workers`), and where it writes."""
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy
from posix.time cimport CLOCK_THREAD_CPUTIME_ID, clock_gettime, timespec
from sfu.engine.address cimport Datagram
from sfu.engine.bwe.estimator cimport Estimator
from sfu.engine.commands cimport fill_address
from sfu.engine.egress cimport egress_clear
from sfu.engine.router cimport Router, router_busy, router_receive, router_run, router_tick
from sfu.engine.srtp cimport Srtp
from sfu.engine.srtp_gcm cimport GcmSession, GcmStream
from sfu.engine.tables cimport SENT_LOG, Congestion, Forwarder, RouterState, SentPacket, Track, Transport

cdef enum:
    BUDGET = 512               # (packet, receiver) pairs between two emptyings of the egress batch


cdef int64_t thread_ns() noexcept nogil:
    cdef timespec spent
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent)
    return <int64_t>spent.tv_sec * 1_000_000_000 + spent.tv_nsec


cdef void drive_all(RouterState *s, Datagram *datagrams, uint32_t count, int64_t now_us, int64_t step_us) noexcept nogil:
    cdef uint32_t i
    for i in range(count):
        router_receive(s, &datagrams[i], 1, now_us)
        router_tick(s, now_us)
        while router_busy(s):
            router_run(s, BUDGET, now_us)
            egress_clear(&s.egress)
        egress_clear(&s.egress)
        now_us += step_us


def drive(Router router not None, datagrams: list[bytes], remote: tuple[str, int], local: str, now_us: int, step_us: int) -> int:
    """Receive each datagram, `step_us` after the last one, and fan it out; what is sent is thrown away.

    Returns the CPU time that this thread spent, in ns. The GIL is given up meanwhile.
    """
    cdef uint32_t i, count = len(datagrams)
    cdef size_t at = 0
    cdef int64_t start_us = now_us, step = step_us, spent
    cdef uint8_t *data = <uint8_t *>malloc(sum(map(len, datagrams)) + 64 * count + 64)
    cdef bytes datagram
    cdef Datagram *batch = <Datagram *>calloc(count + 1, sizeof(Datagram))
    try:
        if data == NULL or batch == NULL:
            raise MemoryError
        for i in range(count):
            batch[i].data = data + at
            batch[i].size = len(datagrams[i])
            datagram = datagrams[i]
            memcpy(batch[i].data, <const uint8_t *>datagram, batch[i].size)
            fill_address(batch[i].path.remote.ip, remote[0])
            batch[i].path.remote.port = remote[1]
            fill_address(batch[i].path.local_ip, local)
            at += (batch[i].size + 63) & ~<size_t>63
        with nogil:
            spent = thread_ns()
            drive_all(router.state, batch, count, start_us, step)
            spent = thread_ns() - spent
        return spent
    finally:
        free(data)
        free(batch)


cdef list srtp_memory(const Srtp *srtp):
    """Of one direction's keys."""
    if srtp == NULL:
        return []
    found = [("srtp", <size_t>srtp, sizeof(Srtp))]
    if srtp.gcm != NULL:
        found.append(("gcm", <size_t>srtp.gcm, sizeof(GcmSession)))
        found.append(("streams", <size_t>srtp.gcm.streams, srtp.gcm.capacity * sizeof(GcmStream)))
    return found


def written_memory(Router router not None) -> list[tuple[str, int, int]]:
    """(what, address, bytes) of what a worker's thread writes per packet and the control thread has allocated."""
    cdef RouterState *s = router.state
    cdef Transport *t
    cdef Track *track
    cdef Forwarder *f
    cdef uint32_t i
    found = [("router", <size_t>s, sizeof(RouterState))]
    for i in range(s.transports.capacity):
        t = <Transport *>s.transports.items[i]
        if t == NULL:
            continue
        found.append(("transport", <size_t>t, sizeof(Transport)))
        found += srtp_memory(t.receive_srtp) + srtp_memory(t.send_srtp)
        if t.congestion != NULL:
            found.append(("congestion", <size_t>t.congestion, sizeof(Congestion)))
            found.append(("estimator", <size_t>t.congestion.estimator, sizeof(Estimator)))
        track = t.tracks
        while track != NULL:
            found.append(("track", <size_t>track, sizeof(Track)))
            track = track.next_of_transport
        f = t.forwarders
        while f != NULL:
            found.append(("forwarder", <size_t>f, sizeof(Forwarder)))
            if f.sent != NULL:
                found.append(("sent", <size_t>f.sent, SENT_LOG * sizeof(SentPacket)))
            f = f.next_of_transport
    return found
