# SPDX-License-Identifier: Apache-2.0
"""Outgoing datagrams; see `egress.pxd`."""
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from sfu.engine.address cimport EgressPacket, Path
from sfu.engine.drops cimport DROP_EGRESS_FULL, DROP_PROTECT_FAILED
from sfu.engine.srtp cimport SRTP_OK, srtcp_protect
from sfu.engine.tables cimport EGRESS_BUFFER, EGRESS_CAPACITY, EGRESS_FANOUT, EGRESS_SENDS, Egress, RouterState, Transport


cdef int egress_open(Egress *egress) noexcept nogil:
    egress_clear(egress)
    egress.buffers = <uint8_t *>malloc(EGRESS_CAPACITY * EGRESS_BUFFER)
    return 0 if egress.buffers != NULL else -1


cdef void egress_close(Egress *egress) noexcept nogil:
    free(egress.buffers)
    egress.buffers = NULL


cdef void egress_clear(Egress *egress) noexcept nogil:
    egress.count = 0
    egress.done = 0
    egress.sends = 0
    egress.used = 0


cdef bint egress_has_room(const Egress *egress, uint32_t packets) noexcept nogil:
    return egress.count + packets <= EGRESS_CAPACITY


cdef bint egress_takes_fanout(const Egress *egress) noexcept nogil:
    return egress.count < EGRESS_FANOUT and egress.sends < EGRESS_SENDS


cdef uint8_t *egress_buffer(RouterState *s) noexcept nogil:
    """The buffer that the next egress_commit will send; using it without a commit is allowed."""
    if s.egress.count >= EGRESS_CAPACITY:
        s.drops[DROP_EGRESS_FULL] += 1
        return NULL
    return s.egress.buffers + s.egress.used


cdef void egress_commit(RouterState *s, Transport *t, const Path *path, uint32_t size) noexcept nogil:
    cdef EgressPacket *packet = &s.egress.packets[s.egress.count]
    cdef uint32_t handle = t.handle if t != NULL else 0
    if not s.equalise or s.egress.count == 0 or s.egress.packets[s.egress.count - 1].transport != handle:
        s.egress.sends += 1
    packet.data = s.egress.buffers + s.egress.used
    packet.size = <unsigned short>size
    packet.transport = handle
    packet.path = path[0]
    packet.latency = s.egress.latency
    packet.received_us = s.egress.received_us
    s.egress.count += 1
    s.egress.used += size
    s.sent_packets += 1
    s.sent_bytes += size
    if t != NULL:
        t.packets_sent += 1
        t.bytes_sent += size
        if t.relay_leg:
            s.relays.packets_sent += 1
            s.relays.bytes_sent += size


cdef const Path *selected_path(const Transport *t) noexcept nogil:
    return &t.paths[t.selected].path


cdef bint transport_ready(const Transport *t) noexcept nogil:
    """Whether media can be sent: keys are there, an address that ICE has authenticated, and consent (RFC 7675 §5.1)."""
    return t.send_srtp != NULL and t.selected >= 0 and not t.expired


cdef bint egress_rtcp(RouterState *s, Transport *t, uint8_t *packet, uint32_t size) noexcept nogil:
    """Protect and queue the compound RTCP packet that lies in the current egress buffer."""
    if srtcp_protect(t.send_srtp, packet, &size) != SRTP_OK:
        s.drops[DROP_PROTECT_FAILED] += 1
        return False
    egress_commit(s, t, selected_path(t), size)
    s.rtcp_sent += 1
    return True
