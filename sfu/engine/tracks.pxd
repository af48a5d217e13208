# SPDX-License-Identifier: Apache-2.0
"""A track's list of receivers, and binding a forwarder to a track."""
from libc.stdint cimport int64_t, uint8_t, uint32_t
from sfu.engine.tables cimport Binding, Forwarder, PayloadMapping, RouterState, Track

cdef int track_attach(Track *track, Forwarder *f) noexcept nogil
cdef void track_detach(Track *track, Forwarder *f) noexcept nogil
cdef void track_compact(Track *track) noexcept nogil
cdef int forwarder_bind(RouterState *s, Forwarder *f, const Binding *binding, int64_t now_us) noexcept nogil
cdef void forwarder_unbind(RouterState *s, Forwarder *f) noexcept nogil
cdef void forwarder_release_previous(RouterState *s, Forwarder *f) noexcept nogil
cdef void forwarder_stop(RouterState *s, Forwarder *f) noexcept nogil

cdef inline const PayloadMapping *payload_mapping(const Binding *binding, uint8_t payload_type) noexcept nogil:
    cdef uint32_t i
    for i in range(binding.payload_count):
        if binding.payloads[i].incoming == payload_type:
            return &binding.payloads[i]
    return NULL
