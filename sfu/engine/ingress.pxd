# SPDX-License-Identifier: Apache-2.0
"""Inbound SRTP: unprotect, find the source, count, parse once, store, hand to fan-out."""
from libc.stdint cimport int64_t, uint8_t, uint32_t
from sfu.engine.tables cimport RouterState, Transport

cdef void receive_rtp(RouterState *s, Transport *t, uint8_t *data, uint32_t size, int64_t now_us) noexcept nogil
