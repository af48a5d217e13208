# SPDX-License-Identifier: Apache-2.0
"""The receiving half of the socket shell: recvmmsg, and the parting of what the kernel joined (UDP_GRO).

With UDP_GRO the kernel may hand over a run of datagrams of one flow as one message: all of one size but the last, which may
be shorter. Such runs are what a sender's UDP_SEGMENT made (loopback, veth) or a network card's receive offload joined.
"""

from libc.stdint cimport uint32_t

from sfu.engine.address cimport Address, Datagram
from sfu.engine.linux_socket cimport sockaddr_storage
from sfu.engine.udp cimport UdpSocket


cdef struct UdpInbound          # message headers and buffers, private to udp_inbound.pyx


# Buffers for `gro` or without; NULL without memory.
cdef UdpInbound *inbound_open(bint gro) noexcept nogil
cdef void inbound_close(UdpInbound *inbound) noexcept nogil     # NULL is allowed

# See udp_receive.
cdef int inbound_receive(UdpInbound *inbound, UdpSocket *udp, Datagram *batch, uint32_t capacity) noexcept nogil

cdef void read_name(const sockaddr_storage *name, Address *out) noexcept nogil
