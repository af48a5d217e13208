# SPDX-License-Identifier: Apache-2.0
"""A UdpSocket by bytes and tuples, for tests and load bots."""

import ipaddress

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from sfu.engine.address cimport Datagram, EgressPacket, Path
from sfu.engine.udp cimport UDP_BATCH, UdpSocket, udp_close, udp_open, udp_receive, udp_send

from sfu.engine.udp import parse_ip


cdef int _fill_path(Path *path, remote, str local_ip) except -1:
    ip, scope_id, _ = parse_ip(remote[0])
    memset(path, 0, sizeof(Path))
    memcpy(path.remote.ip, <const uint8_t *>ip, 16)
    path.remote.port = remote[1]
    path.remote.scope_id = scope_id
    if local_ip is not None:
        ip, scope_id, _ = parse_ip(local_ip)
        memcpy(path.local_ip, <const uint8_t *>ip, 16)
        path.interface_index = scope_id
    return 0


cdef str _show_ip(const uint8_t *ip, uint32_t scope_id):
    address = ipaddress.IPv6Address((<const char *>ip)[:16])
    shown = str(address.ipv4_mapped or address)
    return f"{shown}%{scope_id}" if scope_id else shown


cdef class DatagramSocket:
    """One socket; use it in one thread at a time. Poll it only after `receive` has returned nothing."""

    cdef UdpSocket *udp

    def __cinit__(self, host=None, int port=0, *, bint gso=True, bint gro=True):
        self.udp = udp_open(host, port, gso, gro)

    def __dealloc__(self):
        udp_close(self.udp)

    def close(self):
        udp_close(self.udp)
        self.udp = NULL

    cdef UdpSocket *_open(self) except NULL:
        if self.udp == NULL:
            raise ValueError("the socket is closed")
        return self.udp

    def fileno(self):
        return self._open().fd

    @property
    def port(self):
        return self._open().port

    @property
    def ipv4_only(self):
        return bool(self._open().ipv4_only)

    @property
    def gso(self):
        return bool(self._open().gso)

    @property
    def gro(self):
        return bool(self._open().gro)

    @property
    def buffers(self):
        """Bytes granted for (receiving, sending)."""
        return self._open().receive_buffer, self._open().send_buffer

    @property
    def counters(self):
        return dict(self._open().counters)

    def receive(self, uint32_t capacity=UDP_BATCH):
        """[(data, (ip, port), local ip), ...]; addresses with a zone are written with it."""
        cdef Datagram batch[UDP_BATCH]
        cdef int n = udp_receive(self._open(), batch, capacity)
        return [((<const char *>batch[i].data)[:batch[i].size],
                 (_show_ip(batch[i].path.remote.ip, batch[i].path.remote.scope_id), batch[i].path.remote.port),
                 _show_ip(batch[i].path.local_ip, batch[i].path.interface_index)) for i in range(n)]

    def send(self, packets):
        """Sends [(data, (ip, port), local ip or None), ...]; returns how many are done with."""
        packets = list(packets)
        cdef UdpSocket *udp = self._open()
        cdef uint32_t i, n = <uint32_t>len(packets)
        cdef EgressPacket *egress = <EgressPacket *>calloc(max(n, 1), sizeof(EgressPacket))
        cdef bytes data
        if egress == NULL:
            raise MemoryError
        try:
            for i in range(n):
                data, remote, local_ip = packets[i]
                egress[i].data = <uint8_t *>(<char *>data)
                egress[i].size = <uint16_t>len(data)
                _fill_path(&egress[i].path, remote, local_ip)
            return udp_send(udp, egress, n)
        finally:
            free(egress)
