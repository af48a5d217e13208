# SPDX-License-Identifier: Apache-2.0
"""Asks for the memory of who comes next while the present one is worked on.

What a transport has lies on more than fifty cache lines behind five pointers; of a crowd, few of them are still cached
when its turn comes. Each pointer is followed one turn later than what it was found in: nothing is waited for. Nothing is
read or written otherwise, so that it changes no result.
"""
from libc.stdint cimport uint32_t
from sfu.engine.address cimport Datagram
from sfu.engine.schedule cimport Schedule
from sfu.engine.tables cimport RouterState, Track

# Before the turn of the receiver at position `receiver` of a fan-out.
cdef void fetch_receivers(const Track *track, uint32_t receiver) noexcept nogil

# Before a batch, and before each datagram of it.
cdef void fetch_first(const RouterState *s, Datagram *batch, uint32_t count) noexcept nogil
cdef void fetch_datagrams(const RouterState *s, Datagram *batch, uint32_t count, uint32_t at) noexcept nogil

# Before the first of the timers is run.
cdef void fetch_timers(const Schedule *schedule) noexcept nogil
