# SPDX-License-Identifier: Apache-2.0
"""What Python tells the engine: a list of commands, built with the GIL and without the lock, applied the other way round."""
from libc.stdint cimport int64_t, uint8_t, uint32_t
from sfu.engine.tables cimport RouterState

cdef struct Command:
    int kind
    uint32_t handle           # of the object the command is about
    uint32_t other            # of a second one
    int first
    int second
    int64_t rate_bps
    void *object              # prepared; the router takes it over, or it is freed
    void *second_object

cdef int fill_address(uint8_t *ip, str text) except -1    # IPv4 as v4-mapped IPv6; ValueError

cdef class HandlePool:
    cdef list _free
    cdef list _generations
    cdef set _live
    cdef uint32_t take(self) except 0
    cdef bint release(self, uint32_t handle)

cdef class Commands:
    cdef Command *_items
    cdef uint32_t _count
    cdef uint32_t _capacity
    cdef bytes _ufrag_prefix
    cdef public int egress_log # entries of the log of each forwarder that is added from now on; 0 = none
    cdef HandlePool _transports
    cdef HandlePool _tracks
    cdef HandlePool _forwarders
    cdef set _unlogged        # video forwarders that were never bound: they have no log of what was sent
    cdef dict _children       # transport → ("track" | "forwarder", handle)
    cdef dict _parents        # ("track" | "forwarder", handle) → transport
    cdef Command *_append(self, int kind, uint32_t handle) except NULL
    cdef void apply(self, RouterState *s, int64_t now_us) noexcept nogil
