# SPDX-License-Identifier: Apache-2.0
"""Fan-out: the resumable queue from stored packets to receivers, audio first.

A track's waiting packets form jobs: receivers outer, packets inner, so that one receiver's packets leave side by side.
A job stops whenever the slice is over and goes on where it stopped; after a quantum the next track has its turn, so that a
keyframe to a thousand receivers delays nobody else. Tracks with few receivers have a queue of their own: their turns come
between those of a crowd's pictures, and of a crowd's sound, however many receivers that has.

Under overload whole packets are refused, for all receivers alike: what was once queued stays in history until its job is
done. Else the receivers at the end of a job, always the same ones, would find their packets overwritten.
"""
from libc.stdint cimport int64_t, uint32_t
from sfu.engine.history cimport Packet
from sfu.engine.tables cimport Forwarder, RouterState, Source, Track

# Whether a packet can be stored without overwriting one that still waits for its receivers.
cdef bint fanout_spares(const Source *source, int64_t sequence, uint32_t size) noexcept nogil
cdef void fanout_add(RouterState *s, Source *source, const Packet *packet) noexcept nogil
cdef uint32_t fanout_run(RouterState *s, uint32_t budget, int64_t now_us) noexcept nogil
cdef void fanout_release(RouterState *s, int64_t now_us) noexcept nogil    # what was held long enough
cdef int64_t fanout_next_us(const RouterState *s) noexcept nogil            # when that will be; INT64_MAX = nothing is held
cdef bint fanout_waiting(const RouterState *s) noexcept nogil
cdef void fanout_forget(RouterState *s, Track *track) noexcept nogil
