# SPDX-License-Identifier: Apache-2.0
"""Events on their way to Python: copied under the lock without the GIL, made into objects with the GIL without the lock."""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from sfu.engine.address cimport Path
from sfu.engine.tables cimport PendingDtls, RouterState

cdef struct RawEvent:
    int kind
    uint32_t handle
    int32_t first
    uint32_t second
    int64_t rate_bps
    Path path

cdef struct EventBatch:
    RawEvent *events
    uint32_t count
    uint32_t capacity
    PendingDtls *dtls
    uint32_t dtls_count
    uint32_t dtls_capacity

cdef int collect_events(RouterState *s, EventBatch *batch) noexcept nogil
cdef list events_of(const EventBatch *batch)
cdef void event_batch_close(EventBatch *batch) noexcept nogil
cdef str address_text(const uint8_t *ip)
