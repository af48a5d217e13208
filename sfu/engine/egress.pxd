# SPDX-License-Identifier: Apache-2.0
"""The batch of outgoing datagrams: filled by the router, emptied by the socket shell (or a test)."""
from libc.stdint cimport uint8_t, uint32_t
from sfu.engine.address cimport Path
from sfu.engine.tables cimport Egress, RouterState, Transport

cdef int egress_open(Egress *egress) noexcept nogil
cdef void egress_close(Egress *egress) noexcept nogil
cdef void egress_clear(Egress *egress) noexcept nogil           # all of it is out
cdef bint egress_has_room(const Egress *egress, uint32_t packets) noexcept nogil
cdef bint egress_takes_fanout(const Egress *egress) noexcept nogil   # whether the slice may go on
cdef uint8_t *egress_buffer(RouterState *s) noexcept nogil      # NULL (and counted) = full
cdef void egress_commit(RouterState *s, Transport *t, const Path *path, uint32_t size) noexcept nogil
cdef bint egress_rtcp(RouterState *s, Transport *t, uint8_t *packet, uint32_t size) noexcept nogil
cdef const Path *selected_path(const Transport *t) noexcept nogil
cdef bint transport_ready(const Transport *t) noexcept nogil
