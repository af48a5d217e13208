# SPDX-License-Identifier: Apache-2.0
"""The bytes of an outbound packet: header, CSRC, own header extensions, rewritten payload descriptor, payload."""
from libc.stdint cimport uint8_t, uint32_t
from sfu.engine.history cimport Packet
from sfu.engine.tables cimport Forwarder, SentPacket, Source

cdef uint32_t write_header(Forwarder *f, const SentPacket *entry, uint8_t *out, uint32_t csrc_count) noexcept nogil
cdef uint32_t write_packet(Forwarder *f, Source *source, const Packet *packet, const SentPacket *entry, uint8_t *out,
                           bint rtx) noexcept nogil
cdef uint32_t write_filler(Forwarder *f, const SentPacket *entry, uint8_t *out, bint rtx) noexcept nogil
cdef uint32_t write_padding(Forwarder *f, uint8_t *out) noexcept nogil
