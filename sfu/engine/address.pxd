# SPDX-License-Identifier: Apache-2.0
"""Addresses and datagrams as they pass between the socket shell and the router."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcmp


cdef struct Address:
    uint8_t ip[16]              # network order; IPv4 as v4-mapped IPv6
    uint16_t port               # host order
    uint32_t scope_id           # zone of a link-local address, else 0


cdef struct Path:
    Address remote
    uint8_t local_ip[16]        # all zero: the kernel chooses
    uint32_t interface_index    # only with a link-local address, else 0: routing decides


cdef struct Datagram:           # received; `data` belongs to the socket until its next udp_receive
    uint8_t *data
    uint32_t size
    uint32_t waited_us          # in the kernel, until udp_receive took it
    Path path
    uint32_t expected           # handle of the transport that it is likely for, while its memory is asked for; 0 = none


cdef struct EgressPacket:
    uint8_t *data
    uint16_t size
    uint8_t latency             # LatencyClass: whether and where its time in the server is counted
    uint32_t transport
    int64_t received_us         # when its packet reached the kernel
    Path path


cdef inline bint address_equal(const Address *a, const Address *b) noexcept nogil:
    return a.port == b.port and a.scope_id == b.scope_id and memcmp(a.ip, b.ip, 16) == 0


cdef inline bint path_equal(const Path *a, const Path *b) noexcept nogil:
    return (address_equal(&a.remote, &b.remote) and a.interface_index == b.interface_index
            and memcmp(a.local_ip, b.local_ip, 16) == 0)
