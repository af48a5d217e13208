# SPDX-License-Identifier: Apache-2.0
"""What an inbound packet's header extensions and payload say of its frame: once, for all receivers."""
from libc.stdint cimport int64_t, uint8_t
from sfu.engine.history cimport Packet
from sfu.engine.tables cimport PayloadType, Source
from sfu.wire.extensions cimport Extensions
from sfu.wire.rtp cimport RtpHeader

cdef void inspect_packet(Source *source, Packet *packet, const PayloadType *payload, const uint8_t *data,
                         const RtpHeader *header, const Extensions *x, int64_t now_us) noexcept nogil
cdef bint explain_packet(Source *source, Packet *packet) noexcept nogil
