# SPDX-License-Identifier: Apache-2.0
"""Router: the sans-I/O data plane of one worker. It knows no socket and no clock.

A cycle is `router_receive`, `router_tick`, `router_run`, then the egress batch is taken out and sent. Only the thread that
runs cycles touches the egress batch; control calls go through `Commands`.
"""
from libc.stdint cimport int64_t, uint32_t
from sfu.engine.address cimport Datagram
from sfu.engine.commands cimport Commands
from sfu.engine.tables cimport RouterState

cdef RouterState *router_open(int index, uint32_t epoch, int64_t wall_offset_us) except NULL
cdef void router_close(RouterState *s) noexcept nogil
cdef void router_receive(RouterState *s, Datagram *batch, uint32_t count, int64_t now_us) noexcept nogil
cdef int64_t router_tick(RouterState *s, int64_t now_us) noexcept nogil
cdef uint32_t router_run(RouterState *s, uint32_t budget, int64_t now_us) noexcept nogil
cdef int64_t router_next_us(const RouterState *s) noexcept nogil
cdef bint router_busy(const RouterState *s) noexcept nogil

cdef class Router:
    cdef RouterState *state
    cdef readonly Commands commands
