# SPDX-License-Identifier: Apache-2.0
"""Inbound SRTCP: reports of publishers, requests of receivers."""
from libc.stdint cimport int64_t, uint8_t, uint32_t
from sfu.engine.tables cimport RouterState, Transport

cdef void receive_rtcp(RouterState *s, Transport *t, uint8_t *data, uint32_t size, int64_t now_us) noexcept nogil
