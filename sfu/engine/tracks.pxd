# SPDX-License-Identifier: Apache-2.0
"""A track's list of receivers, and binding a forwarder to a track."""
from libc.stdint cimport int64_t
from sfu.engine.tables cimport Binding, Forwarder, RouterState, Track

cdef int track_attach(Track *track, Forwarder *f) noexcept nogil
cdef void track_detach(Track *track, Forwarder *f) noexcept nogil
cdef void track_compact(Track *track) noexcept nogil
cdef int forwarder_bind(RouterState *s, Forwarder *f, const Binding *binding, int64_t now_us) noexcept nogil
cdef void forwarder_unbind(RouterState *s, Forwarder *f) noexcept nogil
cdef void forwarder_release_previous(RouterState *s, Forwarder *f) noexcept nogil
cdef void forwarder_stop(RouterState *s, Forwarder *f) noexcept nogil
