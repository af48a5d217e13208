# SPDX-License-Identifier: Apache-2.0
"""Times the socket shell by itself over loopback, without Python in between; for the benchmark, the server never imports it."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset
from posix.time cimport CLOCK_THREAD_CPUTIME_ID, clock_gettime, timespec
from sfu.engine.address cimport Datagram, EgressPacket
from sfu.engine.udp cimport UDP_BATCH, UdpSocket, udp_close, udp_open, udp_receive, udp_send

cdef enum:
    LONGEST = 1400             # bytes
    CACHE_LINE = 64

cdef uint8_t[16] LOOPBACK = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 127, 0, 0, 1]


cdef struct Spent:
    int64_t sending_ns
    int64_t receiving_ns
    int lost


cdef int64_t thread_ns() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now)
    return <int64_t>now.tv_sec * 1_000_000_000 + now.tv_nsec


cdef void use(Datagram *datagram) noexcept nogil:
    """Write to each cache line, as decryption does."""
    cdef uint32_t at = 0
    while at < datagram.size:
        datagram.data[at] ^= 1
        at += CACHE_LINE


cdef void take_turns(UdpSocket *sender, UdpSocket *receiver, EgressPacket *packets, int n, int rounds, int backlog,
                     Spent *spent) noexcept nogil:
    cdef Datagram batch[UDP_BATCH]
    cdef int64_t began_ns
    cdef int i, k, got, came
    for i in range(rounds):
        began_ns = thread_ns()
        for k in range(backlog):
            udp_send(sender, packets, <uint32_t>n)
        spent.sending_ns += thread_ns() - began_ns
        came = 0
        began_ns = thread_ns()
        while True:
            got = udp_receive(receiver, batch, UDP_BATCH)
            if got <= 0:
                break
            came += got
            for k in range(got):
                use(&batch[k])
        spent.receiving_ns += thread_ns() - began_ns
        spent.lost += backlog * n - came


def cost_of_runs(int run, uint16_t size, int rounds, *, bint gro, int backlog=1):
    """(sending, receiving): ns of CPU a datagram where `run` of them at a time go to a socket with UDP_GRO, or without.

    Each round sends `backlog` times 64 datagrams of `size` bytes, the last of each run a byte less, then receives until nothing
    is left. The receiving half of the way through the kernel is charged to sending, as on any loopback.
    """
    cdef EgressPacket packets[UDP_BATCH]
    cdef uint8_t data[UDP_BATCH * LONGEST]
    cdef Spent spent
    cdef UdpSocket *sender
    cdef UdpSocket *receiver
    cdef int i
    if not 2 <= size <= LONGEST or run < 1:
        raise ValueError(f"runs of {run} datagrams of {size} bytes: choose 1 or more, of 2 to {LONGEST} bytes")
    sender = udp_open("127.0.0.1", 0, run > 1, False)
    try:
        receiver = udp_open("127.0.0.1", 0, False, gro)
    except BaseException:
        udp_close(sender)
        raise
    memset(data, 0, sizeof(data))
    memset(packets, 0, sizeof(packets))
    memset(&spent, 0, sizeof(spent))
    for i in range(<int>UDP_BATCH):
        packets[i].data = data + i * size
        packets[i].size = size - 1 if run > 1 and i % run == run - 1 else size
        memcpy(packets[i].path.remote.ip, LOOPBACK, 16)
        packets[i].path.remote.port = receiver.port
    with nogil:
        take_turns(sender, receiver, packets, UDP_BATCH, rounds, backlog, &spent)
    udp_close(sender)
    udp_close(receiver)
    if spent.lost:
        raise RuntimeError(f"{spent.lost} datagrams were lost: the receive buffer is too small")
    count = rounds * backlog * UDP_BATCH
    return spent.sending_ns / count, spent.receiving_ns / count
