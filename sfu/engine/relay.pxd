# SPDX-License-Identifier: Apache-2.0
"""Relay legs: one publication on its way to another worker, with keys of its own (docs/relay.md).

A leg is a Transport with a fixed address. Where it begins it has forwarders, each of which sends one layer whole; where it
ends it has an ordinary track. All legs between two workers share a 5-tuple: the SSRC names the leg.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t
from sfu.engine.address cimport Datagram
from sfu.engine.history cimport Packet
from sfu.engine.tables cimport Binding, Forwarder, RouterState, SentPacket, Source, Transport
from sfu.wire.extensions cimport ExtensionMap, Extensions

cdef enum:
    RELAY_PATH = 1            # in the address map: the 5-tuple is one of relays. No transport has this handle
    RELAY_LEG_SHIFT = 4       # of an SSRC: leg above; below it the layer (0–3), its retransmission (4–7), feedback (8)
    RELAY_FEEDBACK = 8

cdef int relay_link(RouterState *s, Transport *t) noexcept nogil      # 0, or -1 without memory
cdef void relay_unlink(RouterState *s, Transport *t) noexcept nogil
cdef void relay_close(RouterState *s) noexcept nogil
cdef void relay_extensions(ExtensionMap *map) noexcept nogil
cdef Transport *relay_of(RouterState *s, const Datagram *datagram) noexcept nogil
cdef bint relay_accepts(RouterState *s, Source *source, const Extensions *x) noexcept nogil
cdef int relay_forward(RouterState *s, Forwarder *f, const Binding *binding, Source *source, const Packet *packet,
                       int64_t now_us) noexcept nogil
cdef uint32_t relay_write(Forwarder *f, Source *source, const Packet *packet, const SentPacket *entry, uint8_t *out,
                          bint rtx) noexcept nogil
