# SPDX-License-Identifier: Apache-2.0
"""Source: one inbound SSRC and what is known of it; and asking its publisher for keyframes and missing packets."""
from libc.stdint cimport int64_t, uint32_t
from sfu.engine.tables cimport RouterState, Source, Track

cdef Source *source_open(RouterState *s, Track *track, int layer, uint32_t ssrc, uint32_t clock_rate, bint nack) noexcept nogil
cdef void source_close(Source *source) noexcept nogil
cdef void source_restart(RouterState *s, Source *source) noexcept nogil
cdef void source_want_keyframe(RouterState *s, Source *source, int64_t now_us) noexcept nogil
cdef void source_mark_keyframe(RouterState *s, Source *source, int64_t now_us) noexcept nogil
cdef void source_ask_keyframe(RouterState *s, Source *source, int64_t now_us) noexcept nogil
cdef void source_ask_missing(RouterState *s, Source *source, int64_t now_us) noexcept nogil
