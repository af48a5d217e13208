# SPDX-License-Identifier: Apache-2.0
"""The socket shell of a worker: one non-blocking UDP socket, read and written in batches.

Answers leave from the address that was asked (Path.local_ip). Linux only: recvmmsg, sendmmsg, UDP_SEGMENT, UDP_GRO.
One thread at a time may use a socket.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from sfu.engine.address cimport Datagram, EgressPacket


cdef enum:
    UDP_BATCH = 64              # messages of one recvmmsg, and datagrams of one udp_receive
    UDP_BUFFER_SIZE = 2048      # bytes; longer datagrams are dropped and counted


cdef struct UdpCounters:
    uint64_t received           # datagrams, without the truncated ones
    uint64_t truncated          # longer than UDP_BUFFER_SIZE
    uint64_t received_messages  # as the kernel handed them over: of one datagram, or of several by UDP_GRO
    uint64_t received_gro_batches   # of several
    uint64_t kernel_dropped     # messages: receive buffer full (SO_RXQ_OVFL), as far as the kernel has told
    uint64_t receive_errors
    uint64_t sent               # datagrams
    uint64_t sent_bytes
    uint64_t send_calls         # sendmmsg
    uint64_t sent_messages      # of one datagram, or of several by UDP_SEGMENT
    uint64_t sent_gso_batches   # sends of several datagrams by UDP_SEGMENT
    uint64_t gso_fallbacks      # such sends that the kernel refused; sent singly instead
    uint64_t would_block        # the send buffer was full
    # Datagrams that were skipped, by class of errno
    uint64_t unreachable        # ENETUNREACH, EHOSTUNREACH, ENETDOWN, EADDRNOTAVAIL, ENODEV
    uint64_t refused            # ECONNREFUSED
    uint64_t forbidden          # EPERM, EACCES: a packet filter
    uint64_t too_big            # EMSGSIZE
    uint64_t invalid            # EINVAL, EAFNOSUPPORT: a local address that is gone, among others
    uint64_t no_memory          # ENOBUFS, ENOMEM
    uint64_t other_errors


cdef struct UdpScratch          # message headers and buffers, private to udp.pyx


cdef struct UdpSocket:
    int fd
    uint16_t port               # the one that was bound
    bint ipv4_only              # AF_INET: the machine has no IPv6
    bint gso                    # UDP_SEGMENT is supported and wanted
    bint gro                    # UDP_GRO likewise
    uint32_t receive_buffer     # bytes granted by the kernel
    uint32_t send_buffer
    UdpCounters counters
    UdpScratch *scratch


# `host` None = all addresses. Raises ValueError (not an address) or OSError (with what to do about it).
cdef UdpSocket *udp_open(str host, int port, bint gso, bint gro) except NULL
cdef void udp_shut(UdpSocket *udp) noexcept nogil      # gives the port back; port and counters stay readable
cdef void udp_close(UdpSocket *udp) noexcept nogil          # NULL is allowed

# Up to min(capacity, UDP_BATCH) datagrams; their data is valid until the next call. What a batch had no room for, of runs that
# the kernel had joined, comes with the next call, and no poll tells of it. 0: nothing of that is left, and none waits, or all
# were too long: poll (level-triggered) only then.
cdef int udp_receive(UdpSocket *udp, Datagram *batch, uint32_t capacity) noexcept nogil

# How many of `packets` are done with: sent, or skipped after an error of their own. Fewer than n: the send buffer is
# full, come again with the rest when the socket is writable.
cdef int udp_send(UdpSocket *udp, const EgressPacket *packets, uint32_t n) noexcept nogil
