# SPDX-License-Identifier: Apache-2.0
"""Forwarder: one outbound stream. Decides, rewrites, protects and logs; answers retransmission requests from history."""
from libc.stdint cimport int64_t, uint16_t, uint32_t
from sfu.engine.history cimport Packet
from sfu.engine.tables cimport Forwarder, RouterState, Source, Track

cdef void forward_packet(RouterState *s, Forwarder *f, Source *source, const Packet *packet, int64_t now_us) noexcept nogil
cdef void forwarder_nack(RouterState *s, Forwarder *f, uint16_t sequence, int64_t now_us) noexcept nogil
cdef Source *flowing_source(const Forwarder *f) noexcept nogil
