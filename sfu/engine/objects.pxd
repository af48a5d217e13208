# SPDX-License-Identifier: Apache-2.0
"""Life of the engine's objects: linking new ones into the tables, taking them out again, whole subtrees at once."""
from libc.stdint cimport int64_t, uint32_t
from sfu.engine.srtp cimport Srtp
from sfu.engine.tables cimport Forwarder, Layer, RouterState, Track, Transport

cdef int link_transport(RouterState *s, Transport *t, int64_t now_us) noexcept nogil
cdef void link_keys(Transport *t, Srtp *receiving, Srtp *sending) noexcept nogil
cdef int link_track(RouterState *s, Transport *t, Track *track) noexcept nogil
cdef int link_layer(Track *track, const Layer *layer) noexcept nogil
cdef int link_forwarder(RouterState *s, Transport *t, Forwarder *f, int64_t now_us) noexcept nogil
cdef void remove_transport(RouterState *s, Transport *t) noexcept nogil
cdef void remove_track(RouterState *s, Track *track) noexcept nogil
cdef void remove_forwarder(RouterState *s, Forwarder *f) noexcept nogil
cdef void free_track(Track *track) noexcept nogil
cdef void free_forwarder(Forwarder *f) noexcept nogil
cdef void free_transport(Transport *t) noexcept nogil
